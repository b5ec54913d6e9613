//! Two trees, side by side.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;

use super::file::{File, changed, failed};
use super::layer::Layer;
use super::same::same;
use super::upper::{plain, too_deep};
use crate::Result;
use crate::at::{DEPTH, join, list, open_dir};
use crate::deflate::Sink;
use crate::overlay::is_opaque;

struct Walk<'a, 'r> {
    layer: Layer<'a, 'r>,
    /// The upper tree is a directory in overlayfs' form, which holds what changed and no more; whether users may set its marks.
    raw: Option<bool>,
}

/// Writes what makes the tree `upper` of the tree `lower`.
pub(super) fn walk<'a>(
    lower: Option<&OwnedFd>,
    upper: &OwnedFd,
    raw: Option<bool>,
    layer: Layer<'a, '_>,
) -> Result<Sink<'a>> {
    let mut walk = Walk { layer, raw };
    walk.level(b"", lower, upper, DEPTH)?;
    walk.layer.finish()
}

impl Walk<'_, '_> {
    fn level(&mut self, path: &[u8], lower: Option<&OwnedFd>, upper: &OwnedFd, left: usize) -> Result<()> {
        if left == 0 {
            return Err(too_deep(path));
        }
        let mut names = list(upper).map_err(|errno| failed(path, errno))?;
        if let (Some(lower), None) = (lower, self.raw) {
            names.extend(list(lower).map_err(|errno| failed(path, errno))?);
        }
        names.sort();
        names.dedup();
        for name in &names {
            let path = join(path, name);
            let below = lower.map(|dir| File::look(dir, name, &path)).transpose()?.flatten();
            match (below, File::look(upper, name, &path)?) {
                (None, None) => {}
                (Some(_), None) => self.layer.whiteout(&path)?,
                (below, Some(file)) => {
                    if let Some(userxattr) = self.raw
                        && !plain(&file, userxattr)?
                    {
                        return Err(changed(&path));
                    }
                    if file.is_dir() {
                        self.directory(below, &file, left)?;
                    } else {
                        self.file(below, &file)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn directory(&mut self, below: Option<File<'_>>, file: &File<'_>, left: usize) -> Result<()> {
        let open = |file: &File<'_>| open_dir(file.dir, file.name).map_err(|errno| failed(file.path, errno));
        let dir = open(file)?;
        // A directory hides what is no directory.
        let Some(below) = below.filter(File::is_dir) else {
            self.layer.directory(file)?;
            return self.level(file.path, None, &dir, left - 1);
        };
        if let Some(userxattr) = self.raw
            && is_opaque(&dir, userxattr).map_err(|errno| failed(file.path, errno))?
        {
            self.layer.directory(file)?;
            self.layer.opaque(file.path)?;
            return self.level(file.path, None, &dir, left - 1);
        }
        if !same(&below, file, false)? {
            self.layer.directory(file)?;
        }
        self.level(file.path, Some(&open(&below)?), &dir, left - 1)
    }

    fn file(&mut self, below: Option<File<'_>>, file: &File<'_>) -> Result<()> {
        if file.kind() == FileType::Socket {
            return match below {
                Some(below) if below.kind() != FileType::Socket => self.layer.whiteout(file.path),
                _ => Ok(()),
            };
        }
        match below {
            // What an overlay copied up was mostly to be written to: there the contents are looked at.
            Some(below) if same(&below, file, self.raw.is_some())? => self.layer.unchanged(file),
            _ => self.layer.file(file),
        }
    }
}
