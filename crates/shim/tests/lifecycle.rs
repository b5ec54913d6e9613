//! The real program with the real runc: starting, dying, and telling.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use prost::Message as _;
use rustix::process::Signal;
use support::{LIMIT, SHIM, Stage, with_stdin};
use wharf_api::containerd::runc::v1 as runc;
use wharf_api::containerd::runtime::bootstrap::v1::{BootstrapParams, BootstrapResult};
use wharf_api::containerd::task::v3 as api;
use wharf_api::containerd::types::RuntimeInfo;
use wharf_ttrpc::{CallOptions, Client, Code, Status};

#[tokio::test]
async fn every_form_of_start_gets_its_answer_and_a_group_shares_a_shim() {
    let stage = Stage::new();
    stage.make("boot", &["true"], false);
    let shim = stage.shim("boot").await;
    let wanted = format!("unix://{}", shim.socket.display());
    let params = BootstrapParams {
        instance_id: "boot".into(),
        namespace: "test".into(),
        containerd_grpc_address: stage.address(),
        ..BootstrapParams::default()
    };
    let out = with_stdin(stage.command("boot", "start"), &params.encode_to_vec());
    let result = BootstrapResult::decode(out.stdout.as_slice()).unwrap();
    assert_eq!((result.version, result.address.as_str(), result.protocol.as_str()), (3, wanted.as_str(), "ttrpc"));
    let mut old = stage.command("boot", "start");
    old.env_remove("MAX_SHIM_VERSION");
    assert_eq!(String::from_utf8(old.output().unwrap().stdout).unwrap(), wanted);
    let any = prost_types::Any { type_url: "containerd.runc.v1.Options".into(), value: Vec::new() };
    let out = with_stdin(stage.command("boot", "start"), &any.encode_to_vec());
    assert!(String::from_utf8(out.stdout).unwrap().contains("\"version\":2"));
    let pod = stage.make("member", &["true"], false).join("config.json");
    let spec = fs::read_to_string(&pod).unwrap().replacen(
        '{',
        r#"{"annotations":{"io.kubernetes.cri.sandbox-id":"boot"},"#,
        1,
    );
    fs::write(&pod, spec).unwrap();
    assert_eq!(stage.shim("member").await.socket, shim.socket);
    shim.shutdown().await;
}

#[test]
fn info_tells_what_the_runtime_can_do() {
    let info = |binary: &str| {
        let options = runc::Options { binary_name: binary.into(), ..Default::default() };
        let type_url = "containerd.runc.v1.Options".into();
        let input = prost_types::Any { type_url, value: options.encode_to_vec() }.encode_to_vec();
        let mut command = Command::new(SHIM);
        command.arg("-info");
        with_stdin(command, &input)
    };
    let known = RuntimeInfo::decode(info("runc").stdout.as_slice()).unwrap();
    let features = known.features.unwrap();
    assert!(features.type_url.ends_with("runtime-spec/1/features/Features"), "{}", features.type_url);
    let json: serde_json::Value = serde_json::from_slice(&features.value).unwrap();
    assert!(json["mountOptions"].as_array().unwrap().contains(&"rro".into()), "{json}");
    assert_eq!(known.options.unwrap().type_url, "containerd.runc.v1.Options");
    let silent = RuntimeInfo::decode(info("true").stdout.as_slice()).unwrap();
    assert_eq!((silent.name.as_str(), silent.features), ("io.containerd.wharf.v1", None));
    let missing = info("no-such-runtime");
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-runtime"), "{missing:?}");
}

#[tokio::test]
async fn events_wait_for_the_daemon_and_come_in_order() {
    let stage = Stage::new();
    stage.make("late", &["sleep", "100"], false);
    let shim = stage.shim("late").await;
    shim.create_quiet().await;
    shim.start("").await.unwrap();
    shim.exec("x", &["true"], [Path::new(""); 3]).await;
    shim.start("x").await.unwrap();
    shim.wait("x").await;
    shim.kill("", 9).await.unwrap();
    assert_eq!(shim.wait("").await, 137);
    shim.delete("").await.unwrap();
    let _ = shim.call::<_, ()>("Shutdown", &api::ShutdownRequest::default()).await;
    let pid = shim_of(&shim.socket);
    let mut events = stage.listen();
    let mut topics = Vec::new();
    while topics.last().map(String::as_str) != Some("/tasks/delete") {
        let event = tokio::time::timeout(LIMIT, events.recv()).await.unwrap().unwrap();
        assert_eq!(event.namespace, "test");
        topics.push(event.topic);
    }
    let wanted = ["create", "start", "exec-added", "exec-started", "exit", "exit", "delete"];
    assert_eq!(topics, wanted.map(|t| format!("/tasks/{t}")));
    assert!(pid.is_none(), "the socket is closed by the shutdown");
}

fn shim_of(socket: &Path) -> Option<()> {
    std::os::unix::net::UnixStream::connect(socket).ok().map(drop)
}

#[tokio::test]
async fn after_kill_9_of_the_shim_delete_cleans_up_and_delivers() {
    let stage = Stage::new();
    stage.make("dead", &["sleep", "100"], false);
    let shim = stage.shim("dead").await;
    let pid = shim.create_quiet().await;
    shim.start("").await.unwrap();
    shim.crash(stage.shims()[0]).await;
    let mut events = stage.listen();
    let id = "dead";
    let mut command = stage.command(id, "delete");
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let exit = api::DeleteResponse::decode(out.stdout.as_slice()).unwrap();
    assert_eq!((exit.pid, exit.exit_status), (pid, 137));
    assert_eq!(events.recv().await.unwrap().topic, "/tasks/create");
    assert_eq!(events.recv().await.unwrap().topic, "/tasks/start");
    assert!(!shim.socket.exists());
    // Whoever inherited it may not have reaped it yet; it does not run.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    assert!(stage.delete(id).status.success(), "deleting twice is no error");
}

/// A runtime that takes its time over a creation: it says that it has begun, and goes on when it may.
const SLOW: &str = "#!/bin/sh
case \" $* \" in *' create '*) echo $$ > \"${0%/*}/begun\"; until [ -e \"${0%/*}/go\" ]; do sleep 0.01; done;; esac
exec runc \"$@\"
";

/// Begins to create a container by a runtime that is slow about it, and returns once the runtime has begun.
async fn begin(stage: &Stage, id: &str, shim: &support::Shim) -> tokio::task::JoinHandle<Result<u32, Status>> {
    let creating = create_with(stage, id, shim, SLOW);
    while !fs::read_to_string(stage.dir.path().join("begun")).is_ok_and(|pid| pid.ends_with('\n')) {
        tokio::task::yield_now().await;
    }
    creating
}

/// Creates a container by a runtime that is this script.
fn create_with(
    stage: &Stage,
    id: &str,
    shim: &support::Shim,
    script: &str,
) -> tokio::task::JoinHandle<Result<u32, Status>> {
    let runtime = stage.dir.path().join("runtime");
    fs::write(&runtime, script).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
    let options = runc::Options { binary_name: runtime.to_str().unwrap().into(), ..Default::default() };
    let options = prost_types::Any { type_url: "containerd.runc.v1.Options".into(), value: options.encode_to_vec() };
    let bundle = stage.bundle(id).to_str().unwrap().into();
    let request = api::CreateTaskRequest { id: id.into(), bundle, options: Some(options), ..Default::default() };
    let client = shim.client.clone();
    tokio::spawn(async move {
        let limit = CallOptions { timeout: Some(LIMIT), ..CallOptions::default() };
        let answer = client.call::<_, api::CreateTaskResponse>("containerd.task.v3.Task", "Create", &request, &limit);
        Ok(answer.await?.pid)
    })
}

#[tokio::test]
async fn who_asks_for_a_container_in_the_making_is_answered_once_it_is_made() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("making", &["sleep", "100"], false);
    let shim = stage.shim("making").await;
    let creating = begin(&stage, "making", &shim).await;
    assert_eq!(shim.create([Path::new(""); 3], false).await.unwrap_err().code, Code::AlreadyExists);
    let (state, ()) = tokio::join!(shim.state(""), async {
        // The question is with the shim by the time that it has answered this one.
        assert!(shim.pid().await > 0);
        fs::write(stage.dir.path().join("go"), "").unwrap();
    });
    let pid = creating.await.unwrap().unwrap();
    assert_eq!((state.as_ref().unwrap().pid, state.unwrap().status), (pid, 1));
    shim.delete("").await.unwrap();
    assert_eq!(shim.state("").await.unwrap_err().code, Code::NotFound);
    shim.shutdown().await;
}

#[tokio::test]
async fn after_kill_9_in_the_middle_of_a_creation_nothing_is_left() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("half", &["sleep", "100"], false);
    let at = |name: &str| stage.dir.path().join(name);
    let shim = stage.shim("half").await;
    let creating = begin(&stage, "half", &shim).await;
    shim.crash(stage.shims()[0]).await;
    let created = creating.await.unwrap();
    assert!(created.is_err(), "nobody was there to answer");
    let mut cleaner = stage.command("half", "delete").stdout(std::process::Stdio::piped()).spawn().unwrap();
    // It is seen waiting for the runtime, which goes on only now.
    while fs::read_to_string(format!("/proc/{}/wchan", cleaner.id())).is_ok_and(|w| !w.contains("poll")) {
        std::thread::yield_now();
    }
    fs::write(at("go"), "").unwrap();
    assert!(cleaner.wait().unwrap().success());
    let slow = fs::read_to_string(at("begun")).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", slow.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "the creation goes on: {stat}");
    let cgroup = format!("/sys/fs/cgroup/memory/wharf-shim-test/{}-half", std::process::id());
    assert!(!Path::new(&cgroup).exists(), "{cgroup} is left");
    assert_eq!(fs::read_dir(at("runc/test")).unwrap().count(), 0, "the runtime's record is left");
    let left = Command::new("runc").arg("--root").arg(at("runc/test")).args(["state", "half"]).output().unwrap();
    assert!(!left.status.success());
}

#[tokio::test]
async fn a_runtime_that_is_killed_in_the_middle_of_a_creation_leaves_nothing() {
    let stage = Stage::new();
    stage.make("cut", &["sleep", "100"], false);
    let cgroup = format!("/sys/fs/cgroup/memory/wharf-shim-test/{}-cut", std::process::id());
    // Once there is a cgroup there is a helper in it, and no record yet.
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' create '*) runc \"$@\" & until [ -d {cgroup} ]; do :; done; kill -9 $!; exit 1;; \
         esac\nexec runc \"$@\"\n"
    );
    let shim = stage.shim("cut").await;
    let error = create_with(&stage, "cut", &shim, &script).await.unwrap().unwrap_err();
    assert!(error.message.contains("saying nothing"), "{error}");
    assert!(!Path::new(&cgroup).exists(), "{cgroup} is left");
    assert_eq!(fs::read_dir(stage.dir.path().join("runc/test")).unwrap().count(), 0, "the runtime's record is left");
    shim.shutdown().await;
}

#[tokio::test]
async fn the_end_waits_for_an_exec_in_the_making() {
    let stage = Stage::new();
    let mut events = stage.listen();
    stage.make("last", &["sleep", "100"], false);
    // The exec is held up at its beginning, while the first process is killed.
    let [at, on] = ["at", "on"].map(|name| support::fifo(stage.dir.path(), name));
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' exec '*) echo > {}; cat {} > /dev/null;; esac\nexec runc \"$@\"\n",
        at.display(),
        on.display()
    );
    let shim = stage.shim("last").await;
    create_with(&stage, "last", &shim, &script).await.unwrap().unwrap();
    let pid = shim.start("").await.unwrap();
    shim.exec("late", &["true"], [Path::new(""); 3]).await;
    let (late, ()) = tokio::join!(shim.start("late"), async {
        let held = tokio::task::spawn_blocking(move || fs::read(at));
        held.await.unwrap().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL)
            .unwrap();
        while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::task::yield_now().await;
        }
        // It has ended, and that is not told before it is known what becomes of the exec.
        shim.exec("later", &["true"], [Path::new(""); 3]).await;
        assert_eq!(shim.state("").await.unwrap().status, 2);
        fs::write(on, "").unwrap();
    });
    late.unwrap_err();
    assert_eq!(shim.wait("").await, 137);
    shim.delete("").await.unwrap();
    shim.shutdown().await;
    let mut topics = Vec::new();
    while let Ok(event) = events.try_recv() {
        topics.push(event.topic);
    }
    let at = |topic: &str| topics.iter().position(|t| t == topic).unwrap();
    assert!(
        at("/tasks/exec-added") < at("/tasks/exit") && !topics.contains(&"/tasks/exec-started".into()),
        "{topics:?}"
    );
}

#[tokio::test]
async fn a_shim_that_nobody_knows_of_goes_with_its_bundle() {
    let stage = Stage::new();
    let bundle = stage.make("unknown", &["true"], false);
    let shim = stage.shim("unknown").await;
    fs::rename(&bundle, stage.bundle(".old-unknown")).unwrap();
    tokio::time::timeout(LIMIT, shim.client.closed()).await.unwrap();
    assert!(!shim.socket.exists());
    // One that has a container stays: it is the other containers' of its group.
    let bundle = stage.make("busy", &["sleep", "100"], false);
    let shim = stage.shim("busy").await;
    shim.create_quiet().await;
    shim.start("").await.unwrap();
    fs::rename(&bundle, stage.bundle("moved")).unwrap();
    assert_eq!(shim.state("").await.unwrap().status, 2);
    fs::rename(stage.bundle("moved"), &bundle).unwrap();
}

#[tokio::test]
async fn the_ledger_outlives_the_shim() {
    let stage = Stage::new();
    let _events = stage.listen();
    stage.make("told", &["sh", "-c", "exit 5"], false);
    let shim = stage.shim("told").await;
    shim.create_quiet().await;
    shim.start("").await.unwrap();
    assert_eq!(shim.wait("").await, 5);
    shim.crash(stage.shims()[0]).await;
    let mut command = stage.command("told", "delete");
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(api::DeleteResponse::decode(out.stdout.as_slice()).unwrap().exit_status, 5);
    assert!(Client::connect(&shim.socket).await.is_err());
}

#[tokio::test]
async fn a_kill_for_want_of_memory_is_told_before_the_exit() {
    let stage = Stage::new();
    let mut events = stage.listen();
    let config =
        stage.make("oom", &["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"], false).join("config.json");
    let limit = r#""linux":{"resources":{"memory":{"limit":20000000}},"#;
    let spec = fs::read_to_string(&config).unwrap().replacen(r#""linux":{"#, limit, 1);
    fs::write(&config, spec).unwrap();
    let shim = stage.shim("oom").await;
    shim.create_quiet().await;
    shim.start("").await.unwrap();
    assert_eq!(shim.wait("").await, 137);
    shim.delete("").await.unwrap();
    shim.shutdown().await;
    let mut topics = Vec::new();
    while topics.last().map(String::as_str) != Some("/tasks/delete") {
        topics.push(tokio::time::timeout(LIMIT, events.recv()).await.unwrap().unwrap().topic);
    }
    let wanted = ["create", "start", "oom", "exit", "delete"];
    assert_eq!(topics, wanted.map(|t| format!("/tasks/{t}")));
}

#[tokio::test]
async fn the_root_filesystem_is_mounted_at_create_and_gone_at_delete() {
    let stage = Stage::new();
    let _events = stage.listen();
    let bundle = stage.make("mnt", &["sh", "-c", "exit 6"], false);
    let lower = stage.dir.path().join("lower");
    fs::rename(bundle.join("rootfs"), &lower).unwrap();
    let mount = wharf_api::containerd::types::Mount {
        r#type: "bind".into(),
        source: lower.to_str().unwrap().into(),
        options: vec!["rbind".into(), "ro".into()],
        ..Default::default()
    };
    let shim = stage.shim("mnt").await;
    let request = api::CreateTaskRequest {
        id: "mnt".into(),
        bundle: bundle.to_str().unwrap().into(),
        rootfs: vec![mount],
        ..Default::default()
    };
    shim.call::<_, api::CreateTaskResponse>("Create", &request).await.unwrap();
    assert!(bundle.join("rootfs/bin/busybox").exists());
    shim.start("").await.unwrap();
    assert_eq!(shim.wait("").await, 6);
    shim.delete("").await.unwrap();
    assert_eq!(fs::read_dir(bundle.join("rootfs")).unwrap().count(), 0);
    shim.shutdown().await;
}
