//! The filesystem, with errors that name the file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::io::Errno;

use crate::{Error, Result};

/// How much of a store outlives the power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// What a call acknowledged is on disk.
    #[default]
    Synced,
    /// Nothing is synced: what was acknowledged outlives the process, but the power may take it. For tests and caches.
    Unsynced,
    /// Every sync fails, as on a broken disk.
    #[cfg(test)]
    Broken,
}

impl Durability {
    /// Puts a file's bytes and attributes on disk.
    ///
    /// The caller gives up the file when this fails: the kernel reports lost pages once, and a second sync would succeed.
    pub(super) fn file(self, file: &File) -> io::Result<()> {
        match self {
            Self::Synced => file.sync_all(),
            Self::Unsynced => Ok(()),
            #[cfg(test)]
            Self::Broken => Err(io::Error::from(Errno::IO)),
        }
    }

    /// Puts a directory's names on disk.
    pub(super) fn directory(self, path: &Path) -> Result<()> {
        match self {
            Self::Synced => File::open(path).and_then(|directory| directory.sync_all()),
            _ => Ok(()),
        }
        .at("sync directory", path)
    }
}

/// Names what was being done, and to what, in an I/O error.
pub(super) trait At<T> {
    fn at(self, doing: &str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &str, path: &Path) -> Result<T> {
        self.map_err(|source| io_error(doing, path, source))
    }
}

/// `doing` says what was being done to `path`.
pub(super) fn io_error(doing: &str, path: &Path, source: io::Error) -> Error {
    Error::Io { doing: format!("{doing} {}", path.display()), source }
}

/// Puts `bytes` into the file at `path`, all or nothing, by way of a file at `unfinished` in the same filesystem. The
/// name is durable once the caller synced its directory.
pub(super) fn replace(path: &Path, unfinished: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let written = create(unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        durability.file(&file)?;
        fs::rename(unfinished, path)
    });
    written.inspect_err(|_| drop(fs::remove_file(unfinished))).at("write", path)
}

/// Creates a file of mode 0600 that was not there, for reading and writing.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a regular file for reading; nothing when there is none, or something else. Follows no link, and does not wait for
/// the writer of a fifo.
pub(super) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    match rustix::fs::open(path, flags | rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty()) {
        Ok(file) => {
            let file = File::from(file);
            Ok(file.metadata()?.is_file().then_some(file))
        }
        // A link, and a socket or a device without a driver.
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO | Errno::NODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The names in a directory that are text; others are not ours.
///
/// All are read before any is used, so that the caller may remove files meanwhile.
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    };
    read().at("read directory", directory)
}
