//! How a container's first process ended, on disk in its bundle before anybody is told.
//!
//! `<bundle>/exits`, one line: `-`, pid, exit status, seconds and nanoseconds since 1970. It is appended by one write; a torn
//! line, which has no newline, counts as not written. Of additional processes the event in the outbox is what is on disk:
//! they end with their container, and a health check every few seconds must not fill the bundle for years.

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
pub(crate) fn append(bundle: &Path, exit: Exit) -> Result<()> {
    let at = exit.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let line = format!("- {} {} {} {}\n", exit.pid, exit.status, at.as_secs(), at.subsec_nanos());
    let path = bundle.join(FILE);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    file.and_then(|mut f| f.write_all(line.as_bytes())).map_err(Error::io(format!("writing {}", path.display())))
}

/// The exit, if it was written down.
pub(crate) fn find(bundle: &Path) -> Option<Exit> {
    let text = fs::read_to_string(bundle.join(FILE)).ok()?;
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).filter_map(parse).next_back()
}

fn parse(line: &str) -> Option<Exit> {
    let mut words = line.strip_prefix("- ")?.split(' ');
    let (pid, status) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let at = Duration::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Exit { pid, status, at: UNIX_EPOCH + at })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_and_a_torn_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let exit = Exit { pid: 7, status: 137, at: UNIX_EPOCH + Duration::new(5, 6) };
        append(dir.path(), exit).unwrap();
        let mut file = OpenOptions::new().append(true).open(dir.path().join(FILE)).unwrap();
        file.write_all(b"- 9 0 5 6").unwrap();
        assert_eq!(find(dir.path()), Some(exit));
    }
}
