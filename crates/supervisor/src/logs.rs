//! What shims write to the fifo `log` of their bundle, as events of our own log.

use std::io;
use std::path::Path;

use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

/// A longer line is cut, in bytes.
const LINE: usize = 4096;

/// Reads a shim's log as long as it is kept.
#[derive(Debug)]
pub(crate) struct Log(JoinHandle<()>);

impl Drop for Log {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Log {
    /// Opens the fifo for both sides, so that neither the daemon waits for the shim, nor the shim for the daemon.
    ///
    /// # Errors
    /// When it cannot be opened or is no fifo.
    pub(crate) fn open(bundle: &Path, namespace: &str, id: &str) -> io::Result<Self> {
        let fifo = pipe::OpenOptions::new().read_write(true).open_receiver(bundle.join("log"))?;
        let (namespace, id) = (namespace.to_owned(), id.to_owned());
        Ok(Self(tokio::spawn(async move {
            let tell = |line: &str| tracing::info!(target: "shim", namespace, id, line, "a shim says");
            let mut lines = Lines::default();
            while fifo.readable().await.is_ok() {
                // On the stack, between waits: thousands of shims that say nothing cost nothing.
                let mut buffer = [0; LINE];
                match fifo.try_read(&mut buffer) {
                    Ok(n) => lines.take(buffer.get(..n).unwrap_or_default(), tell),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        })))
    }
}

/// Cuts bytes into lines of bounded length.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], mut tell: impl FnMut(&str)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.line);
                tell(line.trim_end());
                self.line.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_bounded() {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        for bytes in [&b"one\ntw"[..], b"o\n", &[b'x'; 10_000], b"\nlast\n", b"half"] {
            lines.take(bytes, |line| told.push(line.to_owned()));
        }
        assert_eq!(told, ["one", "two", &"x".repeat(LINE), "last"]);
    }
}
