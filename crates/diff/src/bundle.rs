//! Archives of files that are no layers: images in one file, as `docker save` and OCI layouts have them.
//!
//! They are read as strictly as layers, so that an archive is never one image here and another elsewhere; nothing is
//! extracted. Archives that are compressed with gzip or zstd are inflated on the way.

use std::cell::Cell;
use std::io::{self, Read, Write};

use wharf_types::Digest;
use wharf_types::media::Compression;

use crate::archive::{self, Entry, Kind, Source};
use crate::deflate::Sink;
use crate::inflate::{self, Tap};
use crate::{Error, Result};

/// What an archive has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name, as the archive has it.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
}

/// What a member of an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A file of so many bytes.
    File(u64),
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// Anything else.
    Other,
}

/// The members of an archive, one after the other.
pub struct Members<'a> {
    reader: archive::Reader<'a>,
}

/// Calls `take` with the members of the archive in `bytes`, which are then read to their end.
///
/// # Errors
/// `InvalidArgument` for an archive that is malformed; [`Error::Io`] when `bytes` cannot be read; those of `take`.
pub fn read<E: From<Error>>(
    bytes: &mut dyn Read,
    take: impl FnOnce(&mut Members<'_>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let failed = Cell::new(false);
    let io_error = |source| Error::Io { doing: "read the archive".into(), source };
    let opened = inflate::open(Tap::new(bytes, &failed), inflate::Compression::Unsaid);
    let inflated = opened.map_err(|source| match failed.get() {
        true => io_error(source),
        false => Error::Malformed { reason: source.to_string() },
    })?;
    {
        let mut members = Members { reader: archive::Reader::new(Source::new(inflated, &failed, u64::MAX)) };
        take(&mut members)?;
        members.reader.into_source().finish()?;
    }
    io::copy(bytes, &mut io::sink()).map_err(io_error)?;
    Ok(())
}

impl Members<'_> {
    /// The next member; what was not taken of the last one is passed over. None at the archive's end.
    ///
    /// # Errors
    /// When the archive is malformed, or has a sparse file.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        let Some(entry) = self.reader.next()? else { return Ok(None) };
        if entry.segments.is_some() {
            let path = crate::at::path_of(&entry.path);
            return Err(Error::Entry { path, reason: "it is a sparse file, which no image's archive has".into() });
        }
        let kind = match entry.kind {
            Kind::File => MemberKind::File(entry.size),
            Kind::Symlink => MemberKind::Symlink(entry.link),
            _ => MemberKind::Other,
        };
        Ok(Some(Member { path: entry.path, kind }))
    }

    /// Calls `take` with the bytes of the current member, piece by piece.
    ///
    /// # Errors
    /// When the archive ends early; those of `take`.
    pub fn contents<E: From<Error>>(
        &mut self,
        mut take: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        loop {
            let bytes = self.reader.chunk()?;
            if bytes.is_empty() {
                return Ok(());
            }
            take(bytes)?;
            let count = bytes.len();
            self.reader.consume(count);
        }
    }
}

/// An archive in the making: root's, of the beginning of 1970, so that the same files make the same bytes.
pub struct Writer<W> {
    out: archive::Writer<W>,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    #[must_use]
    pub fn new(out: W) -> Self {
        Self { out: archive::Writer::new(out) }
    }

    /// Adds a directory, whose name ends with a slash.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn directory(&mut self, path: &str) -> Result<()> {
        self.out.entry(&Entry { mode: 0o755, ..Entry::new(path.as_bytes(), Kind::Dir) })
    }

    /// Begins a file of `size` bytes, which are to follow by [`Writer::contents`].
    ///
    /// # Errors
    /// [`Error::Io`]; `InvalidArgument` when the file before it got fewer bytes than its size.
    pub fn file(&mut self, path: &str, size: u64) -> Result<()> {
        self.out.entry(&Entry { mode: 0o444, size, ..Entry::new(path.as_bytes(), Kind::File) })
    }

    /// Some of the file's bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; `InvalidArgument` when they are more than its size.
    pub fn contents(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.body(bytes)
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// As [`Writer::file`].
    pub fn finish(self) -> Result<W> {
        self.out.finish()
    }
}

/// Compresses a layer with gzip; the digest of its uncompressed bytes.
///
/// # Errors
/// [`Error::Io`].
pub fn compress(layer: &mut dyn Read, out: &mut dyn Write) -> Result<Digest> {
    let failed = |source| Error::Io { doing: "compress a layer".into(), source };
    let mut sink = Sink::new(out, Compression::Gzip).map_err(failed)?;
    io::copy(layer, &mut sink).map_err(failed)?;
    Ok(sink.finish().map_err(failed)?.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_compressed_or_not() {
        let mut writer = Writer::new(Vec::new());
        writer.directory("blobs/").unwrap();
        writer.file("blobs/x", 5).unwrap();
        writer.contents(b"wh").unwrap();
        writer.contents(b"arf").unwrap();
        let plain = writer.finish().unwrap();
        let mut gzip = Vec::new();
        assert_eq!(compress(&mut plain.as_slice(), &mut gzip).unwrap(), Digest::of(&plain));
        for archive in [plain, gzip] {
            let (mut names, mut bytes) = (Vec::new(), Vec::new());
            read::<Error>(&mut archive.as_slice(), |members| {
                while let Some(member) = members.next_member()? {
                    names.push(member.path);
                    members.contents::<Error>(|piece| {
                        bytes.extend_from_slice(piece);
                        Ok(())
                    })?;
                }
                Ok(())
            })
            .unwrap();
            assert_eq!((names, bytes), (vec![b"blobs/".to_vec(), b"blobs/x".to_vec()], b"wharf".to_vec()));
        }
    }

    #[test]
    fn an_archive_that_ends_early_is_malformed() {
        let mut writer = Writer::new(Vec::new());
        writer.file("x", 1000).unwrap();
        writer.contents(&[1; 1000]).unwrap();
        let mut archive = writer.finish().unwrap();
        archive.truncate(900);
        let result = read::<Error>(&mut archive.as_slice(), |members| {
            members.next_member()?;
            members.contents(|_| Ok(()))
        });
        assert!(matches!(result, Err(Error::Malformed { .. })));
    }
}
