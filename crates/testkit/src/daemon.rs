//! Daemons in a folder of their own: `wharfd`, or containerd beside it, started, killed and started again.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// How long a daemon may take until it says that it serves.
const READY: Duration = Duration::from_secs(30);

/// A daemon whose root, state and socket are in one folder. Dropping it kills it, its shims and their containers, and
/// unmounts what they mounted there.
#[derive(Debug)]
pub struct Daemon {
    folder: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    /// Searched for shims and runtimes before the caller's own.
    path: Option<PathBuf>,
    child: Option<Child>,
    keep: bool,
}

/// The folder that the programs were built into: `WHARF_PROGRAMS`, or the one that the running test was built into.
///
/// # Errors
/// When `wharfd` is not there.
pub fn programs() -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("WHARF_PROGRAMS") {
        Some(folder) => PathBuf::from(folder),
        None => {
            let test = std::env::current_exe().context("find the running test")?;
            test.ancestors().nth(2).unwrap_or(&test).to_owned()
        }
    };
    if !folder.join("wharfd").is_file() {
        bail!("no wharfd in {}: run `cargo xtask test`, or build wharf-daemon and wharf-shim", folder.display());
    }
    Ok(folder)
}

impl Daemon {
    /// `wharfd` from `programs`, not started yet.
    #[must_use]
    pub fn wharf(programs: &Path, folder: &Path) -> Self {
        Self::new(&programs.join("wharfd"), folder)
    }

    /// A containerd, such as `/usr/bin/containerd`, not started yet.
    #[must_use]
    pub fn containerd(program: &Path, folder: &Path) -> Self {
        Self::new(program, folder)
    }

    fn new(program: &Path, folder: &Path) -> Self {
        let (folder, program) = (folder.to_owned(), program.to_owned());
        Self { folder, program, arguments: Vec::new(), path: None, child: None, keep: false }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Has the daemon look into `folder` for programs before everywhere else.
    #[must_use]
    pub fn path(mut self, folder: &Path) -> Self {
        self.path = Some(folder.to_owned());
        self
    }

    /// Leaves the daemon and its containers alone when this is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// The socket that it serves.
    #[must_use]
    pub fn address(&self) -> PathBuf {
        self.folder.join("wharf.sock")
    }

    /// What outlives a boot.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// What one boot needs.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// What it logged, over all of its lives.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    /// The pid while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts it and waits until it says that it serves (sd_notify(3)).
    ///
    /// # Errors
    /// When it cannot be started, ends, or says nothing for 30 seconds; with the end of its log.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let notify = self.folder.join("notify");
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify).context("make a socket for the daemon's notice")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let child = self.command()?.env("NOTIFY_SOCKET", &notify).spawn();
        self.child = Some(child.with_context(|| format!("start {}", self.program.display()))?);
        let begun = Instant::now();
        let mut message = [0; 512];
        loop {
            match socket.recv(&mut message) {
                Ok(length) if message.get(..length).is_some_and(|text| text.starts_with(b"READY=1")) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("wait for the daemon"),
            }
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                self.child = None;
                bail!("{} ended at once: {status}\n{}", self.program.display(), self.log_tail());
            }
            if begun.elapsed() > READY {
                bail!("{} does not serve after {READY:?}\n{}", self.program.display(), self.log_tail());
            }
        }
    }

    fn command(&self) -> anyhow::Result<Command> {
        let log = File::options().create(true).append(true).open(self.log_file()).context("open the daemon's log")?;
        let mut command = Command::new(&self.program);
        command.arg("--address").arg(self.address()).arg("--root").arg(self.root()).arg("--state").arg(self.state());
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        if let Some(first) = &self.path {
            let rest = std::env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(first.clone()).chain(std::env::split_paths(&rest));
            command.env("PATH", std::env::join_paths(folders).context("put together a PATH")?);
        }
        Ok(command)
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// Kills it with SIGKILL, as a crash does, and waits until it is gone. Its shims and containers go on.
    pub fn crash(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may be gone already, which is what was wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it with SIGTERM and waits for its exit status. Its shims and containers go on.
    ///
    /// # Errors
    /// When it does not run or cannot be waited for.
    pub fn terminate(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        let mut child = self.child.take().context("the daemon does not run")?;
        kill_process(pid_of(child.id())?, Signal::TERM).context("signal the daemon")?;
        child.wait().context("wait for the daemon")
    }

    /// Waits for its end and returns its exit status.
    ///
    /// # Errors
    /// When it does not run or cannot be waited for.
    pub fn wait(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        self.child.take().context("the daemon does not run")?.wait().context("wait for the daemon")
    }

    /// The shims of its containers.
    #[must_use]
    pub fn shims(&self) -> Vec<u32> {
        let folder = self.folder.display().to_string();
        processes_that_name(&folder)
            .into_iter()
            .filter(|(_, line)| line.contains("containerd-shim"))
            .map(|p| p.0)
            .collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        self.crash();
        // A shim's end takes its container's processes along only where its runtime is asked; here they are killed by name.
        let folder = self.folder.display().to_string();
        let bundles = bundles_below(&self.state());
        for init in bundles.iter().filter_map(|bundle| init_of(bundle)) {
            let _ = pid_of(init).map(|pid| kill_process(pid, Signal::KILL));
        }
        for (pid, _) in processes_that_name(&folder) {
            let _ = pid_of(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
        unmount_below(&self.folder);
        remove_cgroups(bundles.iter().filter_map(|bundle| cgroup_of(bundle)));
    }
}

fn pid_of(pid: u32) -> anyhow::Result<Pid> {
    Pid::from_raw(i32::try_from(pid)?).context("no such pid")
}

/// Processes whose command line has `text` in it, but for this one.
fn processes_that_name(text: &str) -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(text).then_some((pid, line))
        })
        .collect()
}

/// The bundles of the containers below `state`.
fn bundles_below(state: &Path) -> Vec<PathBuf> {
    let bundles = state.join("io.containerd.runtime.v2.task");
    let folders = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    folders(&bundles).flat_map(|namespace| folders(&namespace).collect::<Vec<_>>()).collect()
}

/// The first process of a bundle's container.
fn init_of(bundle: &Path) -> Option<u32> {
    fs::read_to_string(bundle.join("init.pid")).ok()?.trim().parse().ok()
}

/// The cgroup that a bundle's specification names, below the root of each hierarchy.
fn cgroup_of(bundle: &Path) -> Option<PathBuf> {
    let spec: serde_json::Value = serde_json::from_slice(&fs::read(bundle.join("config.json")).ok()?).ok()?;
    Some(spec.pointer("/linux/cgroupsPath")?.as_str()?.strip_prefix('/')?.into())
}

/// Removes cgroups from all hierarchies as soon as those who were killed in them have ended, which takes milliseconds.
fn remove_cgroups(paths: impl Iterator<Item = PathBuf>) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies: Vec<PathBuf> = fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path()).collect();
    let mut left: Vec<PathBuf> = paths
        .flat_map(|path| hierarchies.iter().map(|h| h.join(&path)).chain([root.join(&path)]).collect::<Vec<_>>())
        .collect();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        left.retain(|dir| fs::remove_dir(dir).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy));
        if left.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Unmounts everything below `folder`, the latest first.
pub fn unmount_below(folder: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|path| path.replace("\\040", " "));
    let mut below: Vec<String> = points.filter(|path| Path::new(path).starts_with(folder)).collect();
    below.reverse();
    for point in below {
        let _ = unmount(point.as_str(), UnmountFlags::DETACH);
    }
}
