//! Mounts as data.

use serde::{Deserialize, Serialize};

/// One mount, as containerd's API describes it: handed from a snapshotter to whoever mounts it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The filesystem's name (`overlay`, `erofs`), or `bind`.
    pub kind: String,
    /// The device, the directory of a bind mount, or a word such as `overlay`.
    pub source: String,
    /// A path below the mount point, empty for the mount point itself.
    pub target: String,
    /// Options in the form of fstab(5): `ro`, `rbind`, `lowerdir=/a:/b`.
    pub options: Vec<String>,
}

impl Mount {
    /// The value of the option `name=value`, the last one if there are several.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find_map(|o| o.strip_prefix(name)?.strip_prefix('='))
    }

    /// True when the options ask for a read-only mount.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.options.iter().any(|o| o == "ro")
    }
}
