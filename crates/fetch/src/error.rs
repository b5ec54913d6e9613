//! What can go wrong between us and a registry.

use wharf_types::{BoxError, ErrorKind, Kind};

/// The result of a call to a registry.
pub type Result<T> = std::result::Result<T, Error>;

/// What was asked of which registry, and why it failed. No variant carries a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry answered, with a refusal.
    #[error("{doing}: {reason}")]
    Refused {
        /// What was being asked, of which host.
        doing: String,
        /// What clients are answered with.
        kind: ErrorKind,
        /// The registry's own words, cut and cleaned, after the HTTP status.
        reason: String,
    },
    /// No answer: name not found, connection refused, cut off, too slow.
    #[error("{doing}: {source}")]
    Transport {
        /// What was being asked, of which host.
        doing: String,
        /// What clients are answered with.
        kind: ErrorKind,
        /// Why it failed.
        source: BoxError,
    },
    /// The answer is not what the protocol wants.
    #[error("{doing}: {reason}")]
    Protocol {
        /// What was being asked, of which host.
        doing: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A document that is too large to be one.
    #[error("{doing}: {size} bytes or more, at most {limit} are taken")]
    TooLarge {
        /// What was being asked, of which host.
        doing: String,
        /// Its size as far as it is known.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// An offset behind a blob's end.
    #[error("{doing}: offset {offset} is behind its end at {size}")]
    OutOfRange {
        /// What was being asked, of which host.
        doing: String,
        /// The offset.
        offset: u64,
        /// The blob's size.
        size: u64,
    },
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { kind, .. } | Self::Transport { kind, .. } => *kind,
            Self::Protocol { .. } => ErrorKind::FailedPrecondition,
            Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
            Self::OutOfRange { .. } => ErrorKind::OutOfRange,
        }
    }
}
