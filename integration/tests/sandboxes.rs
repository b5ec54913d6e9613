//! Promise: a sandbox is a shim before there is a container; containers join it, it outlives the daemon, and it ends with nothing left.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::Any;
use tonic::Code;
use wharf_api::containerd::services::containers::v1::GetContainerRequest;
use wharf_api::containerd::services::introspection::v1::{PluginInfoRequest, PluginInfoResponse};
use wharf_api::containerd::services::sandbox::v1 as api;
use wharf_api::containerd::services::snapshots::v1::MountsRequest;
use wharf_api::containerd::services::tasks::v1 as tasks;
use wharf_api::containerd::types::{RuntimeInfo, RuntimeRequest, Sandbox, sandbox};
use wharf_client::NewContainer;
use wharf_integration::Scene;
use wharf_integration::raw::{ask, channel};
use wharf_integration::refusal::{clear, held, nothing_left};
use wharf_integration::stage::Stage;

const STORE: &str = "containerd.services.sandbox.v1.Store";
const CONTROLLER: &str = "containerd.services.sandbox.v1.Controller";

fn record(id: &str) -> Sandbox {
    Sandbox {
        sandbox_id: id.to_owned(),
        runtime: Some(sandbox::Runtime { name: "io.containerd.runc.v2".to_owned(), options: None }),
        labels: HashMap::from([("of".to_owned(), "pod".to_owned())]),
        sandboxer: "shim".to_owned(),
        ..Sandbox::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_kept() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let daemon = channel(&scene).await?;
    let create = api::StoreCreateRequest { sandbox: Some(record("a")) };
    let made: api::StoreCreateResponse = ask(&daemon, &format!("{STORE}/Create"), &create).await?;
    let again = ask::<api::StoreCreateResponse>(&daemon, &format!("{STORE}/Create"), &create).await;
    assert_eq!(again.expect_err("it was made twice").code(), Code::AlreadyExists);
    let update = api::StoreUpdateRequest {
        sandbox: Some(Sandbox { labels: HashMap::from([("x".to_owned(), "1".to_owned())]), ..record("a") }),
        fields: vec!["labels.x".to_owned()],
    };
    let updated: api::StoreUpdateResponse = ask(&daemon, &format!("{STORE}/Update"), &update).await?;
    assert_eq!(updated.sandbox.unwrap_or_default().labels.len(), 2);
    let list = api::StoreListRequest { filters: vec!["labels.x==1".to_owned()] };
    let listed: api::StoreListResponse = ask(&daemon, &format!("{STORE}/List"), &list).await?;
    assert_eq!(listed.list.len(), 1);
    let get = api::StoreGetRequest { sandbox_id: "a".to_owned() };
    let got: api::StoreGetResponse = ask(&daemon, &format!("{STORE}/Get"), &get).await?;
    assert_eq!(got.sandbox.unwrap_or_default().created_at, made.sandbox.unwrap_or_default().created_at);
    let delete = api::StoreDeleteRequest { sandbox_id: "a".to_owned() };
    ask::<api::StoreDeleteResponse>(&daemon, &format!("{STORE}/Delete"), &delete).await?;
    let gone = ask::<api::StoreGetResponse>(&daemon, &format!("{STORE}/Get"), &get).await;
    assert_eq!(gone.expect_err("it is still there").code(), Code::NotFound);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_says_what_it_is() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let daemon = channel(&scene).await?;
    let asked = |runtime: &str| PluginInfoRequest {
        r#type: "io.containerd.runtime.v2".to_owned(),
        id: "task".to_owned(),
        options: Some(Any {
            type_url: "containerd.types.RuntimeRequest".to_owned(),
            value: RuntimeRequest { runtime_path: runtime.to_owned(), options: None }.encode_to_vec(),
        }),
    };
    let method = "containerd.services.introspection.v1.Introspection/PluginInfo";
    let answer: PluginInfoResponse = ask(&daemon, method, &asked("io.containerd.runc.v2")).await?;
    let extra = answer.extra.unwrap_or_default();
    assert_eq!(extra.type_url, "containerd.types.RuntimeInfo");
    assert!(!RuntimeInfo::decode(extra.value.as_slice())?.name.is_empty());
    let unknown = ask::<PluginInfoResponse>(&daemon, method, &asked("io.containerd.nowhere.v1")).await;
    let unknown = unknown.expect_err("an unknown runtime answered");
    assert_eq!(unknown.code(), Code::NotFound);
    clear(unknown.message(), &["containerd-shim-nowhere-v1"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_join_a_sandbox_and_it_outlives_the_daemon() -> anyhow::Result<()> {
    let mut stage = Stage::set().await?;
    let daemon = channel(&stage.scene).await?;
    let before = held(&stage.client).await?;
    let (sandbox_id, sandboxer) = ("pod".to_owned(), "shim".to_owned());
    let create = api::ControllerCreateRequest {
        sandbox_id: sandbox_id.clone(),
        sandboxer: sandboxer.clone(),
        sandbox: Some(record("pod")),
        ..Default::default()
    };
    ask::<api::ControllerCreateResponse>(&daemon, &format!("{CONTROLLER}/Create"), &create).await?;
    let again = ask::<api::ControllerCreateResponse>(&daemon, &format!("{CONTROLLER}/Create"), &create).await;
    assert_eq!(again.expect_err("it was made twice").code(), Code::AlreadyExists);
    let start = api::ControllerStartRequest { sandbox_id: sandbox_id.clone(), sandboxer: sandboxer.clone() };
    let started: api::ControllerStartResponse = ask(&daemon, &format!("{CONTROLLER}/Start"), &start).await?;
    assert!(started.pid > 1 && started.address.starts_with("unix://"), "{started:?}");

    let new = NewContainer::new("in", &stage.image).command(["sh", "-c", "exec sleep 1000"]);
    stage.client.create_container(new).await?;
    let get = GetContainerRequest { id: "in".to_owned() };
    let record = stage.client.containers().get(get).await?.into_inner().container.unwrap_or_default();
    let mounts = MountsRequest { snapshotter: record.snapshotter, key: record.snapshot_key };
    let create = tasks::CreateTaskRequest {
        container_id: "in".to_owned(),
        rootfs: stage.client.snapshots().mounts(mounts).await?.into_inner().mounts,
        task_api_address: started.address.clone(),
        ..Default::default()
    };
    let elsewhere = tasks::CreateTaskRequest { task_api_address: "unix:///nowhere".to_owned(), ..create.clone() };
    let refused = stage.client.tasks().create(elsewhere).await.expect_err("a task joined nothing");
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
    stage.client.tasks().create(create).await?;
    stage.client.tasks().start(tasks::StartRequest { container_id: "in".to_owned(), ..Default::default() }).await?;
    assert_eq!(stage.scene.daemon.shims(), [started.pid], "the container has a shim of its own");

    stage.scene.daemon.crash();
    stage.scene.daemon.start()?;
    let daemon = channel(&stage.scene).await?;
    let status =
        api::ControllerStatusRequest { sandbox_id: sandbox_id.clone(), sandboxer: sandboxer.clone(), verbose: true };
    let running: api::ControllerStatusResponse = ask(&daemon, &format!("{CONTROLLER}/Status"), &status).await?;
    assert_eq!((running.pid, running.state.as_str()), (started.pid, "SANDBOX_READY"));
    let wait = api::ControllerWaitRequest { sandbox_id: sandbox_id.clone(), sandboxer: sandboxer.clone() };
    let waiting = {
        let daemon = daemon.clone();
        tokio::spawn(
            async move { ask::<api::ControllerWaitResponse>(&daemon, &format!("{CONTROLLER}/Wait"), &wait).await },
        )
    };
    let stop =
        api::ControllerStopRequest { sandbox_id: sandbox_id.clone(), sandboxer: sandboxer.clone(), timeout_secs: 5 };
    ask::<api::ControllerStopResponse>(&daemon, &format!("{CONTROLLER}/Stop"), &stop).await?;
    assert_eq!(waiting.await??.exit_status, 0);
    let shutdown = api::ControllerShutdownRequest { sandbox_id: sandbox_id.clone(), sandboxer: sandboxer.clone() };
    let early = ask::<api::ControllerShutdownResponse>(&daemon, &format!("{CONTROLLER}/Shutdown"), &shutdown).await;
    assert_eq!(early.expect_err("a container was left without its shim").code(), Code::FailedPrecondition);
    let client = stage.scene.client().await?;
    let container = client.container("in").await?;
    let task = container.task().await?;
    task.kill(9, true).await?;
    task.wait().await?;
    task.delete().await?;
    container.delete().await?;
    ask::<api::ControllerShutdownResponse>(&daemon, &format!("{CONTROLLER}/Shutdown"), &shutdown).await?;
    let gone = ask::<api::ControllerShutdownResponse>(&daemon, &format!("{CONTROLLER}/Shutdown"), &shutdown).await;
    assert_eq!(gone.expect_err("it is still there").code(), Code::NotFound);
    assert_eq!(stage.scene.daemon.shims(), [0; 0], "the shim is still there");
    nothing_left(&stage.scene, &client, &before).await
}
