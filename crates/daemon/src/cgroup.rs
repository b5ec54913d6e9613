//! The cgroup that the daemon itself joins, where its configuration names one.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Where the hierarchies are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// What a new group of the version 1 controller `cpuset` lacks: nothing can join it before both are set.
const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Joins `path`, below the root of every hierarchy, made where it is not there; an empty one leaves things as they are. What
/// the daemon starts from now on is in it too.
pub(crate) fn join(path: &str) -> Result<()> {
    let below = path.trim_start_matches('/');
    if below.is_empty() {
        return Ok(());
    }
    let plain = Path::new(below).components().all(|part| matches!(part, Component::Normal(_)));
    ensure!(plain, "cgroup path {path:?} leads out of itself");
    for hierarchy in hierarchies()? {
        let group = make(&hierarchy, Path::new(below));
        let joined = group.and_then(|group| fs::write(group.join("cgroup.procs"), std::process::id().to_string()));
        joined.with_context(|| format!("join cgroup {below} of {}", hierarchy.display()))?;
    }
    Ok(())
}

/// One of version 2, or those of version 1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let is_group = |path: &Path| path.join("cgroup.procs").exists();
    if is_group(Path::new(MOUNT)) {
        return Ok(vec![MOUNT.into()]);
    }
    let mounted = fs::read_dir(MOUNT).with_context(|| format!("list the cgroup hierarchies in {MOUNT}"))?;
    // Links such as `cpu` for `cpu,cpuacct` lead to what is listed under its own name.
    let named = mounted.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(named.map(|entry| entry.path()).filter(|path| is_group(path)).collect())
}

fn make(hierarchy: &Path, below: &Path) -> io::Result<PathBuf> {
    let mut group = hierarchy.to_owned();
    for part in below {
        let above = group.clone();
        group.push(part);
        match fs::create_dir(&group) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for file in CPUSET.iter().filter(|_| hierarchy != Path::new(MOUNT)) {
            let (from, to) = (above.join(file), group.join(file));
            if fs::read_to_string(&to).is_ok_and(|set| set.trim().is_empty()) {
                fs::write(to, fs::read(from)?)?;
            }
        }
    }
    Ok(group)
}
