//! Calls of the runtime that a dead shim left unfinished. They go on without it, and would race with whoever cleans up.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use wharf_runtime::watch;
use wharf_sys::process;

/// How long they may take to end by themselves. One that ends leaves a container that the runtime knows and can remove; one
/// that is killed leaves what nobody knows.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Waits until no call of the runtime works on a bundle any more, and kills those that take longer than `patience`.
pub(crate) async fn settle(bundle: &Path, patience: Duration) {
    let calls: Vec<AsyncFd<OwnedFd>> = calls(bundle).into_iter().filter_map(open).collect();
    let ended = async {
        for call in &calls {
            let _ = call.readable().await;
        }
    };
    if tokio::time::timeout(patience, ended).await.is_ok() {
        return;
    }
    for call in &calls {
        // One that has ended meanwhile is what is wanted.
        let _ = process::signal(call.get_ref().as_fd(), 9);
    }
}

fn open(pid: u32) -> Option<AsyncFd<OwnedFd>> {
    watch(process::pidfd(pid).ok()?, Interest::READABLE).ok()
}

/// The processes whose arguments have `--log` and a file of the bundle, as every call that makes a process has. Others may
/// look into the bundle too, and are let be.
fn calls(bundle: &Path) -> Vec<u32> {
    let prefix = [bundle.as_os_str().as_bytes(), b"/"].concat();
    let logs_here = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = line.split(|b| *b == 0).skip_while(|argument| *argument != b"--log");
        arguments.nth(1).is_some_and(|log| log.starts_with(&prefix))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(logs_here).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[tokio::test]
    async fn who_works_on_a_bundle_is_waited_for_and_who_holds_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let run = |script: &str, flag: &str| {
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", script, "x", flag])
                .arg(dir.path().join("log.json"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            // Once it speaks it has its arguments.
            child.stdout.take().unwrap().read_exact(&mut [0; 3]).unwrap();
            child
        };
        let mut holder = run("echo up; read x; :", "--follow");
        let mut worker = run("echo up; echo done > \"$2\"", "--log");
        settle(dir.path(), PATIENCE).await;
        assert_eq!(fs::read_to_string(dir.path().join("log.json")).unwrap(), "done\n");
        assert!(worker.wait().unwrap().success());
        holder.kill().unwrap();
        assert_eq!(holder.wait().unwrap().code(), None, "only this test has ended it");
    }

    #[tokio::test]
    async fn who_hangs_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let mut worker = Command::new("/bin/sh");
        worker.args(["-c", "echo up; read x; :", "x", "--log"]).arg(dir.path().join("x"));
        let mut worker = worker.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        worker.stdout.take().unwrap().read_exact(&mut [0; 3]).unwrap();
        settle(dir.path(), Duration::from_millis(50)).await;
        assert_eq!(worker.wait().unwrap().code(), None);
    }
}
