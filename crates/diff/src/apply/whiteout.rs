//! Hiding what the layers below have.

use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::tree::{Dir, Form, Tree};
use super::trouble::{Outcome, Trouble};
use crate::at::{ancestors, join, list, open_dir};
use crate::overlay::{set_opaque, set_origin};

impl Tree {
    /// Hides `name` of the layers below.
    pub(super) fn whiteout(&mut self, dir: &Rc<Dir>, name: &[u8]) -> Outcome<()> {
        match self.form {
            Form::Fresh => Ok(()),
            Form::Over => self.delete(dir, name),
            Form::Upper { userxattr } => match fs::statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {
                    let device = fs::makedev(0, 0);
                    fs::mknodat(&dir.fd, name, FileType::CharacterDevice, Mode::empty(), device)?;
                    Ok(set_origin(&dir.fd, userxattr)?)
                }
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    Ok(set_opaque(&open_dir(&dir.fd, name)?, userxattr)?)
                }
                // The layer's own, which hides what is below already.
                Ok(_) => Ok(()),
                Err(errno) => Err(errno.into()),
            },
        }
    }

    /// Hides all that the layers below have in `dir`.
    pub(super) fn opaque(&mut self, dir: &Rc<Dir>) -> Outcome<()> {
        match self.form {
            Form::Fresh => Ok(()),
            Form::Over => self.scrub(dir),
            // An overlay merges its layers' roots, whatever they say.
            Form::Upper { .. } if dir.real.is_empty() => {
                Err(Trouble::NeedsParents("makes the root opaque, which has no form in an overlay".into()))
            }
            Form::Upper { userxattr } => Ok(set_opaque(&dir.fd, userxattr)?),
        }
    }

    fn delete(&mut self, dir: &Rc<Dir>, name: &[u8]) -> Outcome<()> {
        let real = join(&dir.real, name);
        if !self.mine.contains(&real) {
            return match self.clear(dir, name) {
                Err(Trouble::Errno(Errno::NOENT)) => Ok(()),
                cleared => cleared,
            };
        }
        match open_dir(&dir.fd, name) {
            Ok(fd) => self.scrub(&Rc::new(Dir { fd, real })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Deletes what is in `dir` and below and not the layer's. No directory is looked through twice, however often a layer
    /// says that it, or one above, is opaque: nothing of the layers below comes back.
    fn scrub(&mut self, dir: &Rc<Dir>) -> Outcome<()> {
        if ancestors(&dir.real).chain([&b""[..]]).any(|above| self.clean.contains(above)) {
            return Ok(());
        }
        self.scrub_within(dir)
    }

    fn scrub_within(&mut self, dir: &Rc<Dir>) -> Outcome<()> {
        if !self.clean.insert(dir.real.clone()) {
            return Ok(());
        }
        for name in list(&dir.fd)? {
            let real = join(&dir.real, &name);
            if !self.mine.contains(&real) {
                self.clear(dir, &name)?;
            } else if let Ok(fd) = open_dir(&dir.fd, &name) {
                self.scrub_within(&Rc::new(Dir { fd, real }))?;
            }
        }
        Ok(())
    }
}
