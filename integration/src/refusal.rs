//! What must be true after something was refused: a clear error, nothing left behind, the daemon well.

use futures::StreamExt as _;
use wharf_api::containerd::services::containers::v1::ListContainersRequest;
use wharf_api::containerd::services::content::v1::ListContentRequest;
use wharf_api::containerd::services::images::v1::ListImagesRequest;
use wharf_api::containerd::services::leases::v1::{CreateRequest, DeleteRequest};
use wharf_api::containerd::services::snapshots::v1::ListSnapshotsRequest;
use wharf_api::containerd::services::tasks::v1::ListTasksRequest;
use wharf_client::{Client, PullOptions};

use crate::Scene;

/// Pulls what must be refused and returns the error's whole text, which must name all of `names`.
///
/// # Errors
/// Never: a pull that succeeds, and an error that does not name them, panic.
pub async fn pull(client: &Client, reference: &str, options: &PullOptions, names: &[&str]) -> String {
    let said = match client.pull(reference, options, |_| {}).await {
        Ok(image) => panic!("{} was pulled, and should not have been", image.name()),
        Err(error) => error.to_string(),
    };
    clear(&said, names);
    said
}

/// Holds an error's text against what it must name.
pub fn clear(said: &str, names: &[&str]) {
    for name in names {
        assert!(said.contains(name), "{said:?} does not name {name:?}");
    }
}

/// What the daemon holds, in a few words each: names of images, containers, tasks, snapshots, and digests of content.
///
/// # Errors
/// The daemon's own.
pub async fn held(client: &Client) -> anyhow::Result<Vec<String>> {
    collect(client).await?;
    let mut held = Vec::new();
    let images = client.images().list(ListImagesRequest::default()).await?.into_inner().images;
    held.extend(images.into_iter().map(|image| format!("image {}", image.name)));
    let containers = client.containers().list(ListContainersRequest::default()).await?.into_inner().containers;
    held.extend(containers.into_iter().map(|container| format!("container {}", container.id)));
    let tasks = client.tasks().list(ListTasksRequest::default()).await?.into_inner().tasks;
    held.extend(tasks.into_iter().map(|task| format!("task {}", task.id)));
    let mut content = client.content().list(ListContentRequest::default()).await?.into_inner();
    while let Some(page) = content.next().await.transpose()? {
        held.extend(page.info.into_iter().map(|info| format!("content {}", info.digest)));
    }
    for snapshotter in ["overlayfs", "native"] {
        let list = ListSnapshotsRequest { snapshotter: snapshotter.to_owned(), ..ListSnapshotsRequest::default() };
        let mut snapshots = client.snapshots().list(list).await?.into_inner();
        while let Some(page) = snapshots.next().await.transpose()? {
            held.extend(page.info.into_iter().map(|info| format!("snapshot {} in {snapshotter}", info.name)));
        }
    }
    held.sort();
    Ok(held)
}

/// Has the collector run and waits for it: deleting a lease with `sync` promises that.
///
/// # Errors
/// The daemon's own.
pub async fn collect(client: &Client) -> anyhow::Result<()> {
    let lease = client.leases().create(CreateRequest::default()).await?.into_inner().lease.unwrap_or_default();
    client.leases().delete(DeleteRequest { id: lease.id, sync: true }).await?;
    Ok(())
}

/// After a refusal: the daemon holds what it held before, is the same process and answers.
///
/// # Errors
/// The daemon's own.
pub async fn nothing_left(scene: &Scene, client: &Client, before: &[String]) -> anyhow::Result<()> {
    assert_eq!(held(client).await?, before, "something was left behind, or is gone");
    let pid = scene.daemon.pid().unwrap_or(0);
    assert!(std::path::Path::new(&format!("/proc/{pid}/root")).exists(), "the daemon is gone: {}", scene.daemon.log());
    assert!(!scene.daemon.log().contains("panicked"), "the daemon panicked: {}", scene.daemon.log());
    client.version().await?;
    Ok(())
}
