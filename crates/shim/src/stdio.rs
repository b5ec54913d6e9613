//! A process's standard input and outputs: what clients name, what the process gets, and the pumps between.
//!
//! A client's fifo is held open on both sides, so that a client who goes away neither ends the writer nor loses what is
//! in the fifo. At the process's end the write side is closed, which is the reader's end of file; the read side stays until
//! the process is deleted, so that a reader who comes late still finds the rest.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::io::Interest;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use wharf_runtime::{Io, watch as register};

use crate::error::{Error, Result};
use crate::pump::{Signals, Sink, Source, Watched, pump};

/// How long after a process's end its output is waited for before the end is told. Only a reader that does not read, or a
/// child left behind that never stops writing, makes it take that long; the pumps go on afterwards.
const DRAIN: Duration = Duration::from_secs(1);

/// Where stdio goes: paths of fifos, `file://` URIs, or empty for nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) stdin: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) terminal: bool,
}

/// The pumps of one process. Dropped, they stop and every fifo is closed.
#[derive(Debug)]
pub(crate) struct Streams {
    outputs: Vec<Output>,
    input: Option<JoinHandle<()>>,
    ended: watch::Sender<bool>,
    close_input: watch::Sender<bool>,
    terminal: Option<Arc<Watched>>,
    /// The read sides of output fifos.
    kept: Vec<OwnedFd>,
    /// What is still to be connected once the terminal exists.
    pending: Option<(Option<Watched>, Option<Sink>)>,
}

#[derive(Debug)]
struct Output {
    task: JoinHandle<()>,
    drained: Arc<Notify>,
}

impl Streams {
    /// Opens what `names` names; the second part is for the process. `owner` owns the pipes that the process writes.
    ///
    /// # Errors
    /// `NotFound` for a path that is missing, `Unimplemented` for a scheme that is not built.
    pub(crate) fn open(names: &Names, owner: (u32, u32)) -> Result<(Self, Io)> {
        let mut streams = Self {
            outputs: Vec::new(),
            input: None,
            ended: watch::Sender::new(false),
            close_input: watch::Sender::new(false),
            terminal: None,
            kept: Vec::new(),
            pending: None,
        };
        let source = open_source(&names.stdin, names.terminal)?;
        let out = open_sink(&names.stdout, &mut streams.kept)?;
        if names.terminal {
            streams.pending = Some((source, out));
            return Ok((streams, Io::Terminal));
        }
        let err = open_sink(&names.stderr, &mut streams.kept)?;
        let stdin = source.map(|s| streams.connect_input(s, owner)).transpose()?;
        let stdout = out.map(|s| streams.connect_output(s, owner)).transpose()?;
        let stderr = err.map(|s| streams.connect_output(s, owner)).transpose()?;
        Ok((streams, Io::Fds { stdin, stdout, stderr }))
    }

    /// Connects a terminal that the runtime made.
    pub(crate) fn attach(&mut self, master: OwnedFd) -> Result<()> {
        let doing = || "watching a terminal".to_owned();
        rustix::io::ioctl_fionbio(&master, true).map_err(Error::io(doing()))?;
        let master = register(master, Interest::READABLE | Interest::WRITABLE).map_err(Error::io(doing()))?;
        let master = Arc::new(master);
        if let Some((source, sink)) = self.pending.take() {
            // Without a reader the terminal is emptied into nothing, or its user would block.
            let sink = match sink {
                Some(sink) => sink,
                None => Sink::File(
                    OpenOptions::new().write(true).open("/dev/null").map_err(Error::io("opening /dev/null"))?,
                ),
            };
            self.run_output(Source::Terminal(master.clone()), sink);
            if let Some(source) = source {
                self.run_input(source, Sink::Terminal(master.clone()));
            }
        }
        self.terminal = Some(master);
        Ok(())
    }

    /// Sets the terminal's size in characters.
    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<()> {
        let Some(master) = &self.terminal else {
            return Err(Error::Precondition("the process has no terminal to resize".into()));
        };
        let cut = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        let size = rustix::termios::Winsize { ws_row: cut(height), ws_col: cut(width), ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(master.get_ref(), size).map_err(Error::io("resizing a terminal"))
    }

    /// Closes the process's input once what the client wrote has been passed on.
    pub(crate) fn close_input(&self) {
        self.close_input.send_replace(true);
    }

    /// Tells the pumps that the process has ended, and returns what waits until all that it wrote has been passed on, as
    /// long as its readers read.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        self.ended.send_replace(true);
        let drained: Vec<_> = self.outputs.iter().map(|o| o.drained.clone()).collect();
        async move {
            let all = async {
                for output in &drained {
                    output.notified().await;
                }
            };
            let _ = tokio::time::timeout(DRAIN, all).await;
        }
    }

    fn connect_input(&mut self, source: Watched, owner: (u32, u32)) -> Result<OwnedFd> {
        let (read, write) = pipe(owner)?;
        let write = nonblocking(write, Interest::WRITABLE)?;
        self.run_input(source, Sink::Pipe(write));
        Ok(read)
    }

    fn connect_output(&mut self, sink: Sink, owner: (u32, u32)) -> Result<OwnedFd> {
        let (read, write) = pipe(owner)?;
        let read = nonblocking(read, Interest::READABLE)?;
        self.run_output(Source::Pipe(read), sink);
        Ok(write)
    }

    fn run_input(&mut self, source: Watched, sink: Sink) {
        let signals = Signals { finish: self.close_input.subscribe(), ends: true, drained: Arc::default() };
        self.input = Some(tokio::spawn(pump(Source::Pipe(source), sink, signals)));
    }

    fn run_output(&mut self, source: Source, sink: Sink) {
        let drained = Arc::new(Notify::new());
        let signals = Signals { finish: self.ended.subscribe(), ends: false, drained: drained.clone() };
        self.outputs.push(Output { task: tokio::spawn(pump(source, sink, signals)), drained });
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        for task in self.outputs.iter().map(|o| &o.task).chain(&self.input) {
            task.abort();
        }
    }
}

/// A pipe for the process, owned by whom the options name, so that it can open `/dev/stdout` again as another user.
fn pipe((uid, gid): (u32, u32)) -> Result<(OwnedFd, OwnedFd)> {
    let pair = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(Error::io("making a pipe"))?;
    if (uid, gid) != (0, 0) {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(pair.0.as_fd(), Some(uid), Some(gid)).map_err(Error::io("giving a pipe to its user"))?;
    }
    Ok(pair)
}

/// Makes our end of a pipe non-blocking; the process's end stays as it is.
fn nonblocking(fd: OwnedFd, interest: Interest) -> Result<Watched> {
    rustix::io::ioctl_fionbio(&fd, true).map_err(Error::io("setting up a pipe"))?;
    register(fd, interest).map_err(Error::io("watching a pipe"))
}

/// Opens the fifo that a client writes into. Where there is no terminal the last writer's going is end of file; a terminal
/// outlives its users, so there the write side is held too.
fn open_source(name: &str, terminal: bool) -> Result<Option<Watched>> {
    if name.is_empty() {
        return Ok(None);
    }
    if name.contains("://") {
        return Err(unbuilt(name, "stdin"));
    }
    let access = if terminal { OFlags::RDWR } else { OFlags::RDONLY };
    let fd = open_fifo(name, access)?;
    register(fd, Interest::READABLE).map(Some).map_err(Error::io(format!("watching {name}, which should be a fifo")))
}

/// Opens what the process's output goes to, and keeps the read side of a fifo.
fn open_sink(name: &str, kept: &mut Vec<OwnedFd>) -> Result<Option<Sink>> {
    if name.is_empty() {
        return Ok(None);
    }
    if let Some(path) = name.strip_prefix("file://") {
        return open_file(Path::new(path.split('?').next().unwrap_or(path))).map(Sink::File).map(Some);
    }
    if name.contains("://") {
        return Err(unbuilt(name, "output"));
    }
    if !is_fifo(name)? {
        return open_file(Path::new(name)).map(Sink::File).map(Some);
    }
    kept.push(open_fifo(name, OFlags::RDONLY)?);
    let fd = open_fifo(name, OFlags::WRONLY)?;
    register(fd, Interest::WRITABLE).map(|fd| Some(Sink::Pipe(fd))).map_err(Error::io(format!("watching {name}")))
}

fn is_fifo(name: &str) -> Result<bool> {
    let metadata = std::fs::metadata(name).map_err(Error::io(format!("looking at the stdio path {name}")))?;
    Ok(metadata.file_type().is_fifo())
}

fn open_fifo(name: &str, access: OFlags) -> Result<OwnedFd> {
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(name, flags, rustix::fs::Mode::empty())
        .map_err(Error::io(format!("opening the stdio path {name}")))
}

/// Opens a log file for appending, made with its directories when it is not there.
fn open_file(path: &Path) -> Result<File> {
    let opened = || -> io::Result<File> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(path)
    };
    opened().map_err(Error::io(format!("opening the log file {}", path.display())))
}

fn unbuilt(name: &str, what: &str) -> Error {
    let scheme = name.split("://").next().unwrap_or(name);
    Error::Unimplemented(format!("{what} by {scheme}:// is not built: use a fifo or file://"))
}
