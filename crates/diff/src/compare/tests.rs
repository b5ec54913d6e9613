//! Real trees, real overlays, and other people's readers.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use wharf_types::Mount;

use crate::testing::{TAR, bind, look};
use crate::{Applier, Compared, Comparer, Comparison, LayerApplier, LayerComparer, Result};

mod faithful;
mod foreign;
mod overlay;
mod refused;

/// A comparison without compression.
fn plain() -> Comparison {
    Comparison { media_type: TAR.into(), ..Comparison::default() }
}

fn compare(lower: &[Mount], upper: &[Mount]) -> Result<Vec<u8>> {
    compare_as(lower, upper, &plain()).map(|(layer, _)| layer)
}

fn compare_as(lower: &[Mount], upper: &[Mount], wanted: &Comparison) -> Result<(Vec<u8>, Compared)> {
    let mut layer = Vec::new();
    let compared = LayerComparer::new().compare(lower, upper, wanted, &mut layer)?;
    Ok((layer, compared))
}

/// Extracts onto a directory and looks at it. The root itself is no part of layers.
fn apply(layer: &[u8], onto: &Path) -> std::collections::BTreeMap<String, String> {
    LayerApplier::new().apply(&mut &*layer, TAR, &[bind(onto)]).unwrap();
    seen(onto)
}

fn seen(root: &Path) -> std::collections::BTreeMap<String, String> {
    let mut tree = look(root);
    tree.remove("");
    tree
}

/// Each entry's path, with the path it is a link to.
fn entries(layer: &[u8]) -> Vec<String> {
    let failed = std::cell::Cell::new(false);
    let mut reader = crate::archive::Reader::new(crate::archive::Source::new(Box::new(layer), &failed, u64::MAX));
    let mut all = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let link = if entry.link.is_empty() { String::new() } else { format!(" = {}", text(&entry.link)) };
        all.push(text(&entry.path) + &link);
    }
    all
}

/// A tree's twin, in every respect that [`look`] sees.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-aT").args([from, to]).status().unwrap().success());
}

fn dated(path: &Path, seconds: i64, nanos: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn node(path: &Path, kind: FileType, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), device).unwrap();
}

fn attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// Version 2 of a file capability: net_bind_service, effective.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Everything that a tree may hold, before.
fn furnish(root: &Path) {
    let at = |path: &str| root.join(path);
    for dir in ["etc/conf.d", "usr/bin", "usr/lib", "var/cache/a", "var/log", "gone/deep", "again/old", "become"] {
        std::fs::create_dir_all(at(dir)).unwrap();
    }
    let files = "etc/passwd etc/group etc/same etc/conf.d/a usr/bin/tool usr/bin/caps usr/lib/x var/log/l gone/deep/f \
                 again/old/f again/f become/f file etc.d p1 p2x solo touched cut attr";
    for file in files.split_whitespace() {
        std::fs::write(at(file), file.repeat(10)).unwrap();
        dated(&at(file), 1_500_000_000, 0);
    }
    std::fs::hard_link(at("p1"), at("p2")).unwrap();
    std::fs::hard_link(at("usr/bin/tool"), at("usr/bin/alias")).unwrap();
    symlink("usr/lib", at("lib")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    node(&at("pipe"), FileType::Fifo, 0);
    node(&at("null"), FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    mode(&at("usr/bin/tool"), 0o4755);
    mode(&at("var/log"), 0o1777);
    attribute(&at("usr/bin/caps"), "security.capability", CAPABILITY);
    attribute(&at("attr"), "user.old", b"old");
    attribute(&at("etc"), "user.dir", b"kept");
    dated(&at("dangling"), 1_400_000_000, 0);
    dated(&at("usr/lib"), 1_300_000_000, 5);
}

/// Every way in which a tree may change. `root` may be an overlay.
fn change(root: &Path) {
    let at = |path: &str| root.join(path);
    let long = "n".repeat(200);
    std::fs::write(at("etc/passwd"), "changed").unwrap();
    // Neither size nor time tell.
    std::fs::write(at("cut"), "tuc".repeat(10)).unwrap();
    dated(&at("cut"), 1_500_000_000, 0);
    // Copied up by an overlay, and the same.
    std::fs::OpenOptions::new().append(true).open(at("etc/same")).unwrap();
    dated(&at("touched"), -5, 250_000_000);
    mode(&at("etc/group"), 0o600);
    mode(&at("var/cache"), 0o2750);
    std::os::unix::fs::lchown(at("dangling"), Some(5_000_000), Some(7)).unwrap();
    attribute(&at("attr"), "user.new", b"a\0\n=b");
    attribute(&at("attr"), "user.empty", b"");
    rustix::fs::lremovexattr(at("attr"), "user.old").unwrap();
    std::fs::write(at("usr/bin/caps"), "new").unwrap();
    attribute(&at("usr/bin/caps"), "security.capability", CAPABILITY);
    std::fs::hard_link(at("usr/bin/caps"), at("usr/bin/caps2")).unwrap();
    for gone in ["usr/lib/x", "etc.d", "null", "lib"] {
        std::fs::remove_file(at(gone)).unwrap();
    }
    for gone in ["gone", "again", "become"] {
        std::fs::remove_dir_all(at(gone)).unwrap();
    }
    symlink("usr/lib/somewhere/else", at("lib")).unwrap();
    std::fs::create_dir(at("again")).unwrap();
    std::fs::write(at("again/new"), "new").unwrap();
    std::fs::write(at("become"), "a file now").unwrap();
    std::fs::remove_file(at("file")).unwrap();
    std::fs::create_dir_all(at("file/now/a")).unwrap();
    std::fs::write(at("file/now/a/directory"), "").unwrap();
    std::fs::hard_link(at("solo"), at("a-solo")).unwrap();
    std::fs::hard_link(at("solo"), at("var/log/solo")).unwrap();
    std::fs::write(at("var/new"), "n").unwrap();
    std::fs::hard_link(at("var/new"), at("var/twin")).unwrap();
    std::fs::create_dir_all(at(&format!("{long}/ü/{long}"))).unwrap();
    let deep = at(&format!("{long}/ü/{long}/\u{1F40B}"));
    std::fs::write(&deep, "whale".repeat(100_000)).unwrap();
    std::os::unix::fs::chown(&deep, Some(4_000_000_000), Some(3_000_000)).unwrap();
    dated(&deep, 10_000_000_000, 123_456_789);
    symlink(format!("ü/{long}/\u{1F40B}"), at(&format!("{long}/link"))).unwrap();
    node(&at("etc/block"), FileType::BlockDevice, rustix::fs::makedev(259, 300_000));
    node(&at("etc/fifo"), FileType::Fifo, 0);
    mode(&at("etc/block"), 0o3666);
}

/// Three directories beside each other.
struct Trees {
    all: tempfile::TempDir,
}

impl Trees {
    /// `before`, furnished; nothing else yet.
    fn new() -> Self {
        let all = tempfile::tempdir().unwrap();
        std::fs::create_dir(all.path().join("before")).unwrap();
        furnish(&all.path().join("before"));
        Self { all }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.all.path().join(name)
    }

    /// A fresh empty directory.
    fn empty(&self, name: &str) -> PathBuf {
        std::fs::create_dir(self.at(name)).unwrap();
        self.at(name)
    }

    /// A twin of `before`.
    fn twin(&self, name: &str) -> PathBuf {
        copy(&self.at("before"), &self.at(name));
        self.at(name)
    }
}

fn inode(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).unwrap().ino()
}
