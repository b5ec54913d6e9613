//! Entries become files.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::meta::{dress, dress_node, times, undress};
use super::name::{Meaning, clean, meaning};
use super::remove;
use super::tree::{Dir, Form, Tree};
use super::trouble::{Outcome, Trouble};
use crate::Result;
use crate::archive::{Entry, Kind, Reader};
use crate::at::{DEPTH, join, open_dir, path_of, split};
use crate::overlay::{is_whiteout, set_opaque};

impl Tree {
    /// Does what an entry says; its contents are taken from `reader`.
    pub(super) fn apply(&mut self, entry: &Entry, reader: &mut Reader<'_>) -> Result<()> {
        self.entry(entry, reader).map_err(|trouble| trouble.at(&entry.path))
    }

    fn entry(&mut self, entry: &Entry, reader: &mut Reader<'_>) -> Outcome<()> {
        let path = clean(&entry.path)?;
        match meaning(&path)? {
            Meaning::Nothing => Ok(()),
            Meaning::Root => self.root(entry),
            Meaning::Opaque(parent) => match self.hidden(parent)? {
                Some(dir) => self.opaque(&dir),
                None => Ok(()),
            },
            Meaning::Whiteout { parent, name } => match self.hidden(parent)? {
                Some(dir) => self.whiteout(&dir, name),
                None => Ok(()),
            },
            Meaning::File { parent, name } => {
                check_kind(entry)?;
                let dir = self.dir(parent, true)?;
                match entry.kind {
                    Kind::Dir => self.directory(&dir, name, &path, entry)?,
                    Kind::File => self.file(&dir, name, entry, reader)?,
                    Kind::Link => self.link(&dir, name, entry)?,
                    _ => self.node(&dir, name, entry)?,
                }
                self.claim(&join(&dir.real, name));
                Ok(())
            }
        }
    }

    /// The directory that a whiteout is in. None where something else is in its place, which hides it whole: umoci writes such
    /// whiteouts when a file has taken a directory's place.
    fn hidden(&mut self, parent: &[u8]) -> Outcome<Option<Rc<Dir>>> {
        match self.dir(parent, true) {
            Err(Trouble::NotDir(_)) => Ok(None),
            dir => dir.map(Some),
        }
    }

    fn root(&mut self, entry: &Entry) -> Outcome<()> {
        if entry.kind != Kind::Dir {
            return Err(Trouble::refused("would put something else in the place of the root"));
        }
        undress(&self.root.fd)?;
        dress(&self.root.fd, entry)?;
        self.implied.remove(&b""[..]);
        self.times.insert(Vec::new(), times(entry));
        Ok(())
    }

    fn directory(&mut self, dir: &Rc<Dir>, name: &[u8], path: &[u8], entry: &Entry) -> Outcome<()> {
        let real = join(&dir.real, name);
        if real.split(|b| *b == b'/').count() > DEPTH {
            return Err(Trouble::refused(format!("lies more than {DEPTH} directories deep")));
        }
        let make = || fs::mkdirat(&dir.fd, name, Mode::RWXU);
        let (mut existed, mut replaced) = (false, false);
        match make() {
            Err(Errno::EXIST) if self.is_dir(dir, name)? => existed = true,
            Err(Errno::EXIST) => {
                self.clear(dir, name)?;
                make()?;
                replaced = true;
            }
            made => made?,
        }
        if existed && self.implied.contains(&real) {
            // What came before it went where the layers below lead, and this is where it would have gone by itself.
            return Err(Trouble::NeedsParents("is listed after what is in it".into()));
        }
        let fd = open_dir(&dir.fd, name)?;
        if existed {
            undress(&fd)?;
        }
        dress(&fd, entry)?;
        if let (true, Form::Upper { userxattr }) = (replaced, self.form) {
            // What it replaced hid the directory below.
            set_opaque(&fd, userxattr)?;
        }
        self.times.insert(real.clone(), times(entry));
        self.remember(path, &Rc::new(Dir { fd, real }));
        Ok(())
    }

    fn file(&mut self, dir: &Rc<Dir>, name: &[u8], entry: &Entry, reader: &mut Reader<'_>) -> Outcome<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.place(dir, name, || fs::openat(&dir.fd, name, flags, Mode::RUSR | Mode::WUSR))?;
        match &entry.segments {
            None => while copy(reader, &fd, None, u64::MAX)? > 0 {},
            Some(segments) => {
                fs::ftruncate(&fd, entry.size)?;
                for (offset, length) in segments {
                    let mut done = 0;
                    while done < *length {
                        done += copy(reader, &fd, Some(offset + done), length - done)?;
                    }
                }
            }
        }
        dress(&fd, entry)?;
        fs::futimens(&fd, &times(entry))?;
        Ok(())
    }

    /// Another name for what is there already. It has the owner, mode and times of that.
    fn link(&mut self, dir: &Rc<Dir>, name: &[u8], entry: &Entry) -> Outcome<()> {
        let path = clean(&entry.link)?;
        let (parent, base) = split(&path);
        let missing = || Trouble::refused(format!("is a hard link to {:?}, which is not there", path_of(&entry.link)));
        let from = match self.dir(parent, false) {
            Err(Trouble::Errno(Errno::NOENT)) => return Err(missing()),
            from => from?,
        };
        let stat = match fs::statat(&from.fd, base, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if matches!(self.form, Form::Upper { .. }) => {
                return Err(Trouble::NeedsParents(format!("is a hard link to {:?}, not in its layer", path_of(&path))));
            }
            Err(Errno::NOENT) => return Err(missing()),
            stat => stat?,
        };
        if is_whiteout(&stat) {
            return Err(missing());
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(Trouble::refused(format!("is a hard link to {:?}, a directory", path_of(&path))));
        }
        self.place(dir, name, || fs::linkat(&from.fd, base, &dir.fd, name, AtFlags::empty()))
    }

    fn node(&mut self, dir: &Rc<Dir>, name: &[u8], entry: &Entry) -> Outcome<()> {
        let mode = Mode::RUSR | Mode::WUSR;
        let device = |kind| {
            let number =
                |n: i64| u32::try_from(n).map_err(|_| Trouble::refused("is a device of a number that none has"));
            Ok::<_, Trouble>((kind, fs::makedev(number(entry.device.0)?, number(entry.device.1)?)))
        };
        let (kind, device) = match entry.kind {
            Kind::Symlink => {
                self.place(dir, name, || fs::symlinkat(entry.link.as_slice(), &dir.fd, name))?;
                return dress_node(&dir.fd, name, entry);
            }
            Kind::Char => device(FileType::CharacterDevice)?,
            Kind::Block => device(FileType::BlockDevice)?,
            _ => (FileType::Fifo, 0),
        };
        self.place(dir, name, || fs::mknodat(&dir.fd, name, kind, mode, device))?;
        dress_node(&dir.fd, name, entry)
    }

    /// Makes something, after taking away what is in its place.
    fn place<T>(&mut self, dir: &Dir, name: &[u8], make: impl Fn() -> std::result::Result<T, Errno>) -> Outcome<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.clear(dir, name)?;
                Ok(make()?)
            }
            made => Ok(made?),
        }
    }

    /// Takes away whatever is called `name`.
    pub(super) fn clear(&mut self, dir: &Dir, name: &[u8]) -> Outcome<()> {
        let real = join(&dir.real, name);
        if self.implies_in(&real) {
            return Err(Trouble::NeedsParents("takes the place of a directory that is not in its layer".into()));
        }
        let stat = fs::statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.forget();
                remove::tree(&dir.fd, name)
            }
            kind => {
                if kind == FileType::Symlink {
                    self.forget();
                }
                Ok(fs::unlinkat(&dir.fd, name, AtFlags::empty())?)
            }
        }
    }

    fn is_dir(&self, dir: &Dir, name: &[u8]) -> Outcome<bool> {
        let stat = fs::statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// True when `real` or something below it is an implied directory.
    fn implies_in(&self, real: &[u8]) -> bool {
        let below = join(real, b"");
        self.implied.contains(real) || self.implied.range(below.clone()..).next().is_some_and(|p| p.starts_with(&below))
    }
}

fn check_kind(entry: &Entry) -> Outcome<()> {
    match entry.kind {
        Kind::Other(flag) => Err(Trouble::refused(format!("is of type {:?}, which no layer has", char::from(flag)))),
        // What overlayfs takes for a whiteout: no layer may forge one.
        Kind::Char if entry.device == (0, 0) => Err(Trouble::refused("is a device 0:0, which stands for a whiteout")),
        _ => Ok(()),
    }
}

/// Moves what is at hand, at most `most` bytes, to a file: at `offset`, or to its end. Returns how much, 0 at the entry's end.
fn copy(reader: &mut Reader<'_>, fd: &OwnedFd, offset: Option<u64>, most: u64) -> Outcome<u64> {
    let chunk = reader.chunk()?;
    let length = usize::try_from(most).map_or(chunk.len(), |most| most.min(chunk.len()));
    let bytes = chunk.get(..length).unwrap_or_default();
    if bytes.is_empty() {
        return Ok(0);
    }
    let written = loop {
        let written = match offset {
            None => rustix::io::write(fd, bytes),
            Some(offset) => rustix::io::pwrite(fd, bytes, offset),
        };
        match written {
            Err(Errno::INTR) => {}
            written => break written?,
        }
    };
    reader.consume(written);
    Ok(written as u64)
}
