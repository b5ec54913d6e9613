//! Records of sandboxes.

use std::time::{Duration, SystemTime};

use wharf_types::{Any, ErrorKind, Filters};

use super::{Env, map, namespace, refused};
use crate::{Namespaces, Runtime, Sandbox, Sandboxes};

fn sandbox(id: &str, labels: &[(&str, &str)]) -> Sandbox {
    Sandbox {
        id: id.to_owned(),
        labels: map(labels),
        runtime: Runtime { name: "io.containerd.runc.v2".to_owned(), options: None },
        spec: Some(Any { type_url: "spec".to_owned(), value: vec![1] }),
        sandboxer: "shim".to_owned(),
        extensions: [("e".to_owned(), Any { type_url: "t".to_owned(), value: vec![0, 255] })].into(),
        created_at: SystemTime::UNIX_EPOCH,
        updated_at: SystemTime::UNIX_EPOCH,
    }
}

#[test]
fn sandboxes_are_made_found_changed_and_removed() {
    let (env, ns) = (Env::new(), namespace("n"));
    let store: &dyn Sandboxes = &env.db;
    let made = store.create(&ns, sandbox("a", &[("x", "1")])).unwrap();
    let now = *env.clock.lock().unwrap();
    assert_eq!((made.created_at, made.updated_at), (now, now));
    assert_eq!(store.get(&ns, "a").unwrap(), made);
    refused(store.create(&ns, sandbox("a", &[])), ErrorKind::AlreadyExists);
    refused(store.create(&ns, sandbox("../a", &[])), ErrorKind::InvalidArgument);
    refused(store.get(&namespace("other"), "a"), ErrorKind::NotFound);
    store.create(&ns, sandbox("b", &[])).unwrap();
    let names = |text: &str| {
        let found = store.list(&ns, &Filters::parse(&[text]).unwrap()).unwrap();
        found.into_iter().map(|found| found.id).collect::<Vec<_>>()
    };
    assert_eq!(
        (names("id~=^[ab]$"), names("labels.x==1")),
        (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned()])
    );

    env.advance(Duration::from_secs(1));
    let change = Sandbox { spec: None, extensions: [].into(), ..sandbox("a", &[("y", "2")]) };
    let paths = ["labels.y", "labels.x", "extensions.e"].map(str::to_owned);
    let changed = store.update(&ns, change.clone(), &paths).unwrap();
    assert_eq!((changed.labels.clone(), changed.extensions.len()), (map(&[("y", "2")]), 0));
    assert_eq!((changed.spec, changed.created_at), (made.spec, made.created_at));
    assert!(changed.updated_at > changed.created_at);
    let other = Sandbox { runtime: Runtime::default(), ..change.clone() };
    refused(store.update(&ns, other.clone(), &[]), ErrorKind::InvalidArgument);
    assert_eq!(store.update(&ns, other, &["runtime".to_owned()]).unwrap().runtime, Runtime::default());
    for path in ["sandboxer", "id", "created_at"] {
        refused(store.update(&ns, change.clone(), &[path.to_owned()]), ErrorKind::InvalidArgument);
    }
    refused(store.update(&ns, sandbox("none", &[]), &[]), ErrorKind::NotFound);

    let namespaces: &dyn Namespaces = &env.db;
    refused(namespaces.delete(&ns), ErrorKind::FailedPrecondition);
    for id in ["a", "b"] {
        store.delete(&ns, id).unwrap();
        refused(store.delete(&ns, id), ErrorKind::NotFound);
    }
    namespaces.delete(&ns).unwrap();
}

#[test]
fn a_sandbox_keeps_what_its_labels_name() {
    let (env, ns) = (Env::new(), namespace("n"));
    let digest = env.put("n", None, b"kept", &[]);
    let name = digest.to_string();
    let store: &dyn Sandboxes = &env.db;
    store.create(&ns, sandbox("a", &[("containerd.io/gc.ref.content.x", &name)])).unwrap();
    assert!(env.collected().is_empty());
    store.delete(&ns, "a").unwrap();
    assert_eq!(env.collected(), [name]);
}
