//! Promise: whatever is sent to any method gets a code that says whose fault it is, and leaves neither a trace nor memory behind.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use prost_types::Any;
use tonic::transport::Channel;
use tonic::{Code, Status};
use wharf_api::containerd::services::containers::v1 as containers;
use wharf_api::containerd::services::diff::v1::ApplyRequest;
use wharf_api::containerd::services::introspection::v1::PluginInfoRequest;
use wharf_api::containerd::services::leases::v1 as leases;
use wharf_api::containerd::services::sandbox::v1::ControllerCreateRequest;
use wharf_api::containerd::services::tasks::v1 as tasks;
use wharf_api::containerd::services::transfer::v1::TransferRequest;
use wharf_api::containerd::types::{Descriptor, Sandbox, sandbox};
use wharf_client::Client;
use wharf_integration::Scene;
use wharf_integration::raw::{call, channel, methods};
use wharf_integration::refusal::{held, nothing_left};

/// How long a method is listened to: one that streams may have nothing to say.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the daemon may keep of what it was sent, in kilobytes: 32 MB.
const KEPT: u64 = 32 << 10;

/// A field of bytes, or of text, or a message.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut out);
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

/// A number in each of the first fields, which no enumeration has.
fn numbers() -> Vec<u8> {
    let mut out = Vec::new();
    for number in 1..16 {
        prost::encoding::encode_key(number, prost::encoding::WireType::Varint, &mut out);
        prost::encoding::encode_varint(0x7fff_fff0, &mut out);
    }
    out
}

/// Bodies, by what they are. What is over 16 MiB is refused unread.
fn bodies() -> Vec<(&'static str, Vec<u8>)> {
    let texts = (1..12).flat_map(|number| field(number, b"../\n\xc3\xa9")).collect();
    vec![
        ("nothing", Vec::new()),
        ("rubbish", vec![0xff; 64]),
        ("a key without a value", vec![0x0a]),
        ("text that is none", field(1, b"\xff\xfe")),
        ("numbers", numbers()),
        ("paths", texts),
        ("a long name", field(1, &vec![b'a'; 15 << 20])),
        ("15 MiB that nobody knows", field(1000, &vec![0; 15 << 20])),
        ("17 MiB", field(1000, &vec![0; 17 << 20])),
    ]
}

/// What the daemon answers, as a code; a stream that says nothing is well.
async fn code(channel: &Channel, method: &str, body: Vec<u8>) -> Status {
    match tokio::time::timeout(PATIENCE, call(channel, method, body)).await {
        Ok(Err(status)) => status,
        Ok(Ok(_)) | Err(_) => Status::ok(""),
    }
}

/// No client's mistake is the daemon's.
fn is_plain(status: &Status) -> bool {
    !matches!(status.code(), Code::Unknown | Code::Internal | Code::DataLoss | Code::Unavailable | Code::Cancelled)
}

/// The daemon's memory, in kilobytes.
fn memory(scene: &Scene) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.daemon.pid().unwrap_or(0)))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Takes away the leases that nameless requests made.
async fn without_leases(client: &Client) -> anyhow::Result<()> {
    let all = client.leases().list(leases::ListRequest::default()).await?.into_inner().leases;
    for lease in all {
        client.leases().delete(leases::DeleteRequest { id: lease.id, sync: true }).await?;
    }
    Ok(())
}

/// Memory is back soon, and nothing else is left.
async fn as_before(scene: &Scene, client: &Client, before: u64) -> anyhow::Result<()> {
    without_leases(client).await?;
    nothing_left(scene, client, &[]).await?;
    let after = memory(scene)?;
    assert!(after < before + KEPT, "{} kB were kept: {before} kB before, {after} kB after", after - before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_with_every_body() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let (client, daemon) = (scene.client().await?, channel(&scene).await?);
    held(&client).await?;
    let before = memory(&scene)?;
    let mut wrong = Vec::new();
    for (what, body) in bodies() {
        let calls = methods()?.into_iter().map(|method| {
            let (daemon, body) = (daemon.clone(), body.clone());
            async move { (code(&daemon, &method, body).await, method) }
        });
        // A few at once: bodies are large.
        let mut calls = futures::StreamExt::buffer_unordered(futures::stream::iter(calls), 8);
        while let Some((status, method)) = futures::StreamExt::next(&mut calls).await {
            let plain = match what {
                "17 MiB" => matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted),
                _ => is_plain(&status),
            };
            if !plain {
                wrong.push(format!("{method} with {what}: {:?} {}", status.code(), status.message()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers are wrong:\n{}", wrong.len(), wrong.join("\n"));
    as_before(&scene, &client, before).await
}

/// A message of one type under the name of another.
fn lie(type_url: &str) -> Option<Any> {
    Some(Any { type_url: type_url.to_owned(), value: vec![0xff; 40] })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_the_type_that_it_says() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let (client, daemon) = (scene.client().await?, channel(&scene).await?);
    let names = [
        "containerd.types.transfer.OCIRegistry",
        "containerd.types.transfer.ImageStore",
        "containerd.runc.v1.Options",
        "types.containerd.io/opencontainers/runtime-spec/1/Spec",
        "containerd.types.RuntimeRequest",
        "nobody.knows.This",
        "",
        "////",
    ];
    for name in names {
        let any = || lie(name);
        let runtime = containers::container::Runtime { name: "io.containerd.runc.v2".to_owned(), options: any() };
        let container = containers::Container {
            id: "c".to_owned(),
            runtime: Some(runtime.clone()),
            spec: any(),
            ..containers::Container::default()
        };
        let create = containers::CreateContainerRequest { container: Some(container) };
        let task = tasks::CreateTaskRequest { container_id: "c".to_owned(), options: any(), ..Default::default() };
        let exec = tasks::ExecProcessRequest {
            container_id: "c".to_owned(),
            exec_id: "e".to_owned(),
            spec: any(),
            ..Default::default()
        };
        let update = tasks::UpdateTaskRequest { container_id: "c".to_owned(), resources: any(), ..Default::default() };
        let checkpoint =
            tasks::CheckpointTaskRequest { container_id: "c".to_owned(), options: any(), ..Default::default() };
        let transfer = TransferRequest { source: any(), destination: any(), options: None };
        let blob = Descriptor { media_type: name.to_owned(), size: -1, ..Descriptor::default() };
        let apply = ApplyRequest {
            diff: Some(blob),
            payloads: [("x".to_owned(), any().unwrap_or_default())].into(),
            ..ApplyRequest::default()
        };
        let info =
            PluginInfoRequest { r#type: "io.containerd.runtime.v2".to_owned(), id: "task".to_owned(), options: any() };
        let of = sandbox::Runtime { name: runtime.name, options: any() };
        let pod = Sandbox { sandbox_id: "s".to_owned(), runtime: Some(of), spec: any(), ..Sandbox::default() };
        let pod = ControllerCreateRequest {
            sandbox_id: "s".to_owned(),
            sandboxer: "shim".to_owned(),
            sandbox: Some(pod),
            ..Default::default()
        };
        let services = "containerd.services";
        for (method, body) in [
            (format!("{services}.containers.v1.Containers/Create"), create.encode_to_vec()),
            (format!("{services}.tasks.v1.Tasks/Create"), task.encode_to_vec()),
            (format!("{services}.tasks.v1.Tasks/Exec"), exec.encode_to_vec()),
            (format!("{services}.tasks.v1.Tasks/Update"), update.encode_to_vec()),
            (format!("{services}.tasks.v1.Tasks/Checkpoint"), checkpoint.encode_to_vec()),
            (format!("{services}.transfer.v1.Transfer/Transfer"), transfer.encode_to_vec()),
            (format!("{services}.diff.v1.Diff/Apply"), apply.encode_to_vec()),
            (format!("{services}.introspection.v1.Introspection/PluginInfo"), info.encode_to_vec()),
            (format!("{services}.sandbox.v1.Controller/Create"), pod.encode_to_vec()),
        ] {
            let status = call(&daemon, &method, body).await.err().unwrap_or_else(|| Status::ok(""));
            let made = status.code() == Code::Ok;
            assert!(is_plain(&status), "{method} with {name:?}: {status:?}");
            assert!(!made || method.ends_with("Containers/Create"), "{method} took {name:?}");
        }
        client.containers().delete(containers::DeleteContainerRequest { id: "c".to_owned() }).await?;
    }
    nothing_left(&scene, &client, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_given_up() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let (client, daemon) = (scene.client().await?, channel(&scene).await?);
    held(&client).await?;
    let before = memory(&scene)?;
    for method in methods()? {
        // At once, and a little later each time.
        for micros in [0, 50, 200, 1000, 5000] {
            let body = field(1, b"given-up");
            let _ = tokio::time::timeout(Duration::from_micros(micros), call(&daemon, &method, body)).await;
        }
    }
    // What was made before it was given up is whole, and goes like any other.
    let all = client.containers().list(containers::ListContainersRequest::default()).await?.into_inner().containers;
    assert!(all.is_empty(), "{all:?}");
    as_before(&scene, &client, before).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let client = scene.client().await?;
    held(&client).await?;
    let before = memory(&scene)?;
    let mut channels = Vec::new();
    for _ in 0..50 {
        channels.push(channel(&scene).await?);
    }
    let methods = [
        "containerd.services.version.v1.Version/Version",
        "containerd.services.namespaces.v1.Namespaces/List",
        "containerd.services.images.v1.Images/List",
        "containerd.services.containers.v1.Containers/List",
        "containerd.services.containers.v1.Containers/ListStream",
        "containerd.services.tasks.v1.Tasks/List",
        "containerd.services.content.v1.Content/List",
        "containerd.services.introspection.v1.Introspection/Plugins",
        "containerd.services.leases.v1.Leases/Create",
        "containerd.services.sandbox.v1.Store/List",
    ];
    let callers = (0..1000).map(|caller| {
        let channel = channels[caller % channels.len()].clone();
        let method = methods[caller % methods.len()];
        tokio::spawn(async move { (method, call(&channel, method, Vec::new()).await) })
    });
    let mut failed = BTreeMap::new();
    for caller in callers.collect::<Vec<_>>() {
        let (method, answer) = caller.await?;
        if let Err(status) = answer {
            *failed.entry(format!("{method}: {status:?}")).or_insert(0) += 1;
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    let made = client.leases().list(leases::ListRequest::default()).await?.into_inner().leases.len();
    assert_eq!(made, 100, "a lease was lost, or made twice");
    drop(channels);
    as_before(&scene, &client, before).await
}
