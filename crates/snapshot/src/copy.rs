//! Copies of trees, complete: owners, modes, times, extended attributes, hard links, devices, fifos, sockets and holes.

mod data;
mod meta;

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Copies all that is in the directory `from` into the directory `to`, which is empty and becomes its twin. Links are copied,
/// not followed. Two descriptors are open at a time, whatever the depth.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let open = |path: &Path| open_dir(CWD, path).map_err(|errno| Error::io("open", path, errno));
    let mut copy = Copy {
        from: open(from)?,
        to: open(to)?,
        links: HashMap::new(),
        dirs: Vec::new(),
        data: data::Copier::default(),
    };
    let fail = |path: &Path, errno| Error::io("copy", &from.join(path), errno);
    let stat = rustix::fs::fstat(&copy.from).map_err(|errno| fail(Path::new(""), errno))?;
    copy.dirs.push((PathBuf::new(), stat));
    let mut at = 0;
    while let Some((path, _)) = copy.dirs.get(at) {
        let path = path.clone();
        copy.directory(&path).map_err(|(name, errno)| fail(&path.join(name), errno))?;
        at += 1;
    }
    // The deepest first: filling a directory changes its times, and a mode may forbid to fill it.
    while let Some((path, stat)) = copy.dirs.pop() {
        copy.finish(&path, &stat).map_err(|errno| fail(&path, errno))?;
    }
    Ok(())
}

/// What failed, and at which name.
type Failure = (PathBuf, Errno);

struct Copy {
    from: OwnedFd,
    to: OwnedFd,
    /// The first name of each inode that has several.
    links: HashMap<(u64, u64), PathBuf>,
    /// Directories below, each after the one that holds it.
    dirs: Vec<(PathBuf, Stat)>,
    data: data::Copier,
}

/// A name being copied.
#[derive(Clone, Copy)]
struct Entry<'a> {
    from: &'a OwnedFd,
    to: &'a OwnedFd,
    name: &'a CStr,
    stat: &'a Stat,
}

impl Copy {
    /// Copies what is in a directory; directories in it are made and left for later.
    fn directory(&mut self, path: &Path) -> Result<(), Failure> {
        let whole = |errno| (PathBuf::new(), errno);
        let (from, to) = (below(&self.from, path).map_err(whole)?, below(&self.to, path).map_err(whole)?);
        for entry in Dir::read_from(&from).map_err(whole)? {
            let entry = entry.map_err(whole)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let os_name = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let failed = |errno| (os_name.to_owned(), errno);
            let stat = rustix::fs::statat(&from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            let entry = Entry { from: &from, to: &to, name, stat: &stat };
            self.entry(entry, &path.join(os_name)).map_err(failed)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: Entry<'_>, path: &Path) -> Result<(), Errno> {
        let kind = FileType::from_raw_mode(entry.stat.st_mode);
        if kind == FileType::Directory {
            rustix::fs::mkdirat(entry.to, entry.name, Mode::RWXU)?;
            self.dirs.push((path.to_owned(), *entry.stat));
            return Ok(());
        }
        if entry.stat.st_nlink > 1 {
            let inode = (entry.stat.st_dev, entry.stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                return rustix::fs::linkat(&self.to, first.as_path(), entry.to, entry.name, AtFlags::empty());
            }
            self.links.insert(inode, path.to_owned());
        }
        match kind {
            FileType::RegularFile => self.file(entry),
            FileType::Symlink => {
                let target: CString = rustix::fs::readlinkat(entry.from, entry.name, Vec::new())?;
                rustix::fs::symlinkat(target, entry.to, entry.name)?;
                meta::apply_by_name(entry.from, entry.to, entry.name, entry.stat)
            }
            _ => {
                rustix::fs::mknodat(entry.to, entry.name, kind, Mode::RUSR | Mode::WUSR, entry.stat.st_rdev)?;
                meta::apply_by_name(entry.from, entry.to, entry.name, entry.stat)
            }
        }
    }

    fn file(&mut self, entry: Entry<'_>) -> Result<(), Errno> {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Not to wait for a writer, should it have become a fifo.
        let source =
            rustix::fs::openat(entry.from, entry.name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        let made = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let target = rustix::fs::openat(entry.to, entry.name, made, Mode::RUSR | Mode::WUSR)?;
        self.data.copy(&source, &target, entry.stat)?;
        meta::apply(&source, &target, entry.stat)
    }

    fn finish(&self, path: &Path, stat: &Stat) -> Result<(), Errno> {
        meta::apply(&below(&self.from, path)?, &below(&self.to, path)?, stat)
    }
}

/// Opens a directory below another; no link on the way is followed.
fn below(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    if path.as_os_str().is_empty() {
        return open_dir(root, ".");
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn open_dir(dir: impl std::os::fd::AsFd, path: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests;
