//! Layers: tar archives, entry by entry.

use std::io::Write as _;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// By gzip, at a low level.
    Gzip,
    /// By zstd.
    Zstd,
}

impl Compression {
    /// What follows `+` in the media type.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Compresses `bytes`.
    #[must_use]
    #[allow(clippy::missing_panics_doc)]
    pub fn compress(self, bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::None => bytes,
            Self::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&bytes).and_then(|()| encoder.finish()).expect("memory takes all bytes")
            }
            Self::Zstd => zstd::encode_all(bytes.as_slice(), 1).expect("memory takes all bytes"),
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file and its contents.
    File(Vec<u8>),
    /// A directory.
    Dir,
    /// A symbolic link and what it points at.
    Symlink(String),
    /// A hard link and the entry it is another name of.
    HardLink(String),
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// One entry of a layer. Paths are written as they are, whatever they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path, usually relative and without `./`.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The owner's group.
    pub gid: u64,
    /// Modification time in seconds since 1970.
    pub mtime: u64,
    /// Extended attributes, written as `SCHILY.xattr.` records.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Entry {
    /// An entry of root, changed last in 2023.
    #[must_use]
    pub fn new(path: impl Into<String>, mode: u32, kind: EntryKind) -> Self {
        Self { path: path.into(), kind, mode, uid: 0, gid: 0, mtime: 1_700_000_000, xattrs: Vec::new() }
    }
}

/// A layer in the making: methods that add an entry, and methods that change the entry added last.
///
/// ```
/// use wharf_testkit::image::Layer;
///
/// let tar = Layer::new()
///     .dir("etc", 0o755)
///     .file("etc/motd", 0o644, "hello\n").owner(1000, 1000).xattr("user.note", "x")
///     .whiteout("etc/old")
///     .into_tar();
/// assert_eq!(tar.len() % 512, 0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    entries: Vec<Entry>,
}

impl Layer {
    /// A layer without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds any entry.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, path: &str, mode: u32) -> Self {
        self.entry(Entry::new(path, mode, EntryKind::Dir))
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, contents: impl Into<Vec<u8>>) -> Self {
        self.entry(Entry::new(path, mode, EntryKind::File(contents.into())))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(Entry::new(path, 0o777, EntryKind::Symlink(target.to_owned())))
    }

    /// Adds another name for the entry `target`.
    #[must_use]
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(Entry::new(path, 0o644, EntryKind::HardLink(target.to_owned())))
    }

    /// Adds a character device.
    #[must_use]
    pub fn char_device(self, path: &str, major: u32, minor: u32) -> Self {
        self.entry(Entry::new(path, 0o666, EntryKind::CharDevice(major, minor)))
    }

    /// Adds a block device.
    #[must_use]
    pub fn block_device(self, path: &str, major: u32, minor: u32) -> Self {
        self.entry(Entry::new(path, 0o660, EntryKind::BlockDevice(major, minor)))
    }

    /// Adds a named pipe.
    #[must_use]
    pub fn fifo(self, path: &str, mode: u32) -> Self {
        self.entry(Entry::new(path, mode, EntryKind::Fifo))
    }

    /// Adds the mark that removes `path` of the layers below (`.wh.name`).
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let marked = match path.rsplit_once('/') {
            Some((parent, name)) => format!("{parent}/.wh.{name}"),
            None => format!(".wh.{path}"),
        };
        self.file(&marked, 0o644, "")
    }

    /// Adds the mark that hides what the layers below have in the directory `path` (`.wh..wh..opq`).
    #[must_use]
    pub fn opaque(self, path: &str) -> Self {
        self.file(&format!("{path}/.wh..wh..opq"), 0o644, "")
    }

    /// Gives the entry added last to an owner.
    #[must_use]
    pub fn owner(self, uid: u64, gid: u64) -> Self {
        self.change(|entry| (entry.uid, entry.gid) = (uid, gid))
    }

    /// Gives the entry added last an extended attribute.
    #[must_use]
    pub fn xattr(self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.change(|entry| entry.xattrs.push((name.to_owned(), value.into())))
    }

    /// Gives the entry added last a modification time in seconds since 1970.
    #[must_use]
    pub fn mtime(self, seconds: u64) -> Self {
        self.change(|entry| entry.mtime = seconds)
    }

    fn change(mut self, change: impl FnOnce(&mut Entry)) -> Self {
        if let Some(entry) = self.entries.last_mut() {
            change(entry);
        }
        self
    }

    /// The archive, with the two empty blocks at its end.
    #[must_use]
    #[allow(clippy::missing_panics_doc)]
    pub fn into_tar(self) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for entry in &self.entries {
            append(&mut archive, entry).expect("memory takes all bytes");
        }
        archive.into_inner().expect("memory takes all bytes")
    }
}

fn append(archive: &mut tar::Builder<Vec<u8>>, entry: &Entry) -> std::io::Result<()> {
    use tar::EntryType;
    let mut header = tar::Header::new_ustar();
    let (kind, link, data): (EntryType, &str, &[u8]) = match &entry.kind {
        EntryKind::File(data) => (EntryType::Regular, "", data),
        EntryKind::Dir => (EntryType::Directory, "", &[]),
        EntryKind::Symlink(target) => (EntryType::Symlink, target, &[]),
        EntryKind::HardLink(target) => (EntryType::Link, target, &[]),
        EntryKind::CharDevice(..) => (EntryType::Char, "", &[]),
        EntryKind::BlockDevice(..) => (EntryType::Block, "", &[]),
        EntryKind::Fifo => (EntryType::Fifo, "", &[]),
    };
    if let EntryKind::CharDevice(major, minor) | EntryKind::BlockDevice(major, minor) = entry.kind {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    header.set_entry_type(kind);
    header.set_mode(entry.mode);
    header.set_uid(entry.uid);
    header.set_gid(entry.gid);
    header.set_mtime(entry.mtime);
    header.set_size(data.len() as u64);
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    // The library's setters clean paths; here they are to arrive as they were given.
    let fields = header.as_old_mut();
    if !put(&mut fields.name, &entry.path) {
        records.push(("path".to_owned(), entry.path.clone().into_bytes()));
    }
    if !put(&mut fields.linkname, link) {
        records.push(("linkpath".to_owned(), link.as_bytes().to_vec()));
    }
    records.extend(entry.xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.clone())));
    if !records.is_empty() {
        archive.append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
    }
    header.set_cksum();
    archive.append(&header, data)
}

/// Writes `text` into a header's field; false when it is too long, and was cut.
fn put(field: &mut [u8; 100], text: &str) -> bool {
    let bytes = text.as_bytes();
    field.fill(0);
    for (slot, byte) in field.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    bytes.len() <= field.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_reads_back_as_it_was_said() {
        let long = "d/".repeat(80) + "file";
        let layer = Layer::new().file("../up", 0o600, "x").owner(7, 8).xattr("user.a", "b").file(&long, 0o644, "");
        let tar = layer.char_device("null", 1, 3).into_tar();
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let xattrs = entry.pax_extensions().unwrap().map_or(0, |records| {
                records.flatten().filter(|record| record.key() == Ok("SCHILY.xattr.user.a")).count()
            });
            seen.push((String::from_utf8(entry.path_bytes().to_vec()).unwrap(), entry.header().uid().unwrap(), xattrs));
        }
        assert_eq!(seen, [("../up".to_owned(), 7, 1), (long, 0, 0), ("null".to_owned(), 0, 0)]);
    }
}
