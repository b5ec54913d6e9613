//! Whether the directory that an overlay wrote into can be read without the overlay.

use std::os::fd::OwnedFd;

use super::file::{File, failed};
use super::sides::Side;
use crate::at::{DEPTH, join, list, open_dir};
use crate::{Error, Result};

/// True when all that the overlay shows of this directory is in it, by marks that are understood here.
pub(super) fn is_plain(side: &Side) -> Result<bool> {
    level(&super::open(&side.dir)?, b"", side.userxattr, DEPTH)
}

fn level(dir: &OwnedFd, path: &[u8], userxattr: bool, left: usize) -> Result<bool> {
    if left == 0 {
        return Err(too_deep(path));
    }
    for name in list(dir).map_err(|errno| failed(path, errno))? {
        let path = join(path, &name);
        let Some(file) = File::look(dir, &name, &path)? else { continue };
        if !plain(&file, userxattr)? {
            return Ok(false);
        }
        if file.is_dir() {
            let dir = open_dir(dir, &name).map_err(|errno| failed(&path, errno))?;
            if !level(&dir, &path, userxattr, left - 1)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// True for a file that is what it seems. What is not: contents that are still below, a directory whose lower names are
/// elsewhere, one name of several whose others an index knows, whiteouts in the form of files.
pub(super) fn plain(file: &File<'_>, userxattr: bool) -> Result<bool> {
    let prefix: &[u8] = if userxattr { b"user.overlay." } else { b"trusted.overlay." };
    for name in file.xattr_names()? {
        let understood = match name.strip_prefix(prefix) {
            Some(b"metacopy" | b"redirect" | b"nlink" | b"whiteout" | b"whiteouts") => false,
            Some(b"opaque") => file.xattr(&name)?.is_none_or(|value| value == b"y"),
            _ => true,
        };
        if !understood {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The error of a tree that goes down too far.
pub(super) fn too_deep(path: &[u8]) -> Error {
    let reason = format!("lies more than {DEPTH} directories deep, which no layer may");
    Error::Entry { path: crate::at::path_of(path), reason }
}
