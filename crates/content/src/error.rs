//! What can go wrong in a content store.

use wharf_types::{BoxError, Digest, ErrorKind, Kind};

/// The result of a content store's call.
pub type Result<T> = std::result::Result<T, Error>;

/// What was being done to which blob or ingest, and why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such blob.
    #[error("content {0}: not found")]
    NotFound(Digest),
    /// The blob is there already.
    #[error("content {0}: already exists")]
    AlreadyExists(Digest),
    /// There is no such ingest.
    #[error("ingest {0:?}: not found")]
    NoIngest(String),
    /// Another writer holds the reference.
    #[error("ingest {0:?}: another writer has it open; wait for it or abort the ingest")]
    Locked(String),
    /// The size is not the expected one.
    #[error("ingest {reference:?}: {actual} bytes, {expected} were expected")]
    WrongSize {
        /// The ingest.
        reference: String,
        /// What was written.
        actual: u64,
        /// What was to be written.
        expected: u64,
    },
    /// The digest is not the expected one.
    #[error("ingest {reference:?}: digest is {actual}, {expected} was expected")]
    WrongDigest {
        /// The ingest.
        reference: String,
        /// Of the bytes.
        actual: Digest,
        /// Of the blob that was to be.
        expected: Digest,
    },
    /// The ingest was begun with another size.
    #[error("ingest {reference:?}: begun for {begun} bytes, opened for {asked}; abort it to begin again")]
    OtherTotal {
        /// The ingest.
        reference: String,
        /// The size it was begun with.
        begun: u64,
        /// The size it was to be opened with.
        asked: u64,
    },
    /// The writer committed or gave up its ingest, and takes no more.
    #[error("ingest {0:?}: this writer is done; open the reference again")]
    Done(String),
    /// A request that can never succeed.
    #[error("{0}")]
    Invalid(String),
    /// A failure of the filesystem.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
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

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::NoIngest(_) => ErrorKind::NotFound,
            Self::AlreadyExists(_) => ErrorKind::AlreadyExists,
            Self::Locked(_) => ErrorKind::Unavailable,
            Self::WrongSize { .. } | Self::WrongDigest { .. } | Self::OtherTotal { .. } | Self::Done(_) => {
                ErrorKind::FailedPrecondition
            }
            Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Other { kind, .. } => *kind,
        }
    }
}
