//! Sweeping records: what is not marked goes, referrers first.

use std::collections::{BTreeSet, HashSet};

use super::Collected;
use super::marks::Marks;
use super::references::{self, Mark};
use crate::database::{Inner, held};
use crate::rows::{Row, RowKind, Rows, Writing};
use crate::{Error, Object, ObjectKind, Result, codec, leases, snapshots};

/// The kinds of rows that are collected.
pub(super) const KINDS: [RowKind; 6] =
    [RowKind::Lease, RowKind::Image, RowKind::Mount, RowKind::Ingest, RowKind::Snapshot, RowKind::Blob];

/// How many records go in one transaction: writers wait for no more than that.
const BATCH: usize = 256;

/// What is not marked, referrers before what they refer to: whatever a sweep that is cut short leaves is whole.
pub(super) fn doomed(rows: &impl Rows, marks: &Marks) -> Result<Vec<Object>> {
    // In the order of keys, so that a batch changes few pages of the database.
    let mut all = BTreeSet::new();
    for kind in KINDS {
        rows.scan(kind, &[], &mut |row, _| {
            all.extend(row.object().filter(|object| !marks.has(object)));
            Ok(true)
        })?;
    }
    let mut order = Vec::with_capacity(all.len());
    let mut seen = HashSet::with_capacity(all.len());
    for object in &all {
        visit(rows, marks, object, &all, &mut seen, &mut order)?;
    }
    order.reverse();
    Ok(order)
}

/// Appends `object` to `order` after everything that it refers to.
fn visit(
    rows: &impl Rows,
    marks: &Marks,
    object: &Object,
    all: &BTreeSet<Object>,
    seen: &mut HashSet<Object>,
    order: &mut Vec<Object>,
) -> Result<()> {
    // A chain of references may be longer than a thread's stack: each entry is visited once to open it, once to close it.
    let mut stack = vec![(object.clone(), false)];
    while let Some((object, open)) = stack.pop() {
        if open {
            order.push(object);
            continue;
        }
        if !seen.insert(object.clone()) {
            continue;
        }
        stack.push((object.clone(), true));
        references::of(rows, marks.snapshotters(), &Mark { object, flat: false }, &mut |next| {
            if all.contains(&next.object) && !seen.contains(&next.object) {
                stack.push((next.object, false));
            }
        })?;
    }
    Ok(())
}

impl Inner {
    /// Removes the records of `doomed`, but for those that were touched, or became referenced by what was, since marking
    /// began.
    pub(super) fn sweep(&self, marks: &mut Marks, doomed: &[Object], collected: &mut Collected) -> Result<()> {
        for batch in doomed.chunks(BATCH) {
            let (removed, _) = self.write_quietly(|rows| {
                marks.mark_again(rows, self.dirty.take())?;
                let mut removed = Vec::new();
                for object in batch.iter().filter(|object| !marks.has(object)) {
                    if remove(rows, object)? {
                        removed.push(object.clone());
                    }
                }
                Ok::<_, Error>(removed)
            })?;
            let mut loose = held(&self.loose);
            for object in &removed {
                match &object.kind {
                    ObjectKind::Content => loose.blobs.extend(object.name.parse().ok()),
                    ObjectKind::Snapshot(snapshotter) => drop(loose.clean_snapshotters.remove(snapshotter)),
                    _ => {}
                }
            }
            collected.removed.extend(removed);
        }
        Ok(())
    }
}

/// Removes an object's record, and says whether it did.
fn remove(rows: &mut Writing<'_>, object: &Object) -> Result<bool> {
    let (ns, name) = (object.namespace.as_str(), object.name.as_str());
    match &object.kind {
        ObjectKind::Lease => leases::remove(rows, &object.namespace, name),
        ObjectKind::Content => {
            rows.delete(Row::new(RowKind::Owner, &[name, ns]))?;
            rows.delete(Row::of(object))
        }
        ObjectKind::Snapshot(snapshotter) => {
            let Some(found) = rows.find::<codec::Snapshot>(Row::of(object))? else { return Ok(false) };
            if rows.first(RowKind::Child, &[ns, snapshotter, name])?.is_some() {
                return Ok(false);
            }
            snapshots::delete(rows, object, &found)?;
            Ok(true)
        }
        ObjectKind::Image | ObjectKind::Ingest | ObjectKind::Mount => rows.delete(Row::of(object)),
        ObjectKind::Container | ObjectKind::Sandbox => Ok(false),
    }
}
