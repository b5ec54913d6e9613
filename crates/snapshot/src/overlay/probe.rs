//! Whether a filesystem can hold the layers of an overlay, found out by mounting one.

use std::fs;
use std::path::Path;

use wharf_sys::mount::TempMount;

use super::{Error, Result, overlay};
use crate::store::{text, unfit};

/// Tries an overlay below `root` and returns the options that all overlays there need.
pub(super) fn options(root: &Path) -> Result<Vec<String>> {
    let mut options = Vec::new();
    // The index ties an upper directory to its lower ones by file handles, and refuses it on others (Linux 4.13).
    if Path::new("/sys/module/overlay/parameters/index").exists() {
        options.push("index=off".to_owned());
    }
    // Without power over the whole machine, overlayfs may not write `trusted.` attributes (Linux 5.11).
    if in_user_namespace() {
        options.push("userxattr".to_owned());
    }
    let place = root.join("probe");
    let clear = || clear(&place).map_err(|e| Error::sys("try overlayfs", e));
    clear()?;
    let tried = attempt(root, &place, options.clone());
    clear()?;
    tried.map(|()| options)
}

/// Removes what is left of a try, with what it had mounted when it was cut short.
fn clear(place: &Path) -> wharf_sys::Result<()> {
    for entry in fs::read_dir(place.join("mount")).into_iter().flatten().flatten() {
        wharf_sys::mount::unmount_all(entry.path().join("root"))?;
    }
    wharf_sys::fs::remove_dir_all(place)
}

fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}

/// Mounts an overlay, writes, and removes what a lower layer has: a filesystem without types in its directories or without
/// whiteouts fails here, and not in somebody's container.
fn attempt(root: &Path, place: &Path, mut options: Vec<String>) -> Result<()> {
    for dir in ["lower", "upper", "work", "mount"] {
        let dir = place.join(dir);
        fs::create_dir_all(&dir).map_err(|e| Error::io("create directory", &dir, e))?;
    }
    let file = place.join("lower/file");
    fs::write(&file, "").map_err(|e| Error::io("write", &file, e))?;
    for (name, dir) in [("workdir", "work"), ("upperdir", "upper"), ("lowerdir", "lower")] {
        options.push(format!("{name}={}", text(&place.join(dir))?));
    }
    let mounted = TempMount::new_in(place.join("mount"), &[overlay(options)])
        .map_err(|e| unfit(root, "try to mount an overlay", e))?;
    let used = fs::write(mounted.path().join("new"), "").and_then(|()| fs::remove_file(mounted.path().join("file")));
    used.map_err(|e| unfit(root, "try to write to an overlay", e))?;
    mounted.close().map_err(|e| unfit(root, "try to unmount an overlay", e))
}
