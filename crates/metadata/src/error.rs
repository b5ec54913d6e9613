//! What can go wrong with records.

use wharf_types::{BoxError, ErrorKind, Kind};

/// The result of a call on records.
pub type Result<T> = std::result::Result<T, Error>;

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
    /// A failure of the database, or of a store behind it.
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

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::Precondition(_) => ErrorKind::FailedPrecondition,
            Self::Unimplemented(_) => ErrorKind::Unimplemented,
            Self::Other { kind, .. } => *kind,
        }
    }
}
