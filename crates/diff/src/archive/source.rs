//! Inflated bytes, digested and counted as they come.

use std::cell::Cell;
use std::io::Read;

use wharf_types::Digest;
use wharf_types::digest::{Algorithm, Hasher};

use super::{BLOCK, malformed};
use crate::{Error, Result};

/// Large enough that a file's bytes go to the kernel in few calls, small enough to stay in a core's cache.
const BUFFER: usize = 256 * 1024;

/// A buffer over the bytes of a layer after inflation.
pub(crate) struct Source<'a> {
    inner: Box<dyn Read + 'a>,
    /// Set when a failure was the caller's reader's and not the decoder's.
    failed: &'a Cell<bool>,
    hasher: Hasher,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    read: u64,
    limit: u64,
}

impl<'a> Source<'a> {
    /// Reads `inner` up to `limit` bytes.
    pub(crate) fn new(inner: Box<dyn Read + 'a>, failed: &'a Cell<bool>, limit: u64) -> Self {
        let hasher = Algorithm::Sha256.hasher();
        Self { inner, failed, hasher, buffer: vec![0; BUFFER], start: 0, end: 0, read: 0, limit }
    }

    /// How many bytes were taken.
    pub(crate) fn total(&self) -> u64 {
        self.read - self.peek().len() as u64
    }

    /// The bytes at hand.
    pub(crate) fn peek(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Reads more behind the bytes at hand. False at the end.
    pub(crate) fn refill(&mut self) -> Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = match self.inner.read(room) {
            Ok(count) => count,
            Err(source) if self.failed.get() => return Err(Error::Io { doing: "read the layer".into(), source }),
            Err(e) => return Err(malformed(format!("it does not inflate: {e}"))),
        };
        self.hasher.update(room.get(..count).unwrap_or_default());
        self.end += count;
        self.read += count as u64;
        if self.read > self.limit {
            return Err(Error::Limit { limit: self.limit, of: "bytes" });
        }
        Ok(count > 0)
    }

    /// A whole block. None at the end.
    pub(crate) fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        loop {
            if let Some(block) = self.peek().first_chunk::<BLOCK>() {
                let block = *block;
                self.consume(BLOCK);
                return Ok(Some(block));
            }
            if !self.refill()? {
                let rest = self.peek().len();
                return if rest == 0 { Ok(None) } else { Err(malformed("it ends within a header")) };
            }
        }
    }

    /// Passes over `count` bytes and says how many there were.
    pub(crate) fn skip(&mut self, count: u64) -> Result<u64> {
        let mut left = count;
        loop {
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(self.peek().len());
            self.consume(take);
            left -= take as u64;
            if left == 0 || !self.refill()? {
                return Ok(count - left);
            }
        }
    }

    /// Reads what is left, and returns the digest of all bytes and their number.
    pub(crate) fn finish(mut self) -> Result<(Digest, u64)> {
        self.consume(usize::MAX - self.start);
        while self.refill()? {
            self.consume(usize::MAX - self.start);
        }
        Ok((self.hasher.finish(), self.read))
    }
}
