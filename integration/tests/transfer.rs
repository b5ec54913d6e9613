//! Promise: what came from a registry or an archive goes to another, unchanged; what others make of it is what they made of the
//! first.

use wharf_client::{PullOptions, PushOptions};
use wharf_integration::command::sh;
use wharf_integration::layout::Layout;
use wharf_integration::registry::DockerRegistry;
use wharf_integration::{Scene, images};

/// The bytes of an image's index or manifest, as skopeo sees it.
fn raw(registry: &DockerRegistry, name: &str) -> anyhow::Result<String> {
    sh(&format!("skopeo inspect --raw --tls-verify=false docker://{}", registry.reference(name))).ok()
}

/// Two registries, the first of which has an index of two platforms.
fn scene() -> anyhow::Result<(Scene, DockerRegistry, DockerRegistry)> {
    let scene = Scene::new()?;
    let (from, to) = (DockerRegistry::start(scene.folder())?, DockerRegistry::start(scene.folder())?);
    let here = images::busybox(scene.folder())?;
    let there = images::everything(scene.folder())?;
    let (ours, other) = if cfg!(target_arch = "x86_64") { ("amd64", "s390x") } else { ("arm64", "s390x") };
    let index = Layout::index(scene.folder(), "two", &[(&there, other), (&here, ours)])?;
    from.push_with(&index, "two:latest", &["--all"])?;
    from.push(&here, "busybox:latest")?;
    Ok((scene, from, to))
}

#[tokio::test(flavor = "multi_thread")]
async fn pushed_by_transfer() -> anyhow::Result<()> {
    let (scene, from, to) = scene()?;
    let client = scene.client().await?;
    let image = client.pull(&from.reference("busybox:latest"), &PullOptions::default(), |_| {}).await?;
    let mut events = Vec::new();
    let pushed = to.reference("pushed/busybox:one");
    client.push(image.name(), &pushed, &PushOptions::default(), |line| events.push(line.event)).await?;
    assert_eq!(raw(&to, "pushed/busybox:one")?, raw(&from, "busybox:latest")?);
    for event in ["uploading", "complete", "pushed content"] {
        assert!(events.iter().any(|seen| seen == event), "{event} is not among {events:?}");
    }
    // Again, by another name: nothing is sent.
    events.clear();
    client
        .push(image.name(), &to.reference("pushed/busybox:two"), &PushOptions::default(), |line| {
            events.push(line.event);
        })
        .await?;
    assert!(events.iter().all(|event| event != "uploading"), "{events:?}");
    // What came out is whole: another daemon pulls it.
    let copy = sh(&format!("skopeo inspect --tls-verify=false docker://{pushed}")).ok()?;
    assert!(copy.contains("sha256:"), "{copy}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_pushed_with_all_that_it_lists() -> anyhow::Result<()> {
    let (scene, from, to) = scene()?;
    let name = from.reference("two:latest");
    scene.ctr(["images", "pull", "--plain-http", "--all-platforms", &name]).ok()?;
    let client = scene.client().await?;
    client.push(&name, &to.reference("two:latest"), &PushOptions::default(), |_| {}).await?;
    assert_eq!(raw(&to, "two:latest")?, raw(&from, "two:latest")?);
    // An image of which parts are missing says so, and what it was pushed as is not there.
    let error = client.push("not/there:x", &to.reference("no:x"), &PushOptions::default(), |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
    Ok(())
}

#[test]
fn pushed_by_ctr() -> anyhow::Result<()> {
    let (scene, from, to) = scene()?;
    let name = from.reference("two:latest");
    scene.ctr(["images", "pull", "--plain-http", "--all-platforms", &name]).ok()?;
    scene.ctr(["images", "push", "--plain-http", &to.reference("two:latest"), &name]).ok()?;
    assert_eq!(raw(&to, "two:latest")?, raw(&from, "two:latest")?);
    Ok(())
}
