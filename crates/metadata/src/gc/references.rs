//! What an object refers to.

use std::time::SystemTime;

use wharf_types::labels::{
    GC_BREF_CONTAINER, GC_BREF_CONTENT, GC_BREF_IMAGE, GC_BREF_SNAPSHOT, GC_EXPIRE, GC_FLAT, GC_REF, GC_REF_CONTENT,
    GC_REF_IMAGE, GC_REF_SNAPSHOT,
};
use wharf_types::{Labels, Namespace};

use crate::rows::{Row, RowKind, Rows};
use wharf_types::rfc3339;

use crate::{Object, ObjectKind, Result, codec};

/// What begins all labels that refer back.
const GC_BREF: &str = "containerd.io/gc.bref.";

/// A mount that is kept while what has the label is.
const GC_REF_MOUNT: &str = "containerd.io/gc.ref.mount";

/// An object that is kept, and whether only itself is: what a flat lease holds.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) object: Object,
    pub(super) flat: bool,
}

/// True for a label that the collector follows.
fn follows(labels: &Labels, prefix: &str) -> bool {
    labels.range(prefix.to_owned()..).next().is_some_and(|(key, _)| key.starts_with(prefix))
}

/// True once the time in `containerd.io/gc.expire` has come; a text that is no time is passed over.
pub(super) fn is_expired(labels: &Labels, now: SystemTime) -> bool {
    labels.get(GC_EXPIRE).and_then(|text| rfc3339::parse(text)).is_some_and(|end| end <= now)
}

/// Calls `emit` with everything that `mark` keeps.
pub(super) fn of(rows: &impl Rows, snapshotters: &[String], mark: &Mark, emit: &mut dyn FnMut(Mark)) -> Result<()> {
    let object = &mark.object;
    let labels = match &object.kind {
        ObjectKind::Content if mark.flat => return Ok(()),
        ObjectKind::Content => rows.find::<codec::Blob>(Row::of(object))?.map(|found| found.labels),
        ObjectKind::Ingest => {
            let expected = rows.find::<codec::Ingest>(Row::of(object))?.map(|found| found.expected);
            if let Some(expected) = expected.filter(|expected| !expected.is_empty()) {
                emit(next(mark, ObjectKind::Content, expected));
            }
            None
        }
        ObjectKind::Image => rows.find::<codec::Image>(Row::of(object))?.map(|found| {
            if let Some(target) = found.target {
                emit(next(mark, ObjectKind::Content, target.digest));
            }
            found.labels
        }),
        ObjectKind::Container => rows.find::<codec::Container>(Row::of(object))?.map(|found| {
            if !found.snapshotter.is_empty() && !found.snapshot_key.is_empty() {
                emit(next(mark, ObjectKind::Snapshot(found.snapshotter), found.snapshot_key));
            }
            found.labels
        }),
        ObjectKind::Snapshot(snapshotter) => rows.find::<codec::Snapshot>(Row::of(object))?.map(|found| {
            if !found.parent.is_empty() {
                emit(next(mark, ObjectKind::Snapshot(snapshotter.clone()), found.parent));
            }
            found.labels
        }),
        ObjectKind::Sandbox => rows.find::<codec::Sandbox>(Row::of(object))?.map(|found| found.labels),
        ObjectKind::Mount => rows.find::<codec::Activation>(Row::of(object))?.map(|found| found.labels),
        ObjectKind::Lease => return of_lease(rows, object, emit),
    };
    if let Some(labels) = labels.filter(|_| !mark.flat) {
        forward(&object.namespace, snapshotters, &labels, &mut |object| emit(Mark { object, flat: false }));
    }
    Ok(())
}

fn next(mark: &Mark, kind: ObjectKind, name: String) -> Mark {
    Mark { object: Object { namespace: mark.object.namespace.clone(), kind, name }, flat: mark.flat }
}

/// What a lease holds; a flat one holds only that.
fn of_lease(rows: &impl Rows, lease: &Object, emit: &mut dyn FnMut(Mark)) -> Result<()> {
    let Some(found) = rows.find::<codec::Lease>(Row::of(lease))? else { return Ok(()) };
    let flat = found.labels.contains_key(GC_FLAT);
    rows.scan(RowKind::Resource, &[lease.namespace.as_str(), &lease.name], &mut |row, _| {
        if let Some(object) = row.object() {
            emit(Mark { object, flat });
        }
        Ok(true)
    })
}

/// Calls `emit` with what labels refer to.
fn forward(namespace: &Namespace, snapshotters: &[String], labels: &Labels, emit: &mut dyn FnMut(Object)) {
    if !follows(labels, GC_REF) {
        return;
    }
    for (key, name) in labels.range(GC_REF.to_owned()..).take_while(|(key, _)| key.starts_with(GC_REF)) {
        let kind = if is(key, GC_REF_CONTENT) {
            Some(ObjectKind::Content)
        } else if is(key, GC_REF_IMAGE) {
            Some(ObjectKind::Image)
        } else if is(key, GC_REF_MOUNT) {
            Some(ObjectKind::Mount)
        } else {
            key.strip_prefix(GC_REF_SNAPSHOT).and_then(|rest| snapshot(rest, snapshotters))
        };
        emit_named(namespace, kind, name, emit);
    }
}

/// Calls `emit` with what labels refer back to: the object that has the labels is kept while that is.
pub(super) fn back(namespace: &Namespace, snapshotters: &[String], labels: &Labels, emit: &mut dyn FnMut(Object)) {
    if !follows(labels, GC_BREF) {
        return;
    }
    for (key, name) in labels.range(GC_BREF.to_owned()..).take_while(|(key, _)| key.starts_with(GC_BREF)) {
        let kind = if is(key, GC_BREF_CONTENT) {
            Some(ObjectKind::Content)
        } else if is(key, GC_BREF_IMAGE) {
            Some(ObjectKind::Image)
        } else if is(key, GC_BREF_CONTAINER) {
            Some(ObjectKind::Container)
        } else {
            key.strip_prefix(GC_BREF_SNAPSHOT).and_then(|rest| snapshot(rest, snapshotters))
        };
        emit_named(namespace, kind, name, emit);
    }
}

fn emit_named(namespace: &Namespace, kind: Option<ObjectKind>, name: &str, emit: &mut dyn FnMut(Object)) {
    if let Some(kind) = kind.filter(|_| !name.is_empty()) {
        emit(Object { namespace: namespace.clone(), kind, name: name.to_owned() });
    }
}

/// True for the label `name` itself, and with `.x` or `/x` after it.
fn is(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
}

/// The snapshotter that a label's rest names, which may go on with `.x` or `/x`: one that we have, else what stands before
/// the slash.
fn snapshot(rest: &str, snapshotters: &[String]) -> Option<ObjectKind> {
    let known = snapshotters.iter().filter(|name| is(rest, name)).max_by_key(|name| name.len());
    let name = known.map_or_else(|| rest.split('/').next().unwrap_or(rest), String::as_str);
    (!name.is_empty()).then(|| ObjectKind::Snapshot(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(labels: &[(&str, &str)]) -> Vec<String> {
        let labels: Labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let namespace: Namespace = "n".parse().expect("a namespace");
        let snapshotters = ["native".to_owned(), "over.lay".to_owned()];
        let mut found = Vec::new();
        forward(&namespace, &snapshotters, &labels, &mut |object| {
            found.push(format!("{} {}", object.kind, object.name))
        });
        back(&namespace, &snapshotters, &labels, &mut |object| {
            found.push(format!("< {} {}", object.kind, object.name))
        });
        found
    }

    #[test]
    fn labels_of_all_forms_refer() {
        let found = names(&[
            ("containerd.io/gc.ref.content", "a"),
            ("containerd.io/gc.ref.content.l.0", "b"),
            ("containerd.io/gc.ref.content/x", "c"),
            ("containerd.io/gc.ref.contents", "no"),
            ("containerd.io/gc.ref.image.x", "i"),
            ("containerd.io/gc.ref.mount.x", "m"),
            ("containerd.io/gc.ref.snapshot.native", "s"),
            ("containerd.io/gc.ref.snapshot.native.x", "t"),
            ("containerd.io/gc.ref.snapshot.over.lay/x", "u"),
            ("containerd.io/gc.ref.snapshot.other/x", "v"),
            ("containerd.io/gc.bref.container.x", "k"),
            ("containerd.io/gc.bref.snapshot.native/1", "w"),
            ("containerd.io/gc.bref.image", "j"),
            ("containerd.io/gc.bref.content", "d"),
            ("containerd.io/gc.ref.content.empty", ""),
            ("unrelated", "x"),
        ]);
        let wanted = [
            "content a",
            "content b",
            "content c",
            "image i",
            "mount m",
            "native snapshot s",
            "native snapshot t",
            "over.lay snapshot u",
            "other snapshot v",
            "< container k",
            "< content d",
            "< image j",
            "< native snapshot w",
        ];
        assert_eq!(found.len(), wanted.len(), "{found:?}");
        for one in wanted {
            assert!(found.iter().any(|found| found == one), "{one} is missing in {found:?}");
        }
    }
}
