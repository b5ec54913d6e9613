//! Events that were not delivered yet, on disk beside the shim's socket.
//!
//! The file is eight bytes, the offset of the first event that nobody has taken, and then events: four bytes of length and a
//! `ForwardRequest`, all numbers little-endian. It is cut back to its head whenever it is empty. It outlives the shim, so that
//! whoever cleans up after a shim that was killed can deliver what it could not.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The head: the offset of the first event.
const HEAD: u64 = 8;

/// An event is a few hundred bytes; what claims to be longer than this is a damaged file.
const EVENT_MAX: u32 = 4 << 20;

/// A queue of encoded events in a file.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    pushed: Notify,
}

#[derive(Debug)]
struct State {
    file: File,
    first: u64,
    end: u64,
}

impl Outbox {
    /// Opens the queue in `path`, made when it is not there; what cannot be read in it is cut off. Fails with `WouldBlock`
    /// while another shim has it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        let mut head = [0; 8];
        let first = match file.read_exact_at(&mut head, 0) {
            Ok(()) => u64::from_le_bytes(head).max(HEAD),
            Err(_) => HEAD,
        };
        let mut state = State { file, first, end: first };
        while let Some(event) = state.read(state.end)? {
            state.end += 4 + event.len() as u64;
        }
        state.settle()?;
        Ok(Self { state: Mutex::new(state), pushed: Notify::new() })
    }

    /// Appends an event.
    pub(crate) fn push(&self, event: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let length = u32::try_from(event.len()).ok().filter(|l| *l <= EVENT_MAX);
        let length = length.ok_or_else(|| io::Error::other("an event is too long"))?;
        let mut record = Vec::with_capacity(event.len() + 4);
        record.extend_from_slice(&length.to_le_bytes());
        record.extend_from_slice(event);
        state.file.write_all_at(&record, state.end)?;
        state.end += record.len() as u64;
        drop(state);
        self.pushed.notify_one();
        Ok(())
    }

    /// The first event, which stays until [`Outbox::taken`].
    pub(crate) fn first(&self) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        if state.first == state.end { Ok(None) } else { state.read(state.first) }
    }

    /// Forgets the first event, of `length` bytes: it was delivered.
    pub(crate) fn taken(&self, length: usize) -> io::Result<()> {
        let mut state = self.state();
        state.first += 4 + length as u64;
        state.settle()
    }

    /// True when everything was delivered.
    pub(crate) fn is_empty(&self) -> bool {
        let state = self.state();
        state.first == state.end
    }

    /// Waits for an event that was pushed since the last call.
    pub(crate) async fn pushed(&self) {
        self.pushed.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The event at an offset; `None` at the end, or where the bytes are no whole event.
    fn read(&self, at: u64) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        if self.file.read_exact_at(&mut length, at).is_err() {
            return Ok(None);
        }
        let length = u32::from_le_bytes(length);
        if length > EVENT_MAX {
            return Ok(None);
        }
        let mut event = vec![0; length as usize];
        match self.file.read_exact_at(&mut event, at + 4) {
            Ok(()) => Ok(Some(event)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the head down, and gives the space back once nothing is left.
    fn settle(&mut self) -> io::Result<()> {
        if self.first >= self.end {
            (self.first, self.end) = (HEAD, HEAD);
        }
        // The head first: events that are cut off must not be pointed at.
        self.file.write_all_at(&self.first.to_le_bytes(), 0)?;
        self.file.set_len(self.end)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn survives_reopening_and_a_torn_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.events");
        let outbox = Outbox::open(&path).unwrap();
        for event in ["one", "two", "three"] {
            outbox.push(event.as_bytes()).unwrap();
        }
        outbox.taken(3).unwrap();
        drop(outbox);
        let end = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().write_all_at(&[9, 0, 0, 0, 1], end).unwrap();
        let outbox = Outbox::open(&path).unwrap();
        outbox.push(b"four").unwrap();
        for event in ["two", "three", "four"] {
            assert_eq!(outbox.first().unwrap().unwrap(), event.as_bytes());
            outbox.taken(event.len()).unwrap();
        }
        assert!(outbox.is_empty() && outbox.first().unwrap().is_none());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), HEAD);
    }
}
