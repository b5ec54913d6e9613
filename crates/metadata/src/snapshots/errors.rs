//! Errors in a namespace's own words: a name of the snapshotter behind means nothing to a client.

use wharf_snapshot::Error;
use wharf_types::Kind as _;

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::Invalid(what) => Self::Invalid(what),
            error => Self::Other {
                doing: "use the records of snapshots".to_owned(),
                kind: error.kind(),
                source: error.into(),
            },
        }
    }
}

/// The same error, with `key` for the name `behind`, and the second of `parent` for the first.
pub(super) fn rename(error: Error, behind: &str, key: &str, parent: Option<(&str, &str)>) -> Error {
    let name = |name: String| match parent {
        _ if name == behind => key.to_owned(),
        Some((behind, parent)) if name == behind => parent.to_owned(),
        _ => name,
    };
    match error {
        Error::NotFound(found) => Error::NotFound(name(found)),
        Error::AlreadyExists(found) => Error::AlreadyExists(name(found)),
        Error::Precondition { name: found, reason } => Error::Precondition { name: name(found), reason },
        Error::Invalid(what) => Error::Invalid(words(what, behind, key, parent)),
        error => error,
    }
}

/// A sentence with the names replaced.
fn words(what: String, behind: &str, key: &str, parent: Option<(&str, &str)>) -> String {
    let what = what.replace(behind, key);
    parent.map_or_else(|| what.clone(), |(behind, parent)| what.replace(behind, parent))
}
