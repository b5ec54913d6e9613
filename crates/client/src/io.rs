//! Stdio of processes, by fifos on this machine.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use crate::{Error, Result};

/// Where the stdio of a process is to go.
#[derive(Debug)]
pub struct Io(Kind);

#[derive(Debug)]
enum Kind {
    Null,
    Piped { folder: Folder, stdin: bool, terminal: bool },
    Paths(Paths),
}

/// Paths of fifos, or URIs such as `file:///var/log/x`; empty for nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Read by the process.
    pub stdin: String,
    /// Written by the process.
    pub stdout: String,
    /// Written by the process; empty with a terminal.
    pub stderr: String,
}

impl Io {
    /// Nowhere.
    #[must_use]
    pub fn null() -> Self {
        Self(Kind::Null)
    }

    /// Stdout and stderr to this process, by fifos in a fresh private folder.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn piped() -> Result<Self> {
        Ok(Self(Kind::Piped { folder: Folder::fresh()?, stdin: false, terminal: false }))
    }

    /// Paths or URIs of the caller's own.
    #[must_use]
    pub fn paths(paths: Paths) -> Self {
        Self(Kind::Paths(paths))
    }

    /// Adds stdin.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        if let Kind::Piped { stdin, .. } = &mut self.0 {
            *stdin = true;
        }
        self
    }

    /// Gives the process a terminal, which carries stdout and stderr as one.
    #[must_use]
    pub fn with_terminal(mut self) -> Self {
        if let Kind::Piped { terminal, .. } = &mut self.0 {
            *terminal = true;
        }
        self
    }

    pub(crate) fn terminal(&self) -> bool {
        matches!(self.0, Kind::Piped { terminal: true, .. })
    }

    /// Makes the fifos and opens this process's side of them.
    pub(crate) fn open(self) -> Result<Streams> {
        let (folder, stdin, terminal) = match self.0 {
            Kind::Null => return Ok(Streams::default()),
            Kind::Paths(paths) => return Ok(Streams { paths, ..Streams::default() }),
            Kind::Piped { folder, stdin, terminal } => (folder, stdin, terminal),
        };
        let place = folder.0.clone();
        let mut streams = Streams { terminal, _folder: Some(folder), ..Streams::default() };
        let fifo = |name: &str| {
            let path = place.join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                .map_err(|error| Error::io(format!("make fifo {}", path.display()))(error.into()))?;
            Ok::<_, Error>(path)
        };
        let opened = |path: &PathBuf| Error::io(format!("open fifo {}", path.display()));
        if stdin {
            let path = fifo("stdin")?;
            // Opened for both, so that it does not wait for a reader; nothing is ever read back.
            let writer = pipe::OpenOptions::new().read_write(true).open_sender(&path).map_err(opened(&path))?;
            streams.stdin = Some(writer);
            streams.paths.stdin = path.display().to_string();
        }
        let path = fifo("stdout")?;
        streams.stdout = Some(pipe::OpenOptions::new().open_receiver(&path).map_err(opened(&path))?);
        streams.paths.stdout = path.display().to_string();
        if !terminal {
            let path = fifo("stderr")?;
            streams.stderr = Some(pipe::OpenOptions::new().open_receiver(&path).map_err(opened(&path))?);
            streams.paths.stderr = path.display().to_string();
        }
        Ok(streams)
    }
}

/// This process's side of a process's stdio. Dropping it removes the fifos.
#[derive(Debug, Default)]
pub struct Streams {
    stdin: Option<pipe::Sender>,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    paths: Paths,
    terminal: bool,
    _folder: Option<Folder>,
}

impl Streams {
    pub(crate) fn paths(&self) -> Paths {
        self.paths.clone()
    }

    pub(crate) fn terminal(&self) -> bool {
        self.terminal
    }

    /// The process's stdout, to be read until its end. Taken once.
    pub fn take_stdout(&mut self) -> Option<pipe::Receiver> {
        self.stdout.take()
    }

    /// The process's stderr, to be read until its end. Taken once.
    pub fn take_stderr(&mut self) -> Option<pipe::Receiver> {
        self.stderr.take()
    }

    /// The process's stdin. Taken once.
    pub fn take_stdin(&mut self) -> Option<pipe::Sender> {
        self.stdin.take()
    }

    /// Writes to the process's stdin.
    ///
    /// # Errors
    /// When there is no stdin, or it is closed.
    pub async fn write_stdin(&mut self, bytes: &[u8]) -> Result<()> {
        let none = || Error::io("write stdin")(std::io::Error::from(ErrorKind::BrokenPipe));
        self.stdin.as_mut().ok_or_else(none)?.write_all(bytes).await.map_err(Error::io("write stdin"))
    }

    /// All that the process prints on stdout, until the last holder closes it. Call it once the task exists: before that
    /// nobody has opened the other end and there is nothing to read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn stdout_to_end(&mut self) -> Result<Vec<u8>> {
        to_end(self.stdout.take()).await
    }

    /// As [`Streams::stdout_to_end`], for stderr.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn stderr_to_end(&mut self) -> Result<Vec<u8>> {
        to_end(self.stderr.take()).await
    }
}

async fn to_end(stream: Option<pipe::Receiver>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await.map_err(Error::io("read the process's output"))?;
    }
    Ok(bytes)
}

/// A private folder below the temporary directory that goes with its owner.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn fresh() -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let name = format!("wharf-io-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let folder = std::env::temp_dir().join(name);
            match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Self(folder)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io(format!("make folder {}", folder.display()))(error)),
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays is in the temporary directory, and small.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
