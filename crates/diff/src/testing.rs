//! Layers made by hand, and trees to look at, for tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use wharf_types::Mount;

use crate::{Applied, Applier, LayerApplier, Result};

/// The media type of a layer that is not compressed.
pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// An archive in the making. All files have a known time.
#[derive(Clone, Default)]
pub(crate) struct Layer(pub(crate) Vec<u8>);

/// One header.
pub(crate) struct Raw<'a> {
    pub(crate) path: &'a str,
    pub(crate) flag: u8,
    pub(crate) mode: u32,
    pub(crate) link: &'a str,
    pub(crate) owner: (u32, u32),
    pub(crate) device: (u32, u32),
    pub(crate) size: usize,
}

impl Raw<'_> {
    pub(crate) fn new(path: &str, flag: u8) -> Raw<'_> {
        Raw { path, flag, mode: 0o644, link: "", owner: (0, 0), device: (0, 0), size: 0 }
    }

    pub(crate) fn block(&self) -> [u8; 512] {
        let mut block = [0u8; 512];
        let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, self.path);
        put(100, &format!("{:07o}", self.mode));
        put(108, &format!("{:07o}", self.owner.0));
        put(116, &format!("{:07o}", self.owner.1));
        put(124, &format!("{:011o}", self.size));
        put(136, &format!("{:011o}", 1_000_000_000));
        put(157, self.link);
        put(257, "ustar\0");
        put(263, "00");
        put(329, &format!("{:07o}", self.device.0));
        put(337, &format!("{:07o}", self.device.1));
        block[156] = self.flag;
        seal(&mut block);
        block
    }
}

/// Sets a block's checksum.
pub(crate) fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

impl Layer {
    pub(crate) fn raw(mut self, raw: &Raw<'_>, body: &[u8]) -> Self {
        self.0.extend(raw.block());
        self.body(body)
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.0.extend(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, path: &str, body: &str) -> Self {
        self.raw(&Raw { size: body.len(), ..Raw::new(path, b'0') }, body.as_bytes())
    }

    pub(crate) fn dir(self, path: &str, mode: u32) -> Self {
        self.raw(&Raw { mode, ..Raw::new(path, b'5') }, b"")
    }

    pub(crate) fn symlink(self, path: &str, link: &str) -> Self {
        self.raw(&Raw { link, mode: 0o777, ..Raw::new(path, b'2') }, b"")
    }

    pub(crate) fn hard(self, path: &str, link: &str) -> Self {
        self.raw(&Raw { link, ..Raw::new(path, b'1') }, b"")
    }

    /// An extended header for what follows.
    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let body = records.iter().map(|(key, value)| record(key, value)).collect::<String>();
        self.raw(&Raw { size: body.len(), ..Raw::new("pax", b'x') }, body.as_bytes())
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }

    pub(crate) fn apply(&self, mounts: &[Mount]) -> Result<Applied> {
        LayerApplier::new().apply(&mut self.0.as_slice(), TAR, mounts)
    }

    pub(crate) fn extract(&self, dir: &Path) -> Result<Applied> {
        self.apply(&[bind(dir)])
    }

    pub(crate) fn extract_upper(&self, dir: &Path) -> Result<Applied> {
        self.apply(&[upper(dir)])
    }
}

pub(crate) fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length += 1;
    }
    format!("{length} {key}={value}\n")
}

pub(crate) fn bind(dir: &Path) -> Mount {
    let options = vec!["rbind".into(), "rw".into()];
    Mount { kind: "bind".into(), source: dir.to_str().unwrap().into(), options, ..Mount::default() }
}

pub(crate) fn upper(dir: &Path) -> Mount {
    let options = vec![format!("upperdir={}", dir.display())];
    Mount { kind: "overlay".into(), source: "overlay".into(), options, ..Mount::default() }
}

/// Everything about a tree: a line a file by its path. Hard links are told by the first name of theirs.
pub(crate) fn look(root: &Path) -> BTreeMap<String, String> {
    let (mut all, mut seen) = (BTreeMap::new(), BTreeMap::new());
    let mut todo = vec![root.to_owned()];
    let mut paths = Vec::new();
    while let Some(path) = todo.pop() {
        if std::fs::symlink_metadata(&path).unwrap().is_dir() {
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        paths.push(path);
    }
    paths.sort();
    for path in paths {
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let name = String::from_utf8_lossy(path.strip_prefix(root).unwrap().as_os_str().as_bytes()).into_owned();
        let mut line =
            format!("{:o} {}:{} {}.{:09}", meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        let kind = meta.file_type();
        if kind.is_file() {
            let body = std::fs::read(&path).unwrap();
            write!(line, " {}", wharf_types::Digest::of(&body)).unwrap();
        } else if kind.is_symlink() {
            write!(line, " -> {}", std::fs::read_link(&path).unwrap().display()).unwrap();
        } else if kind.is_char_device() || kind.is_block_device() {
            write!(line, " {:x}", meta.rdev()).unwrap();
        }
        if !kind.is_dir() && meta.nlink() > 1 {
            let first = seen.entry((meta.dev(), meta.ino())).or_insert_with(|| name.clone());
            write!(line, " = {first}").unwrap();
        }
        for (key, value) in xattrs(&path) {
            write!(line, " {key}={value}").unwrap();
        }
        all.insert(name, line);
    }
    all
}

/// The attributes of a file, not following a link.
pub(crate) fn xattrs(path: &Path) -> BTreeMap<String, String> {
    let mut list = vec![0u8; 65536];
    let length = rustix::fs::llistxattr(path, list.as_mut_slice()).unwrap();
    let names = list[..length].split(|b| *b == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0u8; 65536];
        let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap();
        String::from_utf8_lossy(&value[..length]).into_owned()
    };
    names.map(|name| (String::from_utf8_lossy(name).into_owned(), value(name))).collect()
}
