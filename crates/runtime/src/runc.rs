//! Any OCI runtime with runc's command line: runc, crun, youki, runsc.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use wharf_sys::process::Ended;

use crate::children::Children;
use crate::command::{Call, Running, complaint_in, find};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::{Create, Exec, Io, Runtime, Started, State};

/// Makes names of files unique within this process.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// A runtime, by its program's name or path.
#[derive(Clone, Debug)]
pub struct Runc {
    binary: String,
    root: PathBuf,
    directory: Option<PathBuf>,
    children: Children,
    systemd_cgroup: bool,
    deadline: Duration,
}

impl Runc {
    /// A runtime that keeps its state in `root`. The program is looked up at each call, so that it may be replaced.
    #[must_use]
    pub fn new(binary: impl Into<String>, root: impl Into<PathBuf>, children: Children) -> Self {
        Self {
            binary: binary.into(),
            root: root.into(),
            directory: None,
            children,
            systemd_cgroup: false,
            deadline: Duration::from_secs(120),
        }
    }

    /// Runs the program in a container's bundle: what stands in runc's place may look for `config.json` there, whatever
    /// it is called for.
    #[must_use]
    pub fn in_bundle(mut self, bundle: impl Into<PathBuf>) -> Self {
        self.directory = Some(bundle.into());
        self
    }

    /// Lets systemd make the cgroups.
    #[must_use]
    pub fn systemd_cgroup(mut self, yes: bool) -> Self {
        self.systemd_cgroup = yes;
        self
    }

    /// How long a call may take before its program is killed; two minutes unless told.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn call<'a>(&'a self, operation: &'static str, id: &'a str) -> Call<'a> {
        Call { binary: &self.binary, operation, id, deadline: self.deadline }
    }

    /// The program with its global options; without a log file it complains on standard error, which is named, as what
    /// stands in runc's place may count on a log.
    fn command(&self, operation: &str, log: Option<&Path>) -> Result<Command> {
        let mut command = Command::new(find(&self.binary)?);
        // runc tells whom this names when a container starts, and fails where nobody listens.
        command.env_remove("NOTIFY_SOCKET");
        command.arg("--root").arg(&self.root).args(["--log-format", "json"]);
        command.arg("--log").arg(log.unwrap_or(Path::new("/dev/stderr")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(directory) = self.directory.as_ref().filter(|directory| directory.is_dir()) {
            command.current_dir(directory);
        }
        if self.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command.arg(operation);
        Ok(command)
    }

    /// A call that only succeeds or fails.
    async fn simple(&self, operation: &'static str, id: &str, args: &[&str]) -> Result<Vec<u8>> {
        let mut command = self.command(operation, None)?;
        command.args(args);
        self.call(operation, id).output(&self.children, &mut command).await
    }

    /// A call that leaves a process behind, which has the call's stdio.
    async fn leaving(&self, call: Call<'_>, mut command: Command, files: Files, io: Io, id: &str) -> Result<Started> {
        let console = match io {
            Io::Terminal => Some(
                Console::listen(&files.dir, format!("{}.sock", files.stem))
                    .map_err(Error::io("opening a console socket"))?,
            ),
            Io::Null => None,
            Io::Fds { stdin, stdout, stderr } => {
                command.stdin(or_null(stdin)).stdout(or_null(stdout)).stderr(or_null(stderr));
                None
            }
        };
        if let Some(console) = &console {
            command.arg("--console-socket").arg(console.path());
        }
        command.arg("--pid-file").arg(&files.pid).arg(id);
        // Held from before the process exists until its pid is ours, so that nobody reaps it as a stranger.
        let _hold = self.children.hold();
        let running = call.spawn(&self.children, &mut command)?;
        // Our copies of the process's ends of its pipes go, or no end of file would ever come.
        drop(command);
        let (ended, master) = finish(&call, running, console.as_ref()).await?;
        if ended != Ended::Code(0) {
            let silent = || format!("ended with {ended:?}, saying nothing");
            return Err(call.refused(complaint_in(&files.log).unwrap_or_else(silent)));
        }
        let pid = fs::read_to_string(&files.pid).map_err(Error::io(format!("reading {}", files.pid.display())))?;
        let pid = pid.trim().parse().map_err(|_| call.garbled(format!("{pid:?} is no pid")))?;
        let child = self.children.adopt(pid).map_err(Error::io(format!("opening process {pid}")))?;
        Ok(Started { child, console: master })
    }
}

/// Waits for the program and, where it makes a terminal, for that first: it sends it before it ends.
async fn finish(call: &Call<'_>, running: Running, console: Option<&Console>) -> Result<(Ended, Option<OwnedFd>)> {
    let Some(console) = console else { return Ok((call.finish(running).await?, None)) };
    let mut finished = std::pin::pin!(call.finish(running));
    tokio::select! {
        biased;
        master = console.receive() => {
            let master = master.map_err(Error::io("receiving a terminal"))?;
            Ok((finished.await?, Some(master)))
        }
        ended = &mut finished => match ended? {
            Ended::Code(0) => Err(call.garbled("it sent no terminal")),
            ended => Ok((ended, None)),
        },
    }
}

fn or_null(fd: Option<OwnedFd>) -> Stdio {
    fd.map_or_else(Stdio::null, Stdio::from)
}

/// The files of one call; the temporary ones go with it.
struct Files {
    dir: PathBuf,
    stem: String,
    log: PathBuf,
    pid: PathBuf,
    temporary: Vec<PathBuf>,
}

impl Drop for Files {
    fn drop(&mut self) {
        for file in &self.temporary {
            let _ = fs::remove_file(file);
        }
    }
}

impl Files {
    fn new(dir: &Path) -> Self {
        let stem = format!("call-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed));
        let (log, pid) = (dir.join(format!("{stem}.log")), dir.join(format!("{stem}.pid")));
        Self { dir: dir.into(), temporary: vec![log.clone(), pid.clone()], stem, log, pid }
    }
}

#[async_trait]
impl Runtime for Runc {
    async fn create(&self, id: &str, create: Create) -> Result<Started> {
        let mut files = Files::new(&create.bundle);
        // These two stay: they tell whoever cleans up after us what happened.
        files.temporary.clear();
        files.log = create.bundle.join("log.json");
        files.pid = create.pid_file.unwrap_or_else(|| create.bundle.join("init.pid"));
        let _ = fs::remove_file(&files.log);
        let mut command = self.command("create", Some(&files.log))?;
        command.arg("--bundle").arg(&create.bundle);
        for (wanted, flag) in [(create.no_pivot, "--no-pivot"), (create.no_new_keyring, "--no-new-keyring")] {
            if wanted {
                command.arg(flag);
            }
        }
        self.leaving(self.call("create", id), command, files, create.io, id).await
    }

    async fn start(&self, id: &str) -> Result<()> {
        self.simple("start", id, &[id]).await.map(drop)
    }

    async fn kill(&self, id: &str, signal: u32, all: bool) -> Result<()> {
        let signal = signal.to_string();
        let args: &[&str] = if all { &["--all", id, &signal] } else { &[id, &signal] };
        self.simple("kill", id, args).await.map(drop)
    }

    async fn delete(&self, id: &str, force: bool) -> Result<()> {
        let args: &[&str] = if force { &["--force", id] } else { &[id] };
        self.simple("delete", id, args).await.map(drop)
    }

    async fn exec(&self, id: &str, exec: Exec) -> Result<Started> {
        let mut files = Files::new(&exec.scratch);
        let process = files.dir.join(format!("{}.json", files.stem));
        files.temporary.push(process.clone());
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&process);
        written
            .and_then(|mut f| f.write_all(&exec.process))
            .map_err(Error::io(format!("writing {}", process.display())))?;
        let mut command = self.command("exec", Some(&files.log))?;
        command.arg("--detach").arg("--process").arg(&process);
        self.leaving(self.call("exec", id), command, files, exec.io, id).await
    }

    async fn pause(&self, id: &str) -> Result<()> {
        self.simple("pause", id, &[id]).await.map(drop)
    }

    async fn resume(&self, id: &str) -> Result<()> {
        self.simple("resume", id, &[id]).await.map(drop)
    }

    async fn state(&self, id: &str) -> Result<State> {
        let answer = self.simple("state", id, &[id]).await?;
        serde_json::from_slice(&answer).map_err(|e| self.call("state", id).garbled(e))
    }

    async fn ps(&self, id: &str) -> Result<Vec<u32>> {
        let answer = self.simple("ps", id, &["--format", "json", id]).await?;
        let pids: Option<Vec<u32>> = serde_json::from_slice(&answer).map_err(|e| self.call("ps", id).garbled(e))?;
        Ok(pids.unwrap_or_default())
    }

    async fn update(&self, id: &str, resources: Vec<u8>) -> Result<()> {
        let memfd = rustix::fs::memfd_create("resources", rustix::fs::MemfdFlags::CLOEXEC);
        let mut file = File::from(memfd.map_err(|e| Error::io("making a file in memory")(e.into()))?);
        file.write_all(&resources).and_then(|()| file.rewind()).map_err(Error::io("writing resources"))?;
        let mut command = self.command("update", None)?;
        command.args(["--resources", "-", id]).stdin(file);
        self.call("update", id).output(&self.children, &mut command).await.map(drop)
    }

    async fn features(&self) -> Result<Vec<u8>> {
        match self.simple("features", "", &[]).await {
            Err(Error::Refused { .. }) => {
                Err(Error::Unimplemented { what: format!("\"features\" of {}", self.binary) })
            }
            answer => answer,
        }
    }
}
