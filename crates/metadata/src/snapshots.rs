//! A namespace's view of a snapshotter.
//!
//! A snapshot has a record, and in the snapshotter behind a name that none had before: `<namespace>/<number>/<key>`. What takes
//! long there is done without a transaction open, so that nobody waits; the order keeps both sides in step:
//!
//! - prepare and view: the snapshotter first, then the record, which is written only if its parent's still is there. A crash
//!   between leaves a snapshot without record: the next collection removes it. While a name is in flight it is spared.
//! - commit: the snapshotter first (files durable, then its own records), then all records of the batch at once. A crash between
//!   leaves a committed snapshot without record, which is collected, and a record whose active snapshot is gone: it is as if
//!   it had never been, [`drop_stale`] takes it away when its key is asked for again, and so does the collector.
//! - remove: the record first, then the snapshotter; what fails there is left to the collector.
//!
//! Two calls on one key wait for each other; different keys do not.

mod commit;
mod errors;

use std::sync::Arc;

use wharf_snapshot::{Base, Commit, Error, Info, Kind, Result, Snapshotter, Usage};
use wharf_types::{ErrorKind, Filters, Kind as _, LabelChange, Labels, Mount, Namespace, labels};

use self::errors::rename;
use crate::database::{Inner, held};
use crate::fields::checked;
use crate::rows::{Row, RowKind, Rows, Writing, decode};
use crate::{Database, Object, ObjectKind, codec, leases};

/// The snapshotter as one namespace sees it.
pub(crate) struct SnapshotView {
    db: Database,
    behind: Arc<dyn Snapshotter>,
    ns: Namespace,
    name: String,
    lease: Option<String>,
}

/// A name of the snapshotter behind that the collector spares, until this is dropped.
struct InFlight<'a> {
    db: &'a Database,
    entry: (String, String),
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        held(&self.db.inner.in_flight).remove(&self.entry);
    }
}

impl SnapshotView {
    pub(crate) fn new(
        db: Database,
        behind: Arc<dyn Snapshotter>,
        ns: &Namespace,
        name: &str,
        lease: Option<&str>,
    ) -> Self {
        Self { db, behind, ns: ns.clone(), name: name.to_owned(), lease: lease.map(str::to_owned) }
    }

    fn row<'a>(&'a self, key: &'a str) -> Row<'a> {
        Row::new(RowKind::Snapshot, &[self.ns.as_str(), &self.name, key])
    }

    fn find(&self, rows: &impl Rows, key: &str) -> Result<codec::Snapshot> {
        rows.find(self.row(key))?.ok_or_else(|| Error::NotFound(key.to_owned()))
    }

    /// The record of a snapshot, and how to say its name where an error of the snapshotter behind has its other one.
    fn look_up(&self, key: &str) -> Result<codec::Snapshot> {
        self.find(&self.db.inner.read()?, key)
    }

    /// A committed snapshot.
    fn parent(&self, rows: &impl Rows, name: &str) -> Result<codec::Snapshot> {
        let found = self.find(rows, name)?;
        match kind(found.kind) {
            Kind::Committed => Ok(found),
            kind => Err(Error::Invalid(format!(
                "snapshot {name:?} cannot be a parent: it is {}, not committed",
                kind.name()
            ))),
        }
    }

    fn object(&self, key: &str) -> Object {
        Object { namespace: self.ns.clone(), kind: ObjectKind::Snapshot(self.name.clone()), name: key.to_owned() }
    }

    fn hold(&self, rows: &mut Writing<'_>, key: &str) -> Result<()> {
        match &self.lease {
            Some(lease) => Ok(leases::hold(rows, lease, &self.object(key))?),
            None => Ok(()),
        }
    }

    fn claim(&self, key: &str) -> (String, Namespace, String) {
        (self.name.clone(), self.ns.clone(), key.to_owned())
    }

    /// A name that none had before in the snapshotter behind.
    fn fresh(&self, key: &str) -> Result<InFlight<'_>> {
        let name = format!("{}/{}/{key}", self.ns, self.db.inner.number()?);
        let entry = (self.name.clone(), name);
        held(&self.db.inner.in_flight).insert(entry.clone());
        Ok(InFlight { db: &self.db, entry })
    }

    /// Writes the record of a snapshot, new or changed.
    fn put(&self, rows: &mut Writing<'_>, key: &str, stored: &codec::Snapshot) -> Result<()> {
        rows.put(self.row(key), stored)?;
        if !stored.parent.is_empty() {
            rows.put_empty(Row::new(RowKind::Child, &[self.ns.as_str(), &self.name, &stored.parent, key]))?;
        }
        Ok(())
    }

    /// True when `key` had a record that named nothing any more, which is gone now. The caller holds the key.
    fn stale(&self, key: &str) -> Result<bool> {
        drop_stale(&self.db.inner, self.behind.as_ref(), &self.object(key))
    }

    /// Makes an active snapshot or a view.
    fn make(&self, key: &str, how: Kind, base: Base<'_>, wanted: &Labels) -> Result<Vec<Mount>> {
        if key.is_empty() {
            return Err(Error::Invalid("a snapshot's key is empty".to_owned()));
        }
        let labels = checked("snapshot", key, wanted.clone())?;
        let _claim = self.db.inner.claims.hold([self.claim(key)]);
        let rows = self.db.inner.read()?;
        if rows.has(self.row(key))? && !self.stale(key)? {
            return Err(Error::AlreadyExists(key.to_owned()));
        }
        let parent = if let Base::On(parent) = base { Some(parent) } else { None };
        let stands_on = parent.map(|parent| self.parent(&rows, parent)).transpose()?;
        drop(rows);

        let name = self.fresh(key)?;
        let backend = &name.entry.1;
        let inherited = inherited(&labels);
        let behind = stands_on.as_ref().map(|parent| parent.backend.as_str());
        let made = match (how, base, behind) {
            (Kind::View, _, behind) => self.behind.view(backend, behind, &inherited),
            (_, Base::On(_), Some(behind)) => self.behind.prepare(backend, Base::On(behind), &inherited),
            (_, base, _) => self.behind.prepare(backend, base, &inherited),
        };
        let mounts = made.map_err(|error| rename(error, backend, key, behind.zip(parent)))?;

        let recorded = self.db.inner.write(|rows| {
            if let Some(parent) = parent
                && self.parent(rows, parent)?.backend != behind.unwrap_or_default()
            {
                return Err(Error::NotFound(parent.to_owned()));
            }
            rows.ensure_namespace(&self.ns)?;
            let now = Some(rows.now.into());
            let parent = parent.unwrap_or_default().to_owned();
            let backend = backend.clone();
            let stored = codec::Snapshot { backend, kind: number(how), parent, created: now, updated: now, labels };
            self.put(rows, key, &stored)?;
            self.hold(rows, key)
        });
        if let Err(error) = recorded {
            self.db.inner.drop_snapshot(&self.name, self.behind.as_ref(), backend);
            return Err(error);
        }
        Ok(mounts)
    }
}

impl Snapshotter for SnapshotView {
    fn stat(&self, name: &str) -> Result<Info> {
        Ok(read(name, self.look_up(name)?))
    }

    fn update(&self, name: &str, change: &LabelChange) -> Result<Info> {
        let _claim = self.db.inner.claims.hold([self.claim(name)]);
        let before = self.look_up(name)?;
        let mut labels = before.labels.clone();
        change.apply(&mut labels);
        labels = checked("snapshot", name, labels)?;
        if inherited(&labels) != inherited(&before.labels) {
            let change = LabelChange::Replace(inherited(&labels));
            let changed = self.behind.update(&before.backend, &change);
            changed.map_err(|error| rename(error, &before.backend, name, None))?;
        }
        self.db.inner.write(|rows| {
            let mut found = self.find(rows, name)?;
            found.labels = labels;
            found.updated = Some(rows.now.into());
            rows.put(self.row(name), &found)?;
            Ok(read(name, found))
        })
    }

    fn usage(&self, name: &str) -> Result<Usage> {
        let found = self.look_up(name)?;
        self.behind.usage(&found.backend).map_err(|error| rename(error, &found.backend, name, None))
    }

    fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let found = self.look_up(key)?;
        self.behind.mounts(&found.backend).map_err(|error| rename(error, &found.backend, key, None))
    }

    fn prepare(&self, key: &str, base: Base<'_>, labels: &Labels) -> Result<Vec<Mount>> {
        self.make(key, Kind::Active, base, labels)
    }

    fn view(&self, key: &str, parent: Option<&str>, labels: &Labels) -> Result<Vec<Mount>> {
        self.make(key, Kind::View, parent.map_or(Base::Empty, Base::On), labels)
    }

    fn commit(&self, batch: &[Commit]) -> Result<()> {
        self.commit_batch(batch)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let _claim = self.db.inner.claims.hold([self.claim(name)]);
        let removed = self.db.inner.write(|rows| {
            let found = self.find(rows, name)?;
            if let Some(child) = rows.first(RowKind::Child, &[self.ns.as_str(), &self.name, name])? {
                let reason = format!("has children, such as {child:?}; remove them first");
                return Err(Error::Precondition { name: name.to_owned(), reason });
            }
            delete(rows, &self.object(name), &found)?;
            if let Some(lease) = &self.lease {
                leases::release(rows, lease, &self.object(name))?;
            }
            Ok(found)
        })?;
        self.db.inner.drop_snapshot(&self.name, self.behind.as_ref(), &removed.backend);
        Ok(())
    }

    fn walk(&self, filters: &Filters, visit: &mut dyn FnMut(Info) -> Result<()>) -> Result<()> {
        let rows = self.db.inner.read()?;
        let mut refused = None;
        rows.scan(RowKind::Snapshot, &[self.ns.as_str(), &self.name], &mut |row, bytes| {
            let [_, _, name, _] = row.1;
            let info = read(name, decode(rows.file(), row, bytes)?);
            if filters.matches(&info) {
                refused = visit(info).err();
            }
            Ok(refused.is_none())
        })?;
        refused.map_or(Ok(()), Err)
    }

    fn cleanup(&self) -> Result<()> {
        Ok(self.db.inner.sweep_snapshotter(&self.name, self.behind.as_ref()).map(drop)?)
    }

    fn stacks_later(&self) -> bool {
        self.behind.stacks_later()
    }
}

/// Removes a snapshot's record, and that it stands on its parent.
pub(crate) fn delete(rows: &mut Writing<'_>, object: &Object, stored: &codec::Snapshot) -> crate::Result<()> {
    rows.delete(Row::of(object))?;
    if let ObjectKind::Snapshot(snapshotter) = &object.kind
        && !stored.parent.is_empty()
    {
        let parts = [object.namespace.as_str(), snapshotter, &stored.parent, &object.name];
        rows.delete(Row::new(RowKind::Child, &parts))?;
    }
    Ok(())
}

/// Takes away the record of an active snapshot or view that a crash left without what it names; says whether it did. The
/// caller holds the key.
pub(crate) fn drop_stale(inner: &Inner, behind: &dyn Snapshotter, object: &Object) -> Result<bool> {
    let Some(found): Option<codec::Snapshot> = inner.read()?.find(Row::of(object))? else { return Ok(false) };
    if kind(found.kind) == Kind::Committed || !is_gone(behind, &found.backend)? {
        return Ok(false);
    }
    tracing::warn!(%object, "its files are gone, as a crash in the middle of a commit leaves it; its record goes too");
    inner.write(|rows| delete(rows, object, &found))?;
    Ok(true)
}

/// True when the snapshotter has no such snapshot.
fn is_gone(behind: &dyn Snapshotter, name: &str) -> Result<bool> {
    match behind.stat(name) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// The labels that are the snapshotter's business.
fn inherited(all: &Labels) -> Labels {
    let is = |key: &str| key.starts_with(labels::SNAPSHOT_PREFIX) || key == labels::SNAPSHOT_REF;
    all.iter().filter(|(key, _)| is(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn read(name: &str, stored: codec::Snapshot) -> Info {
    Info {
        name: name.to_owned(),
        parent: Some(stored.parent).filter(|parent| !parent.is_empty()),
        kind: kind(stored.kind),
        created_at: codec::time(stored.created),
        updated_at: codec::time(stored.updated),
        labels: stored.labels,
    }
}

/// The kind as it is stored.
fn number(kind: Kind) -> u32 {
    match kind {
        Kind::View => 1,
        Kind::Active => 2,
        Kind::Committed => 3,
    }
}

/// The kind that was stored; what is none of them is only read.
pub(crate) fn kind(number: u32) -> Kind {
    match number {
        2 => Kind::Active,
        3 => Kind::Committed,
        _ => Kind::View,
    }
}
