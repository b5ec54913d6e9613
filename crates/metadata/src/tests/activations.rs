//! Records of what is mounted for clients, and what keeps them.

use std::time::SystemTime;

use wharf_types::{ErrorKind, Filters, Mount};

use super::{Env, map, namespace, refused};
use crate::{Activation, Activations, ActiveMount, Leases, Namespaces};

fn activation(name: &str, lease: Option<&str>, labels: &[(&str, &str)]) -> Activation {
    let mount = |kind: &str| Mount { kind: kind.to_owned(), options: vec!["a".to_owned()], ..Mount::default() };
    Activation {
        name: name.to_owned(),
        labels: map(labels),
        lease: lease.map(str::to_owned),
        number: 7,
        active: vec![ActiveMount {
            mount: mount("tmpfs"),
            point: "/x/7/1".to_owned(),
            mounted_at: SystemTime::UNIX_EPOCH,
        }],
        system: vec![mount("bind")],
        created_at: SystemTime::UNIX_EPOCH,
    }
}

#[test]
fn activations_are_made_found_and_removed() {
    let (env, ns) = (Env::new(), namespace("n"));
    let store: &dyn Activations = &env.db;
    let made = store.create(&ns, activation("a", None, &[("x", "1")])).unwrap();
    assert_eq!(made.created_at, *env.clock.lock().unwrap());
    assert_eq!(store.get(&ns, "a").unwrap(), made);
    refused(store.create(&ns, activation("a", None, &[])), ErrorKind::AlreadyExists);
    refused(store.create(&ns, activation("", None, &[])), ErrorKind::InvalidArgument);
    refused(store.create(&ns, activation("b", Some("missing"), &[])), ErrorKind::NotFound);
    refused(store.get(&namespace("other"), "a"), ErrorKind::NotFound);
    let some = |text: &str| store.list(&ns, &Filters::parse(&[text]).unwrap()).unwrap().len();
    assert_eq!((some("name==a"), some("labels.x==1"), some("labels.x==2")), (1, 1, 0));
    assert_eq!(store.all().unwrap(), [(ns.clone(), made)]);
    let refusal = refused(Namespaces::delete(&env.db, &ns), ErrorKind::FailedPrecondition);
    assert!(refusal.contains("mounts"), "{refusal}");
    store.delete(&ns, "a").unwrap();
    refused(store.delete(&ns, "a"), ErrorKind::NotFound);
    assert!(store.number().unwrap() < store.number().unwrap());
}

#[test]
fn a_lease_and_labels_keep_a_mount() {
    let (env, ns) = (Env::new(), namespace("n"));
    let make = |name: &str, lease: Option<&str>, labels: &[(&str, &str)]| {
        Activations::create(&env.db, &ns, activation(name, lease, labels)).unwrap();
    };
    for (lease, labels) in [("l", &[][..]), ("flat", &[("containerd.io/gc.flat", "1")][..])] {
        Leases::create(&env.db, &ns, lease, &map(labels)).unwrap();
    }
    env.layer("n", "base", None, &[("containerd.io/gc.root", "1"), ("containerd.io/gc.ref.mount.x", "named")]);
    make("leased", Some("l"), &[]);
    make("flat", Some("flat"), &[]);
    make("back", None, &[("containerd.io/gc.bref.snapshot.native", "base")]);
    make("named", None, &[]);
    make("loose", None, &[]);
    assert_eq!(env.collected().len(), 1);
    Leases::delete(&env.db, &ns, "l").unwrap();
    Leases::delete(&env.db, &ns, "flat").unwrap();
    assert_eq!(env.collected().len(), 2);
    let left: Vec<_> = Activations::all(&env.db).unwrap().into_iter().map(|(_, left)| left.name).collect();
    assert_eq!(left, ["back", "named"]);
}
