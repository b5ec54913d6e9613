//! Removing trees.

use std::os::fd::OwnedFd;

use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use super::trouble::{Outcome, Trouble};
use crate::at::{DEPTH, list, open_dir};

/// Removes the directory `name` and all that is in it. No link is followed.
pub(super) fn tree(at: &OwnedFd, name: &[u8]) -> Outcome<()> {
    level(at, name, DEPTH * 2)
}

fn level(at: &OwnedFd, name: &[u8], left: usize) -> Outcome<()> {
    if left == 0 {
        return Err(Trouble::refused("would remove a tree that is too deep"));
    }
    let dir = open_dir(at, name)?;
    for child in list(&dir)? {
        match fs::unlinkat(&dir, child.as_slice(), AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => level(&dir, &child, left - 1)?,
            Err(Errno::NOENT) => {}
            removed => removed?,
        }
    }
    Ok(fs::unlinkat(at, name, AtFlags::REMOVEDIR)?)
}
