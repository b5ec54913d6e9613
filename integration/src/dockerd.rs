//! Debian's `dockerd` over our daemon, and the `docker` that talks to it.

use std::fs::{self, File};
use std::io;
use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::{self, Finished};
use crate::registry::DockerRegistry;
use crate::stage::STUCK;
use crate::{Scene, images};

/// The name of busybox in each `dockerd`.
pub const IMAGE: &str = "busybox";
/// How many seconds a `docker` may take before it counts as stuck and is ended with status 124.
const PATIENCE: &str = "120";

/// A `dockerd` that keeps its containers over its own end (live-restore), with busybox pulled. All that it has is in the
/// scene's folder. Dropping it kills it, and all that it and the scene's daemon started.
#[derive(Debug)]
pub struct Dockerd {
    child: Option<Child>,
    _registry: DockerRegistry,
    /// The daemon below it. Dropped after it.
    pub scene: Scene,
    cgroup: Cgroup,
}

impl Dockerd {
    /// Starts our daemon, a registry and `dockerd`, and has it pull busybox.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start() -> anyhow::Result<Self> {
        let scene = Scene::new()?;
        let registry = DockerRegistry::start(scene.folder())?;
        registry.push(&images::busybox(scene.folder())?, "busybox:latest")?;
        let reference = registry.reference("busybox:latest");
        let folder = scene.folder().file_name().context("the folder has no name")?.to_string_lossy().into_owned();
        let mut dockerd = Self { child: None, _registry: registry, scene, cgroup: Cgroup(folder) };
        dockerd.start_again()?;
        dockerd.docker(["pull", "--quiet", &reference]).ok()?;
        dockerd.docker(["tag", &reference, IMAGE]).ok()?;
        Ok(dockerd)
    }

    /// Starts `dockerd` with what an earlier one left, and waits until it says that it serves (sd_notify(3)).
    ///
    /// # Errors
    /// When it ends, or says nothing for [`STUCK`]; with its log.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let notify = self.file("dockerd.notify");
        // Of an earlier one; the pid in its file may be another's by now.
        let _ = (fs::remove_file(&notify), fs::remove_file(self.file("dockerd.pid")));
        let socket = UnixDatagram::bind(&notify).context("make a socket for dockerd's notice")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let child = self.serve()?.env("NOTIFY_SOCKET", &notify).spawn().context("start dockerd")?;
        let child = self.child.insert(child);
        let (begun, mut message) = (Instant::now(), [0; 512]);
        let outcome = loop {
            match socket.recv(&mut message) {
                Ok(length) if message.get(..length).is_some_and(|text| text.starts_with(b"READY=1")) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error).context("wait for dockerd"),
            }
            if let Some(status) = child.try_wait()? {
                break format!("ended at once: {status}");
            }
            if begun.elapsed() > STUCK {
                break format!("does not serve after {STUCK:?}");
            }
        };
        bail!("dockerd {outcome}\n{}", self.log())
    }

    fn serve(&self) -> anyhow::Result<Command> {
        // Not the machine's own configuration.
        fs::write(self.file("dockerd.json"), "{}")?;
        let log = File::options().create(true).append(true).open(self.file("dockerd.log"))?;
        let mut command = Command::new(program("/usr/sbin/dockerd", "dockerd"));
        command.arg("--containerd").arg(self.scene.daemon.address()).arg("--host").arg(self.host());
        command.arg("--config-file").arg(self.file("dockerd.json")).arg("--pidfile").arg(self.file("dockerd.pid"));
        command.arg("--data-root").arg(self.file("docker")).arg("--exec-root").arg(self.file("docker-exec"));
        command.args(["--cgroup-parent", &format!("/{}", self.cgroup.0), "--live-restore"]);
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scene.folder().join(name)
    }

    fn host(&self) -> String {
        format!("unix://{}", self.file("docker.sock").display())
    }

    /// What `dockerd` logged, over all of its lives.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("dockerd.log")).unwrap_or_default()
    }

    /// Kills `dockerd` with SIGKILL, as a crash does, and waits until it is gone. Its containers go on.
    pub fn crash(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may be gone already, which is what was wanted.
            let _ = (child.kill(), child.wait());
        }
    }

    /// Stops `dockerd` with SIGTERM and waits until it is gone. Its containers go on.
    ///
    /// # Errors
    /// When it does not run or cannot be waited for.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("dockerd does not run")?;
        terminate(&child)?;
        child.wait().context("wait for dockerd")?;
        Ok(())
    }

    /// Runs `docker` to its end.
    pub fn docker<S: AsRef<str>>(&self, words: impl IntoIterator<Item = S>) -> Finished {
        command::run(&mut self.command(words))
    }

    /// `docker`, not started yet.
    pub fn command<S: AsRef<str>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("timeout");
        // Nothing of the caller's own docker: no contexts, no credentials.
        command.env("DOCKER_CONFIG", self.file("docker-config")).env_remove("DOCKER_CONTEXT");
        command.arg(PATIENCE).arg(program("/usr/bin/docker", "docker")).arg("--host").arg(self.host());
        command.args(words.into_iter().map(|word| word.as_ref().to_owned()));
        command
    }

    /// Starts a `docker` whose lines are read as they come.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn follow<S: AsRef<str>>(&self, words: impl IntoIterator<Item = S>) -> anyhow::Result<Following> {
        let mut child =
            self.command(words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start docker")?;
        let stdout = child.stdout.take().context("docker has no stdout")?;
        Ok(Following { child, lines: BufReader::new(stdout).lines() })
    }

    /// What `docker inspect` says of a container in a template: `{{.State.Status}}`.
    ///
    /// # Errors
    /// docker's own words.
    pub fn inspect(&self, container: &str, template: &str) -> anyhow::Result<String> {
        let said = self.docker(["container", "inspect", "--format", template, container]).ok()?;
        Ok(said.trim_end().to_owned())
    }

    /// The cgroup of a container, below the root of a hierarchy.
    ///
    /// # Errors
    /// docker's own words.
    pub fn cgroup(&self, container: &str) -> anyhow::Result<String> {
        Ok(format!("{}/{}", self.cgroup.0, self.inspect(container, "{{.Id}}")?))
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A `docker` that goes on. Dropping it ends it.
#[derive(Debug)]
pub struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    /// Reads until a line of which `wanted` is true, and returns that.
    ///
    /// # Errors
    /// When there is none before the end; with what there was.
    pub fn until(&mut self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let mut passed = Vec::new();
        for line in &mut self.lines {
            let line = line?;
            if wanted(&line) {
                return Ok(line);
            }
            passed.push(line);
        }
        bail!("docker ended before the line that was waited for; it said {passed:#?}")
    }

    /// Reads what is left, and waits for docker's end.
    ///
    /// # Errors
    /// When docker cannot be read from, or fails.
    pub fn to_end(mut self) -> anyhow::Result<Vec<String>> {
        let rest = (&mut self.lines).collect::<io::Result<Vec<_>>>()?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("docker ended with {status} after {rest:#?}");
        }
        Ok(rest)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // `timeout` hands it on; it may have ended already.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = (terminate(&self.child), self.child.wait());
        }
    }
}

/// The cgroup above those of all containers, removed when they are gone.
#[derive(Debug)]
struct Cgroup(String);

impl Drop for Cgroup {
    fn drop(&mut self) {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([root.to_owned()]) {
            // Most hierarchies have none.
            let _ = fs::remove_dir(hierarchy.join(&self.0));
        }
    }
}

fn terminate(child: &Child) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("no such pid")?;
    kill_process(pid, Signal::TERM).context("signal a process")
}

/// Debian's own where it is installed: another may come first on the path.
fn program<'a>(debian: &'a str, name: &'a str) -> &'a str {
    if Path::new(debian).is_file() { debian } else { name }
}
