//! Measuring what a tree of files takes.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::Usage;
use crate::error::{Error, Result};

/// What `root` and all below it take: blocks on disk, each inode once. Links are not followed, and what vanishes meanwhile is
/// not counted. A tree of any depth takes one descriptor: the way back is `..`.
pub(crate) fn measure(root: &Path) -> Result<Usage> {
    walk(root).map_err(|errno| Error::io("measure", root, errno))
}

/// A directory on the way down.
struct Level {
    /// Directories in it that wait.
    below: Vec<CString>,
    dev: u64,
    ino: u64,
}

#[derive(Default)]
struct Sum {
    usage: Usage,
    /// Inodes with several names, which must not count twice.
    seen: HashSet<(u64, u64)>,
}

impl Sum {
    fn add(&mut self, stat: &Stat) {
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !is_dir && stat.st_nlink > 1 && !self.seen.insert((stat.st_dev, stat.st_ino)) {
            return;
        }
        self.usage.inodes += 1;
        // Blocks are of 512 bytes whatever the filesystem's are (stat(2)).
        self.usage.size += u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    }
}

fn walk(root: &Path) -> Result<Usage, Errno> {
    let mut sum = Sum::default();
    let mut dir = open(CWD, root)?;
    let stat = rustix::fs::fstat(&dir)?;
    sum.add(&stat);
    let mut levels = vec![enter(&dir, &stat, &mut sum)?];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.below.pop() {
            let below = match open(dir.as_fd(), name.as_c_str()) {
                // Removed or replaced since it was listed.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                below => below?,
            };
            let stat = rustix::fs::fstat(&below)?;
            sum.add(&stat);
            levels.push(enter(&below, &stat, &mut sum)?);
            dir = below;
        } else {
            levels.pop();
            if let Some(above) = levels.last() {
                dir = open(dir.as_fd(), c"..")?;
                let stat = rustix::fs::fstat(&dir)?;
                if (stat.st_dev, stat.st_ino) != (above.dev, above.ino) {
                    // A directory was moved under our feet; what comes next would be another tree.
                    return Err(Errno::AGAIN);
                }
            }
        }
    }
    Ok(sum.usage)
}

/// Counts what is in a directory but its directories, which are left for later.
fn enter(dir: &OwnedFd, stat: &Stat, sum: &mut Sum) -> Result<Level, Errno> {
    let mut below = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            below.push(name.to_owned());
            continue;
        }
        match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => below.push(name.to_owned()),
            stat => sum.add(&stat?),
        }
    }
    Ok(Level { below, dev: stat.st_dev, ino: stat.st_ino })
}

fn open(dir: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn inodes_count_once_and_blocks_are_of_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        let empty = measure(&root).unwrap();
        assert_eq!(empty.inodes, 3);
        fs::write(root.join("a/file"), vec![1; 64 << 10]).unwrap();
        fs::hard_link(root.join("a/file"), root.join("a/b/again")).unwrap();
        fs::File::create(root.join("sparse")).unwrap().set_len(1 << 30).unwrap();
        fs::File::open(root.join("a/file")).unwrap().sync_all().unwrap();
        let full = measure(&root).unwrap();
        assert_eq!(full.inodes, 5);
        let grown = full.size - empty.size;
        assert!((64 << 10..256 << 10).contains(&grown), "{grown}");
    }
}
