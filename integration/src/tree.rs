//! Trees of files as data, to compare: names, kinds, modes, owners, times, attributes, links and contents.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use wharf_types::digest::Algorithm;

/// Everything below a folder, by path relative to it.
pub type Tree = BTreeMap<PathBuf, Entry>;

/// What is compared of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is, and what it says: a file's digest, a link's target, a device's number.
    pub what: String,
    /// Permission bits with set-user-id and the like.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Seconds and nanoseconds of the last change of its contents.
    pub mtime: (i64, i64),
    /// Extended attributes but for those of overlayfs itself.
    pub attributes: BTreeMap<String, Vec<u8>>,
    /// The first path, in order, of all that are the same file.
    pub same_as: Option<PathBuf>,
}

/// Reads a tree. The root itself is left out.
///
/// # Errors
/// When something in it cannot be read.
pub fn tree(root: &Path) -> anyhow::Result<Tree> {
    let mut found = Tree::new();
    let mut inodes = BTreeMap::new();
    walk(root, root, &mut found)?;
    for (path, entry) in &mut found {
        let looked_at = fs::symlink_metadata(root.join(path))?;
        if !looked_at.is_dir() && looked_at.nlink() > 1 {
            let first = inodes.entry((looked_at.dev(), looked_at.ino())).or_insert_with(|| path.clone());
            entry.same_as = Some(first.clone());
        }
    }
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut Tree) -> anyhow::Result<()> {
    for child in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = child?.path();
        let entry = entry(&path).with_context(|| format!("look at {}", path.display()))?;
        found.insert(path.strip_prefix(root)?.to_owned(), entry);
        if fs::symlink_metadata(&path)?.is_dir() {
            walk(root, &path, found)?;
        }
    }
    Ok(())
}

fn entry(path: &Path) -> anyhow::Result<Entry> {
    let looked_at = fs::symlink_metadata(path)?;
    let kind = looked_at.file_type();
    let what = if kind.is_file() {
        format!("file of {} bytes {}", looked_at.len(), digest(path)?)
    } else if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_symlink() {
        format!("link to {}", fs::read_link(path)?.display())
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else if kind.is_char_device() {
        format!("character device {}", looked_at.rdev())
    } else if kind.is_block_device() {
        format!("block device {}", looked_at.rdev())
    } else {
        "socket".to_owned()
    };
    Ok(Entry {
        what,
        mode: looked_at.mode() & 0o7777,
        uid: looked_at.uid(),
        gid: looked_at.gid(),
        mtime: (looked_at.mtime(), looked_at.mtime_nsec()),
        attributes: attributes(path)?,
        same_as: None,
    })
}

fn digest(path: &Path) -> anyhow::Result<wharf_types::Digest> {
    let (mut file, mut hasher, mut chunk) = (File::open(path)?, Algorithm::Sha256.hasher(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(chunk.get(..length).unwrap_or_default()),
        }
    }
}

fn attributes(path: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names)?;
    names.truncate(length);
    let mut found = BTreeMap::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        if name.starts_with("trusted.overlay.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value)?;
        value.truncate(length);
        found.insert(name, value);
    }
    Ok(found)
}

/// How two trees differ, a line each; nothing when they are the same.
#[must_use]
pub fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, theirs) in theirs {
        match ours.get(path) {
            None => lines.push(format!("{}: missing", path.display())),
            Some(ours) if ours != theirs => lines.push(format!("{}: {ours:?} and not {theirs:?}", path.display())),
            Some(_) => {}
        }
    }
    let more = ours.keys().filter(|path| !theirs.contains_key(*path));
    lines.extend(more.map(|path| format!("{}: should not be there", path.display())));
    lines
}
