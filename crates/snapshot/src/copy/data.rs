//! The bytes of a file: shared where the filesystem can, else copied by the kernel, holes staying holes.

use std::os::fd::OwnedFd;

use rustix::fs::{SeekFrom, Stat};
use rustix::io::Errno;

/// The bytes to copy at once where the kernel does not do it.
const CHUNK: usize = 128 << 10;

/// Copies files and remembers which ways the filesystem does not know.
#[derive(Default)]
pub(super) struct Copier {
    cannot_share: bool,
    cannot_copy: bool,
}

impl Copier {
    /// Makes `to`, which is empty, hold what `from` does.
    pub(super) fn copy(&mut self, from: &OwnedFd, to: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        if size == 0 {
            return Ok(());
        }
        if !self.cannot_share {
            match rustix::fs::ioctl_ficlone(to, from) {
                Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::NOSYS) => {
                    self.cannot_share = true
                }
                result => return result,
            }
        }
        rustix::fs::ftruncate(to, size)?;
        let mut at = 0;
        while at < size {
            // The end of the file counts as a hole, so that both seeks succeed up to there.
            let (start, end) = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Ok(start) => (start, rustix::fs::seek(from, SeekFrom::Hole(start))?.min(size)),
                Err(Errno::NXIO) => break,
                // Not every filesystem knows holes.
                Err(Errno::INVAL) => (at, size),
                Err(errno) => return Err(errno),
            };
            self.range(from, to, start, end)?;
            at = end;
        }
        Ok(())
    }

    fn range(&mut self, from: &OwnedFd, to: &OwnedFd, mut at: u64, end: u64) -> Result<(), Errno> {
        while at < end && !self.cannot_copy {
            let (mut read, mut written) = (at, at);
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
            match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), length) {
                Ok(0) => return Err(Errno::IO),
                Ok(copied) => at += copied as u64,
                Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => self.cannot_copy = true,
                Err(errno) => return Err(errno),
            }
        }
        let mut buffer = if at < end { vec![0; CHUNK] } else { Vec::new() };
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let length = match rustix::io::pread(from, buffer.get_mut(..want).unwrap_or_default(), at) {
                Err(Errno::INTR) => continue,
                // Shorter than it said: it changes while it is copied.
                Ok(0) => return Err(Errno::IO),
                length => length?,
            };
            let mut rest = buffer.get(..length).unwrap_or_default();
            while !rest.is_empty() {
                match rustix::io::pwrite(to, rest, at) {
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                    Ok(written) => {
                        at += written as u64;
                        rest = rest.get(written..).unwrap_or_default();
                    }
                }
            }
        }
        Ok(())
    }
}
