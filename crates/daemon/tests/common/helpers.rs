//! A real `wharfd` in a directory of its own, and Debian's `ctr` to drive it.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tempfile::TempDir;

/// How long anything here may take before it has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running daemon. Dropped, it is killed.
pub(crate) struct Daemon {
    dir: TempDir,
    child: Child,
}

/// Where a daemon of a test lives.
pub(crate) fn flags(dir: &Path) -> Vec<String> {
    let at = |name: &str| dir.join(name).display().to_string();
    vec!["--root".into(), at("root"), "--state".into(), at("state"), "--address".into(), at("wharf.sock")]
}

/// No collection but those that are asked for, so that nothing a test has just written goes before it is held.
const QUIET: &str = "version = 3\n[plugins.'io.containerd.gc.v1.scheduler']\npause_threshold = 0.0\n\
    mutation_threshold = 0\nstartup_delay = '0s'\n";

/// `wharfd` with arguments.
pub(crate) fn wharfd(args: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharfd"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Daemon {
    /// Starts one in a new directory and waits until it says that it is ready.
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// The same, in a directory where one may have been before.
    pub(crate) fn start_in(dir: TempDir) -> Self {
        Self::start_with(dir, "")
    }

    /// The same, with more in its configuration.
    pub(crate) fn start_with(dir: TempDir, more: &str) -> Self {
        let socket = dir.path().join("notify");
        let _ = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(DEADLINE)).unwrap();
        let config = dir.path().join("config.toml");
        std::fs::write(&config, format!("{QUIET}{more}")).unwrap();
        let mut args = flags(dir.path());
        args.extend(["--config".to_owned(), config.display().to_string()]);
        let mut child = wharfd(&args).env("NOTIFY_SOCKET", &socket).spawn().unwrap();
        let mut buffer = [0; 64];
        match notify.recv(&mut buffer) {
            Ok(size) => assert_eq!(&buffer[..size], b"READY=1"),
            Err(error) => {
                let _ = child.kill();
                panic!("wharfd is not ready: {error}: {}", stderr(&mut child));
            }
        }
        Self { dir, child }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal and waits for the end: what it exited with, what it said, and its directory.
    pub(crate) fn end(mut self, signal: &str) -> (Option<i32>, String, TempDir) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let said = stderr(&mut self.child);
        let code = self.child.wait().unwrap().code();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        (code, said, dir)
    }

    /// `ctr` with arguments, in the namespace `default`.
    pub(crate) fn ctr_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.path("wharf.sock")).arg("--timeout=15s").args(args);
        command
    }

    /// Runs `ctr` and returns what it printed; it has to succeed.
    pub(crate) fn ctr(&self, args: &[&str]) -> String {
        let output = self.ctr_command(args).output().unwrap();
        assert!(output.status.success(), "ctr {args:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `ctr`, which has to fail, and returns what it complained of.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.ctr_command(args).output().unwrap();
        assert!(!output.status.success(), "ctr {args:?} succeeded: {}", text(&output));
        text(&output)
    }

    /// Runs `ctr` with something on its standard input; it has to succeed.
    pub(crate) fn ctr_fed(&self, args: &[&str], input: &[u8]) -> String {
        let output = self.fed(args, input);
        assert!(output.status.success(), "ctr {args:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `ctr` with something on its standard input; it has to fail.
    pub(crate) fn refused_fed(&self, args: &[&str], input: &[u8]) -> String {
        let output = self.fed(args, input);
        assert!(!output.status.success(), "ctr {args:?} succeeded: {}", text(&output));
        text(&output)
    }

    fn fed(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.ctr_command(args);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that gave up early reads no more; what it says of that counts.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }
}

/// A running `ctr events`. Dropped, it is killed.
pub(crate) struct Subscriber {
    child: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    /// Subscribes by one filter, and does `act` again and again until the first event comes: then the subscription stands.
    pub(crate) fn start(daemon: &Daemon, filter: &str, mut act: impl FnMut()) -> (Self, String) {
        let mut command = daemon.ctr_command(&["events", filter]);
        let (told, lines) = std::sync::mpsc::channel();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut events = Self { child, lines };
        let output = BufReader::new(events.child.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| told.send(line)));
        for _ in 0..50 {
            act();
            if let Ok(first) = events.lines.recv_timeout(Duration::from_millis(200)) {
                return (events, first);
            }
        }
        panic!("no event came");
    }

    /// The next event that contains `word`.
    pub(crate) fn next(&self, word: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no event with {word}"));
            if line.contains(word) {
                return line;
            }
        }
    }

    /// Waits until the daemon has ended the subscription.
    pub(crate) fn ended(mut self) {
        self.child.wait().unwrap();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stderr(child: &mut Child) -> String {
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
