//! The tree of snapshots in a database of its own, which all implementations share.
//!
//! Tables: `snapshots` holds a [`Record`] for each name, `children` the names that stand on a name, `meta` the next number and
//! the version of this format. Numbers name directories and are never given twice.

mod batch;
mod record;
mod tables;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) use batch::Settled;
pub(crate) use record::Record;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable};
use tables::{META, SNAPSHOTS, Tables, find, ids};
use wharf_types::{ErrorKind, LabelChange, Labels, labels};

use crate::error::{Error, Result};
use crate::{Info, Kind};

/// The version of the tables and of what is in them.
const FORMAT: u64 = 1;

/// The database.
#[derive(Debug)]
pub(crate) struct Records {
    db: Database,
    file: PathBuf,
}

/// A snapshot to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct New<'a> {
    pub(crate) key: &'a str,
    pub(crate) kind: Kind,
    pub(crate) parent: Option<&'a str>,
    /// The parent will be named at commit.
    pub(crate) later: bool,
    pub(crate) labels: &'a Labels,
}

impl Records {
    /// Opens the database, which is made only where `may_create` allows it: one that vanished is not replaced silently.
    pub(crate) fn open(file: &Path, may_create: bool) -> Result<Self> {
        match std::fs::metadata(file) {
            Ok(meta) if meta.len() == 0 => return Err(damaged(file, "the file is empty")),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && may_create => create(file)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(damaged(file, "the file is missing, though there are snapshots beside it"));
            }
            Err(e) => return Err(Error::io("look at", file, e)),
        }
        let db = open_whole(file)?;
        let records = Self { db, file: file.to_owned() };
        match records.format()? {
            Some(FORMAT) => Ok(records),
            Some(other) => {
                let reason =
                    format!("its format is {other} and this program knows {FORMAT}; use the program that wrote it");
                Err(Error::Database { file: file.to_owned(), kind: ErrorKind::FailedPrecondition, reason })
            }
            None => Err(damaged(file, "the file names no format")),
        }
    }

    fn format(&self) -> Result<Option<u64>> {
        let txn = self.db.begin_read().map_err(|e| self.fail(e))?;
        let meta = match txn.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            meta => meta.map_err(|e| self.fail(e))?,
        };
        Ok(meta.get("format").map_err(|e| self.fail(e))?.map(|value| value.value()))
    }

    /// One snapshot.
    pub(crate) fn get(&self, name: &str) -> Result<Record> {
        self.read(|table| find(table, &self.file, name))
    }

    /// One snapshot and the numbers of its parents, the nearest first.
    pub(crate) fn get_with_parents(&self, name: &str) -> Result<(Record, Vec<u64>)> {
        self.read(|table| {
            let record = find(table, &self.file, name)?;
            let parents = ids(table, &self.file, record.info.parent.as_deref())?;
            Ok((record, parents))
        })
    }

    /// Says whether `new` could be made now, and its parent's number, before the work of making its files.
    pub(crate) fn check(&self, new: &New<'_>) -> Result<Option<u64>> {
        if new.key.is_empty() {
            return Err(Error::Invalid("a snapshot's key is empty".to_owned()));
        }
        labels::validate(new.labels).map_err(|e| Error::Invalid(format!("snapshot {:?}: {e}", new.key)))?;
        self.read(|table| tables::check(table, &self.file, new))
    }

    /// Adds `new`. `place` is called with its number and must have its files on disk when it returns.
    pub(crate) fn insert(
        &self,
        new: &New<'_>,
        parent_id: Option<u64>,
        place: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<(Record, Vec<u64>)> {
        self.write(|tables| {
            // Another may have come first, or the parent may be another one of the same name by now.
            if tables::check(&tables.snapshots, &self.file, new)? != parent_id {
                let reason = "its parent was removed meanwhile".to_owned();
                return Err(Error::Precondition { name: new.key.to_owned(), reason });
            }
            let id = tables.next_id()?;
            place(id)?;
            let record = Record::new(new, id, SystemTime::now());
            tables.put(&record)?;
            let parents = ids(&tables.snapshots, &self.file, new.parent)?;
            Ok((record, parents))
        })
    }

    /// Changes labels.
    pub(crate) fn update(&self, name: &str, change: &LabelChange) -> Result<Info> {
        self.write(|tables| {
            let mut record = find(&tables.snapshots, &self.file, name)?;
            change.apply(&mut record.info.labels);
            labels::validate(&record.info.labels).map_err(|e| Error::Invalid(format!("snapshot {name:?}: {e}")))?;
            record.info.updated_at = SystemTime::now();
            tables.put(&record)?;
            Ok(record.info)
        })
    }

    /// Removes a record that has no children and returns its number.
    pub(crate) fn remove(&self, name: &str) -> Result<u64> {
        self.write(|tables| {
            let record = find(&tables.snapshots, &self.file, name)?;
            if let Some(child) = tables.first_child(name)? {
                let reason = format!("has children, such as {child:?}; remove them first");
                return Err(Error::Precondition { name: name.to_owned(), reason });
            }
            tables.delete(&record)?;
            Ok(record.id)
        })
    }

    /// Visits every snapshot in the order of names, as they are at one moment.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()> {
        self.read(|table| {
            for entry in table.iter().map_err(|e| self.fail(e))? {
                let (name, bytes) = entry.map_err(|e| self.fail(e))?;
                visit(Record::decode(&self.file, name.value(), bytes.value())?.info)?;
            }
            Ok(())
        })
    }

    /// The highest number given so far, 0 for none.
    pub(crate) fn last_id(&self) -> Result<u64> {
        let txn = self.db.begin_read().map_err(|e| self.fail(e))?;
        let meta = txn.open_table(META).map_err(|e| self.fail(e))?;
        let next = meta.get("next").map_err(|e| self.fail(e))?.map_or(1, |value| value.value());
        Ok(next.saturating_sub(1))
    }

    /// Calls `act` with all numbers in use, while none can be added or removed.
    pub(crate) fn with_ids(&self, act: &mut dyn FnMut(&BTreeSet<u64>) -> Result<()>) -> Result<()> {
        let txn = self.db.begin_write().map_err(|e| self.fail(e))?;
        {
            let tables = Tables::open(&txn, &self.file)?;
            let mut used = BTreeSet::new();
            for entry in tables.snapshots.iter().map_err(|e| self.fail(e))? {
                let (name, bytes) = entry.map_err(|e| self.fail(e))?;
                used.insert(Record::decode(&self.file, name.value(), bytes.value())?.id);
            }
            act(&used)?;
        }
        txn.abort().map_err(|e| self.fail(e))
    }

    fn read<T>(&self, act: impl FnOnce(&redb::ReadOnlyTable<&'static str, &'static [u8]>) -> Result<T>) -> Result<T> {
        let txn = self.db.begin_read().map_err(|e| self.fail(e))?;
        act(&txn.open_table(SNAPSHOTS).map_err(|e| self.fail(e))?)
    }

    /// One transaction: on disk when this returns, undone when `act` fails.
    fn write<T>(&self, act: impl FnOnce(&mut Tables<'_>) -> Result<T>) -> Result<T> {
        let txn = self.db.begin_write().map_err(|e| self.fail(e))?;
        let result = {
            let mut tables = Tables::open(&txn, &self.file)?;
            act(&mut tables)?
        };
        txn.commit().map_err(|e| self.fail(e))?;
        Ok(result)
    }

    fn fail(&self, error: impl Into<redb::Error>) -> Error {
        broken(&self.file, error)
    }
}

/// Makes a database under another name first, so that a crash leaves either none or a whole one.
fn create(file: &Path) -> Result<()> {
    let fresh = file.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &fresh, e)),
        _ => {}
    }
    let db = Builder::new().create(&fresh).map_err(|e| broken(&fresh, e))?;
    let txn = db.begin_write().map_err(|e| broken(&fresh, e))?;
    {
        let mut tables = Tables::open(&txn, &fresh)?;
        tables.meta.insert("format", FORMAT).map_err(|e| broken(&fresh, e))?;
    }
    txn.commit().map_err(|e| broken(&fresh, e))?;
    drop(db);
    std::fs::rename(&fresh, file).map_err(|e| Error::io("rename", &fresh, e))?;
    let dir = file.parent().unwrap_or_else(|| Path::new("."));
    wharf_sys::fs::sync_dir(dir).map_err(|e| Error::sys("create the snapshot records", e))
}

/// Opens a database after its checksums were compared: it is small, and damage found here is damage not spread.
fn open_whole(file: &Path) -> Result<Database> {
    // Checked whole, redb reports what was changed behind its back; without, it may panic later.
    match Builder::new().set_check_integrity_on_open(true).open(file) {
        Ok(db) => Ok(db),
        Err(DatabaseError::DatabaseAlreadyOpen) => {
            let reason = "another process has it open; stop that process or choose another directory".to_owned();
            Err(Error::Database { file: file.to_owned(), kind: ErrorKind::FailedPrecondition, reason })
        }
        Err(error @ (DatabaseError::RepairAborted | DatabaseError::UpgradeRequired(_))) => {
            Err(damaged(file, &error.to_string()))
        }
        Err(error) => Err(broken(file, error)),
    }
}

/// What the database says, in our words.
fn broken(file: &Path, error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Corrupted(what) => damaged(file, &format!("the file is damaged: {what}")),
        redb::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            damaged(file, &format!("the file is damaged: {e}"))
        }
        redb::Error::Io(e) => {
            Error::Database { file: file.to_owned(), kind: ErrorKind::of_io(&e), reason: e.to_string() }
        }
        error => Error::Database { file: file.to_owned(), kind: ErrorKind::Internal, reason: error.to_string() },
    }
}

fn damaged(file: &Path, what: &str) -> Error {
    let dir = file.parent().unwrap_or(file);
    let reason = format!("{what}; put back a copy of it, or move {dir:?} away to begin again without snapshots");
    Error::Database { file: file.to_owned(), kind: ErrorKind::DataLoss, reason }
}

#[cfg(test)]
mod tests;
