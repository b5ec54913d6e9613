//! A program on a terminal of its own, as a person would see it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A program that has a terminal.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    master: File,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// Runs `command` on a terminal of so many columns and rows.
    ///
    /// # Errors
    /// When there is no terminal to be had or the command does not start.
    pub fn run(command: &Command, columns: u16, rows: u16) -> anyhow::Result<Self> {
        let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = File::options().read(true).write(true).open(name.to_str()?).context("open the terminal")?;
        let master = File::from(master);
        tcsetwinsize(&master, size(columns, rows))?;
        // A session of its own, of which this is the terminal, so that the kernel tells it of a new size.
        let mut child = Command::new("setsid");
        child.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        child.env("TERM", "xterm").stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
        let child = child.spawn().context("start setsid")?;
        let (sender, output) = channel();
        let mut reader = master.try_clone()?;
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // The read fails once nobody has the other side open.
            while let Ok(length @ 1..) = reader.read(&mut chunk) {
                if sender.send(chunk[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, master, output, seen: String::new() })
    }

    /// Types.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn type_in(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Changes the terminal's size.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) -> anyhow::Result<()> {
        Ok(tcsetwinsize(&self.master, size(columns, rows))?)
    }

    /// Waits until `text` is on the screen and forgets everything up to it.
    ///
    /// # Errors
    /// When it does not appear within 30 seconds, with all that did.
    pub fn wait_for(&mut self, text: &str) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return Ok(());
            }
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout) => bail!("{text:?} did not appear: {}", self.seen),
                Err(RecvTimeoutError::Disconnected) => bail!("{text:?} did not appear before the end: {}", self.seen),
            }
        }
    }

    /// Waits for the program's end and returns its exit status.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn wait(mut self) -> anyhow::Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}
