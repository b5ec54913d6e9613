//! Whatever step the process dies at, what was acknowledged is there and the rest is resumed or collected.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf_content::{Commit, ContentStore, Ingest};
use wharf_snapshot::{Base, Snapshotter};
use wharf_types::{Digest, ErrorKind, Kind, Labels};

use super::hooks::{Hook, Hooked};
use super::{Env, image, map, namespace};
use crate::{Database, Images, Leases, Sharing};

const LAYER: &[u8] = b"a layer";
const MANIFEST: &[u8] = b"a manifest";

/// Passes over what is there already, as a client that tries again does.
fn there<T, E: Kind>(result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
            None
        }
    }
}

fn blob(db: &Database, bytes: &[u8], labels: &Labels, acknowledged: &mut Vec<String>) {
    let store = db.content(&namespace("n"), Some("l"));
    let expected = Some(Digest::of(bytes));
    let opened = Ingest { reference: format!("get {}", bytes.len()), total: None, expected };
    if let Some(mut writer) = there(store.writer(&opened)) {
        let rest = &bytes[usize::try_from(writer.status().offset).unwrap()..];
        writer.write(rest).unwrap();
        there(writer.commit(&Commit { labels: labels.clone(), ..Commit::default() }));
    }
    // What was recorded by a commit that was not acknowledged may lack its labels.
    store.update(&Digest::of(bytes), &wharf_types::LabelChange::Merge(labels.clone())).unwrap();
    acknowledged.push(Digest::of(bytes).to_string());
}

/// Pulls and unpacks an image of one layer, notes what was done, and leaves its image.
fn pull(db: &Database, acknowledged: &mut Vec<String>) {
    let ns = namespace("n");
    there(Leases::create(db, &ns, "l", &map(&[])));
    blob(db, LAYER, &map(&[]), acknowledged);
    let layer = Digest::of(LAYER).to_string();
    let labels = map(&[("containerd.io/gc.ref.content.0", &layer), ("containerd.io/gc.ref.snapshot.native", "chain")]);
    blob(db, MANIFEST, &labels, acknowledged);
    let native = db.snapshotter(&ns, "native", Some("l")).unwrap();
    if native.stat("chain").is_err() {
        there(native.prepare("extract", Base::Empty, &Labels::new()));
        acknowledged.push("extract".to_owned());
        let commit = wharf_snapshot::Commit { name: "chain".into(), key: "extract".into(), ..Default::default() };
        acknowledged.retain(|name| name != "extract");
        native.commit(&[commit]).unwrap();
    }
    acknowledged.push("chain".to_owned());
    there(Images::create(db, &ns, image("i", &Digest::of(MANIFEST), &[])));
    acknowledged.push("i".to_owned());
    there(native.prepare("scratch", Base::On("chain"), &Labels::new()));
    native.remove("scratch").unwrap();
    Leases::delete(db, &ns, "l").unwrap();
}

fn check(env: &Env, acknowledged: &[String]) {
    let ns = namespace("n");
    for name in acknowledged {
        match name.as_str() {
            "i" => drop(Images::get(&env.db, &ns, "i").unwrap()),
            "chain" | "extract" => drop(env.native("n", None).stat(name).unwrap()),
            digest => drop(env.db.content(&ns, None).reader(&digest.parse().unwrap()).unwrap()),
        }
    }
}

/// Dies at the `nth` step; says whether it got there.
fn dies_at(nth: usize, collect_first: bool) -> bool {
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = steps.clone();
    let hook: Hook = Arc::new(move |step| {
        if counted.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            // Without a message: this is what is meant to happen.
            std::panic::resume_unwind(Box::new(step));
        }
    });
    let env = Env::with(|content, snapshots| {
        let content: Arc<Hooked<dyn ContentStore>> = Arc::new(Hooked(content, hook.clone()));
        let snapshots: Arc<Hooked<dyn Snapshotter>> = Arc::new(Hooked(snapshots, hook));
        (content, snapshots)
    });
    let mut acknowledged = Vec::new();
    let died = catch_unwind(AssertUnwindSafe(|| pull(&env.db, &mut acknowledged))).is_err();
    steps.store(usize::MAX / 2, Ordering::Relaxed);

    let Env { dir, content, snapshots, clock, db } = env;
    drop(db);
    let db = super::open(dir.path(), content.clone(), snapshots.clone(), &clock, Sharing::Shared).unwrap();
    let env = Env { dir, content, snapshots, clock, db };
    check(&env, &acknowledged);
    if collect_first {
        env.db.collect().unwrap();
        check(&env, &acknowledged);
    }
    pull(&env.db, &mut Vec::new());
    env.db.collect().unwrap();
    assert_eq!(env.behind(), (2, 0, 1), "after step {nth}");
    check(&env, &["i".to_owned(), "chain".to_owned(), Digest::of(LAYER).to_string(), Digest::of(MANIFEST).to_string()]);
    Images::delete(&env.db, &namespace("n"), "i", None).unwrap();
    env.db.collect().unwrap();
    assert_eq!(env.behind(), (0, 0, 0), "after step {nth}");
    died
}

#[test]
fn a_pull_that_dies_at_any_step_can_be_tried_again() {
    for collect_first in [false, true] {
        let steps = (1..).take_while(|nth| dies_at(*nth, collect_first)).count();
        assert!(steps >= 14, "only {steps} steps were tried");
    }
}
