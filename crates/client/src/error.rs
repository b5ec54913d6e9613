//! What can go wrong between a client and the server.

use std::path::PathBuf;

use wharf_types::{ErrorKind, Kind};

/// The result of a call.
pub type Result<T> = std::result::Result<T, Error>;

/// What was being done, and why it failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answers on the socket.
    #[error("connect to {}: {source}; is the daemon running, and may this user open the socket?", address.display())]
    Connect {
        /// The socket.
        address: PathBuf,
        /// Why it failed.
        source: tonic::transport::Error,
    },
    /// The server refused.
    #[error("{doing}: {}", status.message())]
    Call {
        /// What was being done, to what.
        doing: String,
        /// The server's answer.
        status: Box<tonic::Status>,
    },
    /// An image that cannot be run, or is not what it says.
    #[error("image {image}: {reason}")]
    Image {
        /// Its name.
        image: String,
        /// What is wrong.
        reason: String,
    },
    /// The server's answer lacks what the API promises.
    #[error("{doing}: the server's answer has no {missing}")]
    Answer {
        /// What was being done.
        doing: String,
        /// What is missing.
        missing: &'static str,
    },
    /// A failure on this side.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    /// Makes an error of a status, saying what was being done.
    pub(crate) fn during(doing: impl Into<String>) -> impl FnOnce(tonic::Status) -> Self {
        let doing = doing.into();
        move |status| Self::Call { doing, status: Box::new(status) }
    }

    /// Makes an error of an I/O error, saying what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect { .. } => ErrorKind::Unavailable,
            Self::Call { status, .. } => ErrorKind::from_code(status.code() as i32),
            Self::Image { .. } => ErrorKind::InvalidArgument,
            Self::Answer { .. } => ErrorKind::Internal,
            Self::Io { source, .. } => ErrorKind::of_io(source),
        }
    }
}
