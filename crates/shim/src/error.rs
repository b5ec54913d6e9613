//! What a shim answers when it does not do what it was asked.

use std::error::Error as _;
use std::io;

use wharf_types::{ErrorKind, Kind};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request, or the command line, is wrong.
    #[error("{0}")]
    Invalid(String),
    /// There is no such process or container here.
    #[error("{0}")]
    NotFound(String),
    /// There is one of that name already.
    #[error("{0} already exists")]
    Exists(String),
    /// Not in this state.
    #[error("{0}")]
    Precondition(String),
    /// Nobody built it.
    #[error("{0}")]
    Unimplemented(String),
    /// The runtime did not do it.
    #[error(transparent)]
    Runtime(Box<wharf_runtime::Error>),
    /// The kernel did not mount or unmount.
    #[error("{doing}: {source}")]
    Mount {
        /// What was being done, to what.
        doing: String,
        /// The reason.
        source: Box<wharf_sys::Error>,
    },
    /// The system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// Says what was being done when the system refused.
    pub(crate) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source: source.into() }
    }
}

impl From<wharf_runtime::Error> for Error {
    fn from(error: wharf_runtime::Error) -> Self {
        Self::Runtime(Box::new(error))
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Exists(_) => ErrorKind::AlreadyExists,
            Self::Precondition(_) => ErrorKind::FailedPrecondition,
            Self::Unimplemented(_) => ErrorKind::Unimplemented,
            Self::Runtime(error) => error.kind(),
            Self::Mount { source, .. } => source.kind(),
            Self::Io { source, .. } => ErrorKind::of_io(source),
        }
    }
}

/// An error and its causes in one line; a cause that its error has told already is not repeated.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}
