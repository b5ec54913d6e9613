//! What can go wrong with records.

use std::path::PathBuf;

use wharf_types::{BoxError, ErrorKind, Kind};

/// The result of a call on records.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was being done to which record, and why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such record.
    #[error("{what} {name:?}: not found")]
    NotFound {
        /// `image`, `container`, `lease`, `namespace`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The name is taken.
    #[error("{what} {name:?}: already exists")]
    AlreadyExists {
        /// `image`, `container`, `lease`, `namespace`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A request that can never succeed.
    #[error("{0}")]
    Invalid(String),
    /// The record is not in the state that the request needs.
    #[error("{0}")]
    Precondition(String),
    /// A kind of object that is not built.
    #[error("{0}")]
    Unimplemented(String),
    /// The database itself cannot be used.
    #[error("database {file:?}: {reason}")]
    Database {
        /// The database's file.
        file: PathBuf,
        /// What clients are answered with: `DataLoss` for damage.
        kind: ErrorKind,
        /// Why it failed, and a way out where there is one.
        reason: String,
    },
    /// A failure of a store behind the database.
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
    /// A failure of a store behind the database, while `doing` something.
    pub(crate) fn store(doing: impl Into<String>, error: impl Kind + Send + Sync + 'static) -> Self {
        Self::Other { doing: doing.into(), kind: error.kind(), source: Box::new(error) }
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::Precondition(_) => ErrorKind::FailedPrecondition,
            Self::Unimplemented(_) => ErrorKind::Unimplemented,
            Self::Database { kind, .. } | Self::Other { kind, .. } => *kind,
        }
    }
}
