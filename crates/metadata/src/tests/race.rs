//! The collector beside writers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use wharf_content::{Commit, ContentStore, Ingest};
use wharf_snapshot::{Base, Snapshotter};
use wharf_types::{Digest, Filters, Labels};

use super::hooks::{Hook, Hooked};
use super::{Env, ingest, map, namespace};
use crate::gc::test::Halfway;
use crate::{Leases, Resource};

#[test]
fn what_becomes_referenced_after_marking_is_spared() {
    let (env, ns) = (Env::new(), namespace("n"));
    let layer = env.put("n", None, b"layer", &[]);
    let manifest = env.put("n", None, b"manifest", &[("containerd.io/gc.ref.content.0", &layer.to_string())]);
    let leased = env.put("n", None, b"leased", &[]);
    let labelled = env.put("n", None, b"labelled", &[]);
    let expected = env.put("n", None, b"expected", &[]);
    let lost = env.put("n", None, b"lost", &[]);
    let back = env.put("n", None, b"back", &[("containerd.io/gc.bref.content", &layer.to_string())]);
    env.layer("n", "bottom", None, &[]);
    env.layer("n", "top", Some("bottom"), &[]);
    Leases::create(&env.db, &ns, "l", &map(&[])).unwrap();
    let kept = env.put("n", None, b"kept", &[("containerd.io/gc.root", "x")]);

    let halfway = Halfway::marked(&env.db);
    env.image("n", "i", &manifest, &[]);
    Leases::add(&env.db, &ns, "l", &Resource { kind: "content".to_owned(), id: leased.to_string() }).unwrap();
    let change = wharf_types::LabelChange::Merge(map(&[("containerd.io/gc.ref.content.x", &labelled.to_string())]));
    env.db.content(&ns, None).update(&kept, &change).unwrap();
    let opened = Ingest { expected: Some(expected.clone()), ..ingest("r") };
    super::refused(env.db.content(&ns, None).writer(&opened).map(drop), wharf_types::ErrorKind::AlreadyExists);
    let fresh = env.put("n", None, b"fresh", &[]);
    env.native("n", None).prepare("rw", Base::On("top"), &Labels::new()).unwrap();
    let removed = halfway.sweep();

    let removed: Vec<_> = removed.into_iter().map(|object| object.name).collect();
    assert_eq!(removed, [lost.to_string()]);
    for digest in [&layer, &manifest, &leased, &labelled, &expected, &back, &fresh] {
        assert!(env.has("n", digest), "{digest}");
    }
    assert_eq!(env.native("n", None).stat("rw").unwrap().parent.as_deref(), Some("top"));
    // What nothing refers to still, though it was touched, is for the next time.
    let mut next = env.collected();
    next.sort();
    let mut wanted = vec![expected.to_string(), fresh.to_string(), "bottom".into(), "rw".into(), "top".into()];
    wanted.sort();
    assert_eq!(next, wanted);
}

/// An environment whose stores call what is put into the cell.
fn hooked() -> (Env, Arc<Mutex<Option<Hook>>>) {
    let cell: Arc<Mutex<Option<Hook>>> = Arc::default();
    let inner = cell.clone();
    let hook: Hook = Arc::new(move |step| {
        let hook = inner.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(step);
        }
    });
    let env = Env::with(|content, snapshots| {
        let content: Arc<Hooked<dyn ContentStore>> = Arc::new(Hooked(content, hook.clone()));
        let snapshots: Arc<Hooked<dyn Snapshotter>> = Arc::new(Hooked(snapshots, hook));
        (content, snapshots)
    });
    (env, cell)
}

/// Writes a blob and snapshots under a lease, with a collection in the middle of one step of it.
fn written_while_collecting_at(when: &'static str) {
    let ((env, cell), ns) = (hooked(), namespace("n"));
    Leases::create(&env.db, &ns, "l", &map(&[])).unwrap();
    let (db, collections) = (env.db.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = collections.clone();
    *cell.lock().unwrap() = Some(Arc::new(move |step| {
        if step == when && counted.fetch_add(1, Ordering::Relaxed) == 0 {
            db.collect().unwrap();
        }
    }));
    let digest = env.put("n", Some("l"), b"committed while it is collected", &[]);
    let native = env.native("n", Some("l"));
    native.prepare("key", Base::Empty, &Labels::new()).unwrap();
    let commit = wharf_snapshot::Commit { name: "name".into(), key: "key".into(), ..Default::default() };
    native.view("view", None, &Labels::new()).unwrap();
    native.commit(&[commit]).unwrap();
    *cell.lock().unwrap() = None;
    assert_eq!(collections.load(Ordering::Relaxed), 1, "{when}");
    assert!(env.db.collect().unwrap().removed.is_empty(), "{when}");
    assert_eq!(env.db.content(&ns, None).reader(&digest).unwrap().size(), 31, "{when}");
    native.mounts("view").unwrap();
    native.prepare("on it", Base::On("name"), &Labels::new()).unwrap();
    assert_eq!(env.behind(), (1, 0, 3), "{when}");
}

#[test]
fn what_is_on_its_way_into_the_records_is_spared() {
    for when in
        ["after writer", "before blob", "after blob", "after prepare", "after view", "before commit", "after commit"]
    {
        written_while_collecting_at(when);
    }
}

#[test]
fn many_writers_and_the_collector_at_once() {
    let env = Env::new();
    let ns = namespace("n");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (env, ns) = (&env, &ns);
        let writers: Vec<_> = (0..3)
            .map(|thread| {
                scope.spawn(move || {
                    for round in 0..12 {
                        let lease = format!("l{thread}-{round}");
                        Leases::create(&env.db, ns, &lease, &map(&[])).unwrap();
                        let bytes = format!("blob {round}");
                        let store = env.db.content(ns, Some(&lease));
                        let opened = Ingest { expected: Some(Digest::of(bytes.as_bytes())), ..ingest(&lease) };
                        if let Ok(mut writer) = store.writer(&opened) {
                            writer.write(bytes.as_bytes()).unwrap();
                            let _ = writer.commit(&Commit::default());
                        }
                        let native = env.native("n", Some(&lease));
                        native.prepare(&lease, Base::Empty, &Labels::new()).unwrap();
                        let commit = wharf_snapshot::Commit {
                            name: format!("c {lease}"),
                            key: lease.clone(),
                            ..Default::default()
                        };
                        native.commit(&[commit]).unwrap();
                        // Leased, so it is there however often the collector came by.
                        let reader = env.db.content(ns, None).reader(&Digest::of(bytes.as_bytes())).unwrap();
                        assert_eq!(reader.size(), bytes.len() as u64);
                        native.view(&format!("v {lease}"), Some(&format!("c {lease}")), &Labels::new()).unwrap();
                        Leases::delete(&env.db, ns, &lease).unwrap();
                    }
                })
            })
            .collect();
        let done = &done;
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                env.db.collect().unwrap();
            }
        });
        let ended: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok), "a writer lost something that it had leased");
    });
    env.db.collect().unwrap();
    assert_eq!(env.behind(), (0, 0, 0));
    assert!(env.db.content(&ns, None).statuses(&Filters::all()).unwrap().is_empty());
}
