//! Files and directories where std does too little: durability, locks between processes, removal that stays inside.

mod lock;
mod remove;

use std::fs::File;
use std::path::Path;

pub use lock::Lock;
pub use remove::remove_dir_all;
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};

/// Writes everything that waits in memory for the filesystem of `path` to its disk (syncfs(2)). Since Linux 5.8 it tells of
/// writes that failed since the filesystem was opened here.
///
/// # Errors
/// When the path cannot be opened or a write failed; what was written since the last success must be taken as lost then.
pub fn syncfs(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::io("open", path, e))?;
    rustix::fs::syncfs(&fd).map_err(|e| Error::io("write to disk the filesystem of", path, e))
}

/// Makes the names in a directory durable: a new file's name is on disk only once its directory was synced.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_dir(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let dir = File::open(path).map_err(|e| Error::io("open", path, e))?;
    dir.sync_all().map_err(|e| Error::io("write to disk the directory", path, e))
}
