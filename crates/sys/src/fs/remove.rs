//! Removal of trees that strangers filled.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Directories deeper than this are moved up before they are emptied, so that no depth exhausts descriptors or the stack.
const DEPTH_MAX: usize = 64;
/// Names read from a directory at once.
const NAMES_MAX: usize = 4096;

/// Removes `path` and all below it. Links are removed, not followed; directories without write permission are no hindrance to
/// their owner; a missing path is fine.
///
/// # Errors
/// When something cannot be removed. It stops at a mount (`EXDEV` or `EBUSY`): nothing is ever removed through one.
pub fn remove_dir_all(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let fail = |errno: Errno| Error::io("remove", path, io::Error::from(errno));
    let Some(name) = path.file_name() else { return Err(fail(Errno::INVAL)) };
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        parent => parent.map_err(fail)?,
    };
    let name = CString::new(name.as_bytes()).map_err(|_| fail(Errno::INVAL))?;
    match open_dir(parent.as_fd(), &name) {
        Ok(top) => Removal { top: &top, moved: 0 }.empty(top.as_fd(), 0).map_err(fail)?,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return gone(unlink(parent.as_fd(), &name, false)).map_err(fail),
        Err(errno) => return Err(fail(errno)),
    }
    gone(unlink(parent.as_fd(), &name, true)).map_err(fail)
}

struct Removal<'a> {
    top: &'a OwnedFd,
    /// How many directories were moved to the top, for fresh names.
    moved: u64,
}

impl Removal<'_> {
    /// Removes all that is in `dir`.
    fn empty(&mut self, dir: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
        let mut opened = false;
        loop {
            let names = names(dir)?;
            if names.is_empty() {
                return Ok(());
            }
            for (name, kind) in names {
                match self.entry(dir, &name, kind, depth) {
                    // Not writable: this once, its owner may change that.
                    Err(Errno::ACCESS) if !opened => {
                        opened = true;
                        rustix::fs::fchmod(dir, Mode::RWXU)?;
                        self.entry(dir, &name, kind, depth)?;
                    }
                    result => result?,
                }
            }
        }
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CStr, kind: FileType, depth: usize) -> Result<(), Errno> {
        let is_dir = match kind {
            FileType::Directory => true,
            // Some filesystems do not say.
            FileType::Unknown => match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(()),
                stat => FileType::from_raw_mode(stat?.st_mode) == FileType::Directory,
            },
            _ => false,
        };
        if !is_dir {
            return gone(unlink(dir, name, false));
        }
        let below = match open_dir(dir, name) {
            Err(Errno::NOENT) => return Ok(()),
            below => below?,
        };
        if depth >= DEPTH_MAX {
            // Found again when the top is read the next time.
            loop {
                self.moved += 1;
                let fresh = format!(".deep-{}", self.moved);
                match rustix::fs::renameat(dir, name, self.top, fresh.as_str()) {
                    Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                    result => return gone(result),
                }
            }
        }
        self.empty(below.as_fd(), depth + 1)?;
        gone(unlink(dir, name, true))
    }
}

/// Opens a directory for reading, never across a mount and never through a link.
fn open_dir(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
    match rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve)
        }
        result => result,
    }
}

fn names(dir: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push((entry.file_name().to_owned(), entry.file_type()));
        }
        if names.len() == NAMES_MAX {
            break;
        }
    }
    Ok(names)
}

fn unlink(dir: BorrowedFd<'_>, name: &CStr, is_dir: bool) -> Result<(), Errno> {
    rustix::fs::unlinkat(dir, name, if is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() })
}

/// Somebody else having removed it is as good.
fn gone(result: Result<(), Errno>) -> std::result::Result<(), Errno> {
    if result == Err(Errno::NOENT) { Ok(()) } else { result }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn links_are_not_followed_and_missing_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        symlink(&kept, tree.join("a/link")).unwrap();
        symlink(&kept, dir.path().join("top")).unwrap();
        fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o500)).unwrap();
        remove_dir_all(&tree).unwrap();
        remove_dir_all(&tree).unwrap();
        remove_dir_all(dir.path().join("top")).unwrap();
        assert!(!tree.exists() && !dir.path().join("top").exists() && kept.join("file").exists());
    }

    #[test]
    fn a_mount_below_is_never_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        fs::create_dir_all(tree.join("mount")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        rustix::mount::mount_bind(&kept, tree.join("mount")).unwrap();
        let error = remove_dir_all(&tree).unwrap_err();
        assert!(error.to_string().contains("tree"), "{error}");
        remove_dir_all(tree.join("mount")).unwrap_err();
        assert!(kept.join("file").exists());
        crate::mount::unmount_all(tree.join("mount")).unwrap();
        remove_dir_all(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn depth_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut at: OwnedFd = fs::File::open(&tree).unwrap().into();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&at, "deeper", Mode::RWXU).unwrap();
            let next = open_dir(at.as_fd(), c"deeper").unwrap();
            at = next;
        }
        drop(at);
        remove_dir_all(&tree).unwrap();
        assert!(!tree.exists());
    }
}
