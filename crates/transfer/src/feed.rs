//! A layer's bytes as the extractor's thread gets them.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;
use wharf_content::Reader;

use crate::progress::Meter;

/// How many pieces may wait for a thread. HTTP brings at most about 400 KiB in one.
pub(crate) const DEPTH: usize = 8;

/// A piece of a layer.
pub(crate) enum Piece {
    /// What is in the content store already.
    Stored(Box<dyn Reader>),
    /// What came from the registry.
    Bytes(Bytes),
    /// There is no more. A channel that closes without it was given up.
    End,
}

/// Set when nobody waits for the result any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Reads pieces as they come. It blocks, and is read on a thread that may.
pub(crate) struct Feed {
    pieces: mpsc::Receiver<Piece>,
    now: Now,
    given_up: GivenUp,
    meter: Meter,
}

enum Now {
    Nothing,
    Stored(Box<dyn Reader>, u64),
    Bytes(Bytes),
    Ended,
}

impl Feed {
    pub(crate) fn new(pieces: mpsc::Receiver<Piece>, given_up: GivenUp, meter: Meter) -> Self {
        Self { pieces, now: Now::Nothing, given_up, meter }
    }

    fn next(&mut self) -> io::Result<()> {
        self.now = match self.pieces.blocking_recv() {
            Some(Piece::Stored(reader)) => Now::Stored(reader, 0),
            Some(Piece::Bytes(bytes)) => Now::Bytes(bytes),
            Some(Piece::End) => Now::Ended,
            None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its bytes ended before their time")),
        };
        Ok(())
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.given_up.is_set() {
                return Err(io::Error::other("the pull was given up"));
            }
            let read = match &mut self.now {
                Now::Ended => return Ok(0),
                Now::Nothing => 0,
                Now::Bytes(bytes) => {
                    let count = bytes.len().min(buffer.len());
                    bytes.split_to(count).copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
                    count
                }
                Now::Stored(reader, offset) => {
                    let count = reader.read_at(buffer, *offset).map_err(io::Error::other)?;
                    *offset += count as u64;
                    count
                }
            };
            if read > 0 {
                self.meter.add(read);
                return Ok(read);
            }
            self.next()?;
        }
    }
}
