//! Overlays whose options do not fit into the page that mount(2) takes.
//!
//! Linux 6.7 takes lower directories one by one (`lowerdir+`, Documentation/filesystems/overlayfs.rst). Before that they are
//! named through descriptors, `/proc/self/fd/7` being shorter than any path of a snapshot.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

/// The longest value that fsconfig(2) takes as a string, without its zero byte.
const STRING_MAX: usize = 255;

/// What failed and what the kernel wrote about it.
pub(super) type Failure = (Errno, String);

/// Mounts an overlay of any number of lower directories at `target`.
pub(super) fn mount(source: &str, target: &Path, flags: MountFlags, data: &[String]) -> Result<(), Failure> {
    match by_steps(source, target, flags, data) {
        Err(Step::Unsupported) => by_descriptors(source, target, flags, data).map_err(|errno| (errno, String::new())),
        Err(Step::Failed(errno, log)) => Err((errno, log)),
        Ok(()) => Ok(()),
    }
}

enum Step {
    /// The kernel does not know the calls or `lowerdir+`.
    Unsupported,
    Failed(Errno, String),
}

fn by_steps(source: &str, target: &Path, flags: MountFlags, data: &[String]) -> Result<(), Step> {
    let Ok(fs) = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else { return Err(Step::Unsupported) };
    let failed = |errno| Step::Failed(errno, log(&fs));
    fsconfig_set_string(&fs, "source", source).map_err(failed)?;
    for option in data {
        match option.split_once('=') {
            Some(("lowerdir", value)) => {
                for layer in lower_dirs(value) {
                    directory(&fs, "lowerdir+", &layer, &layer).map_err(|errno| match errno {
                        Errno::INVAL if !knows_lowerdir_plus() => Step::Unsupported,
                        _ => failed(errno),
                    })?;
                }
            }
            Some((key @ ("upperdir" | "workdir"), value)) => {
                // The kernel takes backslashes out of these two, and not out of `lowerdir+`.
                let path = lower_dirs(value).join(":");
                directory(&fs, key, value, &path).map_err(failed)?;
            }
            Some((key, value)) => fsconfig_set_string(&fs, key, value).map_err(failed)?,
            None => fsconfig_set_flag(&fs, option.as_str()).map_err(failed)?,
        }
    }
    if flags.contains(MountFlags::RDONLY) {
        fsconfig_set_flag(&fs, "ro").map_err(failed)?;
    }
    fsconfig_create(&fs).map_err(failed)?;
    let mount = fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes(flags)).map_err(failed)?;
    let how = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(&mount, "", CWD, target, how).map_err(failed)
}

/// Names a directory as `text`, or by a descriptor of `path` where that is too long for a string.
fn directory(fs: &OwnedFd, key: &str, text: &str, path: &str) -> Result<(), Errno> {
    if text.len() <= STRING_MAX {
        return fsconfig_set_string(fs, key, text);
    }
    let fd = open_dir(path)?;
    match fsconfig_set_fd(fs, key, &fd) {
        // Descriptors are taken since Linux 6.13.
        Err(Errno::INVAL) => fsconfig_set_string(fs, key, proc_path(&fd).as_str()),
        result => result,
    }
}

/// A context of its own asks, since a failed step may have come from the directory and not from the word.
fn knows_lowerdir_plus() -> bool {
    let Ok(fs) = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) else { return false };
    fsconfig_set_string(&fs, "lowerdir+", "/").is_ok()
}

fn by_descriptors(source: &str, target: &Path, flags: MountFlags, data: &[String]) -> Result<(), Errno> {
    let mut kept = Vec::new();
    let mut options = Vec::with_capacity(data.len());
    for option in data {
        let Some(value) = option.strip_prefix("lowerdir=") else {
            options.push(option.clone());
            continue;
        };
        let mut short = Vec::new();
        for layer in lower_dirs(value) {
            let fd = open_dir(&layer)?;
            short.push(proc_path(&fd));
            kept.push(fd);
        }
        options.push(format!("lowerdir={}", short.join(":")));
    }
    let data = std::ffi::CString::new(options.join(",")).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(source, target, "overlay", flags, data.as_c_str())
}

fn open_dir(path: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn proc_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The directories of a `lowerdir` value: split at colons, a backslash taking the next character as it is.
fn lower_dirs(value: &str) -> Vec<String> {
    let (mut dirs, mut dir, mut escaped) = (Vec::new(), String::new(), false);
    for c in value.chars() {
        match c {
            _ if escaped => {
                dir.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            ':' => dirs.push(std::mem::take(&mut dir)),
            _ => dir.push(c),
        }
    }
    dirs.push(dir);
    dirs
}

fn attributes(flags: MountFlags) -> MountAttrFlags {
    let mut attributes = MountAttrFlags::empty();
    for (flag, attribute) in [
        (MountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (MountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (MountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
        (MountFlags::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (MountFlags::NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
        (MountFlags::STRICTATIME, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
        (MountFlags::NODIRATIME, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
        (MountFlags::NOSYMFOLLOW, MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
    ] {
        if flags.contains(flag) {
            attributes |= attribute;
        }
    }
    attributes
}

/// What the kernel wrote about a context's failure: lines that begin with a letter for their weight.
fn log(fs: &OwnedFd) -> String {
    let mut lines = Vec::new();
    let mut line = [0_u8; 1024];
    while let Ok(length @ 1..) = rustix::io::read(fs, &mut line) {
        let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default());
        lines.push(text.trim().trim_start_matches(['e', 'w', 'i']).trim_start().to_owned());
    }
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_directories_split_at_colons_that_are_not_escaped() {
        assert_eq!(lower_dirs(r"/a:/b\:c:/d\\e"), ["/a", "/b:c", r"/d\e"]);
    }

    #[test]
    fn descriptors_serve_where_the_steps_are_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut lowers = Vec::new();
        for n in 0..3 {
            let lower = dir.path().join(format!("l{n}"));
            std::fs::create_dir(&lower).unwrap();
            std::fs::write(lower.join(format!("f{n}")), "x").unwrap();
            lowers.push(lower.to_str().unwrap().to_owned());
        }
        let target = dir.path().join("t");
        std::fs::create_dir(&target).unwrap();
        let data = [format!("lowerdir={}", lowers.join(":"))];
        by_descriptors("overlay", &target, MountFlags::empty(), &data).unwrap();
        assert!((0..3).all(|n| target.join(format!("f{n}")).exists()));
        crate::mount::unmount(&target).unwrap();
    }
}
