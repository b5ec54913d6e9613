//! What can go wrong while a layer is extracted or written.

use std::path::PathBuf;

use wharf_types::{ErrorKind, Kind};

/// The result of an applier's or a comparer's call.
pub type Result<T> = std::result::Result<T, Error>;

/// What was being done to which entry, and why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A media type that is no layer, or no layer that is taken.
    #[error("layer of media type {0:?}: not taken; tar, tar+gzip and tar+zstd are")]
    MediaType(String),
    /// The bytes are not what the media type says.
    #[error("layer: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// An entry that would reach outside, or cannot be what it says.
    #[error("layer entry {path:?}: {reason}")]
    Entry {
        /// The entry's path as the layer has it.
        path: PathBuf,
        /// Why it is refused.
        reason: String,
    },
    /// Something the layer says cannot be understood without the layers below: it is to be extracted again, onto its mounted
    /// parent.
    #[error("layer entry {path:?}: {reason}; the layer has to be extracted onto its parents")]
    NeedsParents {
        /// The entry's path, or that of a directory it lies in.
        path: PathBuf,
        /// What the layers below would have to tell.
        reason: String,
    },
    /// A tree was written to while it was compared.
    #[error("{path:?} changed while it was read; stop or pause what writes there and compare again")]
    Changed {
        /// The path below the tree's root.
        path: PathBuf,
    },
    /// A bound that the caller set was met.
    #[error("layer: more than {limit} {of}; it is refused")]
    Limit {
        /// The bound.
        limit: u64,
        /// What is counted: `bytes` or `entries`.
        of: &'static str,
    },
    /// Mounts that cannot be extracted into or compared.
    #[error("mounts: {0}")]
    Mounts(String),
    /// A failure of the filesystem.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::MediaType(_) => ErrorKind::Unimplemented,
            Self::Changed { .. } => ErrorKind::Aborted,
            Self::NeedsParents { .. } => ErrorKind::FailedPrecondition,
            Self::Limit { .. } => ErrorKind::ResourceExhausted,
            Self::Malformed { .. } | Self::Entry { .. } | Self::Mounts(_) => ErrorKind::InvalidArgument,
            Self::Io { source, .. } => ErrorKind::of_io(source),
        }
    }
}
