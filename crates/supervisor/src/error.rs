//! What can go wrong between the daemon and a shim.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wharf_ttrpc::Status;
use wharf_types::{ErrorKind, Kind, id};

/// The result of a call about a task.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was being done, to which task, and why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such task.
    #[error("task {0:?}: not found")]
    NotFound(String),
    /// The name is taken, or its former owner is not gone yet.
    #[error("task {0:?}: already exists")]
    AlreadyExists(String),
    /// There is no such sandbox.
    #[error("sandbox {0:?}: not found")]
    NoSandbox(String),
    /// The sandbox's name is taken.
    #[error("sandbox {0:?}: already exists")]
    SandboxExists(String),
    /// A text that is no identifier.
    #[error(transparent)]
    Identifier(#[from] id::ParseError),
    /// A specification that is none.
    #[error("{id:?}: its specification is not JSON with an object in it: {source}")]
    Spec {
        /// The container, or the sandbox.
        id: String,
        /// Where it is broken.
        source: serde_json::Error,
    },
    /// A runtime that cannot be named so.
    #[error("runtime {0:?}: wanted a name such as io.containerd.runc.v2, or the absolute path of a shim")]
    RuntimeName(String),
    /// A runtime whose shim is not installed.
    #[error("runtime {runtime:?}: no shim {program:?} in {}", places(looked))]
    NoRuntime {
        /// The runtime asked for.
        runtime: String,
        /// The program's name.
        program: String,
        /// The directories that were searched.
        looked: Vec<PathBuf>,
    },
    /// The shim itself refused; its words are the runtime's.
    #[error(transparent)]
    Shim(Status),
    /// The shim does not answer; its process lives, and it is tried again in the background.
    #[error("task {task:?}: its shim does not answer{}; it is tried again in the background", why(reason))]
    Silent {
        /// The task.
        task: String,
        /// The last attempt's failure, if it said more than nothing.
        reason: String,
    },
    /// The shim is dead.
    #[error("task {0:?}: its shim has died")]
    Dead(String),
    /// A shim's program failed.
    #[error("{program} {action}: {reason}{}", why(words))]
    Program {
        /// The program.
        program: String,
        /// `start` or `delete`.
        action: &'static str,
        /// How it failed.
        reason: String,
        /// What it wrote to standard error, cut where it is long.
        words: String,
    },
    /// A shim's program took too long.
    #[error("{program} {action}: not done within {after:?}{}", why(words))]
    Late {
        /// The program.
        program: String,
        /// `start` or `delete`.
        action: &'static str,
        /// The deadline.
        after: Duration,
        /// What it wrote to standard error until then.
        words: String,
    },
    /// A shim answered something that this daemon does not speak.
    #[error("{program} start: {reason}")]
    Unspoken {
        /// The program.
        program: String,
        /// What it answered, and what is spoken.
        reason: String,
    },
    /// A failure of the filesystem.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A failure of the kernel's mounts.
    #[error(transparent)]
    Sys(#[from] wharf_sys::Error),
    /// A task of this process's own did not end well.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// A failure of the filesystem while `doing` something to `path`.
    pub(crate) fn io(doing: &str, path: impl AsRef<Path>, source: impl Into<std::io::Error>) -> Self {
        Self::Io { doing: format!("{doing} {:?}", path.as_ref()), source: source.into() }
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::NoSandbox(_) | Self::NoRuntime { .. } => ErrorKind::NotFound,
            Self::AlreadyExists(_) | Self::SandboxExists(_) => ErrorKind::AlreadyExists,
            Self::Identifier(_) | Self::RuntimeName(_) | Self::Spec { .. } => ErrorKind::InvalidArgument,
            Self::Shim(status) => ErrorKind::from_code(status.code.into()),
            Self::Silent { .. } | Self::Dead(_) => ErrorKind::Unavailable,
            Self::Program { .. } => ErrorKind::Unknown,
            Self::Late { .. } => ErrorKind::DeadlineExceeded,
            Self::Unspoken { .. } => ErrorKind::Unimplemented,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Sys(error) => error.kind(),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

fn why(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn places(looked: &[PathBuf]) -> String {
    looked.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
}
