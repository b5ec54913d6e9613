//! Promise: a request that cannot be met gets a clear error that names the thing, nothing is left behind, and the daemon is well.

use prost::Message as _;
use wharf_api::containerd::runc::v1::Options;
use wharf_api::containerd::services::containers::v1::{Container, CreateContainerRequest, container::Runtime};
use wharf_api::containerd::services::images::v1::{CreateImageRequest, Image as Record};
use wharf_api::containerd::services::leases::v1::CreateRequest;
use wharf_api::containerd::services::namespaces::v1::{CreateNamespaceRequest, Namespace};
use wharf_api::containerd::services::snapshots::v1::PrepareSnapshotRequest;
use wharf_api::containerd::services::tasks::v1::{CreateTaskRequest, ExecProcessRequest};
use wharf_client::io::Io;
use wharf_client::{Client, Error, NewContainer, PullOptions};
use wharf_integration::refusal::{clear, held, nothing_left};
use wharf_integration::stage::Stage;
use wharf_integration::{NAMESPACE, Scene};
use wharf_testkit::daemon::{Daemon, programs};
use wharf_testkit::image::{Compression, Image, Layer};
use wharf_testkit::registry::Registry;
use wharf_types::{ErrorKind, Kind as _};

/// A container whose task is refused: the error names all of `names`, and no bundle, mount or process stays.
async fn task_refused(stage: &Stage, new: NewContainer<'_>, names: &[&str]) -> anyhow::Result<()> {
    let before = held(&stage.client).await?;
    let container = stage.client.create_container(new).await?;
    let id = container.id().to_owned();
    let refused = container.create_task(Io::null()).await.expect_err("a task was created");
    clear(&refused.to_string(), names);
    container.delete().await?;
    nothing_left(&stage.scene, &stage.client, &before).await?;
    assert!(!stage.scene.bundle(&id).exists(), "the bundle of {id} stays");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    assert!(!mounts.contains(&stage.scene.bundle(&id).display().to_string()), "a mount of {id} stays");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_runtime() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let new = NewContainer::new("a", &stage.image).runtime("io.containerd.nowhere.v1", None);
    task_refused(&stage, new, &["io.containerd.nowhere.v1", "containerd-shim-nowhere-v1"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_runc() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let options = Options { binary_name: "/nowhere/runc".to_owned(), ..Options::default() };
    let options =
        prost_types::Any { type_url: "containerd.runc.v1.Options".to_owned(), value: options.encode_to_vec() };
    let new = NewContainer::new("a", &stage.image).runtime("io.containerd.runc.v2", Some(options));
    task_refused(&stage, new, &["/nowhere/runc"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_specification_that_runc_refuses() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let new = NewContainer::new("a", &stage.image).adjust(|spec| {
        let mut process = spec.process().clone().unwrap_or_default();
        process.set_cwd("not/absolute".into());
        spec.set_process(Some(process));
        Ok(())
    });
    // runc's own words.
    task_refused(&stage, new, &["Cwd must be an absolute path"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_in_the_image() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let new = NewContainer::new("a", &stage.image).command(["/no/such"]);
    task_refused(&stage, new, &["/no/such", "no such file or directory"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_a_command() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let client = scene.client().await?;
    let registry = Registry::start().await?;
    let image = Image::builder().layer(Layer::new().file("x", 0o755, "x"), Compression::Gzip).build();
    registry.put_image("bare", "latest", &image);
    let image = client.pull(&registry.reference("bare", "latest"), &PullOptions::default(), |_| {}).await?;
    let before = held(&client).await?;
    let refused = client.create_container(NewContainer::new("a", &image)).await.expect_err("a container was made");
    clear(&refused.to_string(), &["bare:latest", "no command"]);
    nothing_left(&scene, &client, &before).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_snapshot_parent() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let client = scene.client().await?;
    let prepare = |parent: &str| PrepareSnapshotRequest {
        snapshotter: "overlayfs".to_owned(),
        key: "a".to_owned(),
        parent: parent.to_owned(),
        ..PrepareSnapshotRequest::default()
    };
    let refused = client.snapshots().prepare(prepare("sha256:nobody")).await.expect_err("a snapshot was made");
    assert_eq!(refused.code(), tonic::Code::NotFound);
    clear(refused.message(), &["sha256:nobody"]);
    let unknown = PrepareSnapshotRequest { snapshotter: "floppy".to_owned(), ..prepare("") };
    let refused = client.snapshots().prepare(unknown).await.expect_err("an unknown snapshotter was taken");
    clear(refused.message(), &["floppy"]);
    nothing_left(&scene, &client, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_names() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let (task, _streams) = stage.created("twice", "sleep 1000").await?;
    let before = held(&stage.client).await?;
    let exists = |error: Error, names: &[&str]| {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        clear(&error.to_string(), names);
    };
    let again = stage.client.create_container(NewContainer::new("twice", &stage.image)).await;
    exists(again.expect_err("a container was made twice"), &["twice"]);
    let again = stage.client.container("twice").await?.create_task(Io::null()).await;
    exists(again.expect_err("a task was made twice"), &["twice"]);
    let record = stage.client.image(stage.image.name(), "overlayfs").await?;
    let target = wharf_api::containerd::types::Descriptor {
        media_type: record.target().media_type.clone(),
        digest: record.target().digest.to_string(),
        size: i64::try_from(record.target().size)?,
        ..Default::default()
    };
    let image = Record { name: stage.image.name().to_owned(), target: Some(target), ..Record::default() };
    let again = stage.client.images().create(CreateImageRequest { image: Some(image), source_date_epoch: None }).await;
    let again = again.expect_err("an image was made twice");
    assert_eq!(again.code(), tonic::Code::AlreadyExists);
    clear(again.message(), &[stage.image.name()]);
    nothing_left(&stage.scene, &stage.client, &before).await?;
    task.kill(9, true).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn identifiers_with_a_slash() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let before = held(&stage.client).await?;
    let invalid = |status: tonic::Status| {
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
        clear(status.message(), &["../a/b"]);
    };
    let client: &Client = &stage.client;
    let runtime = Some(Runtime { name: "io.containerd.runc.v2".to_owned(), options: None });
    let spec = Some(prost_types::Any::default());
    let container = Container { id: "../a/b".to_owned(), runtime, spec, ..Container::default() };
    let request = CreateContainerRequest { container: Some(container) };
    invalid(client.containers().create(request).await.expect_err("a container was made"));
    let namespace = Some(Namespace { name: "../a/b".to_owned(), ..Namespace::default() });
    let request = CreateNamespaceRequest { namespace };
    invalid(client.namespaces().create(request).await.expect_err("a namespace was made"));
    let request = CreateRequest { id: "../a/b".to_owned(), ..CreateRequest::default() };
    invalid(client.leases().create(request).await.expect_err("a lease was made"));
    let elsewhere = client.in_namespace("../a/b");
    let request = CreateTaskRequest { container_id: "a".to_owned(), ..CreateTaskRequest::default() };
    invalid(elsewhere.tasks().create(request).await.expect_err("a task was made"));
    let (task, _streams) = stage.created("well", "sleep 1000").await?;
    task.start().await?;
    let request = ExecProcessRequest {
        container_id: "well".to_owned(),
        exec_id: "../a/b".to_owned(),
        ..ExecProcessRequest::default()
    };
    invalid(client.tasks().exec(request).await.expect_err("a process was added"));
    task.kill(9, true).await?;
    task.wait().await?;
    task.delete().await?;
    stage.client.container("well").await?.delete().await?;
    nothing_left(&stage.scene, &stage.client, &before).await
}

#[test]
fn a_corrupted_configuration() -> anyhow::Result<()> {
    let mut scene = Scene::stopped(|daemon, folder| {
        let config = folder.join("config.toml");
        std::fs::write(&config, "version = 3\nroot = [\n")?;
        Ok(daemon.argument("--config").argument(config.display().to_string()))
    })?;
    let refused = scene.daemon.start().expect_err("the daemon took it");
    clear(&refused.to_string(), &["config.toml", "line 2"]);
    assert!(!scene.daemon.root().exists(), "it made a root all the same");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_the_same_root() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let client = scene.client().await?;
    let holder = scene.daemon.pid().unwrap_or(0).to_string();
    let mut second = Daemon::wharf(&programs()?, scene.folder());
    let refused = second.start().expect_err("a second daemon started");
    clear(&refused.to_string(), &[&holder, &scene.daemon.root().display().to_string()]);
    // It would take the first one's mounts along.
    second.keep();
    nothing_left(&scene, &client, &[]).await?;
    assert_eq!(client.namespace(), NAMESPACE);
    Ok(())
}
