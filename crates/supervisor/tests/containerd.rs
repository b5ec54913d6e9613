//! Debian's own `containerd-shim-runc-v2` and `runc`, driven by a manager.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, deprecated, missing_docs)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use wharf_api::containerd::services::events::ttrpc::v1::ForwardRequest;
use wharf_events::Hub;
use wharf_supervisor::{Config, Control, CreateTask, Exec, ShimManager, Status as Runs, Stdio, TaskManager as _};
use wharf_ttrpc::{BoxFuture, Context, Handler, Server, Status};
use wharf_types::{Any, ErrorKind, Kind as _, Mount};

/// A specification that runs busybox, mounted as the root filesystem, with the host's network.
fn spec(dir: &Path, args: &[&str]) -> serde_json::Value {
    assert!(Command::new("runc").arg("spec").current_dir(dir).status().unwrap().success(), "runc is needed");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    spec["process"]["args"] = args.into();
    spec["process"]["terminal"] = false.into();
    spec["linux"]["cgroupsPath"] = format!("/wharf-test-{}", std::process::id()).into();
    spec
}

fn rootfs(dir: &Path) -> Mount {
    let bin = dir.join("image/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", bin.join("sh")).unwrap();
    Mount {
        kind: "bind".into(),
        source: dir.join("image").display().to_string(),
        options: vec!["rbind".into(), "rw".into()],
        ..Default::default()
    }
}

fn manager(dir: &Path) -> ShimManager {
    let socket = |name| dir.join(name).display().to_string();
    let mut config = Config::new(dir.join("state"), dir.join("root"), socket("s"), socket("s.ttrpc"), Vec::new());
    config.runtimes.clear();
    ShimManager::new(config, Arc::new(Hub::default()))
}

/// Takes the shim's events, as the daemon does; a shim that cannot deliver them stays for half a minute.
#[derive(Default)]
struct Events(Mutex<Vec<String>>);

impl Handler for Events {
    fn call<'a>(&'a self, _: Context, _: &'a str, payload: Bytes) -> BoxFuture<'a, Result<Vec<u8>, Status>> {
        Box::pin(async move {
            let request = ForwardRequest::decode(payload).unwrap_or_default();
            self.0.lock().unwrap().push(request.envelope.unwrap_or_default().topic);
            Ok(Vec::new())
        })
    }
}

fn serve_events(dir: &Path) -> Arc<Events> {
    let events = Arc::new(Events::default());
    let listener = tokio::net::UnixListener::bind(dir.join("s.ttrpc")).unwrap();
    let server =
        Server::new().service("containerd.services.events.ttrpc.v1.Events", Arc::clone(&events) as Arc<dyn Handler>);
    tokio::spawn(server.serve(listener, std::future::pending()));
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn containerds_shim_works_here_too() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let spec = spec(dir.path(), &["/bin/sh", "-c", "echo hello; exec /bin/busybox sleep 100"]);
    let (ns, id) = ("default".parse().unwrap(), format!("real-{}", std::process::id()).parse().unwrap());
    let events = serve_events(dir.path());
    let before = manager(dir.path());
    before.restore().await.unwrap();
    let file = format!("file://{}", out.display());
    let create = CreateTask {
        spec: serde_json::to_vec(&spec).unwrap(),
        rootfs: vec![rootfs(dir.path())],
        io: Stdio { stdout: file.clone(), stderr: file, ..Default::default() },
        runtime: "io.containerd.runc.v2".into(),
        ..Default::default()
    };
    let mut bad = create.clone();
    bad.spec = serde_json::to_vec(&{
        let mut bad = spec.clone();
        bad["process"]["args"] = ["/nope"].as_slice().into();
        bad
    })
    .unwrap();
    let error = before.create(&ns, &id, bad).await.err().unwrap();
    assert!(error.to_string().contains("/nope"), "{error}");

    let task = before.create(&ns, &id, create).await.unwrap();
    assert_eq!(task.state("").await.unwrap().status, Runs::Created);
    let pid = task.start("").await.unwrap();
    assert_eq!((pid, task.state("").await.unwrap().status), (task.pid(), Runs::Running));
    assert_eq!(before.delete(&ns, id.as_str()).await.unwrap_err().kind(), ErrorKind::FailedPrecondition);
    drop(before);

    let after = manager(dir.path());
    after.restore().await.unwrap();
    let task = after.get(&ns, id.as_str()).await.unwrap();
    assert_eq!(task.pid(), pid);
    assert!(task.pids().await.unwrap().iter().any(|(other, _)| *other == pid));
    assert!(task.metrics().await.unwrap().type_url.contains("containerd.cgroups"));
    let process =
        serde_json::json!({ "args": ["/bin/sh", "-c", "exit 7"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
    let url = "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned();
    let exec =
        Exec { spec: Some(Any { type_url: url, value: process.to_string().into_bytes() }), io: Stdio::default() };
    task.exec("e", exec).await.unwrap();
    let started = task.start("e").await.unwrap();
    let exit = task.wait("e").await.unwrap();
    assert_eq!((exit.status, exit.pid), (7, started));
    assert_eq!(task.delete_exec("e").await.unwrap().status, 7);
    task.control(Control::Pause).await.unwrap();
    assert_eq!(task.state("").await.unwrap().status, Runs::Paused);
    task.control(Control::Resume).await.unwrap();
    task.kill("", 9, true).await.unwrap();
    assert_eq!(task.wait("").await.unwrap().status, 137);
    let bundle = dir.path().join("state/io.containerd.runtime.v2.task/default").join(id.as_str());
    let shim: serde_json::Value = serde_json::from_slice(&fs::read(bundle.join("shim.json")).unwrap()).unwrap();
    let shim = rustix::process::Pid::from_raw(shim["pid"].as_i64().unwrap().try_into().unwrap()).unwrap();
    let shim = rustix::process::pidfd_open(shim, rustix::process::PidfdFlags::empty()).unwrap();
    assert_eq!(after.delete(&ns, id.as_str()).await.unwrap().status, 137);
    let shim = tokio::io::unix::AsyncFd::new(shim).unwrap();
    tokio::time::timeout(Duration::from_secs(10), shim.readable()).await.unwrap().unwrap().retain_ready();
    assert_eq!(fs::read_to_string(&out).unwrap(), "hello\n");
    assert!(!bundle.exists());
    let seen = events.0.lock().unwrap();
    for topic in ["/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/paused", "/tasks/exit", "/tasks/delete"]
    {
        assert!(seen.iter().any(|other| other == topic), "{topic} is missing in {seen:?}");
    }
}
