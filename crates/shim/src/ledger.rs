//! How processes ended, on disk in their bundle before anybody is told.
//!
//! `<bundle>/exits`, one line a process: exec id (`-` for the first process), pid, exit status, seconds and nanoseconds since
//! 1970. A line is appended by one write; a torn last line, which has no newline, counts as not written.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

const FILE: &str = "exits";

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) pid: u32,
    /// The exit status; 128 and the signal's number when a signal ended it.
    pub(crate) status: u32,
    pub(crate) at: SystemTime,
}

/// Writes an exit down.
pub(crate) fn append(bundle: &Path, exec: &str, exit: Exit) -> Result<()> {
    let name = if exec.is_empty() { "-" } else { exec };
    let at = exit.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = format!("{name} {} {} {} {}\n", exit.pid, exit.status, at.as_secs(), at.subsec_nanos());
    let path = bundle.join(FILE);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    file.and_then(|mut f| f.write_all(line.as_bytes())).map_err(Error::io(format!("writing {}", path.display())))
}

/// The exit of a process, if it was written down.
pub(crate) fn find(bundle: &Path, exec: &str) -> Option<Exit> {
    let name = if exec.is_empty() { "-" } else { exec };
    let text = fs::read_to_string(bundle.join(FILE)).ok()?;
    text.split_inclusive('\n')
        .filter_map(|l| l.strip_suffix('\n'))
        .filter_map(parse)
        .rfind(|(n, _)| n == name)
        .map(|(_, e)| e)
}

fn parse(line: &str) -> Option<(String, Exit)> {
    let mut words = line.split(' ');
    let name = words.next()?.to_owned();
    let (pid, status) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let at = Duration::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some((name, Exit { pid, status, at: UNIX_EPOCH + at }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_and_a_torn_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let exit = Exit { pid: 7, status: 137, at: UNIX_EPOCH + Duration::new(5, 6) };
        append(dir.path(), "", exit).unwrap();
        append(dir.path(), "sh", Exit { pid: 8, ..exit }).unwrap();
        assert_eq!(find(dir.path(), ""), Some(exit));
        assert_eq!(find(dir.path(), "sh").unwrap().pid, 8);
        let mut file = OpenOptions::new().append(true).open(dir.path().join(FILE)).unwrap();
        file.write_all(b"torn 9 0 5 6").unwrap();
        assert_eq!(find(dir.path(), "torn"), None);
    }
}
