//! Hashing what is on disk already.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use wharf_types::Digest;
use wharf_types::digest::{Algorithm, Hasher};

use super::disk::At as _;
use crate::Result;

/// How many bytes are read at a time.
const PIECE: usize = 1 << 20;

/// The algorithm of the expected digest, or the one that is taken without.
pub(super) fn algorithm(expected: Option<&Digest>) -> Algorithm {
    expected.map_or(Algorithm::Sha256, Digest::algorithm)
}

/// A hasher that has seen all bytes of `file`, and how many there are.
pub(super) fn file(file: &File, path: &Path, algorithm: Algorithm) -> Result<(Hasher, u64)> {
    let mut hasher = algorithm.hasher();
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    loop {
        match file.read_at(&mut piece, offset) {
            Ok(0) => return Ok((hasher, offset)),
            Ok(read) => {
                hasher.update(piece.get(..read).unwrap_or_default());
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).at("read", path),
        }
    }
}
