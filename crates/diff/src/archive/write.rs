//! Writes archives: ustar, with an extended header (POSIX.1-2001, "pax Header Block") before an entry that does not fit.
//!
//! The same entries always make the same bytes: nothing of this machine or moment is in them.

use std::io::Write;

use super::pax::XATTR;
use super::{BLOCK, Entry, Kind, SPECIAL_MAX, Time};
use crate::at::path_of;
use crate::{Error, Result};

/// The largest number that seven octal digits hold.
const SEVEN: i64 = 0o777_7777;
/// The largest number that eleven octal digits hold.
const ELEVEN: i64 = 0o777_7777_7777;
/// The bytes of a name that a header block holds.
const NAME: usize = 100;

/// An archive in the making.
pub(crate) struct Writer<W> {
    out: W,
    /// Bytes that the current entry still lacks.
    remaining: u64,
    padding: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    pub(crate) fn new(out: W) -> Self {
        Self { out, remaining: 0, padding: 0 }
    }

    /// Begins an entry. A file's contents, `size` bytes, are to follow.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.complete(&entry.path)?;
        let records = records(entry)?;
        if !records.is_empty() {
            let size = records.len() as u64;
            if size > SPECIAL_MAX {
                return Err(refuse(entry, "has too many attributes: no reader takes more than a mebibyte of them"));
            }
            let header = Entry { mode: 0o644, size, ..Entry::new(b"PaxHeaders.0/entry", Kind::Other(b'x')) };
            self.put(&block(&header))?;
            self.put(&records)?;
            self.zeros(size.wrapping_neg() % BLOCK as u64)?;
        }
        self.put(&block(entry))?;
        self.remaining = if entry.kind == Kind::File { entry.size } else { 0 };
        self.padding = self.remaining.wrapping_neg() % BLOCK as u64;
        Ok(())
    }

    /// Some of the current entry's contents.
    pub(crate) fn body(&mut self, bytes: &[u8]) -> Result<()> {
        self.remaining = self.remaining.checked_sub(bytes.len() as u64).ok_or_else(|| unbalanced(b""))?;
        self.put(bytes)
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.complete(b"")?;
        self.zeros(2 * BLOCK as u64)?;
        Ok(self.out)
    }

    fn complete(&mut self, next: &[u8]) -> Result<()> {
        if self.remaining != 0 {
            return Err(unbalanced(next));
        }
        let padding = std::mem::take(&mut self.padding);
        self.zeros(padding)
    }

    fn zeros(&mut self, count: u64) -> Result<()> {
        let zeros = [0u8; 2 * BLOCK];
        let count = usize::try_from(count).unwrap_or_default();
        self.put(zeros.get(..count).unwrap_or_default())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|source| Error::Io { doing: "write the layer".into(), source })
    }
}

/// Contents that are more or fewer than their header says. Whoever writes them looks after that; an archive that goes on
/// behind them would be another archive.
fn unbalanced(next: &[u8]) -> Error {
    Error::Malformed { reason: format!("before {:?}, contents of another size than their header says", path_of(next)) }
}

fn refuse(entry: &Entry, reason: &str) -> Error {
    Error::Entry { path: path_of(&entry.path), reason: reason.into() }
}

/// What does not fit into the block of `entry`.
fn records(entry: &Entry) -> Result<Vec<u8>> {
    let mut records = Vec::new();
    for (key, text) in [("path", &entry.path), ("linkpath", &entry.link)] {
        if text.len() > NAME || !text.is_ascii() {
            record(&mut records, key.as_bytes(), text);
        }
    }
    let size = i64::try_from(entry.size).unwrap_or(i64::MAX);
    for (key, number, max) in [("uid", entry.uid, SEVEN), ("gid", entry.gid, SEVEN), ("size", size, ELEVEN)] {
        if !(0..=max).contains(&number) {
            record(&mut records, key.as_bytes(), number.to_string().as_bytes());
        }
    }
    if entry.mtime.nanos != 0 || !(0..=ELEVEN).contains(&entry.mtime.seconds) {
        record(&mut records, b"mtime", decimal(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        if name.contains(&b'=') {
            // The key would end there for every reader.
            return Err(refuse(entry, "has an attribute with an equals sign in its name, which no layer can hold"));
        }
        record(&mut records, &[XATTR, name].concat(), value);
    }
    Ok(records)
}

/// `length SP key=value LF`, the length being that of all of it.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let digits = |n: usize| n.to_string().len();
    let mut length = rest + digits(rest);
    if rest + digits(length) != length {
        length = rest + digits(length);
    }
    records.extend([length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat());
}

/// Decimal seconds, the fraction no longer than it must be.
fn decimal(time: Time) -> String {
    let nanos = time.nanos;
    let text = match (time.seconds, nanos) {
        (seconds, 0) => return seconds.to_string(),
        // Nanoseconds count upwards, digits of a negative number downwards.
        (seconds @ ..0, nanos) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos.min(999_999_999)),
        (seconds, nanos) => format!("{seconds}.{nanos:09}"),
    };
    text.trim_end_matches('0').to_owned()
}

/// The header block of `entry`; fields that do not hold what they should hold what they can.
fn block(entry: &Entry) -> [u8; BLOCK] {
    let mut block = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = block.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    let name = |text: &[u8]| text.iter().copied().filter(u8::is_ascii).take(NAME).collect::<Vec<_>>();
    put(0, &name(&entry.path));
    put(157, &name(&entry.link));
    let seven = |n: i64| format!("{:07o}", if (0..=SEVEN).contains(&n) { n } else { 0 }).into_bytes();
    let eleven = |n: i64| format!("{:011o}", n.clamp(0, ELEVEN)).into_bytes();
    put(100, &seven(i64::from(entry.mode)));
    put(108, &seven(entry.uid));
    put(116, &seven(entry.gid));
    put(124, &eleven(i64::try_from(entry.size).unwrap_or(i64::MAX)));
    put(136, &eleven(entry.mtime.seconds));
    put(156, &[flag(entry.kind)]);
    put(257, b"ustar\x0000");
    put(329, &seven(entry.device.0));
    put(337, &seven(entry.device.1));
    put(148, b"        ");
    let sum = block.iter().map(|b| u32::from(*b)).sum::<u32>();
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    block
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::Link => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Dir => b'5',
        Kind::Fifo => b'6',
        Kind::Other(flag) => flag,
    }
}
