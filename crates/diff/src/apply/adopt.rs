//! Directories that a layer implied take after those in the layers below.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::meta;
use super::trouble::{Outcome, Trouble};
use crate::at::{open_dir, reopen};
use crate::overlay::{is_opaque, is_whiteout};
use crate::{Error, Result};

/// What a layer has at a path.
enum Found {
    Directory(OwnedFd),
    /// Nothing, and layers below it show through.
    Nothing,
    /// Nothing, and nothing shows through either.
    Hidden,
    /// Something that is no directory.
    Other(FileType),
}

/// Does what [`crate::Applier::adopt`] says.
pub(super) fn adopt(upper: &Path, userxattr: bool, implied: &[PathBuf], parents: &[PathBuf]) -> Result<()> {
    let upper = open(upper)?;
    let parents = parents.iter().map(|path| open(path)).collect::<Result<Vec<_>>>()?;
    for path in implied {
        one(&upper, path, userxattr, &parents).map_err(|trouble| trouble.at(path.as_os_str().as_bytes()))?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<OwnedFd> {
    fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::Io { doing: format!("open the layer {path:?}"), source: errno.into() })
}

fn one(upper: &OwnedFd, path: &Path, userxattr: bool, parents: &[OwnedFd]) -> Outcome<()> {
    let to = match reopen(upper, path.as_os_str().as_bytes()) {
        // The layer took it away again.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        to => to?,
    };
    for parent in parents {
        match find(parent, path, userxattr)? {
            Found::Directory(from) => return Ok(meta::copy(&from, &to)?),
            Found::Nothing => {}
            Found::Hidden => return Ok(()),
            Found::Other(kind) => {
                return Err(Trouble::NeedsParents(format!(
                    "is a {kind:?} in a layer below, and was taken for a directory"
                )));
            }
        }
    }
    Ok(())
}

fn find(layer: &OwnedFd, path: &Path, userxattr: bool) -> Outcome<Found> {
    let mut at = reopen(layer, b"")?;
    let mut opaque = false;
    let mut parts = path.iter().peekable();
    while let Some(part) = parts.next() {
        let part = part.as_bytes();
        let stat = match fs::statat(&at, part, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(if opaque { Found::Hidden } else { Found::Nothing }),
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => at = open_dir(&at, part)?,
            _ if is_whiteout(&stat) => return Ok(Found::Hidden),
            kind if parts.peek().is_none() => return Ok(Found::Other(kind)),
            // A directory above that is none there: the layer listed it, or it would have been told already.
            _ => return Ok(Found::Hidden),
        }
        opaque |= is_opaque(&at, userxattr)?;
    }
    Ok(Found::Directory(at))
}
