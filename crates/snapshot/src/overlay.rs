//! Snapshots as the layers of overlayfs: a snapshot holds what differs from its parent.

mod probe;
#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use wharf_types::{Filters, LabelChange, Labels, Mount};

use crate::error::{Error, Result};
use crate::records::{New, Record};
use crate::store::{Store, text};
use crate::{Base, Commit, Info, Kind, Snapshotter, Usage};

/// The mode of the upper directory of [`Base::Later`] until a layer or the parent says otherwise: one that no layer has, so that
/// a mode which the layer set is never taken for it.
const UNDECIDED: u32 = 0o1700;

/// Snapshots below one directory, mounted as overlays: `snapshots/<number>/{fs,work}`.
#[derive(Debug)]
pub struct OverlaySnapshotter {
    store: Store,
    /// Options of every overlay mount.
    options: Vec<String>,
}

impl OverlaySnapshotter {
    /// Opens or makes a root for snapshots.
    ///
    /// # Errors
    /// `FailedPrecondition` when the filesystem of `root` cannot hold the layers of an overlay, which is tried by mounting one,
    /// or another process has it open; `DataLoss` when the records are damaged or missing; `InvalidArgument` when the path has
    /// characters that a mount's options cannot hold.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = std::path::absolute(root.as_ref()).map_err(|e| Error::io("resolve", root.as_ref(), e))?;
        if text(&root)?.contains([':', ',', '\\', '"', '\n']) {
            let reason =
                format!("{root:?} cannot hold overlays: mount options take no colon, comma, quote or backslash");
            return Err(Error::Invalid(reason));
        }
        let store = Store::open(&root)?;
        let options = probe::options(&root)?;
        Ok(Self { store, options })
    }

    /// Makes `fs` and, for what can be written, `work`.
    fn fill(&self, dir: &Path, parent: Option<u64>, kind: Kind, later: bool) -> Result<()> {
        let upper = dir.join("fs");
        make(&upper, 0o755)?;
        match parent {
            // The root of the mount is that of the uppermost layer, so it must look as the parent's does.
            Some(parent) => inherit(&self.store.fs(parent), &upper)?,
            None => set_mode(&upper, if later { UNDECIDED } else { 0o755 })?,
        }
        if kind == Kind::Active {
            make(&dir.join("work"), 0o711)?;
        }
        Ok(())
    }

    fn create(&self, new: &New<'_>) -> Result<Vec<Mount>> {
        let (record, parents) = self.store.create(new, &|dir, parent| self.fill(dir, parent, new.kind, new.later))?;
        self.mounts_of(&record, &parents)
    }

    /// What to mount, in containerd's words.
    fn mounts_of(&self, record: &Record, parents: &[u64]) -> Result<Vec<Mount>> {
        let fs = |id| text(&self.store.fs(id));
        let active = record.info.kind == Kind::Active;
        let mut options = self.options.clone();
        match parents {
            [] if record.later => {
                // Of the options, whoever extracts needs to know where marks of opaque directories go.
                options.retain(|option| option == "userxattr");
                options.push(format!("upperdir={}", fs(record.id)?));
                return Ok(vec![overlay(options)]);
            }
            [] => return Ok(vec![bind(fs(record.id)?, if active { "rw" } else { "ro" })]),
            [only] if !active => return Ok(vec![bind(fs(*only)?, "ro")]),
            _ => {}
        }
        if active {
            options.push(format!("workdir={}", text(&self.store.dir(record.id).join("work"))?));
            options.push(format!("upperdir={}", fs(record.id)?));
        }
        let lower = parents.iter().map(|&id| fs(id)).collect::<Result<Vec<_>>>()?;
        options.push(format!("lowerdir={}", lower.join(":")));
        Ok(vec![overlay(options)])
    }

    /// Decides the mode and owner of a root directory that was left open at [`Base::Later`].
    fn settle(&self, active: &Record, parent: Option<u64>) -> Result<()> {
        let upper = self.store.fs(active.id);
        let mode = fs::metadata(&upper).map_err(|e| Error::io("look at", &upper, e))?.mode() & 0o7777;
        match parent {
            _ if !active.later || mode != UNDECIDED => Ok(()),
            Some(parent) => inherit(&self.store.fs(parent), &upper),
            None => set_mode(&upper, 0o755),
        }
    }
}

impl Snapshotter for OverlaySnapshotter {
    fn stat(&self, name: &str) -> Result<Info> {
        Ok(self.store.records().get(name)?.info)
    }

    fn update(&self, name: &str, change: &LabelChange) -> Result<Info> {
        self.store.records().update(name, change)
    }

    fn usage(&self, name: &str) -> Result<Usage> {
        self.store.usage(name)
    }

    fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let (record, parents) = self.store.mountable(key)?;
        self.mounts_of(&record, &parents)
    }

    fn prepare(&self, key: &str, base: Base<'_>, labels: &Labels) -> Result<Vec<Mount>> {
        let (parent, later) = match base {
            Base::Empty => (None, false),
            Base::On(parent) => (Some(parent), false),
            Base::Later => (None, true),
        };
        self.create(&New { key, kind: Kind::Active, parent, later, labels })
    }

    fn view(&self, key: &str, parent: Option<&str>, labels: &Labels) -> Result<Vec<Mount>> {
        self.create(&New { key, kind: Kind::View, parent, later: false, labels })
    }

    fn commit(&self, batch: &[Commit]) -> Result<()> {
        self.store.commit(batch, &|active, parent| self.settle(active, parent))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.store.remove(name)
    }

    fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()> {
        self.store.walk(filters, visit)
    }

    fn cleanup(&self) -> Result<()> {
        self.store.cleanup()
    }

    fn stacks_later(&self) -> bool {
        true
    }
}

fn bind(source: String, access: &str) -> Mount {
    let options = vec![access.to_owned(), "rbind".to_owned()];
    Mount { kind: "bind".to_owned(), source, target: String::new(), options }
}

fn overlay(options: Vec<String>) -> Mount {
    Mount { kind: "overlay".to_owned(), source: "overlay".to_owned(), target: String::new(), options }
}

fn make(dir: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new().mode(mode).create(dir).map_err(|e| Error::io("create directory", dir, e))
}

/// Sets a mode whatever the umask is.
fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| Error::io("set the mode of", path, e))
}

/// Gives a directory the owner and mode of another.
fn inherit(from: &Path, to: &Path) -> Result<()> {
    let meta = fs::metadata(from).map_err(|e| Error::io("look at", from, e))?;
    chown(to, Some(meta.uid()), Some(meta.gid())).map_err(|e| Error::io("set the owner of", to, e))?;
    set_mode(to, meta.mode() & 0o7777)
}
