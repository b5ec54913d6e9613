//! Errors in a namespace's own words: a reference of the store behind means nothing to a client.

use std::path::Path;

use wharf_content::Error;
use wharf_types::Kind as _;

use crate::database::damaged;

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Invalid(what) => Self::Invalid(what),
            error => {
                Self::Other { doing: "use the records of content".to_owned(), kind: error.kind(), source: error.into() }
            }
        }
    }
}

/// The same error, about the namespace's own reference.
pub(super) fn refer(error: Error, to: &str) -> Error {
    let to = to.to_owned();
    match error {
        Error::NoIngest(_) => Error::NoIngest(to),
        Error::Locked(_) => Error::Locked(to),
        Error::Done(_) => Error::Done(to),
        Error::WrongSize { actual, expected, .. } => Error::WrongSize { reference: to, actual, expected },
        Error::WrongDigest { actual, expected, .. } => Error::WrongDigest { reference: to, actual, expected },
        Error::OtherTotal { begun, asked, .. } => Error::OtherTotal { reference: to, begun, asked },
        error => error,
    }
}

pub(super) fn unreadable(file: &Path, digest: &str) -> crate::Error {
    damaged(file, &format!("a blob's record is of {digest:?}, which is no digest"))
}
