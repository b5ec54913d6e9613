//! Mounts that live as long as a value.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use wharf_types::Mount;

use super::{mount_all, unmount_all};
use crate::error::{Error, Result};

/// Mounts in a fresh private directory, gone with the value.
///
/// The directory is removed with rmdir(2) alone, so that nothing is deleted through a mount that would not go away.
#[derive(Debug)]
pub struct TempMount {
    /// Readable by nobody else, whatever the mode of what is mounted inside of it.
    private: PathBuf,
    /// The mount point.
    root: PathBuf,
    done: bool,
}

impl TempMount {
    /// Mounts `mounts` below the system's directory for temporary files.
    ///
    /// # Errors
    /// When the directory cannot be made or a mount fails; nothing is left then.
    pub fn new(mounts: &[Mount]) -> Result<Self> {
        Self::new_in(std::env::temp_dir(), mounts)
    }

    /// Mounts `mounts` in a fresh directory below `parent`.
    ///
    /// # Errors
    /// As [`TempMount::new`].
    pub fn new_in(parent: impl AsRef<Path>, mounts: &[Mount]) -> Result<Self> {
        let private = fresh(parent.as_ref())?;
        let root = private.join("root");
        let mut temp = Self { private, root, done: false };
        std::fs::create_dir(&temp.root).map_err(|e| Error::io("create directory", &temp.root, e))?;
        if let Err(error) = mount_all(mounts, &temp.root) {
            // Its own failure would hide the reason.
            let _ = temp.take_down();
            return Err(error);
        }
        Ok(temp)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Unmounts and removes the directory, telling of failure, which dropping cannot.
    ///
    /// # Errors
    /// When the mount or the directory does not go away.
    pub fn close(mut self) -> Result<()> {
        self.take_down()
    }

    fn take_down(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(());
        }
        unmount_all(&self.root)?;
        for dir in [&self.root, &self.private] {
            match std::fs::remove_dir(dir) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", dir, e)),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for TempMount {
    fn drop(&mut self) {
        let _ = self.take_down();
    }
}

/// A new directory with mode 0700.
fn fresh(parent: &Path) -> Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let name = format!("wharf-mount-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = parent.join(name);
        match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
            // Left by a process that had our number.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io("create directory", &dir, e)),
            Ok(()) => return Ok(dir),
        }
    }
}
