use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};

use super::*;

#[test]
fn the_native_snapshotter_keeps_the_promises() {
    crate::testsuite::run(&|root| Box::new(crate::native::NativeSnapshotter::open(root).unwrap()));
}

/// One line for everything that a copy must keep.
fn describe(root: &Path) -> Vec<String> {
    let (mut lines, mut below, mut inodes) = (Vec::new(), vec![root.to_owned()], HashMap::new());
    while let Some(path) = below.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_owned();
        if meta.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).collect();
            names.sort();
            below.extend(names.into_iter().rev());
        }
        let first = inodes.entry(meta.ino()).or_insert_with(|| name.clone()).clone();
        let mut attributes = vec![0; 4096];
        let length = rustix::fs::llistxattr(&path, &mut *attributes).unwrap();
        let mut values = Vec::new();
        for attribute in attributes[..length].split(|&b| b == 0).filter(|a| !a.is_empty()) {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(&path, attribute, &mut *value).unwrap();
            values.push((String::from_utf8_lossy(attribute).into_owned(), value[..length].to_vec()));
        }
        values.sort();
        let times = (meta.mtime(), meta.mtime_nsec());
        let size = if meta.is_dir() { 0 } else { meta.size() };
        let bytes = if meta.is_file() { fs::read(&path).unwrap().len() } else { 0 };
        let target = fs::read_link(&path).ok();
        let who = (meta.mode(), meta.uid(), meta.gid(), meta.rdev());
        lines.push(format!("{name:?} {first:?} {who:?} {times:?} {size} {bytes} {target:?} {values:?}"));
    }
    lines
}

#[test]
fn a_copy_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir_all(from.join("deep/er")).unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(from.join("deep/file"), vec![7; 300_000]).unwrap();
    fs::hard_link(from.join("deep/file"), from.join("deep/er/again")).unwrap();
    chown(from.join("deep/file"), Some(1), Some(2)).unwrap();
    fs::set_permissions(from.join("deep/file"), fs::Permissions::from_mode(0o6755)).unwrap();
    symlink("/etc/passwd", from.join("link")).unwrap();
    lchown(from.join("link"), Some(3), Some(4)).unwrap();
    fs::hard_link(from.join("link"), from.join("link too")).unwrap();
    for (name, kind) in [("fifo", FileType::Fifo), ("socket", FileType::Socket), ("block", FileType::BlockDevice)] {
        let device = rustix::fs::makedev(7, 300);
        rustix::fs::mknodat(CWD, from.join(name), kind, Mode::from_raw_mode(0o604), device).unwrap();
    }
    rustix::fs::setxattr(from.join("deep"), "trusted.dir", b"\0\x01", rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(from.join("deep/file"), "user.long", &[9; 900], rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::lsetxattr(from.join("link"), "trusted.link", b"x", rustix::fs::XattrFlags::empty()).unwrap();
    let sparse = fs::File::create(from.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", 32 << 20).unwrap();
    fs::set_permissions(from.join("deep"), fs::Permissions::from_mode(0o555)).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(86_400, 999_999_999);
    for name in ["deep/er", "deep", "sparse", "."] {
        fs::File::open(from.join(name)).unwrap().set_modified(old).unwrap();
    }
    copy_tree(&from, &to).unwrap();
    assert_eq!(describe(&to), describe(&from));
    assert!(fs::symlink_metadata(to.join("socket")).unwrap().file_type().is_socket());
    assert!(fs::metadata(to.join("sparse")).unwrap().blocks() * 512 < 1 << 20);
    assert_eq!(describe(&to).len(), 11);
}

#[test]
fn depth_takes_no_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::create_dir_all(from.join("d/".repeat(1500))).unwrap();
    fs::create_dir(&to).unwrap();
    copy_tree(&from, &to).unwrap();
    assert!(to.join("d/".repeat(1500)).is_dir());
    assert_eq!(crate::usage::measure(&to).unwrap().inodes, 1501);
    wharf_sys::fs::remove_dir_all(&from).unwrap();
    wharf_sys::fs::remove_dir_all(&to).unwrap();
}
