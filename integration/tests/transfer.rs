//! Promise: what came from a registry or an archive goes to another, unchanged; what others make of it is what they made of the
//! first.

use prost::Message as _;
use wharf_api::containerd::services::transfer::v1::TransferRequest;
use wharf_api::containerd::types::transfer as api;
use wharf_client::{ImportOptions, PullOptions, PushOptions};
use wharf_integration::command::sh;
use wharf_integration::layout::Layout;
use wharf_integration::registry::DockerRegistry;
use wharf_integration::tree::{Tree, differences, tree};
use wharf_integration::{Scene, images, rootfs};

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

/// What an image's layers make, as a daemon that has it shows it.
async fn tree_of(scene: &Scene, name: &str) -> anyhow::Result<Tree> {
    let client = scene.client().await?;
    let image = client.image(name, "overlayfs").await?;
    rootfs::of_image(&client, &image, "overlayfs", scene.folder()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_goes_from_one_daemon_to_the_next_and_to_skopeo() -> anyhow::Result<()> {
    let (scene, from, to) = scene()?;
    let (client, name) = (scene.client().await?, from.reference("busybox:latest"));
    client.pull(&name, &PullOptions::default(), |_| {}).await?;
    let file = scene.folder().join("exported.tar");
    client.export(&[&name], false, tokio::fs::File::create(&file).await?, |_| {}).await?;
    // Others take it, as a layout and as what `docker load` takes.
    let copy = |transport: &str, tag: &str| {
        let to = to.reference(tag);
        sh(&format!(
            "skopeo --insecure-policy copy -q --dest-tls-verify=false {transport}:{}:{name} docker://{to}",
            file.display()
        ))
        .ok()
    };
    copy("docker-archive", "from:docker")?;
    let unpacked = scene.folder().join("unpacked");
    sh(&format!("mkdir {0} && tar -xf {1} -C {0}", unpacked.display(), file.display())).ok()?;
    sh(&format!(
        "skopeo --insecure-policy copy -q --dest-tls-verify=false oci:{}:latest docker://{}",
        unpacked.display(),
        to.reference("from:layout")
    ))
    .ok()?;
    assert_eq!(raw(&to, "from:layout")?, raw(&from, "busybox:latest")?);
    // And so does another daemon, which unpacks it.
    let other = Scene::new()?;
    let mut saved = Vec::new();
    let read = tokio::fs::File::open(&file).await?;
    let told = |line: wharf_client::PullProgress| saved.extend((line.event == "saved").then_some(line.name));
    other.client().await?.import(read, &ImportOptions::default(), told).await?;
    assert_eq!(saved, [name.as_str()]);
    let differences = differences(&tree_of(&other, &name).await?, &tree_of(&scene, &name).await?);
    assert!(differences.is_empty(), "{differences:?}");
    assert!(other.ctr(["images", "check"]).ok()?.contains("complete (2/2)"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_skopeo_writes_is_imported() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let (client, layout) = (scene.client().await?, images::everything(scene.folder())?);
    for (kind, compress) in [("docker-archive", ""), ("oci-archive", ""), ("docker-archive", "| gzip")] {
        let file = scene.folder().join("skopeo.tar");
        sh(&format!(
            "rm -f {0} {0}.z; skopeo --insecure-policy copy -q {1} {kind}:{0}:docker.io/library/every:{kind}; cat {0} {compress} > {0}.z",
            file.display(),
            layout.skopeo()
        ))
        .ok()?;
        let mut saved = Vec::new();
        let options = ImportOptions { prefix: "docker.io/library/every".into(), ..ImportOptions::default() };
        let told = |line: wharf_client::PullProgress| saved.extend((line.event == "saved").then_some(line.name));
        client.import(tokio::fs::File::open(file.with_extension("tar.z")).await?, &options, told).await?;
        let theirs = tree(&layout.unpack(&scene.folder().join(format!("{kind}{}", compress.len())))?)?;
        let name = saved.first().map(String::as_str).unwrap_or_default();
        assert!(name.starts_with("docker.io/library/every:"), "{kind}: {saved:?}");
        let differences = differences(&tree_of(&scene, name).await?, &theirs);
        assert!(differences.is_empty(), "{kind}: {differences:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_archive_leaves_nothing() -> anyhow::Result<()> {
    let (scene, from, _) = scene()?;
    let (client, name) = (scene.client().await?, from.reference("busybox:latest"));
    client.pull(&name, &PullOptions::default(), |_| {}).await?;
    let mut archive = Vec::new();
    client.export(&[&name], false, &mut archive, |_| {}).await?;
    let other = Scene::new()?;
    let client = other.client().await?;
    for part in [archive.len() / 2, archive.len() - 5000] {
        let bad = archive.get(..part).unwrap_or_default();
        let error = client.import(bad, &ImportOptions::default(), |_| {}).await.unwrap_err();
        assert!(error.to_string().contains("archive of images"), "{error}");
        assert_eq!(other.ctr(["content", "ls", "-q"]).ok()?, "");
        assert_eq!(other.ctr(["content", "active"]).ok()?.lines().count(), 1);
        assert_eq!(other.ctr(["images", "ls", "-q"]).ok()?, "");
        assert_eq!(other.ctr(["leases", "ls", "-q"]).ok()?, "");
        assert_eq!(other.ctr(["snapshots", "ls"]).ok()?.lines().count(), 1);
    }
    Ok(())
}

#[test]
fn exported_and_imported_by_ctr() -> anyhow::Result<()> {
    let (scene, from, _) = scene()?;
    let (name, file) = (from.reference("busybox:latest"), scene.folder().join("ctr.tar"));
    scene.ctr(["images", "pull", "--plain-http", &name]).ok()?;
    scene.ctr(["images", "export", &file.display().to_string(), &name]).ok()?;
    let other = Scene::new()?;
    other.ctr(["images", "import", &file.display().to_string()]).ok()?;
    assert!(other.ctr(["images", "check"]).ok()?.contains("complete (2/2)"));
    assert_eq!(other.ctr(["run", "--rm", &name, "says", "echo", "in"]).ok()?, "in\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_gives_several_names_and_unpacks_into_several_snapshotters() -> anyhow::Result<()> {
    let (scene, from, _) = scene()?;
    let (client, name) = (scene.client().await?, from.reference("busybox:latest"));
    let unpack = |name: &str| api::UnpackConfiguration { platform: None, snapshotter: name.to_owned() };
    let other = api::ImageReference { name: "another.name/of:it".to_owned(), ..Default::default() };
    let to = api::ImageStore {
        name: name.clone(),
        all_metadata: true,
        extra_references: vec![other],
        unpacks: vec![unpack("overlayfs"), unpack("native")],
        ..Default::default()
    };
    let any = |name: &str, value: Vec<u8>| {
        Some(prost_types::Any { type_url: format!("containerd.types.transfer.{name}"), value })
    };
    let registry = api::OciRegistry { reference: name.clone(), resolver: None };
    let source = any("OCIRegistry", registry.encode_to_vec());
    let destination = any("ImageStore", to.encode_to_vec());
    client.transfer().transfer(TransferRequest { source, destination, options: None }).await?;
    let names = scene.ctr(["images", "ls", "-q"]).ok()?;
    assert!(names.contains(&name) && names.contains("another.name/of:it"), "{names}");
    for snapshotter in ["overlayfs", "native"] {
        let listed = scene.ctr(["snapshots", "--snapshotter", snapshotter, "ls"]).ok()?;
        assert!(listed.contains("Committed"), "{snapshotter}: {listed}");
    }
    // The further name goes with the first.
    scene.ctr(["images", "rm", "--sync", &name]).ok()?;
    assert_eq!(scene.ctr(["images", "ls", "-q"]).ok()?, "");
    assert_eq!(scene.ctr(["content", "ls", "-q"]).ok()?, "");
    Ok(())
}
