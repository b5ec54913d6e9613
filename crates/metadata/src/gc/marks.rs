//! Marking: everything that roots lead to.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use super::references::{self, Mark};
use crate::rows::{RowKind, Rows, decode};
use crate::{Object, ObjectKind, Result, codec};
use wharf_types::Labels;
use wharf_types::labels::GC_ROOT;

/// The objects that are kept.
pub(super) struct Marks {
    snapshotters: Vec<String>,
    /// Kept with what they refer to.
    full: HashSet<Object>,
    /// Kept alone.
    flat: HashSet<Object>,
    /// What is kept while the key is.
    back: HashMap<Object, Vec<Object>>,
    /// What led to an object first; kept only where somebody wants to know.
    via: Option<HashMap<Object, Option<Object>>>,
}

impl Marks {
    pub(super) fn new<'a>(snapshotters: impl Iterator<Item = &'a str>) -> Self {
        Self {
            snapshotters: snapshotters.map(str::to_owned).collect(),
            full: HashSet::new(),
            flat: HashSet::new(),
            back: HashMap::new(),
            via: None,
        }
    }

    /// Marks that know what led to each object.
    pub(super) fn tracing<'a>(snapshotters: impl Iterator<Item = &'a str>) -> Self {
        Self { via: Some(HashMap::new()), ..Self::new(snapshotters) }
    }

    pub(super) fn snapshotters(&self) -> &[String] {
        &self.snapshotters
    }

    pub(super) fn has(&self, object: &Object) -> bool {
        self.full.contains(object) || self.flat.contains(object)
    }

    pub(super) fn len(&self) -> usize {
        self.full.union(&self.flat).count()
    }

    /// Marks from all roots.
    pub(super) fn mark_roots(&mut self, rows: &impl Rows, now: SystemTime) -> Result<()> {
        let mut roots = Vec::new();
        for kind in super::sweep::KINDS.into_iter().chain([RowKind::Container, RowKind::Sandbox]) {
            rows.scan(kind, &[], &mut |row, bytes| {
                let Some(object) = row.object() else { return Ok(true) };
                let labels = match kind {
                    RowKind::Image => decode::<codec::Image>(rows.file(), row, bytes)?.labels,
                    RowKind::Container => decode::<codec::Container>(rows.file(), row, bytes)?.labels,
                    RowKind::Sandbox => decode::<codec::Sandbox>(rows.file(), row, bytes)?.labels,
                    RowKind::Lease => decode::<codec::Lease>(rows.file(), row, bytes)?.labels,
                    RowKind::Mount => {
                        let found: codec::Activation = decode(rows.file(), row, bytes)?;
                        self.note_lease(&object, found.lease);
                        found.labels
                    }
                    RowKind::Blob => decode::<codec::Blob>(rows.file(), row, bytes)?.labels,
                    RowKind::Snapshot => decode::<codec::Snapshot>(rows.file(), row, bytes)?.labels,
                    _ => {
                        let ingest: codec::Ingest = decode(rows.file(), row, bytes)?;
                        if ingest.expires.is_some_and(|end| codec::time(Some(end)) > now) {
                            roots.push(object);
                        }
                        return Ok(true);
                    }
                };
                self.note_back(&object, &labels);
                if is_root(&object.kind, &labels, now) {
                    roots.push(object);
                }
                Ok(true)
            })?;
        }
        self.mark(rows, roots)
    }

    /// Marks from `roots` on, which may be marked already: what they refer to may be new.
    pub(super) fn mark_again(&mut self, rows: &impl Rows, roots: HashSet<Object>) -> Result<()> {
        for object in &roots {
            self.full.remove(object);
            let labels = match object.kind {
                ObjectKind::Content => {
                    rows.find::<codec::Blob>(crate::rows::Row::of(object))?.map(|found| found.labels)
                }
                ObjectKind::Snapshot(_) => {
                    rows.find::<codec::Snapshot>(crate::rows::Row::of(object))?.map(|found| found.labels)
                }
                ObjectKind::Image => rows.find::<codec::Image>(crate::rows::Row::of(object))?.map(|found| found.labels),
                ObjectKind::Mount => rows.find::<codec::Activation>(crate::rows::Row::of(object))?.map(|found| {
                    self.note_lease(object, found.lease);
                    found.labels
                }),
                _ => None,
            };
            self.note_back(object, &labels.unwrap_or_default());
        }
        self.mark(rows, roots)
    }

    /// A mount is kept while its lease is.
    fn note_lease(&mut self, object: &Object, lease: String) {
        if !lease.is_empty() {
            let lease = Object { namespace: object.namespace.clone(), kind: ObjectKind::Lease, name: lease };
            self.back.entry(lease).or_default().push(object.clone());
        }
    }

    fn note_back(&mut self, object: &Object, labels: &Labels) {
        let back = &mut self.back;
        references::back(&object.namespace, &self.snapshotters, labels, &mut |keeper| {
            back.entry(keeper).or_default().push(object.clone());
        });
    }

    fn mark(&mut self, rows: &impl Rows, roots: impl IntoIterator<Item = Object>) -> Result<()> {
        let mut todo: Vec<(Mark, Option<Object>)> =
            roots.into_iter().map(|object| (Mark { object, flat: false }, None)).collect();
        while let Some((mark, from)) = todo.pop() {
            let fresh = if mark.flat {
                !self.full.contains(&mark.object) && self.flat.insert(mark.object.clone())
            } else {
                self.full.insert(mark.object.clone())
            };
            if !fresh {
                continue;
            }
            if let Some(via) = &mut self.via {
                via.entry(mark.object.clone()).or_insert(from);
            }
            let from = self.via.is_some().then(|| mark.object.clone());
            references::of(rows, &self.snapshotters, &mark, &mut |next| todo.push((next, from.clone())))?;
            for object in self.back.get(&mark.object).into_iter().flatten() {
                todo.push((Mark { object: object.clone(), flat: false }, from.clone()));
            }
        }
        Ok(())
    }

    /// From a root to `object`.
    pub(super) fn path(&self, object: Object) -> Option<Vec<Object>> {
        let via = self.via.as_ref()?;
        let mut from = via.get(&object)?;
        let mut path = vec![object];
        while let Some(object) = from {
            path.push(object.clone());
            from = via.get(object)?;
        }
        path.reverse();
        Some(path)
    }
}

fn is_root(kind: &ObjectKind, labels: &Labels, now: SystemTime) -> bool {
    match kind {
        ObjectKind::Container | ObjectKind::Sandbox => true,
        ObjectKind::Image | ObjectKind::Lease => !references::is_expired(labels, now),
        ObjectKind::Content | ObjectKind::Snapshot(_) => labels.contains_key(GC_ROOT),
        ObjectKind::Ingest | ObjectKind::Mount => false,
    }
}
