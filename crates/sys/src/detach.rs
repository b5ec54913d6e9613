//! A process that goes on without the one that started it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Which side of [`detach`] this is.
#[derive(Debug, PartialEq, Eq)]
pub enum Side {
    /// The process that called; the pid is the child's.
    Parent(u32),
    /// The new process, leader of a session of its own.
    Child,
}

/// Forks once. The child leads a new session, so that no terminal and no process group of the starter's reaches it.
///
/// # Errors
/// Those of fork(2); and `Other` when this process has more than one thread, of which a fork would copy only one.
pub fn detach() -> io::Result<Side> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("cannot fork a process of {threads} threads")));
    }
    // SAFETY: there is one thread (seen above), so no lock of another can be held in the child.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            rustix::process::setsid()?;
            Ok(Side::Child)
        }
        pid => Ok(Side::Parent(u32::try_from(pid).map_err(io::Error::other)?)),
    }
}

/// Puts descriptors in the place of standard input, output and error; the originals are closed.
///
/// # Errors
/// Those of dup2(2).
pub fn redirect(stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<()> {
    for (fd, target) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
        // SAFETY: both are plain numbers; 0 to 2 belong to the process as a whole and are never owned by a value.
        if unsafe { libc::dup2(fd.as_fd().as_raw_fd(), target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
