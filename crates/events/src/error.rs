//! What can go wrong in an exchange.

use wharf_types::{ErrorKind, Kind, id};

/// The result of an exchange's call.
pub type Result<T> = std::result::Result<T, Error>;

/// Which event was not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The topic does not begin with a slash.
    #[error("publish to topic {topic:?}: it does not begin with '/', as in \"/tasks/exit\"")]
    Relative {
        /// The topic, cut to its first 160 characters.
        topic: String,
    },
    /// A part of the topic is empty or has other characters than identifiers have.
    #[error("publish to topic {topic:?}: {source}")]
    Part {
        /// The topic, cut to its first 160 characters.
        topic: String,
        /// What is wrong with which part.
        source: id::ParseError,
    },
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Relative { .. } | Self::Part { .. } => ErrorKind::InvalidArgument,
        }
    }
}
