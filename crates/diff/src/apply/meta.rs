//! Owners, modes, times and extended attributes, set by descriptor or without following a link.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::trouble::{Outcome, Trouble};
use crate::archive::{Entry, Kind, Time};
use crate::overlay::is_overlays;

/// The size of a buffer for a list of attributes' names or a value: the kernel's bound.
const XATTR_MAX: usize = 65536;

/// When a file was read and changed last.
pub(super) fn times_of(stat: &Stat) -> Timestamps {
    let time =
        |seconds: i64, nanos: u64| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanos).unwrap_or_default() };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// The times that an entry asks for.
pub(super) fn times(entry: &Entry) -> Timestamps {
    let time = |time: Time| Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) };
    Timestamps { last_access: time(entry.atime.unwrap_or(entry.mtime)), last_modification: time(entry.mtime) }
}

/// Owner, attributes and mode of a file or directory, in the order in which none undoes another.
pub(super) fn dress(fd: &OwnedFd, entry: &Entry) -> Outcome<()> {
    let (uid, gid) = owner(entry)?;
    fs::fchown(fd, Some(uid), Some(gid))?;
    for (name, value) in attributes(entry) {
        tolerate(name, entry.kind, fs::fsetxattr(fd, name, value, XattrFlags::empty()))?;
    }
    fs::fchmod(fd, Mode::from_raw_mode(entry.mode))?;
    Ok(())
}

/// All of that, and times, for what cannot be opened: links, devices, pipes.
pub(super) fn dress_node(dir: &OwnedFd, name: &[u8], entry: &Entry) -> Outcome<()> {
    let (uid, gid) = owner(entry)?;
    fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if !entry.xattrs.is_empty() {
        let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
        for (key, value) in attributes(entry) {
            tolerate(key, entry.kind, fs::lsetxattr(path.as_slice(), key, value, XattrFlags::empty()))?;
        }
    }
    if entry.kind != Kind::Symlink {
        chmod(dir, name, entry.mode)?;
    }
    fs::utimensat(dir, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Sets a mode by a descriptor that opened nothing, so that neither a link is followed nor a device woken.
fn chmod(dir: &OwnedFd, name: &[u8], mode: u32) -> Outcome<()> {
    let node = fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if FileType::from_raw_mode(fs::fstat(&node)?.st_mode) == FileType::Symlink {
        return Err(Trouble::refused("was replaced by a link while it was made"));
    }
    fs::chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), Mode::from_raw_mode(mode))?;
    Ok(())
}

fn owner(entry: &Entry) -> Outcome<(Uid, Gid)> {
    // The number of all ones tells the kernel to leave an owner as it is.
    let id = |what, id: i64| match u32::try_from(id) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Trouble::refused(format!("belongs to {what} {id}, which no system has"))),
    };
    Ok((Uid::from_raw(id("user", entry.uid)?), Gid::from_raw(id("group", entry.gid)?)))
}

fn attributes(entry: &Entry) -> impl Iterator<Item = (&[u8], &[u8])> {
    entry.xattrs.iter().filter(|(name, _)| !is_overlays(name)).map(|(name, value)| (name.as_slice(), value.as_slice()))
}

/// Lets those failures pass that say "not on this filesystem" or "not on this kind of file".
fn tolerate(name: &[u8], kind: Kind, result: Result<(), Errno>) -> Outcome<()> {
    match result {
        Err(Errno::OPNOTSUPP) => Ok(()),
        Err(Errno::PERM) if name.starts_with(b"user.") && !matches!(kind, Kind::File | Kind::Dir) => Ok(()),
        Err(errno) => Err(Trouble::refused(format!(
            "attribute {:?} cannot be set: {}",
            String::from_utf8_lossy(name),
            std::io::Error::from(errno)
        ))),
        Ok(()) => Ok(()),
    }
}

/// The attributes of a file that are not overlayfs' own, nor the label that the host's policy gives.
fn names(fd: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut buffer = vec![0u8; XATTR_MAX];
    let length = match fs::flistxattr(fd, buffer.as_mut_slice()) {
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let list = buffer.get(..length).unwrap_or_default();
    let wanted = |name: &&[u8]| !name.is_empty() && !is_overlays(name) && *name != b"security.selinux";
    Ok(list.split(|b| *b == 0).filter(wanted).map(<[u8]>::to_vec).collect())
}

/// Takes all attributes away, for a directory that an entry describes anew.
pub(super) fn undress(fd: &OwnedFd) -> Result<(), Errno> {
    for name in names(fd)? {
        match fs::fremovexattr(fd, name.as_slice()) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Gives `to` the owner, mode, attributes and times of `from`.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let stat = fs::fstat(from)?;
    fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    let mut buffer = vec![0u8; XATTR_MAX];
    for name in names(from)? {
        let length = fs::fgetxattr(from, name.as_slice(), buffer.as_mut_slice())?;
        fs::fsetxattr(to, name.as_slice(), buffer.get(..length).unwrap_or_default(), XattrFlags::empty())?;
    }
    fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    fs::futimens(to, &times_of(&stat))
}
