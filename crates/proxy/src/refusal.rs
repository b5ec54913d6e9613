//! What a plugin refused, or that it could not be asked.

use std::error::Error;

use tonic::{Code, Status};
use wharf_types::{Digest, ErrorKind, Kind};

use crate::Plugin;

/// What was asked of which plugin, and why nothing came of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {doing}: {reason}")]
pub struct Refusal {
    place: String,
    doing: String,
    kind: ErrorKind,
    reason: String,
}

impl Kind for Refusal {
    fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl Refusal {
    pub(crate) fn new(plugin: &Plugin, doing: String, status: &Status) -> Self {
        // A connection that cannot be made, or that broke: the plugin is not there, whatever the code says. One that does not
        // answer is as good as not there.
        let transport = status.source().is_some_and(|source| source.is::<tonic::transport::Error>());
        let gone = transport || matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable);
        let kind = if gone { ErrorKind::Unavailable } else { ErrorKind::from_code(status.code() as i32) };
        let mut reason = status.message().to_owned();
        let mut source = status.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            source = error.source();
        }
        Self { place: plugin.place(), doing, kind, reason }
    }

    /// An answer that lacks what the API promises.
    pub(crate) fn odd(plugin: &Plugin, doing: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { place: plugin.place(), doing: doing.into(), kind: ErrorKind::Internal, reason: reason.into() }
    }

    /// As a snapshotter's error; `missing` and `taken` are the names that a missing and a taken one would be.
    pub(crate) fn snapshot(self, missing: &str, taken: &str) -> wharf_snapshot::Error {
        use wharf_snapshot::Error;
        match self.kind {
            ErrorKind::NotFound => Error::NotFound(missing.to_owned()),
            ErrorKind::AlreadyExists => Error::AlreadyExists(taken.to_owned()),
            ErrorKind::InvalidArgument => Error::Invalid(self.to_string()),
            ErrorKind::FailedPrecondition => Error::Precondition { name: missing.to_owned(), reason: self.reason },
            kind => Error::Other { doing: format!("{}: {}", self.place, self.doing), kind, source: self.reason.into() },
        }
    }

    /// As a content store's error that names a blob.
    pub(crate) fn blob(self, digest: &Digest) -> wharf_content::Error {
        match self.kind {
            ErrorKind::NotFound => wharf_content::Error::NotFound(digest.clone()),
            _ => self.content(),
        }
    }

    /// As a content store's error that names an ingest.
    pub(crate) fn ingest(self, reference: &str) -> wharf_content::Error {
        match self.kind {
            ErrorKind::NotFound => wharf_content::Error::NoIngest(reference.to_owned()),
            _ => self.content(),
        }
    }

    /// As a content store's error that names nothing.
    pub(crate) fn content(self) -> wharf_content::Error {
        use wharf_content::Error;
        match self.kind {
            ErrorKind::InvalidArgument => Error::Invalid(self.to_string()),
            kind => Error::Other { doing: format!("{}: {}", self.place, self.doing), kind, source: self.reason.into() },
        }
    }
}
