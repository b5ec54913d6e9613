//! The database: one file, opened once, shared by clones.

mod open;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

pub(crate) use open::damaged;
use redb::ReadableDatabase as _;
use wharf_content::ContentStore;
use wharf_snapshot::Snapshotter;
use wharf_types::{Digest, Namespace};

use crate::content::ContentView;
use crate::gc::Dirty;
use crate::holds::{Locks, Pins};
use crate::rows::{ROWS, Reading, Row, RowKind, Rows as _, Writing, broken};
use crate::snapshots::SnapshotView;
use crate::{Error, Result};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What is told of a change to whoever schedules the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Something was removed, so that the collector may find more.
    pub removed: bool,
}

/// Whether a namespace gets at a blob of another by naming its digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Knowing the digest is enough.
    #[default]
    Shared,
    /// The bytes must be shown.
    Isolated,
}

/// Is called after each change.
type Listener = Arc<dyn Fn(Change) + Send + Sync>;

/// How a database is opened.
#[derive(Clone)]
pub struct Options {
    /// Tells the time that records carry and leases end by.
    pub clock: Clock,
    /// The policy between namespaces.
    pub sharing: Sharing,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Arc::new(SystemTime::now), sharing: Sharing::default() }
    }
}

/// All records, and the stores that they are about. Clones share one database.
#[derive(Clone)]
pub struct Database {
    pub(crate) inner: Arc<Inner>,
}

/// What clones and views share.
pub(crate) struct Inner {
    db: redb::Database,
    file: PathBuf,
    pub(crate) content: Arc<dyn ContentStore>,
    pub(crate) snapshotters: BTreeMap<String, Arc<dyn Snapshotter>>,
    pub(crate) options: Options,
    listeners: RwLock<Vec<Listener>>,
    numbers: Mutex<Numbers>,
    /// What was touched since the collector began, while it runs.
    pub(crate) dirty: Dirty,
    /// One collection at a time.
    pub(crate) collecting: Mutex<()>,
    /// Blobs that are relied upon before their records are written.
    pub(crate) pins: Pins<Digest>,
    /// Blobs and snapshots that may be without record.
    pub(crate) loose: Mutex<Loose>,
    /// Names of snapshots (snapshotter, namespace, key) that somebody makes, commits or removes now.
    pub(crate) claims: Locks<(String, Namespace, String)>,
    /// The backends' names of snapshots whose records are being written, by snapshotter.
    pub(crate) in_flight: Mutex<HashSet<(String, String)>>,
    /// How many transactions were committed.
    commits: AtomicU64,
}

/// Numbers that no name in a store behind had before.
struct Numbers {
    next: u64,
    reserved: u64,
}

/// What the collector looks at in the stores behind.
#[derive(Default)]
pub(crate) struct Loose {
    /// Every blob was looked at since the database was opened.
    pub(crate) content_swept: bool,
    /// Blobs whose records were removed, or were not written.
    pub(crate) blobs: HashSet<Digest>,
    /// Snapshotters that were looked at since and had nothing removed.
    pub(crate) clean_snapshotters: HashSet<String>,
}

/// How many numbers are taken from the database at once; what is left of them is lost with the process.
const NUMBERS: u64 = 1024;

impl Database {
    /// Opens the database `path`, or makes it where it is missing and the stores are empty.
    ///
    /// # Errors
    /// `DataLoss` when the file is damaged, torn or foreign, or missing while the stores are not empty: it is never begun
    /// again silently; `FailedPrecondition` when another process has it open or its format is another.
    pub fn open(
        path: impl AsRef<Path>,
        content: Arc<dyn ContentStore>,
        snapshotters: BTreeMap<String, Arc<dyn Snapshotter>>,
    ) -> Result<Self> {
        Self::open_with(path, content, snapshotters, Options::default())
    }

    /// Like [`Database::open`], with a clock and a policy.
    ///
    /// # Errors
    /// Those of [`Database::open`].
    pub fn open_with(
        path: impl AsRef<Path>,
        content: Arc<dyn ContentStore>,
        snapshotters: BTreeMap<String, Arc<dyn Snapshotter>>,
        options: Options,
    ) -> Result<Self> {
        let file = path.as_ref();
        let db = open::open(file, || open::stores_are_empty(content.as_ref(), &snapshotters))?;
        let inner = Inner {
            db,
            file: file.to_owned(),
            content,
            snapshotters,
            options,
            listeners: RwLock::default(),
            numbers: Mutex::new(Numbers { next: 0, reserved: 0 }),
            dirty: Dirty::default(),
            collecting: Mutex::default(),
            pins: Pins::default(),
            loose: Mutex::default(),
            claims: Locks::default(),
            in_flight: Mutex::default(),
            commits: AtomicU64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A namespace's view of the content store. What is written through it is added to `lease` where one is given, in the
    /// transaction that records it; without a lease, what nothing refers to may be collected at any time.
    #[must_use]
    pub fn content(&self, namespace: &Namespace, lease: Option<&str>) -> Arc<dyn ContentStore> {
        Arc::new(ContentView::new(self.clone(), namespace, lease))
    }

    /// A namespace's view of the snapshotter `name`; `lease` is as in [`Database::content`].
    ///
    /// # Errors
    /// `NotFound` for a snapshotter that there is not.
    pub fn snapshotter(&self, namespace: &Namespace, name: &str, lease: Option<&str>) -> Result<Arc<dyn Snapshotter>> {
        let backend = self.inner.snapshotters.get(name);
        let backend = backend.ok_or_else(|| Error::NotFound { what: "snapshotter", name: name.to_owned() })?;
        Ok(Arc::new(SnapshotView::new(self.clone(), backend.clone(), namespace, name, lease)))
    }

    /// The names of the snapshotters.
    pub fn snapshotters(&self) -> impl Iterator<Item = &str> {
        self.inner.snapshotters.keys().map(String::as_str)
    }

    /// Has `listener` called after each change, on the thread that made it; it must not block.
    pub fn on_change(&self, listener: Arc<dyn Fn(Change) + Send + Sync>) {
        self.inner.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// How many transactions were committed since the database was opened; each is one wait for the disk.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.inner.commits.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// The rows as they are now; they stay so however long this is held.
    pub(crate) fn read(&self) -> Result<Reading> {
        let txn = self.db.begin_read().map_err(|e| broken(&self.file, e))?;
        let table = txn.open_table(ROWS).map_err(|e| broken(&self.file, e))?;
        Ok(Reading { table, file: self.file.clone() })
    }

    /// One transaction: on disk when this returns, undone when `act` fails. Listeners are told.
    pub(crate) fn write<T, E: From<Error>>(&self, act: impl FnOnce(&mut Writing<'_>) -> Result<T, E>) -> Result<T, E> {
        let (result, change) = self.write_quietly(act)?;
        if let Some(change) = change {
            for listener in self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
                listener(change);
            }
        }
        Ok(result)
    }

    /// Like [`Inner::write`], for the collector, which need not be told to run again. The one place where the database is
    /// written.
    pub(crate) fn write_quietly<T, E: From<Error>>(
        &self,
        act: impl FnOnce(&mut Writing<'_>) -> Result<T, E>,
    ) -> Result<(T, Option<Change>), E> {
        let fail = |e: redb::Error| broken(&self.file, e);
        let txn = self.db.begin_write().map_err(|e| fail(e.into()))?;
        let mut change = None;
        let result = {
            let table = txn.open_table(ROWS).map_err(|e| fail(e.into()))?;
            let mut rows = Writing::new(table, &self.file, self.now());
            let result = act(&mut rows)?;
            // Before the commit: the collector must not see the one without the other.
            self.dirty.add(rows.touched);
            if rows.written {
                change = Some(Change { removed: rows.removed });
            }
            result
        };
        if change.is_some() {
            txn.commit().map_err(|e| fail(e.into()))?;
            self.commits.fetch_add(1, Ordering::Relaxed);
        } else {
            txn.abort().map_err(|e| fail(e.into()))?;
        }
        Ok((result, change))
    }

    /// The rows as they are now, with everything that is written later noted in [`Inner::dirty`].
    pub(crate) fn begin_collection(&self) -> Result<Reading> {
        // With the one writer's place held nobody can commit between the two.
        let txn = self.db.begin_write().map_err(|e| broken(&self.file, e))?;
        self.dirty.begin();
        let rows = self.read();
        txn.abort().map_err(|e| broken(&self.file, e))?;
        rows
    }

    /// A number that none had before, in this process or an earlier one.
    pub(crate) fn number(&self) -> Result<u64> {
        let mut numbers = held(&self.numbers);
        if numbers.next == numbers.reserved {
            let row = Row::new(RowKind::Meta, &["next"]);
            let (begin, _) = self.write_quietly(|rows| {
                let begin = open::number(rows.file(), rows.get(row)?)?;
                let end = begin.checked_add(NUMBERS).ok_or_else(|| damaged(rows.file(), "its numbers are used up"))?;
                rows.put_bytes(row, &end.to_be_bytes())?;
                Ok::<_, Error>(begin)
            })?;
            (numbers.next, numbers.reserved) = (begin, begin + NUMBERS);
        }
        numbers.next += 1;
        Ok(numbers.next)
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.options.clock)()
    }
}

/// Takes a lock; what it guards is whole even if a thread panicked, since each change to it is one step.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
