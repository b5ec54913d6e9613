//! The tree that a layer goes into, and the way to its directories.
//!
//! Every step is one component, opened without following links, from a directory that is held open; links are read and
//! walked by us, beginning at the tree's root where they are absolute. So no path, however the tree changes meanwhile, can
//! name anything outside of it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Timestamps};
use rustix::io::Errno;

use super::meta;
use super::trouble::{Outcome, Trouble};
use crate::at::{DEPTH, ancestors, join, list, open_dir, path_of, reopen, split};
use crate::{Error, Result, overlay};

/// Directories that are kept open, well below the 1,024 descriptors that a process is commonly allowed.
const CACHED: usize = 128;
/// How many links a path may lead through; the kernel's bound.
const LINKS: u32 = 40;

/// What is below the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Nothing: the tree was empty, whiteouts have nothing to hide.
    Fresh,
    /// The tree shows what is below; whiteouts delete it.
    Over,
    /// The upper directory of an overlay, whose lower ones are not known.
    Upper { userxattr: bool },
}

/// An open directory of the tree.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) fd: OwnedFd,
    /// Its path below the root, no part of which is a link.
    pub(super) real: Vec<u8>,
}

/// The tree, and what the layer did to it so far. Paths are real ones.
pub(super) struct Tree {
    pub(super) form: Form,
    pub(super) root: Rc<Dir>,
    /// Open directories by the path that led there.
    cache: HashMap<Vec<u8>, Rc<Dir>>,
    /// Of `Upper`: directories that were made on the way to something.
    pub(super) implied: BTreeSet<Vec<u8>>,
    /// Of `Over`: what the layer made, and the directories it is in.
    pub(super) mine: HashSet<Vec<u8>>,
    /// Of `Over`: directories with nothing left in them that is not the layer's.
    pub(super) clean: HashSet<Vec<u8>>,
    /// Times that directories get at the end, when nothing will be made in them any more.
    pub(super) times: HashMap<Vec<u8>, Timestamps>,
}

impl Tree {
    /// Opens the tree at `path`, whose form shows by itself unless it is an upper directory.
    pub(super) fn open(path: &Path, form: Option<Form>) -> Result<Self> {
        let io = |source: Errno| Error::Io { doing: format!("open {path:?} to extract into"), source: source.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).map_err(io)?;
        let empty = list(&fd).map_err(io)?.is_empty();
        let form = match form {
            Some(Form::Upper { .. }) if !empty => {
                return Err(Error::Mounts(format!("the upper directory {path:?} is not empty")));
            }
            Some(form) => form,
            None if empty => Form::Fresh,
            None => Form::Over,
        };
        let root = Rc::new(Dir { fd, real: Vec::new() });
        let mut tree = Self {
            form,
            root: Rc::clone(&root),
            cache: HashMap::new(),
            implied: BTreeSet::new(),
            mine: HashSet::new(),
            clean: HashSet::new(),
            times: HashMap::new(),
        };
        if matches!(form, Form::Upper { .. }) {
            tree.implied.insert(Vec::new());
        }
        tree.note_times(&root).map_err(io)?;
        Ok(tree)
    }

    /// The directory that `path`, a clean one, leads to. Missing directories are made, or refused where `make` is false.
    pub(super) fn dir(&mut self, path: &[u8], make: bool) -> Outcome<Rc<Dir>> {
        self.walk(path, make, &mut 0)
    }

    fn walk(&mut self, path: &[u8], make: bool, links: &mut u32) -> Outcome<Rc<Dir>> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some(dir) = self.cache.get(path) {
            return Ok(Rc::clone(dir));
        }
        // Mostly the parent is open already.
        let (parent, _) = split(path);
        let (mut at, mut done) = match self.cache.get(parent) {
            Some(dir) => (Rc::clone(dir), parent.len()),
            None => (Rc::clone(&self.root), 0),
        };
        while done < path.len() {
            let start = if done == 0 { 0 } else { done + 1 };
            let rest = path.get(start..).unwrap_or_default();
            let length = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
            at = self.step(&at, rest.get(..length).unwrap_or_default(), make, links)?;
            done = start + length;
            self.remember(path.get(..done).unwrap_or_default(), &at);
        }
        Ok(at)
    }

    pub(super) fn remember(&mut self, path: &[u8], dir: &Rc<Dir>) {
        if self.cache.len() >= CACHED {
            self.cache.clear();
        }
        self.cache.insert(path.to_vec(), Rc::clone(dir));
    }

    /// To be called when a directory or a link is taken away: paths may lead elsewhere now.
    pub(super) fn forget(&mut self) {
        self.cache.clear();
    }

    /// One component further.
    fn step(&mut self, at: &Rc<Dir>, name: &[u8], make: bool, links: &mut u32) -> Outcome<Rc<Dir>> {
        match open_dir(&at.fd, name) {
            Ok(fd) => {
                let dir = Rc::new(Dir { fd, real: join(&at.real, name) });
                self.note_times(&dir)?;
                Ok(dir)
            }
            Err(Errno::NOENT) if make => self.imply(at, name),
            Err(Errno::NOENT) if matches!(self.form, Form::Upper { .. }) => {
                Err(Trouble::NeedsParents("leads through a directory that is not in its layer".into()))
            }
            Err(Errno::LOOP | Errno::NOTDIR) => self.step_over(at, name, make, links),
            Err(errno) => Err(errno.into()),
        }
    }

    /// One component further, which is no directory.
    fn step_over(&mut self, at: &Rc<Dir>, name: &[u8], make: bool, links: &mut u32) -> Outcome<Rc<Dir>> {
        let stat = fs::statat(&at.fd, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            let target = fs::readlinkat(&at.fd, name, Vec::new())?;
            return self.follow(at, target.as_bytes(), make, links);
        }
        if let Form::Upper { userxattr } = self.form
            && overlay::is_whiteout(&stat)
            && make
        {
            // What was there below is hidden, so this directory begins empty.
            fs::unlinkat(&at.fd, name, AtFlags::empty())?;
            let dir = self.make_dir(at, name)?;
            overlay::set_opaque(&dir.fd, userxattr)?;
            return Ok(dir);
        }
        Err(Trouble::NotDir(path_of(&join(&at.real, name))))
    }

    fn follow(&mut self, at: &Rc<Dir>, target: &[u8], make: bool, links: &mut u32) -> Outcome<Rc<Dir>> {
        *links += 1;
        if *links > LINKS {
            return Err(Trouble::refused("leads through too many symbolic links"));
        }
        let mut at = if target.starts_with(b"/") { Rc::clone(&self.root) } else { Rc::clone(at) };
        for part in target.split(|b| *b == b'/') {
            at = match part {
                b"" | b"." => at,
                // The root's parent is the root.
                b".." => self.walk(split(&at.real).0, make, links)?,
                name => self.step(&at, name, make, links)?,
            };
        }
        Ok(at)
    }

    /// Makes a directory that the layer needs but did not list.
    fn imply(&mut self, at: &Rc<Dir>, name: &[u8]) -> Outcome<Rc<Dir>> {
        let dir = self.make_dir(at, name)?;
        match self.form {
            Form::Upper { .. } => {
                self.implied.insert(dir.real.clone());
            }
            Form::Over => self.claim(&dir.real),
            Form::Fresh => {}
        }
        Ok(dir)
    }

    fn make_dir(&mut self, at: &Rc<Dir>, name: &[u8]) -> Outcome<Rc<Dir>> {
        let real = join(&at.real, name);
        if real.split(|b| *b == b'/').count() > DEPTH {
            return Err(Trouble::refused(format!("lies more than {DEPTH} directories deep")));
        }
        fs::mkdirat(&at.fd, name, Mode::from_raw_mode(0o755))?;
        let fd = open_dir(&at.fd, name)?;
        // Whatever the process' umask is.
        fs::fchmod(&fd, Mode::from_raw_mode(0o755))?;
        Ok(Rc::new(Dir { fd, real }))
    }

    /// Remembers the times of a directory of the layers below, which making something in it would change.
    fn note_times(&mut self, dir: &Dir) -> std::result::Result<(), Errno> {
        if self.form == Form::Over && !self.times.contains_key(&dir.real) {
            let stat = fs::fstat(&dir.fd)?;
            self.times.insert(dir.real.clone(), meta::times_of(&stat));
        }
        Ok(())
    }

    /// Marks `real` as the layer's own.
    pub(super) fn claim(&mut self, real: &[u8]) {
        if self.form != Form::Over || !self.mine.insert(real.to_vec()) {
            return;
        }
        for above in ancestors(real) {
            if !self.mine.insert(above.to_vec()) {
                break;
            }
        }
    }

    /// Sets the times of directories and says which ones the layer implied, parents before children.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>> {
        self.cache.clear();
        for (real, times) in &self.times {
            self.set_times(real, times).map_err(|errno| Trouble::from(errno).at(real))?;
        }
        let mut implied = Vec::with_capacity(self.implied.len());
        for real in &self.implied {
            if !self.under_opaque(real).map_err(|trouble| trouble.at(real))? {
                implied.push(path_of(real));
            }
        }
        Ok(implied)
    }

    fn set_times(&self, real: &[u8], times: &Timestamps) -> std::result::Result<(), Errno> {
        // A directory that was removed or replaced since needs none.
        let fd = match reopen(&self.root.fd, real) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            fd => fd?,
        };
        let now = meta::times_of(&fs::fstat(&fd)?);
        // To set what is set already would copy a directory up into an overlay's upper directory.
        if now.last_modification != times.last_modification {
            fs::futimens(&fd, times)?;
        }
        Ok(())
    }

    /// True when a directory above is opaque: then nothing below shows that this one could take after.
    fn under_opaque(&self, real: &[u8]) -> Outcome<bool> {
        let Form::Upper { userxattr } = self.form else { return Ok(false) };
        for above in ancestors(real) {
            match reopen(&self.root.fd, above) {
                Ok(fd) if overlay::is_opaque(&fd, userxattr)? => return Ok(true),
                Ok(_) => {}
                // Taken away again, and what was in it too.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(false)
    }
}
