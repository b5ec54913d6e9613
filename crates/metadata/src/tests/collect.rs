//! What the collector keeps, and what it removes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use wharf_snapshot::Base;
use wharf_types::{Digest, Labels};

use super::{Env, container, ingest, map, namespace, object};
use crate::{Change, Containers, Images, Leases, ObjectKind, Resource};

/// An image of a manifest with a layer, unpacked to two snapshots; what it all is called.
fn pulled(env: &Env, ns: &str, image: &str) -> (Digest, Digest) {
    let layer = env.put(ns, None, format!("layer of {image}").as_bytes(), &[]);
    env.layer(ns, &format!("{image} bottom"), None, &[]);
    env.layer(ns, &format!("{image} top"), Some(&format!("{image} bottom")), &[]);
    let labels = [
        ("containerd.io/gc.ref.content.l.0", layer.to_string()),
        ("containerd.io/gc.ref.snapshot.native", format!("{image} top")),
    ];
    let labels: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let manifest = env.put(ns, None, format!("manifest of {image}").as_bytes(), &labels);
    env.image(ns, image, &manifest, &[]);
    (manifest, layer)
}

#[test]
fn an_image_keeps_all_that_it_refers_to() {
    let env = Env::new();
    let (manifest, layer) = pulled(&env, "n", "i");
    pulled(&env, "other", "i");
    let lost = env.put("n", None, b"nobody refers to it", &[]);
    env.layer("n", "lost", None, &[]);
    let mut wanted = vec!["lost".to_owned(), lost.to_string()];
    wanted.sort();
    assert_eq!(env.collected(), wanted);
    assert!(env.has("n", &manifest) && env.has("n", &layer) && !env.has("n", &lost));
    assert_eq!(env.behind(), (2, 0, 4));
    assert_eq!(env.collected(), Vec::<String>::new());

    Images::delete(&env.db, &namespace("n"), "i", None).unwrap();
    let collected = env.db.collect().unwrap();
    let at = |name: &str| collected.removed.iter().position(|object| object.name == name).unwrap();
    assert!(at(&manifest.to_string()) < at(&layer.to_string()));
    assert!(at("i top") < at("i bottom"));
    // The other namespace has the same bytes.
    assert_eq!((collected.removed.len(), collected.blobs, collected.snapshots), (4, 0, 2));
    assert_eq!(env.behind(), (2, 0, 2));
    Images::delete(&env.db, &namespace("other"), "i", None).unwrap();
    let collected = env.db.collect().unwrap();
    assert_eq!((collected.blobs, collected.bytes), (2, "layer of imanifest of i".len() as u64));
    assert_eq!(env.behind(), (0, 0, 0));
}

#[test]
fn a_lease_keeps_until_it_expires_and_a_flat_one_only_what_it_names() {
    let (env, ns) = (Env::new(), namespace("n"));
    let child = env.put("n", None, b"child", &[]);
    let parent = env.put("n", None, b"parent", &[("containerd.io/gc.ref.content", &child.to_string())]);
    let resource = Resource { kind: "content".to_owned(), id: parent.to_string() };
    // An hour and a bit after the clock's beginning, 2023-11-14T22:13:20Z.
    let labels = map(&[("containerd.io/gc.expire", "2023-11-15T00:30:00+01:00")]);
    Leases::create(&env.db, &ns, "l", &labels).unwrap();
    Leases::add(&env.db, &ns, "l", &resource).unwrap();
    assert!(env.collected().is_empty());
    env.advance(Duration::from_secs(3600));
    assert!(env.collected().is_empty());
    let flat = map(&[("containerd.io/gc.flat", "x"), ("containerd.io/gc.expire", "no time")]);
    Leases::create(&env.db, &ns, "flat", &flat).unwrap();
    Leases::add(&env.db, &ns, "flat", &resource).unwrap();
    env.advance(Duration::from_secs(3600));
    assert_eq!(env.collected(), ["l".to_owned(), child.to_string()]);
    assert!(env.has("n", &parent));
    Leases::delete(&env.db, &ns, "flat").unwrap();
    assert_eq!(env.collected(), [parent.to_string()]);
}

#[test]
fn a_flat_lease_keeps_a_snapshots_parents() {
    let (env, ns) = (Env::new(), namespace("n"));
    env.layer("n", "a", None, &[]);
    env.layer("n", "b", Some("a"), &[("containerd.io/gc.ref.snapshot.native", "c")]);
    env.layer("n", "c", None, &[]);
    Leases::create(&env.db, &ns, "flat", &map(&[("containerd.io/gc.flat", "x")])).unwrap();
    let resource = Resource { kind: "snapshots/native".to_owned(), id: "b".to_owned() };
    Leases::add(&env.db, &ns, "flat", &resource).unwrap();
    assert_eq!(env.collected(), ["c"]);
}

#[test]
fn roots_containers_and_back_references_keep() {
    let (env, ns) = (Env::new(), namespace("n"));
    env.layer("n", "base", None, &[]);
    env.native("n", None).prepare("rw", Base::On("base"), &Labels::new()).unwrap();
    let mut record = container("c");
    (record.snapshotter, record.snapshot_key) = ("native".to_owned(), "rw".to_owned());
    let named = env.put("n", None, b"named by the container", &[]);
    record.labels = map(&[("containerd.io/gc.ref.content.x", &named.to_string())]);
    Containers::create(&env.db, &ns, record).unwrap();
    let root = env.put("n", None, b"root", &[("containerd.io/gc.root", "2023")]);
    let back = env.put("n", None, b"back", &[("containerd.io/gc.bref.container.x", "c")]);
    let further = env.put("n", None, b"further", &[("containerd.io/gc.bref.content", &back.to_string())]);
    assert!(env.collected().is_empty());

    let why = |kind: ObjectKind, name: &str| env.db.why(&ns, &kind, name).unwrap();
    let native = ObjectKind::Snapshot("native".to_owned());
    let path = [
        object("n", ObjectKind::Container, "c"),
        object("n", native.clone(), "rw"),
        object("n", native.clone(), "base"),
    ];
    assert_eq!(why(native, "base"), Some(path.to_vec()));
    assert_eq!(why(ObjectKind::Content, &further.to_string()).unwrap().len(), 3);
    assert_eq!(why(ObjectKind::Content, &root.to_string()).unwrap().len(), 1);
    assert_eq!(why(ObjectKind::Content, &Digest::of(b"none").to_string()), None);

    Containers::delete(&env.db, &ns, "c").unwrap();
    assert_eq!(why(ObjectKind::Content, &further.to_string()), None);
    assert_eq!(env.collected().len(), 5);
    assert!(env.has("n", &root));
}

#[test]
fn an_expired_image_goes_unless_something_refers_to_it() {
    let env = Env::new();
    let digest = env.put("n", None, b"of both", &[]);
    let expired = ("containerd.io/gc.expire", "2020-01-01T00:00:00Z");
    env.image("n", "kept", &digest, &[("containerd.io/gc.ref.image.x", "referred")]);
    env.image("n", "referred", &digest, &[expired]);
    env.image("n", "expired", &digest, &[expired]);
    assert_eq!(env.collected(), ["expired"]);
    assert!(env.has("n", &digest));
}

#[test]
fn an_ingest_lives_a_day_or_as_long_as_its_lease() {
    let (env, ns) = (Env::new(), namespace("n"));
    Leases::create(&env.db, &ns, "l", &map(&[])).unwrap();
    let expected = env.put("n", None, b"expected by an ingest", &[]);
    for (reference, lease) in [("free", None), ("leased", Some("l"))] {
        let mut writer = env.db.content(&ns, lease).writer(&ingest(reference)).unwrap();
        writer.write(b"half").unwrap();
    }
    assert_eq!(env.collected(), [expected.to_string()]);
    assert_eq!(env.behind().1, 2);
    env.advance(Duration::from_secs(20 * 3600));
    drop(env.db.content(&ns, None).writer(&ingest("free")).unwrap());
    env.advance(Duration::from_secs(20 * 3600));
    assert!(env.collected().is_empty());
    env.advance(Duration::from_secs(5 * 3600));
    assert_eq!(env.collected(), ["free"]);
    assert_eq!(env.behind().1, 1);
    Leases::delete(&env.db, &ns, "l").unwrap();
    assert_eq!(env.collected(), ["leased"]);
    assert_eq!(env.behind(), (0, 0, 0));
}

#[test]
fn listeners_hear_of_changes_but_not_of_the_collector() {
    let env = Env::new();
    let (changes, removals) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, removed) = (changes.clone(), removals.clone());
    env.db.on_change(Arc::new(move |change: Change| {
        seen.fetch_add(1, Ordering::Relaxed);
        removed.fetch_add(usize::from(change.removed), Ordering::Relaxed);
    }));
    let digest = Digest::of(b"x");
    env.image("n", "i", &digest, &[("containerd.io/gc.expire", "2020-01-01T00:00:00Z")]);
    env.image("n", "j", &digest, &[]);
    super::refused(env.db_image("n", "j", &digest, &[]), wharf_types::ErrorKind::AlreadyExists);
    assert_eq!((changes.load(Ordering::Relaxed), removals.load(Ordering::Relaxed)), (2, 0));
    Images::delete(&env.db, &namespace("n"), "j", None).unwrap();
    assert_eq!(env.collected(), ["i"]);
    assert_eq!((changes.load(Ordering::Relaxed), removals.load(Ordering::Relaxed)), (3, 1));
}
