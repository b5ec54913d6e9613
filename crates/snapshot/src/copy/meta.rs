//! Owners, attributes, modes and times, in the order in which none undoes another: a change of owner clears set-id bits and
//! capabilities, and everything changes times.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// Gives an open file or directory what another has.
pub(super) fn apply(from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    attributes(&proc_path(from, None), &proc_path(to, None), true)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    rustix::fs::futimens(to, &times(stat))
}

/// Gives a name what another has: links, devices, fifos and sockets, which are better not opened.
pub(super) fn apply_by_name(from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    rustix::fs::chownat(to, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
    attributes(&proc_path(from, Some(name)), &proc_path(to, Some(name)), false)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::chmodat(to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |tv_sec: i64, nsec: u64| Timespec { tv_sec, tv_nsec: i64::try_from(nsec).unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// The path of an open file, or of a name in an open directory, of any length: attributes have no calls by directory and name
/// before Linux 6.13.
fn proc_path(fd: &OwnedFd, name: Option<&CStr>) -> PathBuf {
    let path = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    name.map_or_else(|| path.clone(), |name| path.join(Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()))))
}

/// Copies all extended attributes, access lists among them. `open` paths end in a link of /proc that is to be followed.
fn attributes(from: &Path, to: &Path, open: bool) -> Result<(), Errno> {
    let list = |buffer: &mut [u8]| {
        if open { rustix::fs::listxattr(from, buffer) } else { rustix::fs::llistxattr(from, buffer) }
    };
    let names = match grow(list) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        names => names?,
    };
    for name in names.split_inclusive(|&b| b == 0).filter_map(|name| CString::from_vec_with_nul(name.to_vec()).ok()) {
        let get = |buffer: &mut [u8]| {
            if open { rustix::fs::getxattr(from, &*name, buffer) } else { rustix::fs::lgetxattr(from, &*name, buffer) }
        };
        let value = grow(get)?;
        if open {
            rustix::fs::setxattr(to, &*name, &value, XattrFlags::empty())?;
        } else {
            rustix::fs::lsetxattr(to, &*name, &value, XattrFlags::empty())?;
        }
    }
    Ok(())
}

/// Calls `read` with more and more room until the answer fits.
fn grow(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }
}
