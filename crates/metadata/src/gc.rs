//! The collector: what no root leads to is removed (containerd: `docs/garbage-collection.md`).
//!
//! Roots are images and leases that have not expired, containers, whatever has the label `containerd.io/gc.root`, and ingests that
//! no lease holds and that are younger than a day. Edges are an image's target, a container's snapshot, a snapshot's parent,
//! what a lease holds, a mount's lease, an ingest's expected digest, and the labels `containerd.io/gc.ref.…` and `containerd.io/gc.bref.…`.
//!
//! Marking reads the rows as they were when it began; writers go on and note what they touch. The sweep removes records in
//! small transactions, referrers first; each begins with marking from what was touched meanwhile, on the rows as they are in that
//! very transaction, so that nothing goes that became referenced. Then the stores behind lose what has no record.

mod behind;
mod marks;
mod references;
mod sweep;

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use wharf_types::{ErrorKind, Kind as _, Namespace};

use self::marks::Marks;
use crate::database::held;
use crate::{Database, Object, ObjectKind, Result};

/// What a collection removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The objects whose records were removed, referrers before what they referred to.
    pub removed: Vec<Object>,
    /// How many objects are kept.
    pub kept: usize,
    /// How many blobs the content store lost: those that no namespace has a record of.
    pub blobs: usize,
    /// The bytes of these blobs.
    pub bytes: u64,
    /// How many snapshots the snapshotters lost.
    pub snapshots: usize,
    /// How many ingests the content store lost.
    pub ingests: usize,
    /// How long it took; writers waited for a small part of it only.
    pub took: Duration,
}

/// What was touched since a collection began.
#[derive(Debug, Default)]
pub(crate) struct Dirty(Mutex<Option<HashSet<Object>>>);

impl Dirty {
    pub(crate) fn begin(&self) {
        *held(&self.0) = Some(HashSet::new());
    }

    pub(crate) fn add(&self, touched: Vec<Object>) {
        if let Some(all) = held(&self.0).as_mut() {
            all.extend(touched);
        }
    }

    fn take(&self) -> HashSet<Object> {
        held(&self.0).as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn end(&self) {
        *held(&self.0) = None;
    }
}

impl Database {
    /// Removes what nothing keeps, from the records and then from the stores. Others read and write meanwhile; a second
    /// collection waits for the first.
    ///
    /// # Errors
    /// When the database cannot be read or written, or a store cannot be listed. What was removed until then stays removed.
    pub fn collect(&self) -> Result<Collected> {
        let _one = held(&self.inner.collecting);
        let began = Instant::now();
        let mut collected = Collected::default();
        let swept = self.sweep_records(&mut collected);
        self.inner.dirty.end();
        swept?;
        self.sweep_stores(&mut collected)?;
        collected.took = began.elapsed();
        Ok(collected)
    }

    /// The path from a root of the collector to an object, both included; nothing when the next collection would remove it,
    /// or there is no such object.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn why(&self, namespace: &Namespace, kind: &ObjectKind, name: &str) -> Result<Option<Vec<Object>>> {
        let rows = self.inner.read()?;
        let mut marks = Marks::tracing(self.snapshotters());
        marks.mark_roots(&rows, self.inner.now())?;
        let object = Object { namespace: namespace.clone(), kind: kind.clone(), name: name.to_owned() };
        let there = crate::rows::Rows::has(&rows, crate::rows::Row::of(&object))?;
        Ok(if there { marks.path(object) } else { None })
    }

    fn sweep_records(&self, collected: &mut Collected) -> Result<()> {
        let rows = self.inner.begin_collection()?;
        let mut marks = Marks::new(self.snapshotters());
        marks.mark_roots(&rows, self.inner.now())?;
        let doomed = sweep::doomed(&rows, &marks)?;
        drop(rows);
        self.inner.sweep(&mut marks, &doomed, collected)?;
        collected.kept = marks.len();
        Ok(())
    }

    fn sweep_stores(&self, collected: &mut Collected) -> Result<()> {
        self.inner.sweep_ingests(collected)?;
        self.inner.sweep_content(collected)?;
        for (name, snapshotter) in &self.inner.snapshotters {
            match self.inner.sweep_if_unclean(name, snapshotter.as_ref()) {
                Ok(removed) => collected.snapshots += removed,
                // One that another program serves may be away; it is swept when it is back, and nobody waits for that.
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    tracing::debug!(snapshotter = name, %error, "not swept now");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A collection that is held between marking and sweeping.
#[cfg(test)]
pub(crate) mod test {
    use super::{Collected, Database, Marks, Object, sweep};

    pub(crate) struct Halfway {
        db: Database,
        marks: Marks,
        doomed: Vec<Object>,
    }

    impl Halfway {
        pub(crate) fn marked(db: &Database) -> Self {
            let rows = db.inner.begin_collection().expect("begin");
            let mut marks = Marks::new(db.snapshotters());
            marks.mark_roots(&rows, db.inner.now()).expect("mark");
            let doomed = sweep::doomed(&rows, &marks).expect("list");
            Self { db: db.clone(), marks, doomed }
        }

        pub(crate) fn sweep(mut self) -> Vec<Object> {
            let mut collected = Collected::default();
            self.db.inner.sweep(&mut self.marks, &self.doomed, &mut collected).expect("sweep");
            self.db.inner.dirty.end();
            collected.removed
        }
    }
}
