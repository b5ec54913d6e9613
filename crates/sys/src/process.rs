//! Child processes by descriptor: a pidfd names one process for ever, a pid only until it is reaped.
//!
//! Nothing here waits by `SIGCHLD`, so it can stand beside any runtime's own handling. A subreaper takes its known
//! children by pidfd and finds the strangers with [`zombie`], which looks without reaping.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It returned or called `exit`.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
}

impl Ended {
    /// The exit status as shells and containerd count it: the code, or 128 and the signal's number.
    #[must_use]
    pub fn status(self) -> u32 {
        match self {
            Self::Code(code) => u32::try_from(code & 0xff).unwrap_or(255),
            Self::Signal(signal) => 128 + u32::try_from(signal).unwrap_or(127),
        }
    }
}

/// Opens a descriptor of a process, close-on-exec and non-blocking (pidfd_open(2)). It is readable once the process has ended.
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: the call takes two integers and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, libc::O_NONBLOCK) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reaps the child behind a pidfd if it has ended; never blocks.
///
/// # Errors
/// `ECHILD` when it is not, or no longer, a child of this process.
pub fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    let id = libc::id_t::try_from(pidfd.as_raw_fd()).map_err(io::Error::other)?;
    Ok(waitid(libc::P_PIDFD, id, libc::WEXITED | libc::WNOHANG)?.map(|(_, ended)| ended))
}

/// The pid of some child that has ended and was not reaped; it stays as it is (`WNOWAIT`).
///
/// # Errors
/// Those of waitid(2); having no children is not one.
pub fn zombie() -> io::Result<Option<u32>> {
    match waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) {
        Ok(found) => Ok(found.map(|(pid, _)| pid)),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reaps a child that has ended by its pid, which [`zombie`] has just returned.
///
/// # Errors
/// `ECHILD` when it is no child of this process.
pub fn reap_pid(pid: u32) -> io::Result<Option<Ended>> {
    Ok(waitid(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG)?.map(|(_, ended)| ended))
}

/// Sends a signal by its number, realtime signals too; 0 only asks whether the process is there.
///
/// # Errors
/// `ESRCH` when it has been reaped, `EINVAL` for a number that is no signal.
pub fn signal(pidfd: BorrowedFd<'_>, signal: u32) -> io::Result<()> {
    let signal = i32::try_from(signal).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is borrowed for the call, and a null siginfo is what kill(2) would fill in.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes this process the parent of all orphans below it (PR_SET_CHILD_SUBREAPER).
///
/// # Errors
/// Those of prctl(2); none on a kernel since 3.4.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: the call takes integers only.
    let done = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many bytes can be read from a pipe, fifo or terminal at once (FIONREAD).
///
/// # Errors
/// `ENOTTY` for what cannot tell.
pub fn readable_bytes(fd: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(fd)?)
}

/// waitid(2), as a pid and how it ended.
fn waitid(kind: libc::idtype_t, id: libc::id_t, options: i32) -> io::Result<Option<(u32, Ended)>> {
    // SAFETY: siginfo_t is plain data, for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a local that outlives the call.
    while unsafe { libc::waitid(kind, id, &raw mut info, options) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: waitid succeeded, so the fields of SIGCHLD are those that were filled in, or still zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let ended = if info.si_code == libc::CLD_EXITED { Ended::Code(status) } else { Ended::Signal(status) };
    Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0).map(|pid| (pid, ended)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::Command;

    use super::*;

    fn ended(script: &str) -> Ended {
        // Whoever asked for it reaps it: that is what is tested.
        #[allow(clippy::zombie_processes)]
        let child = Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
        let fd = pidfd(child.id()).unwrap();
        let mut poll = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut poll, None).unwrap();
        reap(fd.as_fd()).unwrap().unwrap()
    }

    #[test]
    fn a_child_is_reaped_by_descriptor() {
        assert_eq!(ended("exit 7"), Ended::Code(7));
        assert_eq!(ended("kill -9 $$").status(), 137);
    }

    #[test]
    fn a_running_child_is_left_alone_and_can_be_signalled() {
        let mut child = Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let fd = pidfd(child.id()).unwrap();
        assert_eq!(reap(fd.as_fd()).unwrap(), None);
        signal(fd.as_fd(), 15).unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        assert_eq!(signal(fd.as_fd(), 15).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
