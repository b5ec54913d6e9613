//! What a media type says about a layer, and the decoder that its first bytes ask for.

use std::cell::Cell;
use std::io::{self, BufReader, Read};

use crate::{Error, Result};

/// The bytes that are taken from the caller at once.
const INPUT: usize = 128 * 1024;

/// The largest zstd window, as a power of two: 32 MiB, which is what zstd writes up to its level 20. A window is memory that
/// a stranger makes us hold, for each layer that is under way.
const WINDOW_LOG: u32 = 25;

/// What a media type says of a layer's compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// It says there is none, or nothing at all.
    Unsaid,
    /// It says there is one.
    Said,
}

impl Compression {
    /// Reads a media type of the OCI image specification or of Docker's image manifest, schema 2.
    pub(crate) fn of(media_type: &str) -> Result<Self> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar" => Ok(Self::Unsaid),
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.zstd" => Ok(Self::Said),
            other => Err(Error::MediaType(other.to_owned())),
        }
    }
}

/// The caller's reader, remembering whether a failure was its own and not the decoder's.
pub(crate) struct Tap<'a> {
    inner: &'a mut dyn Read,
    failed: &'a Cell<bool>,
}

impl<'a> Tap<'a> {
    /// Watches `inner`.
    pub(crate) fn new(inner: &'a mut dyn Read, failed: &'a Cell<bool>) -> Self {
        Self { inner, failed }
    }
}

impl Read for Tap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.inner.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.failed.set(true);
                    return Err(e);
                }
                read => return read,
            }
        }
    }
}

/// The uncompressed bytes of `tap`. Its first bytes decide, as they do for other runtimes: layers whose media type is off by
/// a compression are about.
pub(crate) fn open<'a>(mut tap: Tap<'a>, compression: Compression) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = Vec::with_capacity(4);
    (&mut tap).take(4).read_to_end(&mut head)?;
    let empty = head.is_empty();
    let gzip = head.starts_with(&[0x1f, 0x8b]);
    let zstd = matches!(head.as_slice(), [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]);
    let input = BufReader::with_capacity(INPUT, io::Cursor::new(head).chain(tap));
    if gzip {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(input)));
    }
    if zstd {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        decoder.window_log_max(WINDOW_LOG)?;
        return Ok(Box::new(decoder));
    }
    if empty && compression == Compression::Said {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is empty"));
    }
    Ok(Box::new(input))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use wharf_types::{ErrorKind, Kind};

    use super::*;

    #[test]
    fn encrypted_and_foreign_types_are_told_apart() {
        assert!(Compression::of("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd").is_ok());
        for refused in ["application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "text/html", ""] {
            assert_eq!(Compression::of(refused).unwrap_err().kind(), ErrorKind::Unimplemented, "{refused}");
        }
    }

    #[test]
    fn members_and_frames_are_read_one_after_the_other() {
        let gzip = |bytes: &[u8]| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            io::Write::write_all(&mut out, bytes).unwrap();
            out.finish().unwrap()
        };
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        for (first, second) in
            [(gzip(b"wh"), gzip(b"arf")), (zstd(b"wh"), zstd(b"arf")), (b"wh".to_vec(), b"arf".to_vec())]
        {
            let (mut bytes, failed) = (first, Cell::new(false));
            bytes.extend(second);
            let mut out = String::new();
            let mut input = bytes.as_slice();
            open(Tap::new(&mut input, &failed), Compression::Unsaid).unwrap().read_to_string(&mut out).unwrap();
            assert_eq!(out, "wharf");
        }
        let (mut bytes, failed) = (gzip(b"wharf"), Cell::new(false));
        bytes.extend(b"garbage that is no member");
        let mut input = bytes.as_slice();
        let read = open(Tap::new(&mut input, &failed), Compression::Said).unwrap().read_to_end(&mut Vec::new());
        assert!(read.is_err() && !failed.get());
    }
}
