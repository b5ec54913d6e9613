//! The directories below a root.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// A directory that is removed again unless it was renamed.
#[derive(Debug)]
pub(super) struct Fresh(PathBuf);

impl Fresh {
    pub(super) fn make(parent: &Path) -> Result<Self> {
        let path = parent.join(unique("new"));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|e| Error::io("create directory", &path, e))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // What stays is swept at the next start.
        let _ = wharf_sys::fs::remove_dir_all(&self.0);
    }
}

/// A name that no other has: the counter for this process, the clock for those before it.
pub(super) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{prefix}-{}-{}", now.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// True for the name of a snapshot's directory.
pub(super) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())
}

/// The names in a directory; those that are not UTF-8 are none of ours.
pub(super) fn list(dir: &Path) -> Result<Vec<String>> {
    let fail = |e| Error::io("read directory", dir, e);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        names.extend(entry.map_err(fail)?.file_name().into_string());
    }
    Ok(names)
}

/// Makes a private directory where there is none, durably.
pub(super) fn make(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|e| Error::io("create directory", dir, e))?;
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    wharf_sys::fs::sync_dir(parent).map_err(|e| Error::sys("create the root of snapshots", e))
}
