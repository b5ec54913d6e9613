//! Commands that are run to their end, and what they said.

use std::process::{Command, Stdio};

use anyhow::bail;

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The command as one would type it.
    pub line: String,
    /// The exit status; 128 and the signal where a signal ended it, 127 when it could not be started.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Finished {
    /// What it printed.
    ///
    /// # Errors
    /// When it failed, with all it said.
    pub fn ok(self) -> anyhow::Result<String> {
        if self.status != 0 {
            bail!("{}: exit status {}\n{}{}", self.line, self.status, self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }

    /// What it complained of.
    ///
    /// # Errors
    /// When it did not fail.
    pub fn refused(self) -> anyhow::Result<String> {
        if self.status == 0 {
            bail!("{}: succeeded, and should not have\n{}{}", self.line, self.stdout, self.stderr);
        }
        Ok(self.stderr)
    }
}

/// Runs a command to its end, without stdin.
pub fn run(command: &mut Command) -> Finished {
    use std::os::unix::process::ExitStatusExt as _;
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    match command.stdin(Stdio::null()).output() {
        Ok(output) => Finished {
            line,
            status: output.status.code().or_else(|| output.status.signal().map(|s| 128 + s)).unwrap_or(127),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        },
        Err(error) => Finished { line, status: 127, stdout: String::new(), stderr: error.to_string() },
    }
}

/// Runs a shell's script to its end.
pub fn sh(script: &str) -> Finished {
    run(Command::new("sh").args(["-ec", script]))
}
