//! Options of fstab(5), sorted into what the kernel takes as flags and what the filesystem takes as text.

use rustix::mount::{MountFlags, MountPropagationFlags};
use wharf_types::Mount;

use crate::error::{Error, Result};

/// A mount's options, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Flags of the mount and of its superblock.
    pub(super) flags: MountFlags,
    /// A directory or file is to appear a second time.
    pub(super) bind: bool,
    /// With all that is mounted below it.
    pub(super) recursive: bool,
    /// An existing mount is to change.
    pub(super) remount: bool,
    /// How mounts below it travel, set after the mount.
    pub(super) propagation: Option<MountPropagationFlags>,
    /// What the filesystem itself reads.
    pub(super) data: Vec<String>,
}

impl Options {
    /// Sorts the options of `mount`. The later of two that contradict each other wins, as with mount(8).
    pub(super) fn parse(mount: &Mount) -> Result<Self> {
        let refuse = |reason: String| Error::Options { kind: mount.kind.clone(), from: mount.source.clone(), reason };
        let mut options = Self {
            flags: MountFlags::empty(),
            bind: matches!(mount.kind.as_str(), "bind" | "rbind"),
            recursive: mount.kind == "rbind",
            remount: false,
            propagation: None,
            data: Vec::new(),
        };
        for option in &mount.options {
            if option.contains('\0') {
                return Err(refuse(format!("option {option:?} has a zero byte in it")));
            }
            options.take(option).map_err(refuse)?;
        }
        if mount.source.contains('\0') || mount.kind.contains('\0') {
            return Err(refuse("its source or kind has a zero byte in it".to_owned()));
        }
        Ok(options)
    }

    fn take(&mut self, option: &str) -> Result<(), String> {
        match option {
            "" | "defaults" => {}
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "remount" => self.remount = true,
            "loop" => {
                return Err(
                    "loop devices are not set up here; attach one with losetup(8) and name it as the source".into()
                );
            }
            _ if option.starts_with("uidmap=") || option.starts_with("gidmap=") => {
                return Err(format!("option {option:?}: id-mapped mounts are not built"));
            }
            // Words for programs in user space, which the kernel would refuse (mount(8), "x-").
            _ if option.starts_with("x-") || option.starts_with("X-") => {}
            _ => {
                if let Some((flag, set)) = flag(option) {
                    self.flags.set(flag, set);
                } else if let Some(propagation) = propagation(option) {
                    self.propagation = Some(propagation);
                } else {
                    self.data.push(option.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// The flag that a word sets or clears.
fn flag(word: &str) -> Option<(MountFlags, bool)> {
    Some(match word {
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "nostrictatime" => (MountFlags::STRICTATIME, false),
        "lazytime" => (MountFlags::LAZYTIME, true),
        "nolazytime" => (MountFlags::LAZYTIME, false),
        "nosymfollow" => (MountFlags::NOSYMFOLLOW, true),
        "symfollow" => (MountFlags::NOSYMFOLLOW, false),
        _ => return None,
    })
}

/// How the words of mount(8) say that mounts travel.
fn propagation(word: &str) -> Option<MountPropagationFlags> {
    let (word, recursive) = match word {
        "rprivate" | "rshared" | "rslave" | "runbindable" => (word.strip_prefix('r').unwrap_or(word), true),
        _ => (word, false),
    };
    let flags = match word {
        "private" => MountPropagationFlags::PRIVATE,
        "shared" => MountPropagationFlags::SHARED,
        "slave" => MountPropagationFlags::DOWNSTREAM,
        "unbindable" => MountPropagationFlags::UNBINDABLE,
        _ => return None,
    };
    Some(if recursive { flags | MountPropagationFlags::REC } else { flags })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: &str, options: &[&str]) -> Result<Options> {
        Options::parse(&Mount {
            kind: kind.into(),
            source: "/s".into(),
            options: options.iter().map(|&o| o.to_owned()).collect(),
            ..Mount::default()
        })
    }

    #[test]
    fn words_become_flags_and_the_last_wins() {
        let options = parse("bind", &["rbind", "ro", "nosuid", "rw", "nodev", "rprivate", "x-gvfs-hide"]).unwrap();
        assert_eq!(options.flags, MountFlags::NOSUID | MountFlags::NODEV);
        assert!(options.bind && options.recursive && options.data.is_empty());
        assert_eq!(options.propagation, Some(MountPropagationFlags::PRIVATE | MountPropagationFlags::REC));
    }

    #[test]
    fn what_is_no_flag_is_data() {
        let options = parse("tmpfs", &["size=1m", "noexec", "mode=0700"]).unwrap();
        assert_eq!(options.data, ["size=1m", "mode=0700"]);
        assert_eq!(options.flags, MountFlags::NOEXEC);
        assert!(!options.bind);
    }

    #[test]
    fn refusals_say_why() {
        let text = parse("ext4", &["loop"]).unwrap_err().to_string();
        assert!(text.contains("losetup"), "{text}");
        assert!(parse("bind", &["uidmap=0:1:2"]).is_err());
        assert!(parse("tmpfs", &["a\0b"]).is_err());
    }
}
