//! One call of a runtime's program: found, started, given a deadline, its complaint collected.

use std::env;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use wharf_sys::process::Ended;

use crate::children::{Child, Children};
use crate::error::{Error, Result};

/// Where programs are looked for when there is no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The most bytes of output or complaint that are kept of a call.
const OUTPUT_MAX: u64 = 4 << 20;

/// Who is called, for error messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) binary: &'a str,
    pub(crate) operation: &'static str,
    pub(crate) id: &'a str,
    pub(crate) deadline: Duration,
}

impl Call<'_> {
    pub(crate) fn refused(&self, message: String) -> Error {
        Error::Refused { binary: self.binary.into(), operation: self.operation, id: self.id.into(), message }
    }

    pub(crate) fn garbled(&self, why: impl std::fmt::Display) -> Error {
        Error::Garbled {
            binary: self.binary.into(),
            operation: self.operation,
            id: self.id.into(),
            why: why.to_string(),
        }
    }

    /// Starts the program.
    pub(crate) fn spawn(&self, children: &Children, command: &mut Command) -> Result<Running> {
        let child = children.spawn(command).map_err(Error::io(format!("starting {}", self.binary)))?;
        Ok(Running(Some(child)))
    }

    /// Waits for its end, at most until the deadline.
    pub(crate) async fn finish(&self, mut running: Running) -> Result<Ended> {
        let Some(child) = running.0.as_ref() else { return Ok(Ended::Code(0)) };
        let ended = match tokio::time::timeout(self.deadline, child.wait()).await {
            Ok(ended) => ended.map_err(Error::io(format!("waiting for {}", self.binary)))?,
            Err(_) => return Err(self.hung()),
        };
        running.0 = None;
        Ok(ended)
    }

    /// Runs the program to its end and returns what it wrote; its complaint becomes the error.
    pub(crate) async fn output(&self, children: &Children, command: &mut Command) -> Result<Vec<u8>> {
        let setup = || Error::io(format!("preparing {} {}", self.binary, self.operation));
        let (stdout, theirs) = pipe_pair().map_err(setup())?;
        command.stdout(theirs);
        let (stderr, theirs) = pipe_pair().map_err(setup())?;
        command.stderr(theirs);
        let running = self.spawn(children, command)?;
        // The command keeps its copies of the write ends open until then, and no end of file would come.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (ended, stdout, stderr) = tokio::join!(
            self.finish(running),
            tokio::time::timeout(self.deadline, collect(stdout)),
            tokio::time::timeout(self.deadline, collect(stderr))
        );
        let (stdout, stderr) = (stdout.map_err(|_| self.hung())?, stderr.map_err(|_| self.hung())?);
        match ended? {
            Ended::Code(0) => Ok(stdout),
            ended => {
                Err(self.refused(complaint(&stderr).unwrap_or_else(|| format!("ended with {ended:?}, saying nothing"))))
            }
        }
    }

    fn hung(&self) -> Error {
        Error::Hung {
            binary: self.binary.into(),
            operation: self.operation,
            id: self.id.into(),
            deadline: self.deadline,
        }
    }
}

/// A program that is killed when nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &self.0 {
            let _ = child.signal(9);
        }
    }
}

/// The path of a program: as it is when it has a slash, otherwise the first executable of that name in PATH.
pub(crate) fn find(binary: &str) -> Result<PathBuf> {
    if binary.contains('/') {
        return if Path::new(binary).exists() {
            Ok(binary.into())
        } else {
            Err(Error::Missing { binary: binary.into(), looked: binary.into() })
        };
    }
    let path = env::var_os("PATH").unwrap_or_else(|| PATH.into());
    env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(binary))
        .find(|file| file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
        .ok_or_else(|| Error::Missing { binary: binary.into(), looked: path.to_string_lossy().into_owned() })
}

/// The error message in a runtime's log: the last line of level `error` or `fatal`; where no line is JSON, the last one.
pub(crate) fn complaint(log: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        level: String,
        msg: String,
    }
    let text = String::from_utf8_lossy(log);
    let lines = || text.lines().rev().map(str::trim).filter(|l| !l.is_empty());
    let logged = lines()
        .filter_map(|l| serde_json::from_str::<Line>(l).ok())
        .find(|l| matches!(l.level.as_str(), "error" | "fatal" | "panic" | ""))
        .map(|l| l.msg.trim().to_owned());
    logged.or_else(|| lines().find(|l| !l.starts_with('{')).map(str::to_owned)).filter(|m| !m.is_empty())
}

/// The complaint in a log file, if it has one.
pub(crate) fn complaint_in(log: &Path) -> Option<String> {
    let mut text = Vec::new();
    File::open(log).ok()?.take(OUTPUT_MAX).read_to_end(&mut text).ok()?;
    complaint(&text)
}

/// A pipe: our end to read, the child's to write.
fn pipe_pair() -> io::Result<(pipe::Receiver, Stdio)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((pipe::Receiver::from_owned_fd(read)?, write.into()))
}

/// Everything up to end of file, of which the first [`OUTPUT_MAX`] bytes are kept.
async fn collect(pipe: pipe::Receiver) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut pipe = pipe.take(OUTPUT_MAX);
    let _ = pipe.read_to_end(&mut kept).await;
    kept
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_the_complaint() {
        let log = br#"{"level":"error","msg":"first"}
{"level":"error","msg":"exec: \"x\": not found\n"}
{"level":"info","msg":"bye"}"#;
        assert_eq!(complaint(log).unwrap(), "exec: \"x\": not found");
        assert_eq!(complaint(b"runc: something\nunknown flag\n").unwrap(), "unknown flag");
        assert_eq!(complaint(b" \n"), None);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = find("wharf-no-such-runtime").unwrap_err().to_string();
        assert!(error.contains("wharf-no-such-runtime") && error.contains("/usr/bin"), "{error}");
    }
}
