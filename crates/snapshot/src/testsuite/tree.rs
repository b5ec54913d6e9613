//! The tree of names: children, walks, usage, sweeping.

use std::fs;

use wharf_types::{ErrorKind, Filters, LabelChange, Labels};

use super::{Case, Test, mounted, refused};
use crate::Error;

pub(super) const CASES: &[Test] = &[
    ("what has children is not removed", children),
    ("a walk visits what filters match", walk),
    ("an error ends a walk", walk_error),
    ("usage is that of the snapshot alone", usage),
    ("cleanup leaves what records name", cleanup),
    ("removing gives the space back", space),
];

fn children(case: &mut Case<'_>) {
    case.layer("a", None, |_| {});
    case.layer("b", Some("a"), |_| {});
    case.prepare("active", Some("b")).unwrap();
    case.view("view", Some("a")).unwrap();
    refused(case.on().remove("a"), ErrorKind::FailedPrecondition);
    refused(case.on().remove("b"), ErrorKind::FailedPrecondition);
    case.on().remove("active").unwrap();
    case.on().remove("b").unwrap();
    refused(case.on().remove("a"), ErrorKind::FailedPrecondition);
    case.on().remove("view").unwrap();
    case.on().remove("a").unwrap();
    refused(case.on().remove("a"), ErrorKind::NotFound);
}

fn walk(case: &mut Case<'_>) {
    case.layer("a", None, |_| {});
    case.layer("b", Some("a"), |_| {});
    case.prepare("c", Some("b")).unwrap();
    case.view("d", Some("b")).unwrap();
    let label: Labels = [("containerd.io/gc.root".to_owned(), "yes".to_owned())].into();
    case.on().update("c", &LabelChange::Merge(label)).unwrap();
    let names = |filters: &[&str]| case.list(filters).into_iter().map(|info| info.name).collect::<Vec<_>>();
    assert_eq!(names(&[]), ["a", "b", "c", "d"]);
    assert_eq!(names(&["kind==committed"]), ["a", "b"]);
    assert_eq!(names(&["parent==b"]), ["c", "d"]);
    assert_eq!(names(&["parent==b,kind==view"]), ["d"]);
    assert_eq!(names(&["name==a", "kind==active"]), ["a", "c"]);
    assert_eq!(names(&["labels.\"containerd.io/gc.root\"==yes"]), ["c"]);
    assert_eq!(names(&["name==none"]), [""; 0]);
    for info in case.list(&[]) {
        assert_eq!(case.on().stat(&info.name).unwrap(), info);
    }
}

fn walk_error(case: &mut Case<'_>) {
    case.layer("a", None, |_| {});
    case.layer("b", None, |_| {});
    let mut visited = 0;
    let result = case.on().walk(&Filters::all(), &mut |info| {
        visited += 1;
        Err(Error::Invalid(info.name))
    });
    refused(result, ErrorKind::InvalidArgument);
    assert_eq!(visited, 1);
}

fn usage(case: &mut Case<'_>) {
    let write = |root: &std::path::Path, name: &str| {
        fs::write(root.join(name), vec![1; 256 << 10]).unwrap();
        fs::File::open(root.join(name)).unwrap().sync_all().unwrap();
    };
    let mounts = case.prepare("key", None).unwrap();
    let empty = case.on().usage("key").unwrap();
    mounted(&mounts, |root| write(root, "one"));
    let live = case.on().usage("key").unwrap();
    assert_eq!(live.inodes, empty.inodes + 1);
    let grown = live.size - empty.size;
    assert!((256 << 10..512 << 10).contains(&grown), "{grown}");
    case.commit("a", "key").unwrap();
    assert_eq!(case.on().usage("a").unwrap(), live);

    mounted(&case.prepare("next", Some("a")).unwrap(), |root| write(root, "two"));
    let next = case.on().usage("next").unwrap();
    assert!(next.size >= 256 << 10 && next.inodes >= 2, "{next:?}");
    case.commit("b", "next").unwrap();
    assert_eq!(case.on().usage("b").unwrap(), next);
}

fn cleanup(case: &mut Case<'_>) {
    case.layer("a", None, |root| fs::write(root.join("file"), "a").unwrap());
    mounted(&case.prepare("key", Some("a")).unwrap(), |root| fs::write(root.join("file"), "b").unwrap());
    case.on().cleanup().unwrap();
    case.on().cleanup().unwrap();
    mounted(&case.on().mounts("key").unwrap(), |root| {
        assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "b");
    });
    case.look("a", |root| assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "a"));
}

fn space(case: &mut Case<'_>) {
    let marked = |case: &Case<'_>| {
        let mut below = vec![case.dir.path().to_owned()];
        let mut found = 0;
        while let Some(dir) = below.pop() {
            for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
                found += usize::from(entry.file_name() == "marked");
                if entry.file_type().unwrap().is_dir() {
                    below.push(entry.path());
                }
            }
        }
        found
    };
    case.layer("a", None, |root| fs::write(root.join("marked"), "").unwrap());
    mounted(&case.prepare("b", None).unwrap(), |root| fs::write(root.join("marked"), "").unwrap());
    assert_eq!(marked(case), 2);
    case.on().remove("a").unwrap();
    case.on().remove("b").unwrap();
    case.on().cleanup().unwrap();
    assert_eq!(marked(case), 0);
}
