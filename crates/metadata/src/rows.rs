//! The one table: rows by kind, namespace and names, and what can be asked of it in a transaction.
//!
//! ```text
//! kind       parts of the key                       value
//! Meta       "format" | "next"                      a number
//! Namespace  namespace                              codec::Namespace
//! Image      namespace, name                        codec::Image
//! Container  namespace, id                          codec::Container
//! Lease      namespace, id                          codec::Lease
//! Resource   namespace, lease, kind, id             empty: the lease holds it
//! Blob       namespace, digest                      codec::Blob
//! Owner      digest, namespace                      empty: the namespace has a record of the blob
//! Ingest     namespace, reference                   codec::Ingest
//! Snapshot   namespace, snapshotter, key            codec::Snapshot
//! Child      namespace, snapshotter, parent, child  empty: child stands on parent
//! Sandbox    namespace, id                          codec::Sandbox
//! Mount      namespace, name                        codec::Activation
//! ```

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use redb::{ReadOnlyTable, ReadableTable, Table, TableDefinition};
use wharf_types::{ErrorKind, Namespace};

use crate::database::damaged;
use crate::{Error, Object, ObjectKind, Result};

/// A row's kind, and the parts of its key; unused ones are empty.
type Key = (u8, &'static str, &'static str, &'static str, &'static str);

/// The table.
pub(crate) const ROWS: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("wharf");

/// The most bytes of a name (containerd's are bounded by the keys of bbolt: 32,768).
const LONGEST: usize = 32_768;

/// What a row is. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RowKind {
    Meta = 0,
    Namespace = 1,
    Image = 2,
    Container = 3,
    Lease = 4,
    Resource = 5,
    Blob = 6,
    Owner = 7,
    Ingest = 8,
    Snapshot = 9,
    Child = 10,
    Sandbox = 11,
    Mount = 12,
}

/// The key of one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a>(pub(crate) RowKind, pub(crate) [&'a str; 4]);

impl<'a> Row<'a> {
    /// A row whose key has these parts; what is over four is not part of any key.
    pub(crate) fn new(kind: RowKind, parts: &[&'a str]) -> Self {
        let mut all = [""; 4];
        for (place, part) in all.iter_mut().zip(parts) {
            *place = part;
        }
        Self(kind, all)
    }

    fn key(&self) -> (u8, &'a str, &'a str, &'a str, &'a str) {
        let [a, b, c, d] = self.1;
        (self.0 as u8, a, b, c, d)
    }

    /// The row of an object.
    pub(crate) fn of(object: &'a Object) -> Self {
        let (ns, name) = (object.namespace.as_str(), object.name.as_str());
        match &object.kind {
            ObjectKind::Content => Self::new(RowKind::Blob, &[ns, name]),
            ObjectKind::Ingest => Self::new(RowKind::Ingest, &[ns, name]),
            ObjectKind::Image => Self::new(RowKind::Image, &[ns, name]),
            ObjectKind::Container => Self::new(RowKind::Container, &[ns, name]),
            ObjectKind::Lease => Self::new(RowKind::Lease, &[ns, name]),
            ObjectKind::Sandbox => Self::new(RowKind::Sandbox, &[ns, name]),
            ObjectKind::Mount => Self::new(RowKind::Mount, &[ns, name]),
            ObjectKind::Snapshot(snapshotter) => Self::new(RowKind::Snapshot, &[ns, snapshotter, name]),
        }
    }

    /// The object that a row is, or that it has a lease hold; nothing for rows that only index others.
    pub(crate) fn object(&self) -> Option<Object> {
        let [ns, a, b, c] = self.1;
        let (kind, name) = match self.0 {
            RowKind::Image => (ObjectKind::Image, a),
            RowKind::Container => (ObjectKind::Container, a),
            RowKind::Lease => (ObjectKind::Lease, a),
            RowKind::Sandbox => (ObjectKind::Sandbox, a),
            RowKind::Mount => (ObjectKind::Mount, a),
            RowKind::Blob => (ObjectKind::Content, a),
            RowKind::Ingest => (ObjectKind::Ingest, a),
            RowKind::Snapshot => (ObjectKind::Snapshot(a.to_owned()), b),
            RowKind::Resource => (ObjectKind::of_resource(b)?, c),
            RowKind::Meta | RowKind::Namespace | RowKind::Owner | RowKind::Child => return None,
        };
        let namespace: Namespace = ns.parse().ok()?;
        Some(Object { namespace, kind, name: name.to_owned() })
    }
}

/// What [`Rows::scan`] calls: true goes on.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(Row<'_>, &[u8]) -> Result<bool>;

/// The rows as they are at one moment.
pub(crate) trait Rows {
    /// One row.
    fn get(&self, row: Row<'_>) -> Result<Option<Vec<u8>>>;

    /// The rows of a kind whose keys begin with `parts`, in their order, until `visit` has enough.
    fn scan(&self, kind: RowKind, parts: &[&str], visit: Visit<'_>) -> Result<()>;

    /// The database's file, for errors.
    fn file(&self) -> &Path;

    /// One row, decoded.
    fn find<T: prost::Message + Default>(&self, row: Row<'_>) -> Result<Option<T>>
    where
        Self: Sized,
    {
        self.get(row)?.map(|bytes| decode(self.file(), row, &bytes)).transpose()
    }

    /// True when there is such a row.
    fn has(&self, row: Row<'_>) -> Result<bool> {
        Ok(self.get(row)?.is_some())
    }

    /// The first row whose key begins with `parts`: the last part of its key that is not empty.
    fn first(&self, kind: RowKind, parts: &[&str]) -> Result<Option<String>> {
        let mut found = None;
        self.scan(kind, parts, &mut |row, _| {
            found = row.1.iter().rev().find(|part| !part.is_empty()).map(|part| (*part).to_owned());
            Ok(false)
        })?;
        Ok(found)
    }
}

/// Decodes a row's value; one that cannot be decoded is damage.
pub(crate) fn decode<T: prost::Message + Default>(file: &Path, row: Row<'_>, bytes: &[u8]) -> Result<T> {
    T::decode(bytes).map_err(|e| damaged(file, &format!("the record {row:?} cannot be read: {e}")))
}

/// A read transaction.
pub(crate) struct Reading {
    pub(crate) table: ReadOnlyTable<Key, &'static [u8]>,
    pub(crate) file: PathBuf,
}

/// A write transaction.
pub(crate) struct Writing<'txn> {
    table: Table<'txn, Key, &'static [u8]>,
    file: &'txn Path,
    /// The time of the transaction.
    pub(crate) now: SystemTime,
    /// Objects that were written or are held now: the collector spares them.
    pub(crate) touched: Vec<Object>,
    /// Some object was removed, or is held no more.
    pub(crate) removed: bool,
    /// Anything was written at all.
    pub(crate) written: bool,
}

impl<'txn> Writing<'txn> {
    pub(crate) fn new(table: Table<'txn, Key, &'static [u8]>, file: &'txn Path, now: SystemTime) -> Self {
        Self { table, file, now, touched: Vec::new(), removed: false, written: false }
    }

    /// Writes a row.
    pub(crate) fn put(&mut self, row: Row<'_>, value: &impl prost::Message) -> Result<()> {
        self.put_bytes(row, &value.encode_to_vec())
    }

    /// Writes a row that says all by being there.
    pub(crate) fn put_empty(&mut self, row: Row<'_>) -> Result<()> {
        self.put_bytes(row, &[])
    }

    pub(crate) fn put_bytes(&mut self, row: Row<'_>, bytes: &[u8]) -> Result<()> {
        if let Some(part) = row.1.iter().find(|part| part.len() > LONGEST) {
            let (begin, length) = (part.chars().take(32).collect::<String>(), part.len());
            return Err(Error::Invalid(format!(
                "the name {begin:?}... has {length} bytes; at most {LONGEST} are kept"
            )));
        }
        self.table.insert(row.key(), bytes).map_err(|e| broken(self.file, e))?;
        self.touched.extend(row.object());
        self.written = true;
        Ok(())
    }

    /// Removes a row, and says whether it was there.
    pub(crate) fn delete(&mut self, row: Row<'_>) -> Result<bool> {
        let there = self.table.remove(row.key()).map_err(|e| broken(self.file, e))?.is_some();
        self.written |= there;
        // An ingest holds nothing but its own bytes, which go with it: without it there is nothing more to collect.
        self.removed |= there && row.object().is_some_and(|object| object.kind != ObjectKind::Ingest);
        Ok(there)
    }

    /// Removes all rows of a kind whose keys begin with `parts`.
    pub(crate) fn delete_all(&mut self, kind: RowKind, parts: &[&str]) -> Result<()> {
        let mut doomed = Vec::new();
        self.scan(kind, parts, &mut |row, _| {
            doomed.push(row.1.map(str::to_owned));
            Ok(true)
        })?;
        for parts in doomed {
            self.delete(Row(kind, parts.each_ref().map(String::as_str)))?;
        }
        Ok(())
    }

    /// Has the collector spare an object that is relied upon though nothing of it was written.
    pub(crate) fn touch(&mut self, object: Object) {
        self.touched.push(object);
    }

    /// Makes the namespace, if this is the first thing that is written in it.
    pub(crate) fn ensure_namespace(&mut self, namespace: &Namespace) -> Result<()> {
        let row = Row::new(RowKind::Namespace, &[namespace.as_str()]);
        if self.has(row)? { Ok(()) } else { self.put(row, &crate::codec::Namespace::default()) }
    }
}

/// Both transactions read in the same way.
macro_rules! rows {
    ($of:ty) => {
        impl Rows for $of {
            fn get(&self, row: Row<'_>) -> Result<Option<Vec<u8>>> {
                let found = self.table.get(row.key()).map_err(|e| broken(self.file(), e))?;
                Ok(found.map(|value| value.value().to_vec()))
            }

            fn scan(&self, kind: RowKind, parts: &[&str], visit: Visit<'_>) -> Result<()> {
                let begin = Row::new(kind, parts).key();
                for entry in self.table.range(begin..).map_err(|e| broken(self.file(), e))? {
                    let (key, value) = entry.map_err(|e| broken(self.file(), e))?;
                    let (found, a, b, c, d) = key.value();
                    let all = [a, b, c, d];
                    let within = found == kind as u8 && all.iter().zip(parts).all(|(part, wanted)| part == wanted);
                    if !within || !visit(Row(kind, all), value.value())? {
                        break;
                    }
                }
                Ok(())
            }

            fn file(&self) -> &Path {
                &self.file
            }
        }
    };
}
rows!(Reading);
rows!(Writing<'_>);

/// What the database says, in our words.
pub(crate) fn broken(file: &Path, error: impl Into<redb::Error>) -> Error {
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
