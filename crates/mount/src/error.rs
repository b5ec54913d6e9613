//! What can go wrong with mounts for clients.

use wharf_types::{ErrorKind, Kind};

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was being done to what, and why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing of it needs this side.
    #[error("mount {0:?}: nothing of it needs the daemon; mount it where it is wanted, or ask for a temporary mount")]
    Needless(String),
    /// A way of preparing a mount that is not built.
    #[error("mount {name:?}: mounts of type {kind:?} are not prepared here; make the directory or filesystem first")]
    Unprepared {
        /// The name of the activation.
        name: String,
        /// The type that was asked for.
        kind: String,
    },
    /// A request that can never succeed.
    #[error("mount {name:?}: {reason}")]
    Invalid {
        /// The name of the activation.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The records.
    #[error(transparent)]
    Records(#[from] wharf_metadata::Error),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] wharf_sys::Error),
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Needless(_) | Self::Unprepared { .. } => ErrorKind::Unimplemented,
            Self::Invalid { .. } => ErrorKind::InvalidArgument,
            Self::Records(error) => error.kind(),
            Self::Kernel(error) => error.kind(),
        }
    }
}
