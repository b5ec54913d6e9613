//! Opening the file, and refusing it when it is not whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, TableError};
use wharf_content::ContentStore;
use wharf_snapshot::Snapshotter;
use wharf_types::{ErrorKind, Filters};

use crate::rows::{ROWS, broken};
use crate::{Error, Result};

/// The version of the table and of what is in it.
const FORMAT: u64 = 1;

/// The key of the version.
const FORMAT_KEY: (u8, &str, &str, &str, &str) = (0, "format", "", "", "");

/// Opens the database `file`; where it is missing, `may_create` says whether one may be begun.
pub(super) fn open(file: &Path, may_create: impl FnOnce() -> Result<bool>) -> Result<Database> {
    match fs::metadata(file) {
        Ok(meta) if meta.len() == 0 => return Err(damaged(file, "the file is empty")),
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if !may_create()? {
                return Err(damaged(file, "the file is missing, though the stores have content or snapshots"));
            }
            create(file)?;
        }
        Err(e) => return Err(failed(file, "look at", &e)),
    }
    let db = open_whole(file)?;
    match format(&db, file)? {
        Some(FORMAT) => Ok(db),
        Some(other) => {
            let reason =
                format!("its format is {other} and this program knows {FORMAT}; use the program that wrote it");
            Err(Error::Database { file: file.to_owned(), kind: ErrorKind::FailedPrecondition, reason })
        }
        None => Err(damaged(file, "the file is a database of another program")),
    }
}

/// True when neither content nor snapshots are there: then nothing is lost when a database is begun.
pub(super) fn stores_are_empty(
    content: &dyn ContentStore,
    snapshotters: &BTreeMap<String, Arc<dyn Snapshotter>>,
) -> Result<bool> {
    let mut empty = true;
    // The walks end with an error of our own at the first that they find.
    let found = content.walk(&Filters::all(), &mut |_| {
        empty = false;
        Err(wharf_content::Error::Invalid("found".to_owned()))
    });
    if let Err(error) = found.or_else(|error| if empty { Err(error) } else { Ok(()) }) {
        return Err(Error::store("look for content", error));
    }
    for (name, snapshotter) in snapshotters {
        let found = snapshotter.walk(&Filters::all(), &mut |_| {
            empty = false;
            Err(wharf_snapshot::Error::Invalid("found".to_owned()))
        });
        if let Err(error) = found.or_else(|error| if empty { Err(error) } else { Ok(()) }) {
            return Err(Error::store(format!("look for snapshots of {name}"), error));
        }
    }
    Ok(empty)
}

/// Makes a database under another name first, so that a crash leaves either none or a whole one.
fn create(file: &Path) -> Result<()> {
    let fresh = file.with_extension("new");
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&fresh, "remove", &e)),
        _ => {}
    }
    let db = Builder::new().create(&fresh).map_err(|e| broken(&fresh, e))?;
    let txn = db.begin_write().map_err(|e| broken(&fresh, e))?;
    {
        let mut table = txn.open_table(ROWS).map_err(|e| broken(&fresh, e))?;
        table.insert(FORMAT_KEY, FORMAT.to_be_bytes().as_slice()).map_err(|e| broken(&fresh, e))?;
    }
    txn.commit().map_err(|e| broken(&fresh, e))?;
    drop(db);
    fs::rename(&fresh, file).map_err(|e| failed(file, "name", &e))?;
    // A relative path of one name has the empty path for its parent.
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(parent).and_then(|parent| parent.sync_all()).map_err(|e| failed(parent, "sync", &e))
}

/// Opens a database after its checksums were compared: damage found here is damage not spread.
fn open_whole(file: &Path) -> Result<Database> {
    let open = || Builder::new().set_check_integrity_on_open(true).open(file);
    // A damaged file makes the library stop with a panic in places.
    match std::panic::catch_unwind(open) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(DatabaseError::DatabaseAlreadyOpen)) => {
            let reason = "another process has it open; stop that process or choose another directory".to_owned();
            Err(Error::Database { file: file.to_owned(), kind: ErrorKind::FailedPrecondition, reason })
        }
        Ok(Err(error @ (DatabaseError::RepairAborted | DatabaseError::UpgradeRequired(_)))) => {
            Err(damaged(file, &error.to_string()))
        }
        Ok(Err(error)) => Err(broken(file, error)),
        Err(_) => Err(damaged(file, "the file is damaged")),
    }
}

fn format(db: &Database, file: &Path) -> Result<Option<u64>> {
    let txn = db.begin_read().map_err(|e| broken(file, e))?;
    let table = match txn.open_table(ROWS) {
        Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => return Ok(None),
        table => table.map_err(|e| broken(file, e))?,
    };
    let found = table.get(FORMAT_KEY).map_err(|e| broken(file, e))?;
    found.map(|value| number(file, Some(value.value().to_vec()))).transpose()
}

/// A number as it is stored; none is 0.
pub(super) fn number(file: &Path, bytes: Option<Vec<u8>>) -> Result<u64> {
    let Some(bytes) = bytes else { return Ok(0) };
    let bytes = bytes.try_into().map_err(|_| damaged(file, "a number is not of eight bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

fn failed(file: &Path, doing: &str, error: &io::Error) -> Error {
    let reason = format!("{doing}: {error}");
    Error::Database { file: file.to_owned(), kind: ErrorKind::of_io(error), reason }
}

/// Data that was there and cannot be read.
pub(crate) fn damaged(file: &Path, what: &str) -> Error {
    let dir = file.parent().unwrap_or(file);
    let reason = format!("{what}; put back a copy of it, or move {dir:?} and the stores beside it away to begin again");
    Error::Database { file: file.to_owned(), kind: ErrorKind::DataLoss, reason }
}
