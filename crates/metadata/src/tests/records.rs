//! The four kinds of records.

use std::time::Duration;

use wharf_types::{Any, Digest, ErrorKind, Filters, LabelChange};

use super::{Env, container, image, map, namespace, refused};
use crate::{Containers, Images, Leases, Namespaces, Resource};

fn filter(text: &str) -> Filters {
    Filters::parse(&[text]).unwrap()
}

#[test]
fn images_are_made_found_changed_and_removed() {
    let (env, ns) = (Env::new(), namespace("n"));
    let images: &dyn Images = &env.db;
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    let made = images.create(&ns, image("a", &one, &[("x", "1"), ("empty", "")])).unwrap();
    assert_eq!((made.created_at, made.labels.clone()), (*env.clock.lock().unwrap(), map(&[("x", "1")])));
    refused(images.create(&ns, image("a", &two, &[])), ErrorKind::AlreadyExists);
    refused(images.create(&ns, image("", &two, &[])), ErrorKind::InvalidArgument);
    refused(images.create(&ns, image("b", &two, &[("k", &"v".repeat(4096))])), ErrorKind::InvalidArgument);
    images.create(&ns, image("b", &two, &[("y.z/w", "2")])).unwrap();

    let names = |text: &str| images.list(&ns, &filter(text)).unwrap().into_iter().map(|i| i.name).collect::<Vec<_>>();
    assert_eq!(names("name~=^[ab]$"), ["a", "b"]);
    assert_eq!(names(&format!("target.digest=={one}")), ["a"]);
    assert_eq!(names("labels.\"y.z/w\"==2"), ["b"]);
    assert!(images.list(&namespace("other"), &Filters::all()).unwrap().is_empty());

    env.advance(Duration::from_nanos(1_000_000_007));
    let mut change = image("a", &two, &[("x", "9"), ("n", "8")]);
    change.target.annotations = map(&[("note", "this")]);
    let changed = images.update(&ns, change.clone(), &["labels.n".to_owned(), "annotations.note".to_owned()]).unwrap();
    assert_eq!(changed.labels, map(&[("x", "1"), ("n", "8")]));
    assert_eq!((&changed.target.digest, changed.target.annotations.len()), (&one, 1));
    assert_eq!((changed.created_at, changed.updated_at), (made.created_at, *env.clock.lock().unwrap()));
    let changed = images.update(&ns, change.clone(), &["target".to_owned()]).unwrap();
    assert_eq!(changed.target.digest, two);
    let all = images.update(&ns, change.clone(), &[]).unwrap();
    assert_eq!((all.labels.clone(), all.created_at), (change.labels.clone(), made.created_at));
    assert_eq!(images.get(&ns, "a").unwrap(), all);
    refused(images.update(&ns, change, &["name".to_owned()]), ErrorKind::InvalidArgument);
    refused(images.update(&ns, image("none", &one, &[]), &[]), ErrorKind::NotFound);

    refused(images.delete(&ns, "a", Some(&one)), ErrorKind::NotFound);
    images.delete(&ns, "a", Some(&two)).unwrap();
    refused(images.delete(&ns, "a", None), ErrorKind::NotFound);
    refused(images.get(&ns, "a"), ErrorKind::NotFound);
}

#[test]
fn containers_keep_what_never_changes() {
    let (env, ns) = (Env::new(), namespace("n"));
    let containers: &dyn Containers = &env.db;
    let mut first = container("c");
    first.snapshotter = "native".to_owned();
    first.extensions.insert("e.x".to_owned(), Any { type_url: "t".to_owned(), value: vec![0, 255] });
    let made = containers.create(&ns, first.clone()).unwrap();
    assert_eq!(containers.get(&ns, "c").unwrap(), made);
    refused(containers.create(&ns, first.clone()), ErrorKind::AlreadyExists);
    for bad in ["", "a/b", "../x", "-", &"x".repeat(77)] {
        refused(containers.create(&ns, container(bad)), ErrorKind::InvalidArgument);
    }
    let mut keyed = container("k");
    keyed.snapshot_key = "key".to_owned();
    refused(containers.create(&ns, keyed), ErrorKind::InvalidArgument);

    let mut change = container("c");
    change.image = "image".to_owned();
    refused(containers.update(&ns, change.clone(), &[]), ErrorKind::InvalidArgument);
    change.snapshotter = "native".to_owned();
    change.runtime.name = "other".to_owned();
    refused(containers.update(&ns, change.clone(), &[]), ErrorKind::InvalidArgument);
    let only = containers.update(&ns, change.clone(), &["image".to_owned()]).unwrap();
    assert_eq!((only.image.as_str(), only.runtime.name.as_str()), ("image", "io.containerd.wharf.v1"));
    assert_eq!(only.extensions, made.extensions);
    for path in ["runtime", "runtime.name", "snapshotter", "id", "labelsx"] {
        refused(containers.update(&ns, change.clone(), &[path.to_owned()]), ErrorKind::InvalidArgument);
    }
    change.runtime.name.clone_from(&made.runtime.name);
    change.snapshot_key = "key".to_owned();
    let all = containers.update(&ns, change, &[]).unwrap();
    assert_eq!((all.snapshot_key.as_str(), all.extensions.len()), ("key", 0));

    let mut seen = Vec::new();
    let visit = &mut |found: crate::Container| {
        seen.push(found.id);
        Ok(())
    };
    containers.walk(&ns, &filter("runtime.name==io.containerd.wharf.v1,image==image"), visit).unwrap();
    assert_eq!(seen, ["c"]);
    containers.delete(&ns, "c").unwrap();
    refused(containers.delete(&ns, "c"), ErrorKind::NotFound);
}

#[test]
fn leases_hold_what_they_are_told() {
    let (env, ns) = (Env::new(), namespace("n"));
    let leases: &dyn Leases = &env.db;
    leases.create(&ns, "l", &map(&[("a", "b")])).unwrap();
    refused(leases.create(&ns, "l", &map(&[])), ErrorKind::AlreadyExists);
    refused(leases.create(&ns, "", &map(&[])), ErrorKind::InvalidArgument);
    let resource = |kind: &str, id: &str| Resource { kind: kind.to_owned(), id: id.to_owned() };
    let content = resource("content", &Digest::of(b"x").to_string());
    let snapshot = resource("snapshots/native", "key");
    for resource in [&content, &snapshot, &snapshot] {
        leases.add(&ns, "l", resource).unwrap();
    }
    assert_eq!(leases.resources(&ns, "l").unwrap(), [content.clone(), snapshot.clone()]);
    refused(leases.add(&ns, "l", &resource("content", "x")), ErrorKind::InvalidArgument);
    refused(leases.add(&ns, "l", &resource("snapshots", "x")), ErrorKind::InvalidArgument);
    refused(leases.add(&ns, "l", &resource("tea", "x")), ErrorKind::Unimplemented);
    refused(leases.add(&ns, "none", &content), ErrorKind::NotFound);
    leases.remove(&ns, "l", &content).unwrap();
    assert_eq!(leases.resources(&ns, "l").unwrap(), [snapshot]);
    assert_eq!(leases.list(&ns, &filter("labels.a==b")).unwrap().len(), 1);
    assert_eq!(leases.list(&ns, &filter("id!=l")).unwrap().len(), 0);
    leases.delete(&ns, "l").unwrap();
    refused(leases.delete(&ns, "l"), ErrorKind::NotFound);
    leases.create(&ns, "l", &map(&[])).unwrap();
    assert!(leases.resources(&ns, "l").unwrap().is_empty());
}

#[test]
fn a_namespace_goes_only_when_it_is_empty() {
    let env = Env::new();
    let (ns, namespaces): (_, &dyn Namespaces) = (namespace("full"), &env.db);
    let digest = env.put("full", None, b"content", &[]);
    env.layer("full", "layer", None, &[]);
    env.image("full", "image", &digest, &[]);
    Containers::create(&env.db, &ns, container("box")).unwrap();
    Leases::create(&env.db, &ns, "lease", &map(&[])).unwrap();
    let words = refused(namespaces.delete(&ns), ErrorKind::FailedPrecondition);
    for inside in [&digest.to_string(), "\"layer\"", "\"image\"", "\"box\"", "\"lease\""] {
        assert!(words.contains(inside), "{inside} is not in: {words}");
    }
    assert_eq!(namespaces.list().unwrap().len(), 1);

    Images::delete(&env.db, &ns, "image", None).unwrap();
    Containers::delete(&env.db, &ns, "box").unwrap();
    Leases::delete(&env.db, &ns, "lease").unwrap();
    env.native("full", None).remove("layer").unwrap();
    env.db.content(&ns, None).delete(&digest).unwrap();
    assert_eq!(env.behind(), (0, 0, 0));
    namespaces.delete(&ns).unwrap();
    refused(namespaces.delete(&ns), ErrorKind::NotFound);
    refused(namespaces.get(&ns), ErrorKind::NotFound);

    namespaces.create(&ns, &map(&[("a", "1"), ("b", "2")])).unwrap();
    refused(namespaces.create(&ns, &map(&[])), ErrorKind::AlreadyExists);
    let changed = namespaces.update(&ns, &LabelChange::Merge(map(&[("a", ""), ("c", "3")]))).unwrap();
    assert_eq!(changed.labels, map(&[("b", "2"), ("c", "3")]));
    // Clients label a namespace before anything is in it.
    namespaces.update(&namespace("new"), &LabelChange::Merge(map(&[("a", "1")]))).unwrap();
    assert_eq!(namespaces.get(&namespace("new")).unwrap().labels, map(&[("a", "1")]));
}
