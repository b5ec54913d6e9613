//! The children of this process: each known one waited for by its pidfd, and strangers reaped without touching the known.
//!
//! A subreaper is handed orphans it never heard of. A plain `wait` would reap those and, by bad luck, the children that
//! somebody here waits for. So [`Children::reap_strays`] looks first (`WNOWAIT`) and reaps only pids that nobody owns, and
//! a [`Hold`] makes it pause while a process exists whose pid is not known yet: between fork and [`Children::adopt`].

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use wharf_sys::process::{self, Ended};

use crate::watch::watch;

/// The children of this process. Clones share one table; a process that reaps strays needs exactly one.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    table: Mutex<Table>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    known: HashSet<u32>,
    holds: usize,
}

/// While it lives no stray is reaped: some pid that will be adopted is not known yet.
#[derive(Debug)]
pub struct Hold(Children);

/// A child that only its owner reaps. Dropped without having ended it becomes a stray.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: AsyncFd<OwnedFd>,
    children: Children,
    ended: Mutex<Option<Ended>>,
}

impl Children {
    /// Pauses the reaping of strays.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.table().holds += 1;
        Hold(self.clone())
    }

    /// Starts a program.
    ///
    /// # Errors
    /// Those of starting it; those of pidfd_open(2).
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let _hold = self.hold();
        let pid = command.spawn()?.id();
        self.adopt(pid)
    }

    /// Takes over a child that another program made and this process inherited. The caller holds a [`Hold`] taken before
    /// the pid came to be, so that it still names that child.
    ///
    /// # Errors
    /// `ESRCH` when there is no such process.
    pub fn adopt(&self, pid: u32) -> io::Result<Child> {
        let pidfd = watch(process::pidfd(pid)?, Interest::READABLE)?;
        self.table().known.insert(pid);
        Ok(Child { pid, pidfd, children: self.clone(), ended: Mutex::new(None) })
    }

    /// Reaps every child that has ended and that nobody owns, and returns how many there were. To be called at SIGCHLD
    /// and after [`Children::changed`].
    pub fn reap_strays(&self) -> usize {
        let mut reaped = 0;
        loop {
            let table = self.table();
            if table.holds > 0 {
                return reaped;
            }
            match process::zombie() {
                // A known one in front hides those behind it until its owner has reaped it, which wakes us again.
                Ok(Some(pid)) if !table.known.contains(&pid) => {
                    if process::reap_pid(pid).is_err() {
                        return reaped;
                    }
                    reaped += 1;
                }
                _ => return reaped,
            }
        }
    }

    /// Waits until strays may be visible that were hidden: a hold was released or a known child was reaped.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.table().holds -= 1;
        self.0.0.changed.notify_one();
    }
}

impl Child {
    /// Its pid, which names it as long as this value lives.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end and reaps it; any number of waiters get the same answer.
    ///
    /// # Errors
    /// `ECHILD` when it was no child of this process.
    pub async fn wait(&self) -> io::Result<Ended> {
        loop {
            if let Some(ended) = self.try_wait()? {
                return Ok(ended);
            }
            self.pidfd.readable().await?.clear_ready();
        }
    }

    /// Reaps it if it has ended.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub fn try_wait(&self) -> io::Result<Option<Ended>> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_none() {
            *ended = process::reap(self.pidfd.get_ref().as_fd())?;
            if ended.is_some() {
                self.children.table().known.remove(&self.pid);
                self.children.0.changed.notify_one();
            }
        }
        Ok(*ended)
    }

    /// Sends a signal by its number.
    ///
    /// # Errors
    /// `ESRCH` once it has been reaped.
    pub fn signal(&self, signal: u32) -> io::Result<()> {
        process::signal(self.pidfd.get_ref().as_fd(), signal)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if matches!(self.try_wait(), Ok(None) | Err(_)) {
            self.children.table().known.remove(&self.pid);
            self.children.0.changed.notify_one();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn waiters_share_one_end() {
        let children = Children::default();
        let child = children.spawn(&mut sh("exit 3")).unwrap();
        let (a, b) = tokio::join!(child.wait(), child.wait());
        assert_eq!((a.unwrap(), b.unwrap()), (Ended::Code(3), Ended::Code(3)));
    }

    #[tokio::test]
    async fn a_hold_keeps_strays_and_its_end_tells() {
        let children = Children::default();
        let hold = children.hold();
        let mut stray = sh("exit 0").spawn().unwrap();
        let pid = stray.id();
        let fd = watch(process::pidfd(pid).unwrap(), Interest::READABLE).unwrap();
        drop(fd.readable().await.unwrap());
        assert_eq!(children.reap_strays(), 0);
        let child = children.adopt(pid).unwrap();
        drop(hold);
        children.changed().await;
        assert_eq!(children.reap_strays(), 0, "an adopted child is its owner's");
        assert_eq!(child.wait().await.unwrap(), Ended::Code(0));
        assert!(stray.try_wait().is_err(), "it was reaped by descriptor");
    }
}
