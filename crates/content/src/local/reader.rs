//! Reading an open file at any offset.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::disk::At as _;
use crate::{Reader, Result};

/// A file, up to a size that stays what it was when the reader was made.
#[derive(Debug)]
pub(super) struct FileReader {
    file: File,
    path: PathBuf,
    size: u64,
}

impl FileReader {
    /// All of a file.
    pub(super) fn whole(file: File, path: &Path) -> Result<Self> {
        let size = file.metadata().at("look at", path)?.len();
        Ok(Self { file, path: path.to_owned(), size })
    }

    /// The first `size` bytes of a file that may grow.
    pub(super) fn so_far(file: File, path: &Path, size: u64) -> Self {
        Self { file, path: path.to_owned(), size }
    }
}

impl Reader for FileReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.at("read", &self.path),
            }
        }
    }
}
