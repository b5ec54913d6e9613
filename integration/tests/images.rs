//! Promise: whatever image a real registry serves, the tree that comes out is the one that `umoci unpack` makes: names, modes, owners,
//! times, attributes, links and contents.

use std::path::Path;

use wharf_client::PullOptions;
use wharf_integration::layout::Layout;
use wharf_integration::registry::DockerRegistry;
use wharf_integration::tree::{differences, tree};
use wharf_integration::{Scene, images, rootfs};

/// Pulls `name` with each snapshotter and holds the tree against what umoci makes of `layout`.
async fn same_as_umoci(scene: &Scene, registry: &DockerRegistry, layout: &Layout, name: &str) -> anyhow::Result<()> {
    let theirs = scene.folder().join(name.replace([':', '/'], "-"));
    let theirs = tree(&layout.unpack(&theirs)?)?;
    assert!(theirs.len() > 5, "umoci made next to nothing of {name}");
    let client = scene.client().await?;
    for snapshotter in ["overlayfs", "native"] {
        let options = PullOptions { snapshotter: snapshotter.to_owned(), ..PullOptions::default() };
        let image = client.pull(&registry.reference(name), &options, |_| {}).await?;
        let ours = rootfs::of_image(&client, &image, snapshotter, scene.folder()).await?;
        let differences = differences(&ours, &theirs);
        assert!(differences.is_empty(), "{name} in {snapshotter}:\n{}", differences.join("\n"));
    }
    Ok(())
}

fn scene() -> anyhow::Result<(Scene, DockerRegistry)> {
    let scene = Scene::new()?;
    let registry = DockerRegistry::start(scene.folder())?;
    Ok((scene, registry))
}

fn folder(scene: &Scene) -> &Path {
    scene.folder()
}

#[tokio::test(flavor = "multi_thread")]
async fn busybox() -> anyhow::Result<()> {
    let (scene, registry) = scene()?;
    let layout = images::busybox(folder(&scene))?;
    registry.push(&layout, "busybox:latest")?;
    same_as_umoci(&scene, &registry, &layout, "busybox:latest").await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_layers_can_say() -> anyhow::Result<()> {
    let (scene, registry) = scene()?;
    let layout = images::everything(folder(&scene))?;
    registry.push(&layout, "everything:latest")?;
    same_as_umoci(&scene, &registry, &layout, "everything:latest").await
}

#[tokio::test(flavor = "multi_thread")]
async fn zstd_layers() -> anyhow::Result<()> {
    let (scene, registry) = scene()?;
    let layout = images::everything(folder(&scene))?;
    registry.push_with(&layout, "everything:zstd", &["--dest-compress-format", "zstd", "--dest-compress"])?;
    let manifest = wharf_integration::command::sh(&format!(
        "skopeo inspect --raw --tls-verify=false docker://{}",
        registry.reference("everything:zstd")
    ))
    .ok()?;
    assert!(manifest.contains("tar+zstd"), "skopeo did not make zstd layers: {manifest}");
    same_as_umoci(&scene, &registry, &layout, "everything:zstd").await
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_schema_2() -> anyhow::Result<()> {
    let (scene, registry) = scene()?;
    let layout = images::everything(folder(&scene))?;
    registry.push_with(&layout, "everything:docker", &["--format", "v2s2"])?;
    same_as_umoci(&scene, &registry, &layout, "everything:docker").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_two_platforms() -> anyhow::Result<()> {
    let (scene, registry) = scene()?;
    let here = images::busybox(folder(&scene))?;
    let there = images::everything(folder(&scene))?;
    let (ours, other) = if cfg!(target_arch = "x86_64") { ("amd64", "s390x") } else { ("arm64", "s390x") };
    let index = Layout::index(folder(&scene), "two", &[(&there, other), (&here, ours)])?;
    registry.push_with(&index, "two:latest", &["--all"])?;
    same_as_umoci(&scene, &registry, &here, "two:latest").await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_500_megabytes_in_8_layers() -> anyhow::Result<()> {
    let (scene, registry) = scene()?;
    let layout = images::large(folder(&scene))?;
    registry.push(&layout, "large:latest")?;
    same_as_umoci(&scene, &registry, &layout, "large:latest").await
}
