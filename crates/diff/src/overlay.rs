//! The marks that overlayfs leaves in an upper directory (Documentation/filesystems/overlayfs.rst).

use std::os::fd::OwnedFd;

use rustix::fs::{self, FileType, Stat, XattrFlags};
use rustix::io::Errno;

/// True for the attributes that are overlayfs' own, which no layer may forge.
pub(crate) fn is_overlays(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// True for overlayfs' whiteout.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn opaque_name(userxattr: bool) -> &'static str {
    if userxattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" }
}

/// Marks a directory of an upper directory as opaque.
pub(crate) fn set_opaque(dir: &OwnedFd, userxattr: bool) -> Result<(), Errno> {
    fs::fsetxattr(dir, opaque_name(userxattr), b"y", XattrFlags::empty())
}

/// Marks a directory of an upper directory as one with whiteouts in it.
///
/// Where a directory turns out to have no counterpart below, overlayfs lists what is in it as it is, whiteouts too, unless it
/// bears the mark of one that was copied up. Empty, that mark says "from where is not known".
pub(crate) fn set_origin(dir: &OwnedFd, userxattr: bool) -> Result<(), Errno> {
    let name = if userxattr { "user.overlay.origin" } else { "trusted.overlay.origin" };
    fs::fsetxattr(dir, name, b"", XattrFlags::empty())
}

/// True for a directory that is marked as opaque.
pub(crate) fn is_opaque(dir: &OwnedFd, userxattr: bool) -> Result<bool, Errno> {
    let mut value = [0u8; 8];
    match fs::fgetxattr(dir, opaque_name(userxattr), value.as_mut_slice()) {
        Ok(length) => Ok(value.get(..length) == Some(b"y")),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}
