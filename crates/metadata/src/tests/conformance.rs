//! The views keep what the traits of the stores promise.

use std::path::Path;
use std::sync::Arc;

use wharf_content::{ContentStore, LocalStore};
use wharf_snapshot::Snapshotter;
use wharf_snapshot::native::NativeSnapshotter;
use wharf_snapshot::overlay::OverlaySnapshotter;

use super::{Env, namespace, open};
use crate::content::ContentView;
use crate::snapshots::SnapshotView;
use crate::{Database, Sharing};

fn content(root: &Path, sharing: Sharing) -> Database {
    let content: Arc<dyn ContentStore> = Arc::new(LocalStore::open(root.join("content")).unwrap());
    let snapshots: Arc<dyn Snapshotter> = Arc::new(NativeSnapshotter::open(root.join("native")).unwrap());
    let clock = Env::new().clock;
    open(root, content, snapshots, &clock, sharing).unwrap()
}

#[test]
fn a_view_of_content_is_a_content_store() {
    wharf_content::testsuite::run(|root| {
        Box::new(ContentView::new(content(root, Sharing::Shared), &namespace("one"), None))
    });
}

#[test]
fn so_are_two_at_once_that_must_show_their_bytes() {
    let root = tempfile::tempdir().unwrap();
    let db = content(root.path(), Sharing::Isolated);
    std::thread::scope(|scope| {
        for name in ["one", "two"] {
            let view = ContentView::new(db.clone(), &namespace(name), None);
            scope.spawn(move || {
                for case in wharf_content::testsuite::cases() {
                    (case.run)(&view);
                }
            });
        }
    });
}

fn snapshots(root: &Path, backend: Arc<dyn Snapshotter>, ns: &str) -> Box<dyn Snapshotter> {
    let content: Arc<dyn ContentStore> = Arc::new(LocalStore::open(root.join("content")).unwrap());
    let snapshotters = [("it".to_owned(), backend.clone())].into();
    let db = Database::open(root.join("meta.db"), content, snapshotters).unwrap();
    Box::new(SnapshotView::new(db, backend, &namespace(ns), "it", None))
}

#[test]
fn a_view_of_native_is_a_snapshotter() {
    wharf_snapshot::testsuite::run(&|root| {
        snapshots(root, Arc::new(NativeSnapshotter::open(root.join("native")).unwrap()), "one")
    });
}

#[test]
fn a_view_of_overlay_is_a_snapshotter() {
    wharf_snapshot::testsuite::run(&|root| {
        snapshots(root, Arc::new(OverlaySnapshotter::open(root.join("overlay")).unwrap()), "two")
    });
}
