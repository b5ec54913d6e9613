//! What goes wrong with one entry, before it is known which.

use std::path::PathBuf;

use rustix::io::Errno;
use wharf_types::ErrorKind;

use crate::Error;
use crate::at::path_of;

/// The result of handling an entry.
pub(super) type Outcome<T> = std::result::Result<T, Trouble>;

/// Why an entry cannot be.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is refused for what it says.
    Refused(String),
    /// It leads through this path, which is no directory.
    NotDir(PathBuf),
    /// The layers below would have to be seen.
    NeedsParents(String),
    /// The filesystem failed.
    Errno(Errno),
    /// What already knows its place.
    Known(Error),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::XDEV => Self::refused("leads into something that is mounted within the tree"),
            errno => Self::Errno(errno),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Known(error)
    }
}

impl Trouble {
    /// A refusal.
    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }

    /// The error of the entry at `path`.
    pub(super) fn at(self, path: &[u8]) -> Error {
        let path: PathBuf = path_of(path);
        match self {
            Self::Refused(reason) => Error::Entry { path, reason },
            Self::NotDir(through) => {
                Error::Entry { path, reason: format!("leads through {through:?}, which is no directory") }
            }
            Self::NeedsParents(reason) => Error::NeedsParents { path, reason },
            Self::Known(error) => error,
            Self::Errno(errno) => {
                let source = std::io::Error::from(errno);
                // What the machine cannot do is its failure; everything else the kernel says is about what the entry wants.
                let machine = matches!(errno, Errno::IO | Errno::ROFS | Errno::NFILE | Errno::MFILE | Errno::NOMEM);
                let kind = ErrorKind::of_io(&source);
                if machine || matches!(kind, ErrorKind::ResourceExhausted | ErrorKind::PermissionDenied) {
                    Error::Io { doing: format!("extract layer entry {path:?}"), source }
                } else {
                    Error::Entry { path, reason: format!("cannot be made: {source}") }
                }
            }
        }
    }
}
