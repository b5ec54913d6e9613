//! Reads tar archives: ustar, GNU, PAX, STAR and the seventh edition's. Writes them as PAX.
//!
//! It takes what Go's `archive/tar` takes and reads it the same way, or refuses it, so that a layer is never one thing here
//! and another thing to the tools that sign and scan it (`docs/decisions/0003-tar-reader.md`).

mod header;
mod number;
mod pax;
mod source;
mod sparse;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
mod write;

use header::{Format, Header};
pub(crate) use source::Source;
pub(crate) use write::Writer;

use crate::{Error, Result};

/// The unit that archives are made of, in bytes.
pub(crate) const BLOCK: usize = 512;

/// The largest extended header, long name or sparse map, in bytes; Go's bound.
const SPECIAL_MAX: u64 = 1 << 20;

/// What an entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Link,
    Symlink,
    Char,
    Block,
    Dir,
    Fifo,
    /// A type that no filesystem knows.
    Other(u8),
}

/// Seconds and nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

/// One entry, all of its extended headers taken in.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// The file's size, holes among it.
    pub(crate) size: u64,
    /// Permission bits with set-user-ID, set-group-ID and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: i64,
    pub(crate) gid: i64,
    pub(crate) mtime: Time,
    pub(crate) atime: Option<Time>,
    pub(crate) device: (i64, i64),
    /// Extended attributes, names without the prefix that PAX gives them.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a sparse file: where its bytes go, offset and length, in order.
    pub(crate) segments: Option<Vec<(u64, u64)>>,
}

impl Entry {
    /// An entry of root's, without contents, as of the beginning of 1970.
    pub(crate) fn new(path: &[u8], kind: Kind) -> Self {
        Self {
            path: path.to_vec(),
            link: Vec::new(),
            kind,
            size: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: Time::default(),
            atime: None,
            device: (0, 0),
            xattrs: Vec::new(),
            segments: None,
        }
    }
}

/// The entries of an archive, one after the other.
pub(crate) struct Reader<'a> {
    source: Source<'a>,
    /// Bytes of the current entry that were not taken.
    remaining: u64,
    /// Bytes that fill its last block.
    padding: u64,
}

/// What precedes an entry and belongs to it.
#[derive(Default)]
struct Before {
    records: pax::Records,
    any: bool,
    name: Vec<u8>,
    link: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// Reads the archive in `source`.
    pub(crate) fn new(source: Source<'a>) -> Self {
        Self { source, remaining: 0, padding: 0 }
    }

    /// The next entry; what was not taken of the last one is passed over. None at the archive's end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut before = Before::default();
        loop {
            self.pass()?;
            let start = self.source.total();
            let Some(block) = self.header_block()? else { return Ok(None) };
            let header = Header::parse(&block).map_err(|why| match (start, why) {
                (0, header::NO_HEADER) => malformed("it is neither a tar archive nor compressed with gzip or zstd"),
                (_, why) => malformed(format!("header at byte {start}: {why}")),
            })?;
            match header.flag {
                b'x' => {
                    before.records = pax::parse(&self.special(&header)?).map_err(malformed)?;
                    before.any = true;
                }
                b'g' => {
                    // Go reads a global header and lets nothing of it count. One between an extended header and its entry
                    // makes readers disagree about what the latter describes.
                    pax::parse(&self.special(&header)?).map_err(malformed)?;
                    if before.any || !before.name.is_empty() || !before.link.is_empty() {
                        return Err(malformed("a global header between an extended header and its entry"));
                    }
                }
                b'L' => before.name = header::text(&self.special(&header)?).to_vec(),
                b'K' => before.link = header::text(&self.special(&header)?).to_vec(),
                _ => return self.finish_entry(header, &block, before).map(Some),
            }
        }
    }

    /// Bytes of the current entry as far as they are at hand; empty at its end only.
    pub(crate) fn chunk(&mut self) -> Result<&[u8]> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        if self.source.peek().is_empty() && !self.source.refill()? {
            return Err(malformed("it ends within an entry"));
        }
        let bytes = self.source.peek();
        let take = usize::try_from(self.remaining).map_or(bytes.len(), |n| n.min(bytes.len()));
        Ok(bytes.get(..take).unwrap_or_default())
    }

    /// Takes bytes that [`Reader::chunk`] showed.
    pub(crate) fn consume(&mut self, count: usize) {
        self.source.consume(count);
        self.remaining = self.remaining.saturating_sub(count as u64);
    }

    /// What is behind the archive.
    pub(crate) fn into_source(self) -> Source<'a> {
        self.source
    }

    /// Passes over the rest of the current entry.
    fn pass(&mut self) -> Result<()> {
        if self.source.skip(self.remaining)? < self.remaining {
            return Err(malformed("it ends within an entry"));
        }
        // An archive may end without filling its last block.
        self.source.skip(self.padding)?;
        (self.remaining, self.padding) = (0, 0);
        Ok(())
    }

    /// A block that is a header. None at the end: that of the bytes, or two blocks of zeros, or one and the end of the bytes.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let zero = |block: &[u8; BLOCK]| block.iter().all(|b| *b == 0);
        match self.source.block()? {
            Some(block) if zero(&block) => match self.source.block()? {
                Some(next) if !zero(&next) => Err(malformed("a block of zeros amid its entries")),
                _ => Ok(None),
            },
            found => Ok(found),
        }
    }

    fn special(&mut self, header: &Header) -> Result<Vec<u8>> {
        self.body(header.size)?;
        if self.remaining > SPECIAL_MAX {
            return Err(malformed(format!("an extended header of {} bytes, {SPECIAL_MAX} are taken", self.remaining)));
        }
        let mut all = Vec::with_capacity(usize::try_from(self.remaining).unwrap_or_default());
        loop {
            let bytes = self.chunk()?;
            if bytes.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(bytes);
            let count = bytes.len();
            self.consume(count);
        }
    }

    fn body(&mut self, size: i64) -> Result<()> {
        self.remaining = u64::try_from(size).map_err(|_| malformed("an entry of negative size"))?;
        self.padding = self.remaining.wrapping_neg() % BLOCK as u64;
        Ok(())
    }

    fn finish_entry(&mut self, header: Header, block: &[u8; BLOCK], before: Before) -> Result<Entry> {
        let Before { records, name, link, .. } = before;
        let (format, flag, mut size) = (header.format, header.flag, header.size);
        let mut entry = header.into_entry();
        pax::merge(&records, &mut entry, &mut size).map_err(malformed)?;
        if !name.is_empty() {
            entry.path = name;
        }
        if !link.is_empty() {
            entry.link = link;
        }
        entry.kind = kind(flag, &entry.path);
        // What has no contents has none, whatever its header says: so does Go, and there the next header is looked for.
        let bare = !matches!(entry.kind, Kind::File | Kind::Other(_));
        self.body(if bare { 0 } else { size })?;
        entry.size = self.remaining;
        if flag == b'S' {
            if format != Format::Gnu {
                return Err(malformed("a sparse file of a form that is not GNU's"));
            }
            let (real, map) = sparse::old_map(block, &mut self.source)?;
            self.sparse(&mut entry, real, map)?;
        } else if let Some(form) = sparse::form(&records) {
            sparse::rename(&records, &mut entry).map_err(malformed)?;
            let real = sparse::real_size(&records).map_err(malformed)?.unwrap_or(size);
            let map = match form {
                sparse::Form::Records => sparse::map_of_records(&records).map_err(malformed)?,
                sparse::Form::Body => sparse::map_of_body(self)?,
            };
            if bare {
                return Err(malformed("a sparse file that has no contents"));
            }
            self.sparse(&mut entry, real, map)?;
        }
        Ok(entry)
    }

    fn sparse(&self, entry: &mut Entry, real: i64, map: Vec<(i64, i64)>) -> Result<()> {
        let (size, segments) = sparse::check(real, &map, self.remaining).map_err(malformed)?;
        entry.size = size;
        entry.segments = Some(segments);
        Ok(())
    }
}

fn kind(flag: u8, path: &[u8]) -> Kind {
    match flag {
        // Before ustar a slash at the end was how a directory looked.
        0 if path.ends_with(b"/") => Kind::Dir,
        0 | b'0' | b'S' => Kind::File,
        b'1' => Kind::Link,
        b'2' => Kind::Symlink,
        b'3' => Kind::Char,
        b'4' => Kind::Block,
        b'5' => Kind::Dir,
        b'6' => Kind::Fifo,
        other => Kind::Other(other),
    }
}

fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed { reason: reason.into() }
}
