//! The way out of a layer's bytes: digested, counted, compressed.

use std::io::{self, BufWriter, Write};

use flate2::write::GzEncoder;
use wharf_types::Digest;
use wharf_types::digest::{Algorithm, Hasher};
use wharf_types::media::Compression;

/// What is gathered before the caller's writer is called.
const OUTPUT: usize = 128 * 1024;

type Out<'a> = BufWriter<&'a mut dyn Write>;

enum Coder<'a> {
    Plain(Out<'a>),
    Gzip(GzEncoder<Out<'a>>),
    Zstd(zstd::stream::write::Encoder<'static, Out<'a>>),
}

/// Takes the uncompressed bytes of a layer. Neither form of compression tells when or where it was made, so that equal layers
/// are equal blobs.
pub(crate) struct Sink<'a> {
    coder: Coder<'a>,
    hasher: Hasher,
    size: u64,
}

impl<'a> Sink<'a> {
    /// Writes to `out`.
    pub(crate) fn new(out: &'a mut dyn Write, compression: Compression) -> io::Result<Self> {
        let out = BufWriter::with_capacity(OUTPUT, out);
        let coder = match compression {
            Compression::None => Coder::Plain(out),
            Compression::Gzip => Coder::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            Compression::Zstd => Coder::Zstd(zstd::stream::write::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?),
        };
        Ok(Self { coder, hasher: Algorithm::Sha256.hasher(), size: 0 })
    }

    /// Hands on all that is held back; the digest and size of what was taken.
    pub(crate) fn finish(self) -> io::Result<(Digest, u64)> {
        let mut out = match self.coder {
            Coder::Plain(out) => out,
            Coder::Gzip(coder) => coder.finish()?,
            Coder::Zstd(coder) => coder.finish()?,
        };
        out.flush()?;
        Ok((self.hasher.finish(), self.size))
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.coder {
            Coder::Plain(out) => out.write_all(bytes)?,
            Coder::Gzip(coder) => coder.write_all(bytes)?,
            Coder::Zstd(coder) => coder.write_all(bytes)?,
        }
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
