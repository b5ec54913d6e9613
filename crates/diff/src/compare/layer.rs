//! Changes become entries.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{self, FileType, Stat};

use super::file::{File, changed, failed};
use crate::apply::name::{OPAQUE, WHITEOUT};
use crate::archive::{Entry, Kind, Time, Writer};
use crate::at::{ancestors, join, path_of, reopen, split};
use crate::deflate::Sink;
use crate::{Error, Result};

/// What is read of a file at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// A layer in the making.
pub(super) struct Layer<'a, 'r> {
    out: Writer<Sink<'a>>,
    /// The upper tree's root.
    root: &'r OwnedFd,
    /// No file gets a later time than this.
    epoch: Option<Time>,
    /// Directories that are in the layer.
    listed: HashSet<Vec<u8>>,
    /// Files with several names that are in the layer, by one of them.
    written: HashMap<(u64, u64), Vec<u8>>,
    /// Names of files that did not change, in case another name of theirs is new.
    waiting: HashMap<(u64, u64), Vec<Vec<u8>>>,
    buffer: Vec<u8>,
}

impl<'a, 'r> Layer<'a, 'r> {
    /// Begins a layer that makes the tree at `root`.
    pub(super) fn new(sink: Sink<'a>, root: &'r OwnedFd, epoch: Option<Time>) -> Self {
        Self {
            out: Writer::new(sink),
            root,
            epoch,
            listed: HashSet::new(),
            written: HashMap::new(),
            waiting: HashMap::new(),
            buffer: vec![0; CHUNK],
        }
    }

    /// Ends the layer.
    pub(super) fn finish(self) -> Result<Sink<'a>> {
        self.out.finish()
    }

    /// Says that there is nothing at `path` any more.
    pub(super) fn whiteout(&mut self, path: &[u8]) -> Result<()> {
        check_name(path)?;
        let (parent, name) = split(path);
        self.parents(path)?;
        self.mark(&join(parent, &[WHITEOUT, name].concat()))
    }

    /// Says that a directory, which is in the layer already, has nothing but what the layer brings.
    pub(super) fn opaque(&mut self, path: &[u8]) -> Result<()> {
        self.mark(&join(path, OPAQUE))
    }

    fn mark(&mut self, path: &[u8]) -> Result<()> {
        let mtime = self.epoch.unwrap_or_default();
        self.out.entry(&Entry { mtime, ..Entry::new(path, Kind::File) })
    }

    /// A directory, without what is in it.
    pub(super) fn directory(&mut self, dir: &File<'_>) -> Result<()> {
        self.parents(dir.path)?;
        self.list(dir)
    }

    /// A file that the lower tree has as well. It is needed only if one of its names is new.
    pub(super) fn unchanged(&mut self, file: &File<'_>) -> Result<()> {
        if file.stat.st_nlink < 2 {
            return Ok(());
        }
        match self.written.get(&file.identity()).cloned() {
            Some(first) => self.link(file, &first, file.path),
            None => {
                self.waiting.entry(file.identity()).or_default().push(file.path.to_vec());
                Ok(())
            }
        }
    }

    /// A file that is new or changed.
    pub(super) fn file(&mut self, file: &File<'_>) -> Result<()> {
        if file.stat.st_nlink < 2 {
            return self.whole(file);
        }
        if let Some(first) = self.written.get(&file.identity()).cloned() {
            return self.link(file, &first, file.path);
        }
        self.whole(file)?;
        self.written.insert(file.identity(), file.path.to_vec());
        for other in self.waiting.remove(&file.identity()).unwrap_or_default() {
            self.link(file, file.path, &other)?;
        }
        Ok(())
    }

    fn whole(&mut self, file: &File<'_>) -> Result<()> {
        check_name(file.path)?;
        self.parents(file.path)?;
        if file.kind() == FileType::RegularFile {
            return self.contents(file);
        }
        let mut entry = self.describe(file, file.path, &file.stat)?;
        match entry.kind {
            Kind::Symlink => entry.link = file.target()?,
            Kind::Char | Kind::Block => {
                let device = file.stat.st_rdev;
                entry.device = (i64::from(fs::major(device)), i64::from(fs::minor(device)));
            }
            _ => {}
        }
        self.out.entry(&entry)
    }

    fn contents(&mut self, file: &File<'_>) -> Result<()> {
        let (mut from, stat) = file.open()?;
        let mut entry = self.describe(file, file.path, &stat)?;
        entry.size = u64::try_from(stat.st_size).unwrap_or_default();
        self.out.entry(&entry)?;
        self.copy(&mut from, entry.size, file.path)
    }

    /// Exactly as many bytes as the header promised. A file that has fewer now, or more, was written to meanwhile.
    fn copy(&mut self, from: &mut dyn Read, size: u64, path: &[u8]) -> Result<()> {
        let mut left = size;
        loop {
            let count = match from.read(&mut self.buffer) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Io { doing: format!("read {:?}", path_of(path)), source }),
                Ok(count) => count,
            };
            if count == 0 {
                return if left == 0 { Ok(()) } else { Err(changed(path)) };
            }
            left = left.checked_sub(count as u64).ok_or_else(|| changed(path))?;
            self.out.body(self.buffer.get(..count).unwrap_or_default())?;
        }
    }

    /// Another name of `file`, which is in the layer as `first`.
    fn link(&mut self, file: &File<'_>, first: &[u8], path: &[u8]) -> Result<()> {
        check_name(path)?;
        self.parents(path)?;
        // Owner and attributes are said again: who sets the owner of the file once more takes its capabilities away.
        let entry = self.describe(file, path, &file.stat)?;
        self.out.entry(&Entry { kind: Kind::Link, link: first.to_vec(), ..entry })
    }

    /// The directories above `path` that are not in the layer yet: one that does not list them would leave their owners,
    /// modes and times to chance.
    fn parents(&mut self, path: &[u8]) -> Result<()> {
        let missing = ancestors(path).take_while(|above| !self.listed.contains(*above)).collect::<Vec<_>>();
        for above in missing.into_iter().rev() {
            let dir = reopen(self.root, above).map_err(|errno| failed(above, errno))?;
            self.list(&File::of_dir(&dir, above)?)?;
        }
        Ok(())
    }

    fn list(&mut self, dir: &File<'_>) -> Result<()> {
        check_name(dir.path)?;
        let entry = self.describe(dir, &[dir.path, b"/"].concat(), &dir.stat)?;
        self.listed.insert(dir.path.to_vec());
        self.out.entry(&entry)
    }

    /// All of an entry but what its kind has for itself.
    fn describe(&self, file: &File<'_>, path: &[u8], stat: &Stat) -> Result<Entry> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::Char,
            FileType::BlockDevice => Kind::Block,
            FileType::Fifo => Kind::Fifo,
            kind => return Err(refuse(file.path, format!("is a {kind:?}, which no layer can hold"))),
        };
        let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
        let mtime = Time { seconds: stat.st_mtime, nanos };
        Ok(Entry {
            mode: stat.st_mode & 0o7777,
            uid: i64::from(stat.st_uid),
            gid: i64::from(stat.st_gid),
            mtime: self.epoch.map_or(mtime, |epoch| mtime.min(epoch)),
            xattrs: file.xattrs()?,
            ..Entry::new(path, kind)
        })
    }
}

/// Refuses a name that would be taken for a whiteout, by which a container could have a layer delete what it likes.
fn check_name(path: &[u8]) -> Result<()> {
    if split(path).1.starts_with(WHITEOUT) {
        return Err(refuse(path, "is named as layers name what they delete; give it another name".into()));
    }
    Ok(())
}

fn refuse(path: &[u8], reason: String) -> Error {
    Error::Entry { path: path_of(path), reason }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use wharf_types::media::Compression;

    use super::*;

    #[test]
    fn a_file_that_is_not_of_its_headers_size_any_more_is_an_error() {
        let root = OwnedFd::from(std::fs::File::open("/proc/self").unwrap());
        for (size, wanted) in [(4, true), (3, false), (5, false), (0, false)] {
            let mut out = Vec::new();
            let mut layer = Layer::new(Sink::new(&mut out, Compression::None).unwrap(), &root, None);
            layer.out.entry(&Entry { size, ..Entry::new(b"log", Kind::File) }).unwrap();
            let copied = layer.copy(&mut &b"four"[..], size, b"log");
            assert!(copied.is_ok() == wanted, "{size}: {copied:?}");
            assert!(wanted || matches!(copied, Err(Error::Changed { .. })));
            // What was begun cannot be ended as if it were whole.
            assert_eq!(layer.finish().is_ok(), wanted || size == 0, "{size}");
        }
    }
}
