//! What is seen through several layers.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};

use super::{Case, Test, mounted};

pub(super) const CASES: &[Test] = &[
    ("an owner changes in the upper layer only", owner),
    ("a file is renamed and replaced", rename),
    ("what is removed is gone and can come again", removal),
    ("a directory of a lower layer gets new files", lower_directory),
    ("a directory takes a file's place and back", kinds),
    ("links, modes, times and devices are kept", details),
    ("128 layers can be mounted", many),
];

fn owner(case: &mut Case<'_>) {
    case.layer("a", None, |root| {
        fs::write(root.join("file"), "x").unwrap();
        fs::create_dir(root.join("dir")).unwrap();
    });
    case.layer("b", Some("a"), |root| {
        chown(root.join("file"), Some(7), Some(8)).unwrap();
        chown(root.join("dir"), Some(9), Some(10)).unwrap();
    });
    for (layer, file, dir) in [("a", (0, 0), (0, 0)), ("b", (7, 8), (9, 10))] {
        case.look(layer, |root| {
            let owner = |name| fs::metadata(root.join(name)).map(|m| (m.uid(), m.gid())).unwrap();
            assert_eq!((owner("file"), owner("dir")), (file, dir));
            assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "x");
        });
    }
}

fn rename(case: &mut Case<'_>) {
    case.layer("a", None, |root| {
        fs::create_dir_all(root.join("dir/sub")).unwrap();
        fs::write(root.join("dir/one"), "one").unwrap();
        fs::write(root.join("two"), "two").unwrap();
    });
    case.layer("b", Some("a"), |root| {
        fs::rename(root.join("dir/one"), root.join("one")).unwrap();
        fs::rename(root.join("one"), root.join("two")).unwrap();
        fs::create_dir(root.join("new")).unwrap();
        fs::rename(root.join("new"), root.join("dir/new")).unwrap();
    });
    case.look("b", |root| {
        assert_eq!(fs::read_to_string(root.join("two")).unwrap(), "one");
        assert!(!root.join("dir/one").exists() && root.join("dir/new").is_dir() && root.join("dir/sub").is_dir());
    });
    case.look("a", |root| assert_eq!(fs::read_to_string(root.join("two")).unwrap(), "two"));
}

fn removal(case: &mut Case<'_>) {
    case.layer("a", None, |root| {
        fs::create_dir_all(root.join("dir/sub")).unwrap();
        fs::write(root.join("dir/file"), "a").unwrap();
        fs::write(root.join("file"), "a").unwrap();
    });
    case.layer("b", Some("a"), |root| {
        fs::remove_dir_all(root.join("dir")).unwrap();
        fs::remove_file(root.join("file")).unwrap();
    });
    case.layer("c", Some("b"), |root| {
        assert_eq!(fs::read_dir(root).unwrap().count(), 0);
        fs::create_dir(root.join("dir")).unwrap();
        fs::write(root.join("file"), "c").unwrap();
    });
    case.look("b", |root| assert_eq!(fs::read_dir(root).unwrap().count(), 0));
    case.look("c", |root| {
        assert_eq!(fs::read_dir(root.join("dir")).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(root.join("file")).unwrap(), "c");
    });
}

fn lower_directory(case: &mut Case<'_>) {
    case.layer("a", None, |root| {
        fs::create_dir_all(root.join("x/y")).unwrap();
        fs::write(root.join("x/y/a"), "a").unwrap();
        fs::set_permissions(root.join("x"), fs::Permissions::from_mode(0o711)).unwrap();
    });
    case.layer("b", Some("a"), |root| fs::write(root.join("x/y/b"), "b").unwrap());
    case.look("b", |root| {
        assert!(root.join("x/y/a").exists() && root.join("x/y/b").exists());
        assert_eq!(fs::metadata(root.join("x")).unwrap().mode() & 0o7777, 0o711);
    });
    case.look("a", |root| assert!(!root.join("x/y/b").exists()));
}

fn kinds(case: &mut Case<'_>) {
    case.layer("a", None, |root| {
        fs::create_dir(root.join("x")).unwrap();
        fs::write(root.join("x/in"), "").unwrap();
        fs::write(root.join("y"), "").unwrap();
    });
    case.layer("b", Some("a"), |root| {
        fs::remove_dir_all(root.join("x")).unwrap();
        fs::write(root.join("x"), "file").unwrap();
        fs::remove_file(root.join("y")).unwrap();
        fs::create_dir(root.join("y")).unwrap();
    });
    case.layer("c", Some("b"), |root| {
        fs::remove_file(root.join("x")).unwrap();
        fs::create_dir(root.join("x")).unwrap();
    });
    case.look("b", |root| assert!(root.join("x").is_file() && root.join("y").is_dir()));
    case.look("c", |root| assert_eq!(fs::read_dir(root.join("x")).unwrap().count(), 0));
}

fn details(case: &mut Case<'_>) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_001, 123_456_789);
    case.layer("a", None, |root| {
        fs::write(root.join("file"), "x").unwrap();
        fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::File::open(root.join("file")).unwrap().set_modified(time).unwrap();
        symlink("../nowhere", root.join("link")).unwrap();
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from_raw_mode(0o620));
        let device = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(rustix::fs::CWD, root.join("null"), kind, mode, device).unwrap();
    });
    mounted(&case.prepare("b", Some("a")).unwrap(), |root| {
        let meta = fs::metadata(root.join("file")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.modified().unwrap()), (0o4751, time));
        assert_eq!(fs::read_link(root.join("link")).unwrap().to_str(), Some("../nowhere"));
        let null = fs::symlink_metadata(root.join("null")).unwrap();
        assert!(null.file_type().is_char_device() && null.rdev() == rustix::fs::makedev(1, 3));
    });
}

fn many(case: &mut Case<'_>) {
    let mut parent: Option<String> = None;
    for n in 0..128 {
        let name = format!("layer {n}");
        let key = format!("{name} being made");
        let mounts = case.prepare(&key, parent.as_deref()).unwrap();
        // Mounting each would say nothing that mounting some does not.
        if n % 8 == 0 || n == 127 {
            mounted(&mounts, |root| {
                fs::write(root.join(format!("file-{n}")), "").unwrap();
                fs::write(root.join("last"), n.to_string()).unwrap();
            });
        }
        case.commit(&name, &key).unwrap();
        parent = Some(name);
    }
    case.look("layer 127", |root| {
        assert_eq!(fs::read_to_string(root.join("last")).unwrap(), "127");
        assert!((0..128).step_by(8).all(|n| root.join(format!("file-{n}")).exists()));
    });
}
