//! Whether a file of the lower tree and one of the upper are the same.

use std::io::{BufRead, BufReader};

use rustix::fs::FileType;

use super::file::File;
use crate::at::path_of;
use crate::{Error, Result};

/// What is read of a file at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// True where a layer has nothing to say of `upper`. Where files have the same size and time, their contents are compared
/// if the time has no fraction, which an archive may have cut off, or if `contents` asks for it.
pub(super) fn same(lower: &File<'_>, upper: &File<'_>, contents: bool) -> Result<bool> {
    if lower.identity() == upper.identity() {
        return Ok(true);
    }
    let (a, b) = (&lower.stat, &upper.stat);
    if (a.st_mode, a.st_uid, a.st_gid) != (b.st_mode, b.st_uid, b.st_gid) {
        return Ok(false);
    }
    let kind = upper.kind();
    let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    if device && a.st_rdev != b.st_rdev {
        return Ok(false);
    }
    let times = (a.st_mtime, a.st_mtime_nsec) == (b.st_mtime, b.st_mtime_nsec);
    if kind != FileType::Directory && (a.st_size != b.st_size || !times) {
        return Ok(false);
    }
    if lower.xattrs()? != upper.xattrs()? {
        return Ok(false);
    }
    match kind {
        FileType::Symlink => Ok(lower.target()? == upper.target()?),
        FileType::RegularFile if b.st_size > 0 && (contents || b.st_mtime_nsec == 0) => same_contents(lower, upper),
        _ => Ok(true),
    }
}

fn same_contents(lower: &File<'_>, upper: &File<'_>) -> Result<bool> {
    let mut lower_file = BufReader::with_capacity(CHUNK, lower.open()?.0);
    let mut upper_file = BufReader::with_capacity(CHUNK, upper.open()?.0);
    let failed = |source| Error::Io { doing: format!("read {:?} to compare it", path_of(upper.path)), source };
    loop {
        let (a, b) = (lower_file.fill_buf().map_err(failed)?, upper_file.fill_buf().map_err(failed)?);
        let count = a.len().min(b.len());
        if count == 0 {
            return Ok(a.len() == b.len());
        }
        if a.get(..count) != b.get(..count) {
            return Ok(false);
        }
        lower_file.consume(count);
        upper_file.consume(count);
    }
}
