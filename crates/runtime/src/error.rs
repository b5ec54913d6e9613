//! What goes wrong between us and a runtime.

use std::io;
use std::time::Duration;

use wharf_types::{ErrorKind, Kind};

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a runtime did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not there.
    #[error(
        "cannot find the OCI runtime {binary:?}: looked in {looked}; install it (Debian: apt-get install runc) or name \
         another by the option BinaryName"
    )]
    Missing {
        /// The name or path that was looked for.
        binary: String,
        /// The directories that were searched, or the path itself.
        looked: String,
    },
    /// The runtime refused, in its own words.
    #[error("{binary} {operation} {id:?}: {message}")]
    Refused {
        /// The runtime.
        binary: String,
        /// The subcommand.
        operation: &'static str,
        /// The container.
        id: String,
        /// What it said.
        message: String,
    },
    /// The runtime did not come back, and was killed.
    #[error("{binary} {operation} {id:?} did not end within {deadline:?} and was killed")]
    Hung {
        /// The runtime.
        binary: String,
        /// The subcommand.
        operation: &'static str,
        /// The container.
        id: String,
        /// How long it was given.
        deadline: Duration,
    },
    /// Something that the runtime said or wrote made no sense.
    #[error("{binary} {operation} {id:?} answered what cannot be read: {why}")]
    Garbled {
        /// The runtime.
        binary: String,
        /// The subcommand.
        operation: &'static str,
        /// The container.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody built it.
    #[error("{what} is not built")]
    Unimplemented {
        /// The operation.
        what: String,
    },
    /// The system refused something on our side.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, to what.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// Says what was being done when the system refused.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// The runtime's own message, where there is one.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        if let Self::Refused { message, .. } = self { Some(message) } else { None }
    }
}

impl Kind for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Missing { .. } => ErrorKind::NotFound,
            Self::Refused { operation, message, .. } => kind_of(operation, message),
            Self::Hung { .. } => ErrorKind::DeadlineExceeded,
            Self::Garbled { .. } => ErrorKind::Internal,
            Self::Unimplemented { .. } => ErrorKind::Unimplemented,
            Self::Io { source, .. } => ErrorKind::of_io(source),
        }
    }
}

/// The kind of a runtime's message: a command line has no codes, so the words that runc, crun and youki use decide.
fn kind_of(operation: &str, message: &str) -> ErrorKind {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|w| message.contains(w));
    if says(&["container does not exist", "container \"", "no such container"]) && says(&["does not exist", "no such"])
        || message.ends_with("does not exist") && !message.contains('/')
        || says(&["process already finished", "no such process"])
        // Whom a signal was for has gone; other calls come at the wrong moment.
        || operation == "kill" && says(&["container not running"])
    {
        ErrorKind::NotFound
    } else if says(&["already exists", "id already in use"]) {
        ErrorKind::AlreadyExists
    } else if says(&[
        "cannot start a container that has stopped",
        "cannot start an already running",
        "not stopped",
        "is not running",
        "container not running",
        "is not paused",
        "not in a running state",
        "container not paused",
        "cannot delete container",
        "stopped container",
        "cannot pause",
    ]) {
        ErrorKind::FailedPrecondition
    } else {
        ErrorKind::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_kinds() {
        for (operation, message, kind) in [
            ("kill", "container does not exist", ErrorKind::NotFound),
            ("ps", "container \"x\" does not exist", ErrorKind::NotFound),
            ("kill", "container not running", ErrorKind::NotFound),
            ("pause", "container not running", ErrorKind::FailedPrecondition),
            ("create", "container with given ID already exists", ErrorKind::AlreadyExists),
            ("create", "container with id exists: x: already exists", ErrorKind::AlreadyExists),
            ("start", "cannot start a container that has stopped", ErrorKind::FailedPrecondition),
            ("exec", "exec: \"/nope\": stat /nope: no such file or directory", ErrorKind::Unknown),
        ] {
            assert_eq!(kind_of(operation, message), kind, "{message}");
        }
    }
}
