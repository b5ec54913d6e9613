//! One file of a tree: looked at and opened without following a link.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::at::path_of;
use crate::overlay::{is_overlays, is_whiteout};
use crate::{Error, Result};

/// The size of a buffer for a list of attributes' names or a value: the kernel's bound.
const XATTR_MAX: usize = 65536;

/// Extended attributes, by name.
pub(super) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// A name in an open directory, and what was found there.
pub(super) struct File<'a> {
    pub(super) dir: &'a OwnedFd,
    pub(super) name: &'a [u8],
    /// The path below the root, for errors.
    pub(super) path: &'a [u8],
    pub(super) stat: Stat,
}

impl<'a> File<'a> {
    /// What is called `name` in `dir`; whiteouts of overlayfs are nothing.
    pub(super) fn look(dir: &'a OwnedFd, name: &'a [u8], path: &'a [u8]) -> Result<Option<Self>> {
        match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            Ok(stat) if is_whiteout(&stat) => Ok(None),
            Ok(stat) => Ok(Some(Self { dir, name, path, stat })),
            Err(errno) => Err(failed(path, errno)),
        }
    }

    /// What an open directory itself is.
    pub(super) fn of_dir(dir: &'a OwnedFd, path: &'a [u8]) -> Result<Self> {
        let stat = fs::fstat(dir).map_err(|errno| failed(path, errno))?;
        Ok(Self { dir, name: b".", path, stat })
    }

    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// What tells one file from all others.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }

    /// Opens the file for reading, if it is still the one that was looked at, and looks at it once more.
    pub(super) fn open(&self) -> Result<(std::fs::File, Stat)> {
        // A pipe that has taken its place must not keep us waiting.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = fs::openat(self.dir, self.name, flags, Mode::empty()).map_err(|errno| failed(self.path, errno))?;
        let stat = fs::fstat(&fd).map_err(|errno| failed(self.path, errno))?;
        if (stat.st_dev, stat.st_ino) != self.identity() || FileType::from_raw_mode(stat.st_mode) != self.kind() {
            return Err(changed(self.path));
        }
        Ok((fd.into(), stat))
    }

    /// What a symbolic link says.
    pub(super) fn target(&self) -> Result<Vec<u8>> {
        let target = fs::readlinkat(self.dir, self.name, Vec::new()).map_err(|errno| match errno {
            // It is no link any more.
            Errno::INVAL => changed(self.path),
            errno => failed(self.path, errno),
        })?;
        Ok(target.into_bytes())
    }

    /// The attributes that belong into a layer, in the order of their names.
    pub(super) fn xattrs(&self) -> Result<Xattrs> {
        let mut all = Xattrs::new();
        for name in self.xattr_names()? {
            if belongs(&name)
                && let Some(value) = self.xattr(&name)?
            {
                all.push((name, value));
            }
        }
        all.sort();
        Ok(all)
    }

    /// The names of all attributes.
    pub(super) fn xattr_names(&self) -> Result<Vec<Vec<u8>>> {
        let path = self.real_path();
        let list = read(|buffer| fs::llistxattr(path.as_slice(), buffer)).map_err(|errno| failed(self.path, errno))?;
        let list = list.unwrap_or_default();
        Ok(list.split(|b| *b == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
    }

    /// The value of an attribute, if there is one.
    pub(super) fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let path = self.real_path();
        read(|buffer| fs::lgetxattr(path.as_slice(), name, buffer)).map_err(|errno| failed(self.path, errno))
    }

    /// A path for the calls that take none relative to a descriptor. Its last part is not followed.
    fn real_path(&self) -> Vec<u8> {
        [format!("/proc/self/fd/{}/", self.dir.as_raw_fd()).as_bytes(), self.name].concat()
    }
}

/// Most files have few attributes: a small buffer first.
fn read(call: impl Fn(&mut [u8]) -> std::result::Result<usize, Errno>) -> std::result::Result<Option<Vec<u8>>, Errno> {
    let mut small = [0u8; 256];
    let mut large = Vec::new();
    let mut buffer = small.as_mut_slice();
    let mut length = call(buffer);
    if length == Err(Errno::RANGE) {
        large.resize(XATTR_MAX, 0);
        buffer = large.as_mut_slice();
        length = call(buffer);
    }
    match length {
        Ok(length) => Ok(Some(buffer.get(..length).unwrap_or_default().to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// True for attributes that mean the same on another machine: not those of overlayfs, nor those that the host's security
/// policy or its filesystem keep for themselves.
fn belongs(name: &[u8]) -> bool {
    let known = [&b"security.capability"[..], b"system.posix_acl_access", b"system.posix_acl_default"];
    let free = name.starts_with(b"user.") || name.starts_with(b"trusted.");
    known.contains(&name) || free && !is_overlays(name)
}

/// The error of a file that cannot be read.
pub(super) fn failed(path: &[u8], errno: Errno) -> Error {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO => changed(path),
        errno => Error::Io { doing: format!("read {:?} to compare it", path_of(path)), source: errno.into() },
    }
}

/// The error of a file that is not any more what it was a moment ago.
pub(super) fn changed(path: &[u8]) -> Error {
    Error::Changed { path: path_of(path) }
}
