//! Promise: nothing that a layer says reaches outside of its tree. What it may not say is refused by name, nothing is left
//! behind, and the host's files are what they were.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use wharf_client::{Client, PullOptions};
use wharf_integration::tree::{Tree, tree};
use wharf_integration::{Scene, refusal, rootfs};
use wharf_testkit::image::{Blob, Compression, Image, Layer};
use wharf_testkit::registry::Registry;

/// The canary's tree; and links, mode and time of the host's own files.
type Host = (Tree, Vec<(u64, u32, i64)>);

/// A daemon, a registry, and a tree of the host's files beside them that must stay as it is.
struct Bad {
    scene: Scene,
    client: Client,
    registry: Registry,
    canary: PathBuf,
}

impl Bad {
    async fn new() -> anyhow::Result<Self> {
        let scene = Scene::new()?;
        let client = scene.client().await?;
        let canary = scene.folder().join("canary");
        std::fs::create_dir(&canary)?;
        std::fs::write(canary.join("file"), "untouched")?;
        std::fs::create_dir(canary.join("folder"))?;
        Ok(Self { scene, client, registry: Registry::start().await?, canary })
    }

    /// What of the host must not change: the canary, and the few files that attacks aim at.
    fn host(&self) -> anyhow::Result<Host> {
        let aimed_at = ["/etc/shadow", "/etc/passwd", "/etc", "/tmp/../etc/hosts"];
        let looked_at = aimed_at.iter().filter_map(|path| std::fs::symlink_metadata(path).ok());
        Ok((tree(&self.canary)?, looked_at.map(|m| (m.nlink(), m.mode(), m.mtime())).collect()))
    }

    /// The layers, on top of each other, are refused in both snapshotters with an error that names all of `names`.
    async fn refused(&self, layers: Vec<Layer>, names: &[&str]) -> anyhow::Result<()> {
        self.refused_image(&image(layers), names).await
    }

    async fn refused_image(&self, image: &Image, names: &[&str]) -> anyhow::Result<()> {
        let before = self.host()?;
        self.registry.put_image("bad", "latest", image);
        for snapshotter in ["overlayfs", "native"] {
            let options = PullOptions { snapshotter: snapshotter.to_owned(), ..PullOptions::default() };
            refusal::pull(&self.client, &self.registry.reference("bad", "latest"), &options, names).await;
            refusal::nothing_left(&self.scene, &self.client, &[]).await?;
        }
        assert_eq!(self.host()?, before, "the host's files changed");
        Ok(())
    }

    /// The layers are taken, and kept inside: the host stays as it is, and the tree has all of `inside`.
    async fn kept_inside(&self, layers: Vec<Layer>, inside: &[&str]) -> anyhow::Result<()> {
        let before = self.host()?;
        self.registry.put_image("bad", "latest", &image(layers));
        for snapshotter in ["overlayfs", "native"] {
            let options = PullOptions { snapshotter: snapshotter.to_owned(), ..PullOptions::default() };
            let image = self.client.pull(&self.registry.reference("bad", "latest"), &options, |_| {}).await?;
            let tree = rootfs::of_image(&self.client, &image, snapshotter, self.scene.folder()).await?;
            for path in inside {
                assert!(tree.contains_key(Path::new(path)), "{path} is not in {snapshotter}: {:?}", tree.keys());
            }
        }
        assert_eq!(self.host()?, before, "the host's files changed");
        Ok(())
    }
}

fn image(layers: Vec<Layer>) -> Image {
    let builder = Image::builder().entrypoint(["/x"]);
    layers.into_iter().fold(builder, |builder, layer| builder.layer(layer, Compression::Gzip)).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_with_dots() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    bad.refused(vec![Layer::new().file("../../etc/x", 0o644, "x")], &["../../etc/x"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_link_and_a_write_through_it() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let target = bad.canary.display().to_string();
    let link = || Layer::new().symlink("out", &target);
    // The link means the tree's own folder of that name; in one layer and across two.
    let inside = format!("{}/new", target.trim_start_matches('/'));
    let parents = |layer: Layer| layer.dir(target.trim_start_matches('/'), 0o755);
    bad.kept_inside(vec![parents(link()).file("out/new", 0o644, "x")], &[&inside]).await?;
    bad.kept_inside(vec![parents(link()), Layer::new().file("out/new", 0o644, "x")], &[&inside]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_link_to_a_file_of_the_host() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    bad.refused(vec![Layer::new().hard_link("shadow", "/etc/shadow")], &["shadow"]).await?;
    bad.refused(vec![Layer::new().hard_link("shadow", "../../../../../../etc/shadow")], &["shadow"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_outside() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let path = format!("../../../../../..{}/device", bad.canary.display());
    bad.refused(vec![Layer::new().char_device(&path, 1, 3)], &[&path]).await?;
    let target = bad.canary.display().to_string();
    let inside = format!("{}/device", target.trim_start_matches('/'));
    let layer = Layer::new().dir(target.trim_start_matches('/'), 0o755).symlink("out", &target);
    bad.kept_inside(vec![layer.char_device("out/device", 1, 3)], &[&inside]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whiteout_through_a_link() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let target = bad.canary.display().to_string();
    let first = Layer::new().dir(target.trim_start_matches('/'), 0o755).symlink("out", &target);
    bad.kept_inside(vec![first, Layer::new().whiteout("out/file")], &["out"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_that_is_garbage() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
    let garbage = Blob::new(kind, vec![0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    let digest = garbage.digest.to_string();
    let image = Image::builder().raw_layer(garbage, Some(&digest)).entrypoint(["/x"]).build();
    bad.refused_image(&image, &[&digest]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_id_that_is_another() -> anyhow::Result<()> {
    let bad = Bad::new().await?;
    let other = format!("sha256:{}", "a".repeat(64));
    let layer = Layer::new().file("x", 0o755, "x");
    let image = Image::builder().layer(layer, Compression::Gzip).diff_ids([&other]).entrypoint(["/x"]).build();
    bad.refused_image(&image, &[&other]).await
}
