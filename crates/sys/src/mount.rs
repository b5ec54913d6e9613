//! Mounting what a [`Mount`] says, and taking it away again.
//!
//! ```no_run
//! use wharf_sys::mount;
//! use wharf_types::Mount;
//!
//! let tmpfs = Mount { kind: "tmpfs".into(), source: "tmpfs".into(), options: vec!["size=1m".into()], ..Mount::default() };
//! mount::mount(&tmpfs, "/mnt")?;
//! mount::unmount_all("/mnt")?;
//! # Ok::<(), wharf_sys::Error>(())
//! ```

mod options;
mod overlay;
mod setattr;
mod temp;
#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use options::Options;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
pub use temp::TempMount;
use wharf_types::Mount;

use crate::error::{Error, Result};

/// The bytes of options that mount(2) takes: a page, and a zero byte at its end.
const DATA_MAX: usize = 4095;

/// Mounts `mount` at `target`. Its own `target`, a path below, is resolved as if `target` were the root directory: no link in
/// there leads out.
///
/// # Errors
/// [`Error::Options`] for what can never be mounted, [`Error::Mount`] with the kernel's reason; nothing is mounted then.
pub fn mount(mount: &Mount, target: impl AsRef<Path>) -> Result<()> {
    at(mount, target.as_ref()).map(|_| ())
}

/// Mounts each of `mounts` in order, each seeing what was mounted before it.
///
/// # Errors
/// As [`mount()`]; those that were mounted already are unmounted again.
pub fn mount_all(mounts: &[Mount], target: impl AsRef<Path>) -> Result<()> {
    let mut done: Vec<PathBuf> = Vec::with_capacity(mounts.len());
    for mount in mounts {
        match at(mount, target.as_ref()) {
            Ok(path) => done.push(path),
            Err(error) => {
                for path in done.iter().rev() {
                    // The first failure is the one to tell of.
                    let _ = detach(path);
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Unmounts the uppermost mount at `target`, lazily when it is in use. A link is not followed.
///
/// # Errors
/// [`Error::Unmount`] when nothing is mounted there or the kernel refuses.
pub fn unmount(target: impl AsRef<Path>) -> Result<()> {
    let target = target.as_ref();
    let result = match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
        Err(Errno::BUSY) => rustix::mount::unmount(target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH),
        result => result,
    };
    result.map_err(|errno| Error::Unmount { target: target.to_owned(), reason: errno.into() })
}

/// Unmounts until nothing is mounted at `target` any more. A path that is missing or no mount point is fine.
///
/// # Errors
/// [`Error::Unmount`] when the kernel refuses.
pub fn unmount_all(target: impl AsRef<Path>) -> Result<()> {
    let target = target.as_ref();
    loop {
        match unmount(target) {
            Ok(()) => {}
            Err(error) => {
                return match error.as_io().and_then(Errno::from_io_error) {
                    Some(Errno::NOENT | Errno::NOTDIR) => Ok(()),
                    // Said of what is no mount point, but also of mounts that a user namespace holds fast.
                    Some(Errno::INVAL) if !is_mount_point(target)? => Ok(()),
                    _ => Err(error),
                };
            }
        }
    }
}

/// True when something is mounted at `path` itself. A missing path is none; a link is not followed.
///
/// # Errors
/// When the path cannot be looked at, or the kernel cannot tell (before Linux 5.8).
pub fn is_mount_point(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(CWD, path, flags, StatxFlags::empty()) {
        Ok(stat) if stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
            Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        Ok(_) => Err(Error::io("tell whether something is mounted on", path, Errno::NOSYS)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(Error::io("look at", path, errno)),
    }
}

/// Mounts, and says where it ended up.
fn at(mount: &Mount, target: &Path) -> Result<PathBuf> {
    let options = Options::parse(mount)?;
    // Held until the end, as its name in /proc is what the kernel is given.
    let (_inside, path) = resolve(mount, target)?;
    apply(mount, &options, &path)?;
    let attributes = if options.bind && !options.remount { options.flags } else { rustix::mount::MountFlags::empty() };
    let after = || {
        if !attributes.is_empty() {
            setattr::restrict(&path, attributes, options.recursive)?;
        }
        options.propagation.map_or(Ok(()), |flags| rustix::mount::mount_change(&path, flags))
    };
    match after() {
        Ok(()) => Ok(path),
        Err(errno) => {
            if !options.remount {
                let _ = detach(&path);
            }
            Err(failure(mount, target, errno, ""))
        }
    }
}

fn apply(mount: &Mount, options: &Options, path: &Path) -> Result<()> {
    let fail = |errno| failure(mount, path, errno, "");
    let text = options.data.join(",");
    if mount.kind == "overlay" && text.len() > DATA_MAX && !options.remount {
        return overlay::mount(&mount.source, path, options.flags, &options.data)
            .map_err(|(errno, log)| failure(mount, path, errno, &log));
    }
    if text.len() > DATA_MAX {
        let reason = format!("its options have {} bytes, the kernel takes {DATA_MAX}", text.len());
        return Err(Error::Options { kind: mount.kind.clone(), from: mount.source.clone(), reason });
    }
    let data = CString::new(text).map_err(|_| fail(Errno::INVAL))?;
    if options.remount {
        let bind = if options.bind { rustix::mount::MountFlags::BIND } else { rustix::mount::MountFlags::empty() };
        return rustix::mount::mount_remount(path, options.flags | bind, data.as_c_str()).map_err(fail);
    }
    let source = mount.source.as_str();
    match (options.bind, options.recursive) {
        (true, false) => rustix::mount::mount_bind(source, path),
        (true, true) => rustix::mount::mount_bind_recursive(source, path),
        _ => rustix::mount::mount(source, path, mount.kind.as_str(), options.flags, data.as_c_str()),
    }
    .map_err(fail)
}

/// Where to mount: `target`, or a path below it that cannot leave it.
fn resolve(mount: &Mount, target: &Path) -> Result<(Option<OwnedFd>, PathBuf)> {
    let below = mount.target.trim_start_matches('/');
    if below.is_empty() {
        return Ok((None, target.to_owned()));
    }
    let fail = |errno| failure(mount, &target.join(below), errno, "");
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, target, flags | OFlags::DIRECTORY, Mode::empty()).map_err(fail)?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let inside = rustix::fs::openat2(&root, below, flags, Mode::empty(), resolve).map_err(fail)?;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", inside.as_raw_fd()))
        .map_err(|e| Error::io("find the path of", target.join(below), e))?;
    Ok((Some(inside), path))
}

fn detach(path: &Path) -> Result<(), Errno> {
    rustix::mount::unmount(path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
}

fn failure(mount: &Mount, target: &Path, errno: Errno, kernel: &str) -> Error {
    let mut options = mount.options.join(",");
    if options.len() > 512 {
        let cut = (0..=512).rev().find(|&n| options.is_char_boundary(n)).unwrap_or(0);
        options.truncate(cut);
        options.push('…');
    }
    let mut detail = if options.is_empty() { String::new() } else { format!("options {options}") };
    if !kernel.is_empty() {
        detail = format!("{kernel}; {detail}");
    }
    Error::Mount {
        kind: mount.kind.clone(),
        from: mount.source.clone(),
        target: target.to_owned(),
        detail,
        reason: errno.into(),
    }
}
