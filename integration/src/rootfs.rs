//! What an image became: its root filesystem, looked at through a view of its snapshot.

use std::path::Path;

use anyhow::Context as _;
use wharf_api::containerd::services::snapshots::v1::{RemoveSnapshotRequest, ViewSnapshotRequest};
use wharf_api::containerd::types::Mount;
use wharf_client::{Client, Image};

use crate::command::run;
use crate::tree::{Tree, tree};

/// The tree of an image's root filesystem, by way of `folder`.
///
/// # Errors
/// When the image is not unpacked, or what its mounts describe cannot be mounted or read.
pub async fn of_image(client: &Client, image: &Image, snapshotter: &str, folder: &Path) -> anyhow::Result<Tree> {
    let chain_id = image.chain_id().await?.context("the image has no layers")?.to_string();
    of_snapshot(client, &chain_id, snapshotter, folder).await
}

/// The tree of a committed snapshot, by way of `folder`.
///
/// # Errors
/// As [`of_image`].
pub async fn of_snapshot(client: &Client, name: &str, snapshotter: &str, folder: &Path) -> anyhow::Result<Tree> {
    let key = format!("look-at-{name}");
    let view = ViewSnapshotRequest {
        snapshotter: snapshotter.to_owned(),
        key: key.clone(),
        parent: name.to_owned(),
        // Nothing else holds the view while it is looked at.
        labels: [("containerd.io/gc.root".to_owned(), "looked at".to_owned())].into(),
    };
    let mounts = client.snapshots().view(view).await?.into_inner().mounts;
    let point = folder.join("look-at");
    std::fs::create_dir_all(&point)?;
    mounted(&mounts, &point)?;
    let found = tree(&point);
    run(std::process::Command::new("umount").arg(&point)).ok()?;
    client.snapshots().remove(RemoveSnapshotRequest { snapshotter: snapshotter.to_owned(), key }).await?;
    found
}

/// Mounts what a snapshotter said, as a stranger to our own crates would.
fn mounted(mounts: &[Mount], point: &Path) -> anyhow::Result<()> {
    for mount in mounts {
        let mut command = std::process::Command::new("mount");
        if mount.r#type == "bind" {
            command.arg("--bind");
        } else {
            command.args(["-t", &mount.r#type]).args(["-o", &mount.options.join(",")]);
        }
        run(command.arg(&mount.source).arg(point)).ok()?;
    }
    Ok(())
}
