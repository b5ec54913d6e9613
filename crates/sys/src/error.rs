//! What can go wrong between this program and the kernel.

use std::io;
use std::path::PathBuf;

use wharf_types::{ErrorKind, Kind};

/// The result of a call to the kernel.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was being done, to what, and the kernel's reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A mount failed.
    #[error("mount {kind} {from:?} on {target:?}: {reason}{}", more(detail))]
    Mount {
        /// The filesystem's name.
        kind: String,
        /// The device or directory.
        from: String,
        /// Where it was to appear.
        target: PathBuf,
        /// The options, cut where they are long, and what the kernel wrote into the mount's own log.
        detail: String,
        /// The error number's meaning.
        #[source]
        reason: io::Error,
    },
    /// Something mounted could not be taken away.
    #[error("unmount {target:?}: {reason}")]
    Unmount {
        /// The mount point.
        target: PathBuf,
        /// The error number's meaning.
        #[source]
        reason: io::Error,
    },
    /// A mount that can never succeed.
    #[error("mount {kind} {from:?}: {reason}")]
    Options {
        /// The filesystem's name.
        kind: String,
        /// The device or directory.
        from: String,
        /// What is wrong with it, and a way out.
        reason: String,
    },
    /// A lock that another process holds.
    #[error("{path:?} is locked by {}: stop that process or choose another directory", holder(*pid))]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// The process that holds it, where it wrote its number down.
        pid: Option<u32>,
    },
    /// Any other call.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// The error number's meaning.
        source: io::Error,
    },
}

impl Error {
    /// An I/O failure while `doing` something to `what`.
    pub fn io(doing: &str, what: impl AsRef<std::path::Path>, source: impl Into<io::Error>) -> Self {
        Self::Io { doing: format!("{doing} {:?}", what.as_ref()), source: source.into() }
    }

    /// The kernel's reason, where there is one.
    #[must_use]
    pub fn as_io(&self) -> Option<&io::Error> {
        match self {
            Self::Mount { reason, .. } | Self::Unmount { reason, .. } => Some(reason),
            Self::Io { source, .. } => Some(source),
            Self::Options { .. } | Self::Held { .. } => None,
        }
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Mount { reason, .. } | Self::Unmount { reason, .. } => ErrorKind::of_io(reason),
            Self::Options { .. } => ErrorKind::InvalidArgument,
            Self::Held { .. } => ErrorKind::FailedPrecondition,
            Self::Io { source, .. } => ErrorKind::of_io(source),
        }
    }
}

fn more(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
