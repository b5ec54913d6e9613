//! Flags of mounts that exist already.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

/// Sets `flags` on the mount at `target`, and on those below it when `recursive`, keeping the flags that it has: a mount that
/// came from another user namespace may not lose any of them.
pub(super) fn restrict(target: &Path, flags: MountFlags, recursive: bool) -> Result<(), Errno> {
    match mount_setattr(target, attributes(flags), recursive) {
        // Before Linux 5.12. Mounts below cannot be changed in one step then, so only the top one is.
        Err(Errno::NOSYS) => remount(target, flags),
        result => result,
    }
}

/// `MOUNT_ATTR_*` bits to set, and those to clear first.
fn attributes(flags: MountFlags) -> (u64, u64) {
    let mut set = 0;
    for (flag, attribute) in [
        (MountFlags::RDONLY, libc::MOUNT_ATTR_RDONLY),
        (MountFlags::NOSUID, libc::MOUNT_ATTR_NOSUID),
        (MountFlags::NODEV, libc::MOUNT_ATTR_NODEV),
        (MountFlags::NOEXEC, libc::MOUNT_ATTR_NOEXEC),
        (MountFlags::NODIRATIME, libc::MOUNT_ATTR_NODIRATIME),
        (MountFlags::NOSYMFOLLOW, libc::MOUNT_ATTR_NOSYMFOLLOW),
        (MountFlags::NOATIME, libc::MOUNT_ATTR_NOATIME),
        (MountFlags::STRICTATIME, libc::MOUNT_ATTR_STRICTATIME),
    ] {
        if flags.contains(flag) {
            set |= attribute;
        }
    }
    let times = MountFlags::NOATIME | MountFlags::STRICTATIME | MountFlags::RELATIME;
    // The access time modes are one number, not bits: the kernel wants all of them cleared when one is set.
    (set, if flags.intersects(times) { libc::MOUNT_ATTR__ATIME } else { 0 })
}

fn mount_setattr(target: &Path, (set, clear): (u64, u64), recursive: bool) -> Result<(), Errno> {
    let fd = rustix::fs::openat(CWD, target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is open for the length of the call, the path is a constant string with its zero byte, and the
    // kernel reads as many bytes of `attributes`, which it does not keep, as the last argument says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
}

fn remount(target: &Path, mut flags: MountFlags) -> Result<(), Errno> {
    let now = rustix::fs::statvfs(target)?.f_flag;
    for (has, flag) in [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if now.contains(has) {
            flags |= flag;
        }
    }
    rustix::mount::mount_remount(target, flags | MountFlags::BIND, c"")
}
