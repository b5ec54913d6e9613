//! Records and directories together: what all implementations do alike.
//!
//! Below the root: `metadata.db`, and `snapshots/` with a directory for each number, in it `fs`. `new-…` is being made, `rm-…`
//! is being removed; neither has a record. Bytes come before the record that names them and go after it.

mod directory;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use directory::{Fresh, is_number, list};
use wharf_types::{ErrorKind, Filters};

use crate::error::{Error, Result};
use crate::records::{New, Record, Records, Settled};
use crate::{Commit, Info, Kind, Usage, usage};

/// A root directory and its records. One process at a time has it open: the database is locked.
#[derive(Debug)]
pub(crate) struct Store {
    snapshots: PathBuf,
    records: Records,
    /// Open since the start, so that syncfs(2) tells of every write that failed since then.
    disk: File,
    /// A write failed when this was the highest number: none up to it can be committed any more.
    condemned: AtomicU64,
}

impl Store {
    /// Opens or makes a root, and sweeps what an end in the middle left unfinished.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let snapshots = root.join("snapshots");
        directory::make(root)?;
        directory::make(&snapshots)?;
        let names = list(&snapshots)?;
        let records = Records::open(&root.join("metadata.db"), !names.iter().any(|name| is_number(name)))?;
        let disk = File::open(&snapshots).map_err(|e| Error::io("open", &snapshots, e))?;
        let store = Self { snapshots, records, disk, condemned: AtomicU64::new(0) };
        for name in names.iter().filter(|name| name.starts_with("new-")) {
            let path = store.snapshots.join(name);
            wharf_sys::fs::remove_dir_all(&path).map_err(|e| Error::sys("sweep unfinished snapshots", e))?;
        }
        Ok(store)
    }

    pub(crate) fn records(&self) -> &Records {
        &self.records
    }

    /// The directory of a number.
    pub(crate) fn dir(&self, id: u64) -> PathBuf {
        self.snapshots.join(id.to_string())
    }

    /// The files of a number.
    pub(crate) fn fs(&self, id: u64) -> PathBuf {
        self.dir(id).join("fs")
    }

    /// Makes a snapshot. `fill` is given an empty directory and the parent's number, and makes what belongs into it.
    pub(crate) fn create(
        &self,
        new: &New<'_>,
        fill: &dyn Fn(&Path, Option<u64>) -> Result<()>,
    ) -> Result<(Record, Vec<u64>)> {
        let parent = self.records.check(new)?;
        let fresh = Fresh::make(&self.snapshots)?;
        fill(fresh.path(), parent)?;
        self.records.insert(new, parent, &mut |id| self.place(&fresh, id))
    }

    /// Gives a new directory its number. What is there already is of a transaction that did not come to its end.
    fn place(&self, fresh: &Fresh, id: u64) -> Result<()> {
        let dir = self.dir(id);
        if dir.symlink_metadata().is_ok() {
            self.set_aside(&id.to_string())?;
        }
        std::fs::rename(fresh.path(), &dir).map_err(|e| Error::io("rename", fresh.path(), e))?;
        for dir in [&dir, &self.snapshots] {
            wharf_sys::fs::sync_dir(dir).map_err(|e| Error::sys("make a snapshot", e))?;
        }
        Ok(())
    }

    /// Commits a batch: every step's files are settled and measured, all are made durable at once, then the records change.
    pub(crate) fn commit(&self, batch: &[Commit], settle: &dyn Fn(&Record, Option<u64>) -> Result<()>) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut steps: Vec<Settled<'_>> = Vec::with_capacity(batch.len());
        for commit in batch {
            let active = self.records.active(commit)?;
            settle(&active, self.parent_of(&active, commit, &steps)?)?;
            let usage = usage::measure(&self.fs(active.id))?;
            steps.push(Settled { commit, id: active.id, usage });
        }
        self.sync(&steps)?;
        self.records.commit(&steps)
    }

    /// The number of the parent that a step will have, which may be an earlier step.
    fn parent_of(&self, active: &Record, commit: &Commit, earlier: &[Settled<'_>]) -> Result<Option<u64>> {
        let Some(name) = commit.parent.as_ref().or(active.info.parent.as_ref()) else { return Ok(None) };
        match earlier.iter().find(|step| step.commit.name == *name) {
            Some(step) => Ok(Some(step.id)),
            None => Ok(Some(self.records.get(name)?.id)),
        }
    }

    /// One syncfs for the whole batch. The kernel tells of a failed write once and drops the pages, so that trying again would
    /// succeed over holes: what may have been written before the failure is never committed by this process.
    fn sync(&self, steps: &[Settled<'_>]) -> Result<()> {
        if let Err(errno) = rustix::fs::syncfs(&self.disk) {
            self.condemn()?;
            return Err(Error::io("write to disk the filesystem of", &self.snapshots, errno));
        }
        let condemned = self.condemned.load(Ordering::SeqCst);
        match steps.iter().find(|step| step.id <= condemned) {
            Some(step) => Err(Error::Precondition {
                name: step.commit.key.clone(),
                reason: "its files may be damaged, since a write to its disk failed; remove it and prepare it again"
                    .to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Lets none of the snapshots that are there now be committed.
    pub(crate) fn condemn(&self) -> Result<()> {
        self.condemned.fetch_max(self.records.last_id()?, Ordering::SeqCst);
        Ok(())
    }

    /// Removes a snapshot. Once the record is gone the snapshot is; files that resist are left for [`Store::cleanup`].
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let id = self.records.remove(name)?;
        if let Ok(trash) = self.set_aside(&id.to_string()) {
            let _ = wharf_sys::fs::remove_dir_all(trash);
        }
        Ok(())
    }

    /// Removes directories that no record names.
    pub(crate) fn cleanup(&self) -> Result<()> {
        self.records.with_ids(&mut |used| {
            for name in list(&self.snapshots)?.iter().filter(|name| is_number(name)) {
                if !name.parse().is_ok_and(|id| used.contains(&id)) {
                    self.set_aside(name)?;
                }
            }
            Ok(())
        })?;
        let mut failure = None;
        for name in list(&self.snapshots)?.iter().filter(|name| name.starts_with("rm-")) {
            if let Err(error) = wharf_sys::fs::remove_dir_all(self.snapshots.join(name)) {
                failure.get_or_insert(error);
            }
        }
        failure.map_or(Ok(()), |error| Err(Error::sys("clean up snapshots", error)))
    }

    /// Renames a directory so that nobody takes it for a snapshot.
    fn set_aside(&self, name: &str) -> Result<PathBuf> {
        let dir = self.snapshots.join(name);
        let trash = self.snapshots.join(directory::unique(&format!("rm-{name}")));
        std::fs::rename(&dir, &trash).map_err(|e| Error::io("rename", &dir, e))?;
        Ok(trash)
    }

    /// What a snapshot takes: as measured at commit, or live while it is active.
    pub(crate) fn usage(&self, name: &str) -> Result<Usage> {
        let record = self.records.get(name)?;
        if record.info.kind == Kind::Active { usage::measure(&self.fs(record.id)) } else { Ok(record.usage) }
    }

    /// A snapshot to be mounted and the numbers of its parents.
    pub(crate) fn mountable(&self, key: &str) -> Result<(Record, Vec<u64>)> {
        let (record, parents) = self.records.get_with_parents(key)?;
        if record.info.kind == Kind::Committed {
            let reason = "is committed, and only active ones and views can be mounted; make a view of it".to_owned();
            return Err(Error::Precondition { name: key.to_owned(), reason });
        }
        Ok((record, parents))
    }

    /// Visits what `filters` match.
    pub(crate) fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()> {
        self.records.walk(&mut |info| if filters.matches(&info) { visit(info) } else { Ok(()) })
    }
}

/// The path as a mount's option wants it.
pub(crate) fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Error::Invalid(format!("{path:?} is not UTF-8")))
}

/// A root whose filesystem cannot hold snapshots.
pub(crate) fn unfit(root: &Path, what: &str, source: impl Into<wharf_types::BoxError>) -> Error {
    Error::Other {
        doing: format!("{what} in {root:?}; choose a root on ext4, xfs or btrfs, or another snapshotter"),
        kind: ErrorKind::FailedPrecondition,
        source: source.into(),
    }
}
