//! A bundle with busybox, a shim beside it, and a listener in the daemon's place.

#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rustix::event::{PollFd, PollFlags};
use tokio::sync::mpsc;
use wharf_api::containerd::services::events::ttrpc::v1::ForwardRequest;
use wharf_api::containerd::task::v3 as api;
use wharf_api::containerd::types::Envelope;
use wharf_ttrpc::{BoxFuture, CallOptions, Client, Context, Handler, Server, Status};

pub const SHIM: &str = env!("CARGO_BIN_EXE_containerd-shim-wharf-v1");
pub const LIMIT: Duration = Duration::from_secs(20);

/// A state directory; its shims are shut down and its containers removed when it goes.
pub struct Stage {
    pub dir: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn address(&self) -> String {
        self.dir.path().join("d.sock").to_str().unwrap().to_owned()
    }

    pub fn ttrpc(&self) -> PathBuf {
        format!("{}.ttrpc", self.address()).into()
    }

    pub fn bundle(&self, id: &str) -> PathBuf {
        self.dir.path().join("bundles").join(id)
    }

    /// A bundle whose first process is `args`.
    pub fn make(&self, id: &str, args: &[&str], terminal: bool) -> PathBuf {
        let bundle = self.bundle(id);
        let bin = bundle.join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        for dir in ["proc", "dev", "tmp"] {
            fs::create_dir_all(bundle.join("rootfs").join(dir)).unwrap();
        }
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for name in ["sh", "true", "cat", "sleep", "ls", "stty", "dd", "echo"] {
            let _ = std::os::unix::fs::symlink("busybox", bin.join(name));
        }
        let spec = serde_json::json!({
            "ociVersion": "1.0.2",
            "process": process(args, terminal),
            "root": { "path": "rootfs" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"] }
            ],
            "linux": {
                "cgroupsPath": format!("/wharf-shim-test/{}-{id}", std::process::id()),
                "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }, { "type": "network" }]
            }
        });
        fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
        bundle
    }

    /// The command line of a daemon.
    pub fn command(&self, id: &str, action: &str) -> Command {
        let mut command = Command::new(SHIM);
        command.args(["-namespace", "test", "-address", &self.address(), "-publish-binary", "/bin/false", "-id", id]);
        command.arg("-bundle").arg(self.bundle(id)).arg(action).current_dir(self.bundle(id));
        command.env("TTRPC_ADDRESS", self.ttrpc()).env("MAX_SHIM_VERSION", "2").stdin(Stdio::null());
        command
    }

    /// Starts a shim and connects to it.
    pub async fn shim(&self, id: &str) -> Shim {
        let out = self.command(id, "start").output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let socket = PathBuf::from(answer["address"].as_str().unwrap().strip_prefix("unix://").unwrap());
        let client = Client::connect(&socket).await.unwrap();
        Shim { client, id: id.to_owned(), bundle: self.bundle(id), socket }
    }

    /// The shims of this stage that live.
    pub fn shims(&self) -> Vec<i32> {
        let here = self.dir.path().to_str().unwrap();
        let names_us = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.starts_with(SHIM) && line.contains(here)
        };
        let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
        pids.filter(names_us).collect()
    }

    pub fn delete(&self, id: &str) -> Output {
        self.command(id, "delete").output().unwrap()
    }

    /// Listens for events in the daemon's place.
    pub fn listen(&self) -> mpsc::UnboundedReceiver<Envelope> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let listener = tokio::net::UnixListener::bind(self.ttrpc()).unwrap();
        let server = Server::new().service("containerd.services.events.ttrpc.v1.Events", Arc::new(Events(sender)));
        tokio::spawn(server.serve(listener, std::future::pending()));
        receiver
    }
}

impl Drop for Stage {
    /// Leaves nothing behind, in a test that failed too.
    fn drop(&mut self) {
        for pid in self.shims().into_iter().filter_map(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let bundles = fs::read_dir(self.dir.path().join("bundles")).into_iter().flatten().flatten();
        for id in bundles.filter_map(|b| b.file_name().into_string().ok()) {
            let _ = self.command(&id, "delete").output();
        }
    }
}

pub fn process(args: &[&str], terminal: bool) -> serde_json::Value {
    serde_json::json!({
        "terminal": terminal, "user": { "uid": 0, "gid": 0 }, "args": args, "cwd": "/", "env": ["PATH=/bin", "TERM=xterm"]
    })
}

pub fn with_stdin(mut command: Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

struct Events(mpsc::UnboundedSender<Envelope>);

impl Handler for Events {
    fn call<'a>(&'a self, _: Context, _: &'a str, payload: bytes::Bytes) -> BoxFuture<'a, Result<Vec<u8>, Status>> {
        Box::pin(async move {
            let request = ForwardRequest::decode(payload).unwrap();
            let _ = self.0.send(request.envelope.unwrap());
            Ok(Vec::new())
        })
    }
}

/// A shim with one container.
pub struct Shim {
    pub client: Client,
    pub id: String,
    pub bundle: PathBuf,
    pub socket: PathBuf,
}

impl Shim {
    pub async fn call<Q: Message, A: Message + Default>(&self, method: &str, request: &Q) -> Result<A, Status> {
        let options = CallOptions { timeout: Some(LIMIT), ..CallOptions::default() };
        self.client.call("containerd.task.v3.Task", method, request, &options).await
    }

    pub async fn create(&self, stdio: [&Path; 3], terminal: bool) -> Result<u32, Status> {
        let text = |p: &Path| p.to_str().unwrap().to_owned();
        let request = api::CreateTaskRequest {
            id: self.id.clone(),
            bundle: text(&self.bundle),
            stdin: text(stdio[0]),
            stdout: text(stdio[1]),
            stderr: text(stdio[2]),
            terminal,
            ..Default::default()
        };
        Ok(self.call::<_, api::CreateTaskResponse>("Create", &request).await?.pid)
    }

    pub async fn create_quiet(&self) -> u32 {
        self.create([Path::new(""); 3], false).await.unwrap()
    }

    pub async fn start(&self, exec: &str) -> Result<u32, Status> {
        let request = api::StartRequest { id: self.id.clone(), exec_id: exec.into() };
        Ok(self.call::<_, api::StartResponse>("Start", &request).await?.pid)
    }

    pub async fn wait(&self, exec: &str) -> u32 {
        let request = api::WaitRequest { id: self.id.clone(), exec_id: exec.into() };
        self.call::<_, api::WaitResponse>("Wait", &request).await.unwrap().exit_status
    }

    pub async fn kill(&self, exec: &str, signal: u32) -> Result<(), Status> {
        let request = api::KillRequest { id: self.id.clone(), exec_id: exec.into(), signal, all: false };
        self.call("Kill", &request).await
    }

    pub async fn exec(&self, exec: &str, args: &[&str], stdio: [&Path; 3]) {
        let spec = process(args, false).to_string().into_bytes();
        let request = api::ExecProcessRequest {
            id: self.id.clone(),
            exec_id: exec.into(),
            stdin: stdio[0].to_str().unwrap().into(),
            stdout: stdio[1].to_str().unwrap().into(),
            stderr: stdio[2].to_str().unwrap().into(),
            spec: Some(prost_types::Any { type_url: String::new(), value: spec }),
            ..Default::default()
        };
        self.call::<_, ()>("Exec", &request).await.unwrap();
    }

    pub async fn state(&self, exec: &str) -> Result<api::StateResponse, Status> {
        self.call("State", &api::StateRequest { id: self.id.clone(), exec_id: exec.into() }).await
    }

    pub async fn delete(&self, exec: &str) -> Result<api::DeleteResponse, Status> {
        self.call("Delete", &api::DeleteRequest { id: self.id.clone(), exec_id: exec.into() }).await
    }

    pub async fn shutdown(&self) {
        let _ = self.call::<_, ()>("Shutdown", &api::ShutdownRequest { id: self.id.clone(), now: false }).await;
        tokio::time::timeout(LIMIT, self.client.closed()).await.unwrap();
    }

    /// Kills the shim, and returns once it has ended: its descriptors close one after the other before.
    pub async fn crash(&self, pid: i32) {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let ended = move || rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
        tokio::task::spawn_blocking(ended).await.unwrap();
    }

    pub async fn pid(&self) -> u32 {
        let request = api::ConnectRequest { id: self.id.clone() };
        self.call::<_, api::ConnectResponse>("Connect", &request).await.unwrap().shim_pid
    }
}

/// A fifo.
pub fn fifo(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    path
}

/// Reads a fifo to its end, on a thread of its own.
pub fn read_all(path: &Path) -> tokio::task::JoinHandle<Vec<u8>> {
    let path = path.to_path_buf();
    tokio::task::spawn_blocking(move || fs::read(path).unwrap())
}
