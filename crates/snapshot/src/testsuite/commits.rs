//! Batches, and parents that are named at commit.

use std::fs;
use std::path::Path;

use wharf_types::{ErrorKind, Labels};

use super::{Case, Test, mounted, refused, step};
use crate::{Base, Commit, Kind};

pub(super) const CASES: &[Test] = &[
    ("a batch is committed whole", batch),
    ("a batch that fails commits nothing", atomic),
    ("an empty batch is fine", empty),
    ("the parent may be said again", said_again),
    ("what was prepared on nothing stays on nothing", no_rebase),
    ("layers stack later where that is supported", later),
    ("a later layer may be the lowest", lowest),
    ("keys are committed from many threads", threads),
];

fn on(name: &str, key: &str, parent: &str) -> Commit {
    Commit { parent: Some(parent.to_owned()), ..step(name, key) }
}

fn batch(case: &mut Case<'_>) {
    for key in ["1", "2", "3"] {
        mounted(&case.prepare(key, None).unwrap(), |root| fs::write(root.join("file"), key).unwrap());
    }
    case.on().commit(&[step("a", "1"), step("b", "2"), step("c", "3")]).unwrap();
    assert_eq!(case.names(), ["a", "b", "c"]);
    case.look("b", |root| assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "2"));
}

fn atomic(case: &mut Case<'_>) {
    case.layer("taken", None, |_| {});
    case.prepare("1", None).unwrap();
    case.prepare("2", None).unwrap();
    case.view("view", None).unwrap();
    for (last, kind) in [
        (step("taken", "2"), ErrorKind::AlreadyExists),
        (step("a", "2"), ErrorKind::AlreadyExists),
        (step("b", "missing"), ErrorKind::NotFound),
        (step("b", "1"), ErrorKind::NotFound),
        (step("b", "view"), ErrorKind::FailedPrecondition),
        (step("", "2"), ErrorKind::InvalidArgument),
    ] {
        refused(case.on().commit(&[step("a", "1"), last]), kind);
        assert_eq!(case.names(), ["1", "2", "taken", "view"]);
        assert_eq!(case.on().stat("1").unwrap().kind, Kind::Active);
    }
    case.on().commit(&[step("a", "1"), step("b", "2")]).unwrap();
}

fn empty(case: &mut Case<'_>) {
    case.on().commit(&[]).unwrap();
    assert!(case.names().is_empty());
}

fn said_again(case: &mut Case<'_>) {
    case.layer("a", None, |_| {});
    case.layer("b", None, |_| {});
    case.prepare("key", Some("a")).unwrap();
    refused(case.on().commit(&[on("c", "key", "b")]), ErrorKind::InvalidArgument);
    refused(case.on().commit(&[on("c", "key", "missing")]), ErrorKind::NotFound);
    case.on().commit(&[on("c", "key", "a")]).unwrap();
    assert_eq!(case.on().stat("c").unwrap().parent.as_deref(), Some("a"));
}

fn no_rebase(case: &mut Case<'_>) {
    case.layer("a", None, |_| {});
    case.prepare("key", None).unwrap();
    refused(case.on().commit(&[on("b", "key", "a")]), ErrorKind::InvalidArgument);
    assert_eq!(case.on().stat("key").unwrap().kind, Kind::Active);
}

fn prepare_later(case: &Case<'_>, key: &str, write: impl FnOnce(&Path)) {
    let mounts = case.on().prepare(key, Base::Later, &Labels::new()).unwrap();
    assert_eq!((mounts.len(), mounts[0].kind.as_str()), (1, "overlay"));
    assert!(mounts[0].option("lowerdir").is_none() && mounts[0].option("workdir").is_none());
    assert_eq!(case.on().mounts(key).unwrap(), mounts);
    write(Path::new(mounts[0].option("upperdir").unwrap()));
}

fn later(case: &mut Case<'_>) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    if !case.on().stacks_later() {
        refused(case.on().prepare("1", Base::Later, &Labels::new()), ErrorKind::Unimplemented);
        assert!(case.names().is_empty());
        return;
    }
    prepare_later(case, "3", |root| fs::write(root.join("three"), "3").unwrap());
    prepare_later(case, "2", |root| fs::write(root.join("file"), "2").unwrap());
    prepare_later(case, "1", |root| {
        fs::write(root.join("file"), "1").unwrap();
        chown(root, Some(5), Some(6)).unwrap();
        fs::set_permissions(root, fs::Permissions::from_mode(0o750)).unwrap();
    });
    refused(case.on().commit(&[on("b", "2", "missing")]), ErrorKind::NotFound);
    refused(case.on().commit(&[on("b", "2", "3")]), ErrorKind::InvalidArgument);
    case.on().commit(&[step("a", "1"), on("b", "2", "a"), on("c", "3", "b")]).unwrap();
    assert_eq!(case.on().stat("c").unwrap().parent.as_deref(), Some("b"));
    refused(case.on().remove("a"), ErrorKind::FailedPrecondition);
    case.look("c", |root| {
        assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "2");
        assert_eq!(fs::read_to_string(root.join("three")).unwrap(), "3");
        let meta = fs::metadata(root).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o750, 5, 6));
    });
}

fn lowest(case: &mut Case<'_>) {
    use std::os::unix::fs::MetadataExt;
    if !case.on().stacks_later() {
        return;
    }
    prepare_later(case, "key", |root| fs::write(root.join("file"), "x").unwrap());
    case.commit("a", "key").unwrap();
    assert_eq!(case.on().stat("a").unwrap().parent, None);
    case.look("a", |root| {
        assert_eq!(fs::metadata(root).unwrap().mode() & 0o7777, 0o755);
        assert!(root.join("file").exists());
    });
}

fn threads(case: &mut Case<'_>) {
    let snapshots = case.on();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for n in 0..5 {
                    let (key, name) = (format!("key {thread} {n}"), format!("name {thread} {n}"));
                    snapshots.prepare(&key, Base::Empty, &Labels::new()).unwrap();
                    snapshots.commit(&[step(&name, &key)]).unwrap();
                    snapshots.cleanup().unwrap();
                }
            });
        }
    });
    assert_eq!(case.names().len(), 20);
    // One name, four who want it: one has it.
    let won: usize = std::thread::scope(|scope| {
        let tries: Vec<_> =
            (0..4).map(|_| scope.spawn(|| snapshots.prepare("one", Base::Empty, &Labels::new()).is_ok())).collect();
        tries.into_iter().map(|attempt| usize::from(attempt.join().unwrap())).sum()
    });
    assert_eq!(won, 1);
}
