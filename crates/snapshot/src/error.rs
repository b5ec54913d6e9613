//! What can go wrong in a snapshotter.

use std::path::{Path, PathBuf};

use wharf_types::{BoxError, ErrorKind, Kind};

/// The result of a snapshotter's call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was being done to which snapshot, and why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such snapshot.
    #[error("snapshot {0:?}: not found")]
    NotFound(String),
    /// The name is taken.
    #[error("snapshot {0:?}: already exists")]
    AlreadyExists(String),
    /// A request that can never succeed.
    #[error("{0}")]
    Invalid(String),
    /// The snapshot is not in the state that the request needs.
    #[error("snapshot {name:?}: {reason}")]
    Precondition {
        /// The snapshot.
        name: String,
        /// What it is, and what it would have to be.
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
    /// The database of records cannot be used.
    #[error("snapshot records {file:?}: {reason}")]
    Database {
        /// The database's file.
        file: PathBuf,
        /// What clients are answered with: `DataLoss` for damage.
        kind: ErrorKind,
        /// Why it failed, and a way out where there is one.
        reason: String,
    },
    /// A failure of an implementation's own, or of whoever is asked behind it.
    #[error("{doing}: {source}")]
    Other {
        /// What was being done, to what.
        doing: String,
        /// What clients are answered with.
        kind: ErrorKind,
        /// Why it failed.
        source: BoxError,
    },
}

impl Error {
    /// A failure of the filesystem while `doing` something to `path`.
    pub(crate) fn io(doing: &str, path: &Path, source: impl Into<std::io::Error>) -> Self {
        Self::Io { doing: format!("{doing} {path:?}"), source: source.into() }
    }

    /// What `wharf-sys` reports says already what was being done.
    pub(crate) fn sys(doing: &str, error: wharf_sys::Error) -> Self {
        Self::Other { doing: doing.to_owned(), kind: error.kind(), source: Box::new(error) }
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::Precondition { .. } => ErrorKind::FailedPrecondition,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Other { kind, .. } | Self::Database { kind, .. } => *kind,
        }
    }
}
