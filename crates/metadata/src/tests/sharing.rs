//! Two namespaces share bytes, and no names.

use wharf_content::{Commit, Ingest};
use wharf_snapshot::Base;
use wharf_types::{Digest, ErrorKind, Filters, LabelChange, Labels};

use super::{Env, ingest, map, namespace, refused};
use crate::{Leases, Sharing};

#[test]
fn a_blob_is_stored_once_and_seen_by_whoever_has_a_record() {
    let env = Env::new();
    let digest = env.put("one", None, b"shared bytes", &[("mine", "yes")]);
    let (one, two) = (env.db.content(&namespace("one"), None), env.db.content(&namespace("two"), None));
    refused(two.info(&digest), ErrorKind::NotFound);
    refused(two.reader(&digest).map(drop), ErrorKind::NotFound);
    let expecting = Ingest { expected: Some(digest.clone()), ..ingest("r") };
    refused(two.writer(&expecting).map(drop), ErrorKind::AlreadyExists);
    assert_eq!(two.info(&digest).unwrap().size, 12);
    assert_eq!(two.info(&digest).unwrap().labels, Labels::new());
    two.update(&digest, &LabelChange::Merge(map(&[("theirs", "yes")]))).unwrap();
    assert_eq!(one.info(&digest).unwrap().labels, map(&[("mine", "yes")]));
    assert_eq!(env.behind(), (1, 0, 0));
    one.delete(&digest).unwrap();
    assert_eq!(two.reader(&digest).unwrap().size(), 12);
    two.delete(&digest).unwrap();
    assert_eq!(env.behind(), (0, 0, 0));
}

#[test]
fn isolated_namespaces_show_their_bytes() {
    let env = Env::new();
    let Env { dir, content, snapshots, clock, db } = env;
    drop(db);
    let db = super::open(dir.path(), content.clone(), snapshots.clone(), &clock, Sharing::Isolated).unwrap();
    let env = Env { dir, content, snapshots, clock, db };
    let digest = env.put("one", None, b"secret bytes", &[]);
    let two = env.db.content(&namespace("two"), None);
    let expecting = Ingest { expected: Some(digest.clone()), ..ingest("r") };
    let mut writer = two.writer(&expecting).unwrap();
    assert_eq!(writer.status().expected, Some(digest.clone()));
    refused(writer.commit(&Commit::default()), ErrorKind::FailedPrecondition);
    refused(two.info(&digest), ErrorKind::NotFound);
    writer.write(b"secret bytes").unwrap();
    writer.commit(&Commit::default()).unwrap();
    assert_eq!((two.info(&digest).unwrap().size, env.behind()), (12, (1, 0, 0)));
}

#[test]
fn references_and_keys_are_a_namespaces_own() {
    let env = Env::new();
    let (one, two) = (env.db.content(&namespace("one"), None), env.db.content(&namespace("two"), None));
    let mut first = one.writer(&ingest("same")).unwrap();
    let mut second = two.writer(&ingest("same")).unwrap();
    first.write(b"first").unwrap();
    second.write(b"the second").unwrap();
    assert_eq!((one.status("same").unwrap().offset, two.status("same").unwrap().offset), (5, 10));
    assert_eq!(one.statuses(&Filters::all()).unwrap().len(), 1);
    let words = refused(one.writer(&ingest("same")).map(drop), ErrorKind::Unavailable);
    assert!(words.contains("\"same\""), "{words}");
    one.abort("same").unwrap();
    second.commit(&Commit::default()).unwrap();

    for ns in ["one", "two"] {
        env.layer(ns, "layer", None, &[]);
        env.native(ns, None).prepare("top", Base::On("layer"), &Labels::new()).unwrap();
    }
    let mounts = |ns: &str| env.native(ns, None).mounts("top").unwrap();
    assert_ne!(mounts("one"), mounts("two"));
    env.native("one", None).remove("top").unwrap();
    env.native("one", None).remove("layer").unwrap();
    assert_eq!(env.native("two", None).stat("top").unwrap().parent.as_deref(), Some("layer"));
    let words = refused(env.native("two", None).remove("layer"), ErrorKind::FailedPrecondition);
    assert!(words.contains("\"top\""), "{words}");
    refused(env.db.snapshotter(&namespace("one"), "none", None).map(drop), ErrorKind::NotFound);
}

#[test]
fn what_is_written_under_a_lease_is_held_by_it() {
    let (env, ns) = (Env::new(), namespace("n"));
    Leases::create(&env.db, &ns, "l", &map(&[])).unwrap();
    let held = || {
        let all = Leases::resources(&env.db, &ns, "l").unwrap();
        all.into_iter().map(|resource| format!("{} {}", resource.kind, resource.id)).collect::<Vec<_>>()
    };
    let store = env.db.content(&ns, Some("l"));
    let mut writer = store.writer(&ingest("r")).unwrap();
    assert_eq!(held(), ["ingests r"]);
    writer.write(b"leased").unwrap();
    writer.commit(&Commit::default()).unwrap();
    let blob = format!("content {}", Digest::of(b"leased"));
    assert_eq!(held(), std::slice::from_ref(&blob));
    let native = env.native("n", Some("l"));
    native.prepare("key", Base::Empty, &Labels::new()).unwrap();
    assert_eq!(held(), [blob.clone(), "snapshots/native key".to_owned()]);
    let commit = wharf_snapshot::Commit { name: "name".into(), key: "key".into(), ..Default::default() };
    native.commit(&[commit]).unwrap();
    assert_eq!(held(), [blob.clone(), "snapshots/native name".to_owned()]);
    native.remove("name").unwrap();
    assert_eq!(held(), [blob]);

    let other = env.put("n", None, b"not leased", &[]);
    let expecting = Ingest { expected: Some(other.clone()), ..ingest("s") };
    refused(store.writer(&expecting).map(drop), ErrorKind::AlreadyExists);
    assert_eq!(held().len(), 2);
    let gone = env.db.content(&ns, Some("gone"));
    refused(gone.writer(&ingest("t")).map(drop), ErrorKind::NotFound);
    refused(env.native("n", Some("gone")).prepare("k", Base::Empty, &Labels::new()), ErrorKind::NotFound);
    assert_eq!(env.behind(), (2, 0, 0));
}
