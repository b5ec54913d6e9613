//! Where a container's resources are counted.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MOUNT: &str = "/sys/fs/cgroup";

/// How long the helpers of a dead runtime may take to end, and how often that is looked at: no event tells of it in version 1.
const HELPERS: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(10);

/// The cgroup of a process, remembered while the process lives: its files outlive it until the container is deleted.
#[derive(Debug, Clone)]
pub(crate) enum Cgroup {
    /// Each controller in a hierarchy of its own: name and directory.
    V1(Vec<(String, PathBuf)>),
    /// One directory.
    V2(PathBuf),
}

impl Cgroup {
    /// The cgroup of a process (cgroups(7), `/proc/PID/cgroup`).
    pub(crate) fn of(pid: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        Self::parse(&text, Path::new(MOUNT))
    }

    fn parse(text: &str, mount: &Path) -> Self {
        let mut v1 = Vec::new();
        let mut v2 = mount.to_path_buf();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                v2 = mount.join(path);
            } else if !controllers.starts_with("name=") {
                // "cpu,cpuacct" is mounted under that name, with a link for each.
                v1.extend(controllers.split(',').map(|c| {
                    let dir = if mount.join(c).exists() { c } else { controllers };
                    (c.to_owned(), mount.join(dir).join(path))
                }));
            }
        }
        if v1.is_empty() { Self::V2(v2) } else { Self::V1(v1) }
    }

    /// The directory in which a controller's files are.
    pub(crate) fn dir(&self, controller: &str) -> Option<&Path> {
        match self {
            Self::V1(dirs) => dirs.iter().find(|(c, _)| c == controller).map(|(_, d)| d.as_path()),
            Self::V2(dir) => Some(dir),
        }
    }

    /// A file's text.
    pub(crate) fn read(&self, controller: &str, file: &str) -> Option<String> {
        fs::read_to_string(self.dir(controller)?.join(file)).ok()
    }

    /// A file's one number; `max` is the largest, and what is missing is 0.
    pub(crate) fn number(&self, controller: &str, file: &str) -> u64 {
        self.read(controller, file).map_or(0, |text| number(text.trim()))
    }

    /// How often the kernel killed here for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = if matches!(self, Self::V1(_)) { "memory.oom_control" } else { "memory.events" };
        self.read("memory", file).map_or(0, |text| keyed(&text, "oom_kill"))
    }
}

/// Removes a cgroup, named by its path below the root, from every hierarchy: what a runtime that was killed while it made a
/// container leaves without a record. Its helpers end when they miss it, which is waited for; nobody is killed, as a
/// specification may name a cgroup that is others' too.
pub(crate) async fn remove(path: &Path) {
    let path = path.strip_prefix("/").unwrap_or(path);
    let hierarchies = fs::read_dir(MOUNT).into_iter().flatten().flatten().map(|e| e.path());
    let mut left: Vec<PathBuf> = hierarchies.map(|h| h.join(path)).chain([Path::new(MOUNT).join(path)]).collect();
    let gone = async {
        loop {
            // EBUSY: there are processes in it.
            left.retain(|dir| fs::remove_dir(dir).is_err_and(|e| e.kind() == ErrorKind::ResourceBusy));
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    let _ = tokio::time::timeout(HELPERS, gone).await;
}

/// A number as cgroup files have it.
pub(crate) fn number(word: &str) -> u64 {
    if word == "max" { u64::MAX } else { word.parse().unwrap_or(0) }
}

/// The number after a key at a line's beginning.
pub(crate) fn keyed(text: &str, key: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ').map(|v| number(v.trim()));
    text.lines().find_map(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine_counts_in_version_1() {
        let mount = Path::new("/nowhere");
        let Cgroup::V1(dirs) = Cgroup::parse("4:memory:/a\n3:cpu,cpuacct:/b\n1:name=systemd:/\n0::/", mount) else {
            panic!("version 1 has controllers here")
        };
        assert!(dirs.contains(&("memory".into(), "/nowhere/memory/a".into())));
        assert!(dirs.contains(&("cpuacct".into(), "/nowhere/cpu,cpuacct/b".into())));
        assert!(matches!(Cgroup::parse("0::/x/y\n", mount), Cgroup::V2(d) if d == Path::new("/nowhere/x/y")));
        assert_eq!(keyed("low 1\noom 2\noom_kill 3\n", "oom_kill"), 3);
    }
}
