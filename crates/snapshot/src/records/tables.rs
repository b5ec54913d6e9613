//! The tables, and what can be asked of them within a transaction.

use std::path::Path;

use redb::{
    MultimapTable, MultimapTableDefinition, ReadableMultimapTable, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};

use super::{New, Record, broken, damaged};
use crate::Kind;
use crate::error::{Error, Result};

pub(super) const SNAPSHOTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("snapshots");
pub(super) const CHILDREN: MultimapTableDefinition<'_, &str, &str> = MultimapTableDefinition::new("children");
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// All tables, open for writing.
pub(super) struct Tables<'txn> {
    pub(super) snapshots: Table<'txn, &'static str, &'static [u8]>,
    pub(super) children: MultimapTable<'txn, &'static str, &'static str>,
    pub(super) meta: Table<'txn, &'static str, u64>,
    pub(super) file: &'txn Path,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(txn: &'txn WriteTransaction, file: &'txn Path) -> Result<Self> {
        Ok(Self {
            snapshots: txn.open_table(SNAPSHOTS).map_err(|e| broken(file, e))?,
            children: txn.open_multimap_table(CHILDREN).map_err(|e| broken(file, e))?,
            meta: txn.open_table(META).map_err(|e| broken(file, e))?,
            file,
        })
    }

    /// A number that none had before, from 1.
    pub(super) fn next_id(&mut self) -> Result<u64> {
        let fail = |e| broken(self.file, e);
        let id = self.meta.get("next").map_err(fail)?.map_or(1, |value| value.value());
        let next = id.checked_add(1).ok_or_else(|| damaged(self.file, "the next number is out of range"))?;
        self.meta.insert("next", next).map_err(fail)?;
        Ok(id)
    }

    /// Writes a record, new or changed.
    pub(super) fn put(&mut self, record: &Record) -> Result<()> {
        let (fail, name) = (|e| broken(self.file, e), record.info.name.as_str());
        self.snapshots.insert(name, record.encode(self.file)?.as_slice()).map_err(fail)?;
        if let Some(parent) = record.info.parent.as_deref() {
            self.children.insert(parent, name).map_err(fail)?;
        }
        Ok(())
    }

    /// Removes a record.
    pub(super) fn delete(&mut self, record: &Record) -> Result<()> {
        let (fail, name) = (|e| broken(self.file, e), record.info.name.as_str());
        self.snapshots.remove(name).map_err(fail)?;
        if let Some(parent) = record.info.parent.as_deref() {
            self.children.remove(parent, name).map_err(fail)?;
        }
        Ok(())
    }

    /// One of those that stand on `name`.
    pub(super) fn first_child(&self, name: &str) -> Result<Option<String>> {
        let fail = |e| broken(self.file, e);
        let first = self.children.get(name).map_err(fail)?.next().transpose().map_err(fail)?;
        Ok(first.map(|child| child.value().to_owned()))
    }
}

/// A snapshot's record, or `None`.
pub(super) fn look_up(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    file: &Path,
    name: &str,
) -> Result<Option<Record>> {
    let bytes = table.get(name).map_err(|e| broken(file, e))?;
    bytes.map(|bytes| Record::decode(file, name, bytes.value())).transpose()
}

/// A snapshot's record, or `NotFound`.
pub(super) fn find(table: &impl ReadableTable<&'static str, &'static [u8]>, file: &Path, name: &str) -> Result<Record> {
    look_up(table, file, name)?.ok_or_else(|| Error::NotFound(name.to_owned()))
}

/// A committed snapshot that something may stand on.
pub(super) fn parent(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    file: &Path,
    name: &str,
) -> Result<Record> {
    let record = find(table, file, name)?;
    if record.info.kind != Kind::Committed {
        let kind = record.info.kind.name();
        return Err(Error::Invalid(format!("snapshot {name:?} cannot be a parent: it is {kind}, not committed")));
    }
    Ok(record)
}

/// Says whether `new` can be made, and its parent's number.
pub(super) fn check(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    file: &Path,
    new: &New<'_>,
) -> Result<Option<u64>> {
    if look_up(table, file, new.key)?.is_some() {
        return Err(Error::AlreadyExists(new.key.to_owned()));
    }
    new.parent.map(|name| parent(table, file, name).map(|record| record.id)).transpose()
}

/// The numbers of `name` and of all that it stands on, the nearest first.
pub(super) fn ids(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    file: &Path,
    name: Option<&str>,
) -> Result<Vec<u64>> {
    let (mut ids, mut next) = (Vec::new(), name.map(str::to_owned));
    while let Some(name) = next {
        let record = look_up(table, file, &name)?
            .ok_or_else(|| damaged(file, &format!("the record of {name:?} is missing, which others stand on")))?;
        // A parent was there before its children, so its number is lower unless the database is damaged; layers prepared
        // side by side have numbers in any order, so what is looked for is one that comes twice.
        if ids.contains(&record.id) {
            return Err(damaged(file, &format!("snapshot {name:?} stands on itself")));
        }
        ids.push(record.id);
        next = record.info.parent;
    }
    Ok(ids)
}
