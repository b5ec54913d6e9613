//! Snapshots as whole copies, for filesystems that cannot hold overlays. Where files can share their blocks (`FICLONE`: btrfs,
//! xfs) a copy takes little space and time.

use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

use wharf_types::{ErrorKind, Filters, LabelChange, Labels, Mount};

use crate::copy::copy_tree;
use crate::error::{Error, Result};
use crate::records::{New, Record};
use crate::store::{Store, text, unfit};
use crate::{Base, Commit, Info, Kind, Snapshotter, Usage};

/// Snapshots below one directory, each whole: `snapshots/<number>/fs`.
#[derive(Debug)]
pub struct NativeSnapshotter {
    store: Store,
}

impl NativeSnapshotter {
    /// Opens or makes a root for snapshots.
    ///
    /// # Errors
    /// `FailedPrecondition` when the filesystem of `root` knows no links, which root filesystems need, or another process has
    /// it open; `DataLoss` when the records are damaged or missing.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = std::path::absolute(root.as_ref()).map_err(|e| Error::io("resolve", root.as_ref(), e))?;
        text(&root)?;
        let store = Store::open(&root)?;
        probe(&root)?;
        Ok(Self { store })
    }

    fn create(&self, new: &New<'_>) -> Result<Vec<Mount>> {
        let (record, parents) = self.store.create(new, &|dir, parent| self.fill(dir, parent, new.kind))?;
        self.mounts_of(&record, &parents)
    }

    fn fill(&self, dir: &Path, parent: Option<u64>, kind: Kind) -> Result<()> {
        let to = dir.join("fs");
        std::fs::DirBuilder::new().mode(0o755).create(&to).map_err(|e| Error::io("create directory", &to, e))?;
        let Some(parent) = parent else {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            return std::fs::set_permissions(&to, mode).map_err(|e| Error::io("set the mode of", &to, e));
        };
        // A view shows the parent's own files.
        if kind == Kind::View {
            return Ok(());
        }
        copy_tree(&self.store.fs(parent), &to)?;
        // The record follows, and it says that the copy is whole.
        wharf_sys::fs::syncfs(&to).map_err(|e| Error::sys("copy a snapshot", e))
    }

    fn mounts_of(&self, record: &Record, parents: &[u64]) -> Result<Vec<Mount>> {
        let (id, access) = match (record.info.kind, parents) {
            (Kind::View, [parent, ..]) => (*parent, "ro"),
            (Kind::View, []) => (record.id, "ro"),
            _ => (record.id, "rw"),
        };
        let options = vec![access.to_owned(), "rbind".to_owned()];
        let source = text(&self.store.fs(id))?;
        Ok(vec![Mount { kind: "bind".to_owned(), source, target: String::new(), options }])
    }
}

impl Snapshotter for NativeSnapshotter {
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
        let parent = match base {
            Base::Empty => None,
            Base::On(parent) => Some(parent),
            Base::Later => {
                return Err(Error::Other {
                    doing: format!("prepare snapshot {key:?}"),
                    kind: ErrorKind::Unimplemented,
                    source: "a copy needs its parent at once; prepare layers one after the other".into(),
                });
            }
        };
        self.create(&New { key, kind: Kind::Active, parent, later: false, labels })
    }

    fn view(&self, key: &str, parent: Option<&str>, labels: &Labels) -> Result<Vec<Mount>> {
        self.create(&New { key, kind: Kind::View, parent, later: false, labels })
    }

    fn commit(&self, batch: &[Commit]) -> Result<()> {
        self.store.commit(batch, &|_, _| Ok(()))
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
}

/// Finds out whether the filesystem knows links.
fn probe(root: &Path) -> Result<()> {
    let place = root.join("probe");
    let clear = || wharf_sys::fs::remove_dir_all(&place).map_err(|e| Error::sys("try the filesystem", e));
    clear()?;
    let tried = std::fs::create_dir(&place)
        .and_then(|()| symlink("nowhere", place.join("symbolic")))
        .and_then(|()| std::fs::write(place.join("file"), ""))
        .and_then(|()| std::fs::hard_link(place.join("file"), place.join("hard")));
    clear()?;
    tried.map_err(|e| unfit(root, "try to make links", e))
}
