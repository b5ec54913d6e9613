//! Promise: what a client has the daemon mount is there under its name, across the daemon's death, until it is deactivated or nothing
//! keeps it; what the client can mount by itself is left to it.

use std::collections::HashMap;
use std::path::Path;

use tonic::Code;
use tonic::transport::Channel;
use wharf_api::containerd::services::leases::v1 as leases;
use wharf_api::containerd::services::mounts::v1 as api;
use wharf_api::containerd::services::snapshots::v1::MountsRequest;
use wharf_api::containerd::services::tasks::v1 as tasks;
use wharf_api::containerd::types::{ActivationInfo, Mount};
use wharf_client::NewContainer;
use wharf_integration::Scene;
use wharf_integration::raw::{ask, call, channel};
use wharf_integration::stage::Stage;

const MOUNTS: &str = "containerd.services.mounts.v1.Mounts";
const LEASES: &str = "containerd.services.leases.v1.Leases";

fn tmpfs() -> Mount {
    Mount { r#type: "tmpfs".to_owned(), source: "tmpfs".to_owned(), ..Mount::default() }
}

fn request(name: &str, mounts: Vec<Mount>, temporary: bool) -> api::ActivateRequest {
    api::ActivateRequest { name: name.to_owned(), mounts, temporary, labels: HashMap::new() }
}

async fn activate(daemon: &Channel, request: &api::ActivateRequest) -> Result<ActivationInfo, tonic::Status> {
    let answer: api::ActivateResponse = ask(daemon, &format!("{MOUNTS}/Activate"), request).await?;
    Ok(answer.info.unwrap_or_default())
}

async fn info(daemon: &Channel, name: &str) -> Result<ActivationInfo, tonic::Status> {
    let request = api::InfoRequest { name: name.to_owned() };
    let answer: api::InfoResponse = ask(daemon, &format!("{MOUNTS}/Info"), &request).await?;
    Ok(answer.info.unwrap_or_default())
}

async fn deactivate(daemon: &Channel, name: &str) -> Result<(), tonic::Status> {
    let request = api::DeactivateRequest { name: name.to_owned() };
    ask::<()>(daemon, &format!("{MOUNTS}/Deactivate"), &request).await
}

/// True while the kernel lists something mounted there.
fn mounted(point: &str) -> anyhow::Result<bool> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().any(|line| line.split(' ').nth(4) == Some(point)))
}

/// A lease made and let go of with the wait for the collector is how a test runs the collector.
async fn collect(daemon: &Channel) -> anyhow::Result<()> {
    let create = leases::CreateRequest { id: "collect".to_owned(), ..Default::default() };
    ask::<leases::CreateResponse>(daemon, &format!("{LEASES}/Create"), &create).await?;
    let delete = leases::DeleteRequest { id: "collect".to_owned(), sync: true };
    ask::<()>(daemon, &format!("{LEASES}/Delete"), &delete).await?;
    Ok(())
}

/// Something that the collector never takes, for a mount to be kept by.
async fn keeper(daemon: &Channel) -> anyhow::Result<HashMap<String, String>> {
    use wharf_api::containerd::services::containers::v1::{Container, CreateContainerRequest, CreateContainerResponse};
    let runtime = wharf_api::containerd::services::containers::v1::container::Runtime {
        name: "io.containerd.runc.v2".to_owned(),
        options: None,
    };
    let spec = prost_types::Any { type_url: "spec".to_owned(), value: b"{}".to_vec() };
    let container =
        Container { id: "keeper".to_owned(), runtime: Some(runtime), spec: Some(spec), ..Container::default() };
    let create = CreateContainerRequest { container: Some(container) };
    let method = "containerd.services.containers.v1.Containers/Create";
    ask::<CreateContainerResponse>(daemon, method, &create).await?;
    Ok(HashMap::from([("containerd.io/gc.bref.container".to_owned(), "keeper".to_owned())]))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_activated_is_mounted_until_it_is_deactivated() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let daemon = channel(&scene).await?;
    let labels = keeper(&daemon).await?;
    let options = vec!["lowerdir={{ overlay 1 0 }}".to_owned()];
    let overlay =
        Mount { r#type: "format/overlay".to_owned(), source: "overlay".to_owned(), options, ..Mount::default() };
    let asked = api::ActivateRequest { labels, ..request("a", vec![tmpfs(), tmpfs(), overlay], false) };
    let made = activate(&daemon, &asked).await?;
    let points: Vec<_> = made.active.iter().map(|active| active.mount_point.clone()).collect();
    assert_eq!(points.len(), 2);
    for point in &points {
        assert!(mounted(point)? && Path::new(point).starts_with(scene.daemon.state()), "{point}");
    }
    assert_eq!(made.system.len(), 1);
    assert_eq!(made.system[0].r#type, "overlay");
    assert_eq!(made.system[0].options, [format!("lowerdir={}:{}", points[1], points[0])]);
    assert_eq!(info(&daemon, "a").await?, made);
    let list = call(&daemon, &format!("{MOUNTS}/List"), Vec::new()).await?;
    assert!(list.is_some(), "it is not listed");

    let again = activate(&daemon, &asked).await.expect_err("the name was given twice");
    assert_eq!(again.code(), Code::AlreadyExists, "{again:?}");
    deactivate(&daemon, "a").await?;
    assert!(!mounted(&points[0])? && !mounted(&points[1])?);
    for answer in [info(&daemon, "a").await.map(|_| ()), deactivate(&daemon, "a").await] {
        assert_eq!(answer.expect_err("it is still there").code(), Code::NotFound);
    }
    let list = call(&daemon, &format!("{MOUNTS}/List"), Vec::new()).await?;
    assert_eq!(list, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_can_mount_is_left_to_it() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let daemon = channel(&scene).await?;
    let needless = activate(&daemon, &request("a", vec![tmpfs()], false)).await;
    let needless = needless.expect_err("it was mounted");
    assert_eq!(needless.code(), Code::Unimplemented, "{needless:?}");
    let missing = Mount { r#type: "bind".to_owned(), source: "/nowhere/at/all".to_owned(), ..Mount::default() };
    let failed = activate(&daemon, &request("a", vec![tmpfs(), missing], true)).await;
    let failed = failed.expect_err("what is missing was mounted");
    assert!(failed.message().contains("/nowhere/at/all"), "{failed:?}");
    assert_eq!(info(&daemon, "a").await.expect_err("it is there").code(), Code::NotFound);
    assert_eq!(std::fs::read_dir(scene.daemon.state().join("mounts"))?.count(), 0, "something is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_outlive_the_daemon_and_go_when_nothing_keeps_them() -> anyhow::Result<()> {
    let mut scene = Scene::new()?;
    let daemon = channel(&scene).await?;
    let labels = keeper(&daemon).await?;
    let asked = |name: &str| api::ActivateRequest { labels: labels.clone(), ..request(name, vec![tmpfs()], true) };
    let kept = activate(&daemon, &asked("kept")).await?;
    let gone = activate(&daemon, &asked("gone")).await?;
    let (kept, gone) = (&kept.active[0].mount_point, &gone.active[0].mount_point);
    scene.daemon.crash();
    // As if the daemon had died between mounting and its record, and somebody else had unmounted the other.
    let orphan = scene.daemon.state().join("mounts/999999999/0");
    std::fs::create_dir_all(&orphan)?;
    let orphan = orphan.display().to_string();
    assert!(std::process::Command::new("mount").args(["-t", "tmpfs", "tmpfs", &orphan]).status()?.success());
    assert!(std::process::Command::new("umount").arg(gone).status()?.success());
    scene.daemon.start()?;
    let daemon = channel(&scene).await?;
    assert!(mounted(kept)? && !mounted(&orphan)?);
    assert_eq!(&info(&daemon, "kept").await?.active[0].mount_point, kept);
    assert_eq!(info(&daemon, "gone").await.expect_err("it is not mounted").code(), Code::NotFound);

    collect(&daemon).await?;
    assert!(mounted(kept)?, "a container keeps it");
    let delete = wharf_api::containerd::services::containers::v1::DeleteContainerRequest { id: "keeper".to_owned() };
    ask::<()>(&daemon, "containerd.services.containers.v1.Containers/Delete", &delete).await?;
    collect(&daemon).await?;
    assert!(!mounted(kept)?, "nothing keeps it");
    assert_eq!(info(&daemon, "kept").await.expect_err("it is still there").code(), Code::NotFound);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_on_mounts_that_its_shim_cannot_make() -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let daemon = channel(&stage.scene).await?;
    let disk = tempfile::tempdir()?;
    for folder in ["up", "work"] {
        std::fs::create_dir(disk.path().join(folder))?;
    }
    let new = NewContainer::new("a", &stage.image).command(["sh", "-c", "echo there > /here"]);
    stage.client.create_container(new).await?;
    let get = wharf_api::containerd::services::containers::v1::GetContainerRequest { id: "a".to_owned() };
    let record = stage.client.containers().get(get).await?.into_inner().container.unwrap_or_default();
    let snapshot = MountsRequest { snapshotter: record.snapshotter, key: record.snapshot_key };
    let mut rootfs = stage.client.snapshots().mounts(snapshot).await?.into_inner().mounts;
    assert_eq!(rootfs.len(), 1);
    let (source, options) = (disk.path().display().to_string(), vec!["rbind".to_owned(), "rw".to_owned()]);
    rootfs.push(Mount { r#type: "bind".to_owned(), source, options, ..Mount::default() });
    let texts = ["lowerdir={{ mount 0 }}", "upperdir={{ mount 1 }}/up", "workdir={{ mount 1 }}/work"];
    let options = texts.map(str::to_owned).to_vec();
    rootfs.push(Mount {
        r#type: "format/overlay".to_owned(),
        source: "overlay".to_owned(),
        options,
        ..Mount::default()
    });

    let container_id = "a".to_owned();
    let create = tasks::CreateTaskRequest { container_id: container_id.clone(), rootfs, ..Default::default() };
    let nowhere = tasks::CreateTaskRequest { task_api_address: "unix:///nowhere".to_owned(), ..create.clone() };
    stage.client.tasks().create(nowhere).await.expect_err("a task joined nothing");
    assert_eq!(info(&daemon, "a").await.expect_err("what failed is mounted").code(), Code::NotFound);
    stage.client.tasks().create(create).await?;
    let made = info(&daemon, "a").await?;
    assert_eq!(made.active.len(), 2);
    collect(&daemon).await?;
    assert!(mounted(&made.active[0].mount_point)?, "the container's record keeps it");
    let wait = tasks::WaitRequest { container_id: container_id.clone(), ..Default::default() };
    let (mut waiter, mut starter) = (stage.client.tasks(), stage.client.tasks());
    let start = tasks::StartRequest { container_id: container_id.clone(), ..Default::default() };
    starter.start(start).await?;
    assert_eq!(waiter.wait(wait).await?.into_inner().exit_status, 0);
    stage.client.tasks().delete(tasks::DeleteTaskRequest { container_id }).await?;
    assert_eq!(info(&daemon, "a").await.expect_err("it is still there").code(), Code::NotFound);
    assert!(!mounted(&made.active[0].mount_point)? && !mounted(&made.active[1].mount_point)?);
    assert_eq!(std::fs::read_to_string(disk.path().join("up/here"))?, "there\n");
    Ok(())
}
