//! One snapshot from its making to its end, and what is refused.

use std::fs;
use std::time::SystemTime;

use wharf_types::{ErrorKind, LabelChange, Labels};

use super::{Case, Test, mounted, refused};
use crate::{Base, Kind};

pub(super) const CASES: &[Test] = &[
    ("a snapshot lives from prepare to remove", life),
    ("names and keys share one space", one_space),
    ("a missing snapshot is not found", missing),
    ("a parent must be committed", parents),
    ("a committed snapshot is not mounted", committed_mounts),
    ("a view cannot be written or committed", views),
    ("labels are replaced and merged", labels),
    ("labels have a bound", long_labels),
    ("any text is a key", odd_keys),
    ("what was acknowledged is there after opening again", opened_again),
    ("files are those of root", root_directory),
];

fn life(case: &mut Case<'_>) {
    let before = SystemTime::now();
    let mounts = case.prepare("key", None).unwrap();
    assert_eq!(case.on().mounts("key").unwrap(), mounts);
    let info = case.on().stat("key").unwrap();
    assert_eq!((info.kind, info.parent.as_deref(), info.name.as_str()), (Kind::Active, None, "key"));
    assert!(info.created_at >= before && info.updated_at >= info.created_at);
    mounted(&mounts, |root| fs::write(root.join("file"), "one").unwrap());
    case.commit("name", "key").unwrap();

    refused(case.on().stat("key"), ErrorKind::NotFound);
    assert_eq!(case.on().stat("name").unwrap().kind, Kind::Committed);
    case.look("name", |root| assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "one"));
    mounted(&case.prepare("next", Some("name")).unwrap(), |root| {
        fs::write(root.join("file"), "two").unwrap();
        assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "two");
    });
    assert_eq!(case.on().stat("next").unwrap().parent.as_deref(), Some("name"));
    case.look("name", |root| assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "one"));
    case.on().remove("next").unwrap();
    case.on().remove("name").unwrap();
    assert!(case.names().is_empty());
}

fn one_space(case: &mut Case<'_>) {
    case.prepare("a", None).unwrap();
    refused(case.prepare("a", None), ErrorKind::AlreadyExists);
    refused(case.view("a", None), ErrorKind::AlreadyExists);
    case.layer("b", None, |_| {});
    refused(case.prepare("b", None), ErrorKind::AlreadyExists);
    refused(case.commit("b", "a"), ErrorKind::AlreadyExists);
    assert_eq!(case.on().stat("a").unwrap().kind, Kind::Active);
    // What became of a key is free again.
    case.commit("c", "a").unwrap();
    case.prepare("a", Some("c")).unwrap();
}

fn missing(case: &mut Case<'_>) {
    let none = LabelChange::Merge(Labels::new());
    refused(case.on().stat("x"), ErrorKind::NotFound);
    refused(case.on().usage("x"), ErrorKind::NotFound);
    refused(case.on().mounts("x"), ErrorKind::NotFound);
    refused(case.on().update("x", &none), ErrorKind::NotFound);
    refused(case.on().remove("x"), ErrorKind::NotFound);
    refused(case.commit("y", "x"), ErrorKind::NotFound);
    refused(case.prepare("key", Some("x")), ErrorKind::NotFound);
    refused(case.view("key", Some("x")), ErrorKind::NotFound);
    assert!(case.names().is_empty());
}

fn parents(case: &mut Case<'_>) {
    case.prepare("active", None).unwrap();
    case.view("view", None).unwrap();
    for parent in ["active", "view"] {
        refused(case.prepare("key", Some(parent)), ErrorKind::InvalidArgument);
        refused(case.view("key", Some(parent)), ErrorKind::InvalidArgument);
    }
    refused(case.prepare("", None), ErrorKind::InvalidArgument);
    refused(case.view("", None), ErrorKind::InvalidArgument);
    refused(case.commit("", "active"), ErrorKind::InvalidArgument);
}

fn committed_mounts(case: &mut Case<'_>) {
    case.layer("a", None, |_| {});
    refused(case.on().mounts("a"), ErrorKind::FailedPrecondition);
}

fn views(case: &mut Case<'_>) {
    case.layer("a", None, |root| fs::write(root.join("file"), "a").unwrap());
    case.layer("b", Some("a"), |root| fs::write(root.join("file"), "b").unwrap());
    for (key, parent) in [("empty", None), ("one", Some("a")), ("two", Some("b"))] {
        let mounts = case.view(key, parent).unwrap();
        assert_eq!(case.on().mounts(key).unwrap(), mounts);
        assert_eq!(case.on().stat(key).unwrap().kind, Kind::View);
        mounted(&mounts, |root| {
            let error = fs::write(root.join("new"), "x").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{key}");
            if let Some(parent) = parent {
                assert_eq!(fs::read_to_string(root.join("file")).unwrap(), parent);
            }
        });
        refused(case.commit("c", key), ErrorKind::FailedPrecondition);
    }
    refused(case.commit("c", "a"), ErrorKind::FailedPrecondition);
}

fn labels(case: &mut Case<'_>) {
    let map = |pairs: &[(&str, &str)]| -> Labels { pairs.iter().map(|&(k, v)| (k.into(), v.into())).collect() };
    case.on().prepare("key", Base::Empty, &map(&[("a", "1"), ("b", "2")])).unwrap();
    let made = case.on().stat("key").unwrap();
    assert_eq!(made.labels, map(&[("a", "1"), ("b", "2")]));
    let merged = case.on().update("key", &LabelChange::Merge(map(&[("a", ""), ("c", "3")]))).unwrap();
    assert_eq!(merged.labels, map(&[("b", "2"), ("c", "3")]));
    assert!(merged.updated_at > made.updated_at && merged.created_at == made.created_at);
    let replaced = case.on().update("key", &LabelChange::Replace(map(&[("d", "4")]))).unwrap();
    assert_eq!(replaced.labels, map(&[("d", "4")]));
    assert_eq!(case.on().stat("key").unwrap(), replaced);
    let mut commit = super::step("name", "key");
    commit.labels = map(&[("e", "5")]);
    case.on().commit(&[commit]).unwrap();
    assert_eq!(case.on().stat("name").unwrap().labels, map(&[("e", "5")]));
}

fn long_labels(case: &mut Case<'_>) {
    let long: Labels = [("key".to_owned(), "v".repeat(4094))].into();
    refused(case.on().prepare("a", Base::Empty, &long), ErrorKind::InvalidArgument);
    case.prepare("a", None).unwrap();
    refused(case.on().update("a", &LabelChange::Merge(long.clone())), ErrorKind::InvalidArgument);
    let mut commit = super::step("b", "a");
    commit.labels = long;
    refused(case.on().commit(&[commit]), ErrorKind::InvalidArgument);
    assert!(case.on().stat("a").unwrap().labels.is_empty());
}

fn odd_keys(case: &mut Case<'_>) {
    let long = "l".repeat(5000);
    let keys = ["default/12/key", "../../escape", "/", ".", "a b", "ü\n\t", "a:b,c", "'\"\\", "%s", "\0", &long];
    for key in keys {
        mounted(&case.prepare(key, None).unwrap(), |root| fs::write(root.join("key"), key).unwrap());
        let name = format!("{key} committed");
        case.commit(&name, key).unwrap();
        case.look(&name, |root| assert_eq!(fs::read_to_string(root.join("key")).unwrap(), key));
    }
    assert_eq!(case.names().len(), keys.len());
    for name in case.names() {
        case.on().remove(&name).unwrap();
    }
}

fn opened_again(case: &mut Case<'_>) {
    case.layer("a", None, |root| fs::write(root.join("file"), "a").unwrap());
    mounted(&case.prepare("key", Some("a")).unwrap(), |root| fs::write(root.join("file"), "b").unwrap());
    case.view("view", Some("a")).unwrap();
    let before = (case.list(&[]), case.on().mounts("key").unwrap(), case.on().usage("a").unwrap());
    for _ in 0..2 {
        case.reopen();
        assert_eq!((case.list(&[]), case.on().mounts("key").unwrap(), case.on().usage("a").unwrap()), before);
    }
    case.commit("b", "key").unwrap();
    case.reopen();
    case.look("b", |root| assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "b"));
}

fn root_directory(case: &mut Case<'_>) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let look = |root: &std::path::Path| {
        let meta = fs::metadata(root).unwrap();
        (meta.mode() & 0o7777, meta.uid(), meta.gid())
    };
    case.layer("plain", None, |root| assert_eq!(look(root), (0o755, 0, 0)));
    case.layer("own", Some("plain"), |root| {
        chown(root, Some(1000), Some(1001)).unwrap();
        fs::set_permissions(root, fs::Permissions::from_mode(0o1770)).unwrap();
    });
    case.layer("next", Some("own"), |root| fs::write(root.join("x"), "").unwrap());
    case.look("next", |root| assert_eq!(look(root), (0o1770, 1000, 1001)));
}
