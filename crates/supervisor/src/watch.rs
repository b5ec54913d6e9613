//! A shim's process: a pidfd while the daemon runs, its pid and start time across restarts, never a bare pid.

use std::os::fd::{AsFd as _, OwnedFd};

use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

/// A process that can be told from a later one of the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// In clock ticks since boot (proc(5), stat, field 22).
    pub(crate) started: u64,
}

impl Process {
    /// The process that has this pid now; `None` when there is none or it is a zombie.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; what follows its end is numbers.
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?;
        let started = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, started })
    }

    /// True while this very process runs.
    pub(crate) fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// Watches a process's life.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) process: Process,
    fd: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Watches a process by pid. Whoever gave the pid must answer once more afterwards: then it was this process's.
    pub(crate) fn new(pid: u32) -> Option<Self> {
        // A shim is neither init nor this daemon, whatever it says.
        if pid <= 1 || pid == std::process::id() {
            return None;
        }
        let fd = registered(wharf_sys::process::pidfd(pid).ok()?)?;
        Some(Self { process: Process::of(pid)?, fd })
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&self) {
        // The guard is dropped without clearing: what has ended stays so.
        let _ = self.fd.readable().await;
    }

    /// Ends the process.
    pub(crate) fn kill(&self) {
        let _ = wharf_sys::process::signal(self.fd.get_ref().as_fd(), 9);
    }
}

#[allow(deprecated, reason = "the successor is unsafe for types whose descriptor may change; an OwnedFd's cannot")]
fn registered(fd: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, tokio::io::Interest::READABLE).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_itself_until_it_ends() {
        let mut child = std::process::Command::new("/bin/sleep").arg("100").spawn().unwrap();
        let watch = Watch::new(child.id()).unwrap();
        assert!(watch.process.lives());
        assert!(!Process { started: watch.process.started + 1, ..watch.process }.lives());
        watch.kill();
        watch.ended().await;
        watch.ended().await;
        assert!(!watch.process.lives(), "a zombie lives");
        child.wait().unwrap();
        assert!(Watch::new(1).is_none() && Watch::new(0).is_none() && Watch::new(std::process::id()).is_none());
    }
}
