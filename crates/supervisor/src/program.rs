//! Runs a shim's program for `start` and `delete`, with a deadline and bounded output.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use prost::Message as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use wharf_api::containerd::task::v3::DeleteResponse;
use wharf_api::containerd::types::RuntimeInfo;
use wharf_types::{Any, Id, Namespace};

use crate::bootstrap::{Endpoint, Form};
use crate::bundle::Bundle;
use crate::config::Config;
use crate::convert::any_out;
use crate::error::{Error, Result};

/// What is kept of an output, in bytes; the rest is read and dropped.
const KEPT: usize = 16 << 10;

/// A shim's program, and the bundle it is run for.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) namespace: Namespace,
    pub(crate) id: Id,
    pub(crate) bundle: PathBuf,
}

/// The daemon's own program, which some shims expect to hear of.
pub(crate) fn publisher() -> String {
    std::env::current_exe().map_or_else(|_| "wharfd".to_owned(), |path| path.display().to_string())
}

impl Program {
    pub(crate) fn new(path: PathBuf, bundle: &Bundle) -> Self {
        Self { path, namespace: bundle.namespace.clone(), id: bundle.id.clone(), bundle: bundle.path.clone() }
    }

    /// Starts a shim and returns where it serves.
    ///
    /// # Errors
    /// The program's own words; `DeadlineExceeded`; `Unimplemented` for an answer that is not understood.
    pub(crate) async fn start(&self, config: &Config, options: Option<&Any>) -> Result<Endpoint> {
        let form = Form::of(&self.path);
        let answer = match self.start_with(form, config, options).await {
            Err(error) if form.wants_params(&error) => self.start_with(Form::Params, config, options).await,
            answer => answer,
        }?;
        Endpoint::parse(&self.path, &answer)
    }

    async fn start_with(&self, form: Form, config: &Config, options: Option<&Any>) -> Result<Vec<u8>> {
        let mut command = self.command(config, "start");
        let input = form.input(config, &self.namespace, &self.id, options);
        command.stdin(file_of(&input).map_err(|e| Error::io("prepare the input of", &self.path, e))?);
        self.run(command, "start", config.timeouts.start).await
    }

    /// Cleans up after a shim that has died, and returns how its container ended.
    ///
    /// # Errors
    /// As [`Program::start`].
    pub(crate) async fn delete(&self, config: &Config) -> Result<DeleteResponse> {
        let mut command = self.command(config, "delete");
        command.stdin(Stdio::null());
        let answer = self.run(command, "delete", config.timeouts.cleanup).await?;
        DeleteResponse::decode(answer.as_slice()).map_err(|error| Error::Program {
            program: self.name(),
            action: "delete",
            reason: format!("its answer is no DeleteResponse: {error}"),
            words: String::new(),
        })
    }

    fn command(&self, config: &Config, action: &'static str) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.bundle).process_group(0).kill_on_drop(true);
        command.args(["-namespace", self.namespace.as_str(), "-address", &config.address]);
        command.args(["-publish-binary", &publisher(), "-id", self.id.as_str()]);
        if action == "delete" {
            command.arg("-bundle").arg(&self.bundle);
        }
        if config.debug {
            command.arg("-debug");
        }
        command.arg(action);
        command.env("TTRPC_ADDRESS", &config.ttrpc_address).env("GRPC_ADDRESS", &config.address);
        command.env("NAMESPACE", self.namespace.as_str()).env("MAX_SHIM_VERSION", "2").env("GOMAXPROCS", "2");
        // The daemon's own line to its service manager: a runtime that found it would report for it.
        for ours in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"] {
            command.env_remove(ours);
        }
        command
    }

    /// Runs a command to its end and returns what it wrote to standard output.
    async fn run(&self, command: Command, action: &'static str, limit: Duration) -> Result<Vec<u8>> {
        run(&self.path, command, action, limit).await
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Asks a shim's program what it is (`-info`): options go to its standard input, a `RuntimeInfo` comes from its standard
/// output.
///
/// # Errors
/// The program's own words; `DeadlineExceeded`; `Unknown` for an answer that is none.
pub(crate) async fn info(config: &Config, path: &Path, options: Option<&Any>) -> Result<RuntimeInfo> {
    let input = options.map(|options| any_out(options).encode_to_vec()).unwrap_or_default();
    let mut command = Command::new(path);
    command.arg("-info").current_dir("/").process_group(0).kill_on_drop(true);
    command.stdin(file_of(&input).map_err(|e| Error::io("prepare the input of", path, e))?);
    let answer = run(path, command, "-info", config.timeouts.quick).await?;
    RuntimeInfo::decode(answer.as_slice()).map_err(|error| Error::Program {
        program: path.display().to_string(),
        action: "-info",
        reason: format!("its answer is no RuntimeInfo: {error}"),
        words: String::new(),
    })
}

/// Runs a command of the program `path` to its end and returns what it wrote to standard output.
async fn run(path: &Path, mut command: Command, action: &'static str, limit: Duration) -> Result<Vec<u8>> {
    let failed = |error| Error::io(&format!("run {action} of"), path, error);
    let (out, err) = (Output::new().map_err(failed)?, Output::new().map_err(failed)?);
    let ((mut out, out_fd), (mut err, err_fd)) = (out, err);
    command.stdout(out_fd).stderr(err_fd);
    let mut child = command.spawn().map_err(failed)?;
    // The pipes' other ends are the child's alone now.
    drop(command);
    let ended = tokio::time::timeout(limit, until_end(&mut child, &mut out, &mut err)).await;
    let Ok(ended) = ended else {
        kill_group(&child);
        let _ = child.start_kill();
        err.drain();
        return Err(Error::Late { program: path.display().to_string(), action, after: limit, words: err.words() });
    };
    let status = ended.map_err(failed)?;
    if !status.success() {
        // Some shims say why on standard output.
        let words = if err.kept.is_empty() { out.words() } else { err.words() };
        return Err(Error::Program { program: path.display().to_string(), action, reason: status.to_string(), words });
    }
    if !err.kept.is_empty() {
        tracing::warn!(program = %path.display(), action, words = err.words(), "a shim's program complains");
    }
    Ok(out.kept)
}

/// Waits for the program itself, not for whoever inherited its output.
async fn until_end(child: &mut Child, out: &mut Output, err: &mut Output) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => {
                out.drain();
                err.drain();
                return status;
            }
            () = out.more(), if !out.ended => {}
            () = err.more(), if !err.ended => {}
        }
    }
}

/// What a program writes.
struct Output {
    pipe: pipe::Receiver,
    kept: Vec<u8>,
    ended: bool,
}

impl Output {
    fn new() -> io::Result<(Self, Stdio)> {
        let (sender, pipe) = pipe::pipe()?;
        Ok((Self { pipe, kept: Vec::new(), ended: false }, sender.into_blocking_fd()?.into()))
    }

    async fn more(&mut self) {
        match self.pipe.readable().await {
            Ok(()) => self.drain(),
            Err(_) => self.ended = true,
        }
    }

    /// Takes what is there.
    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while !self.ended {
            match self.pipe.try_read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(n) => {
                    let n = n.min(KEPT - self.kept.len().min(KEPT));
                    self.kept.extend_from_slice(buffer.get(..n).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }

    fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        text.trim().chars().take(2000).map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
    }
}

/// A shim that hangs may have children that hang with it.
fn kill_group(child: &Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

/// Bytes as standard input, which need nobody to write them and cannot be too many for a pipe.
fn file_of(bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek as _, Write as _};
    let fd = rustix::fs::memfd_create("shim-input", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// The shim of a bundle that was made by this daemon or another; `None` where it says nothing.
pub(crate) fn recorded(bundle: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(bundle.join(crate::bundle::PROGRAM)).ok()?;
    Some(PathBuf::from(text.trim())).filter(|path| path.is_absolute())
}
