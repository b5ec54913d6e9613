//! What containers leave on a machine: processes, mounts, cgroups, files. A test looks before and after.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::Scene;

/// Traces of a scene's containers, as lines that say what each is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces(BTreeSet<String>);

impl Traces {
    /// What is there now. `word` is in the names of all containers that are looked for, and in no others.
    #[must_use]
    pub fn of(scene: &Scene, word: &str) -> Self {
        let mut found = BTreeSet::new();
        let folder = scene.folder().display().to_string();
        for (pid, line) in processes() {
            if line.contains(&folder) && Some(pid) != scene.daemon.pid() && !line.contains("registry") {
                found.insert(format!("process {line}"));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        found
            .extend(points.filter(|point| Path::new(point).starts_with(&folder)).map(|point| format!("mount {point}")));
        found.extend(cgroups(word).into_iter().map(|path| format!("cgroup {}", path.display())));
        let below = [scene.daemon.state(), scene.folder().join("s"), scene.folder().join("runc"), scene.daemon.root()];
        for path in below.iter().flat_map(|dir| files(dir)) {
            if path.starts_with(scene.daemon.state())
                || path.display().to_string().contains(word)
                || !path.starts_with(scene.daemon.root())
            {
                found.insert(format!("file {}", path.display()));
            }
        }
        Self(found)
    }

    /// What is here and was not in `before`.
    #[must_use]
    pub fn since<'a>(&'a self, before: &'a Self) -> Vec<&'a String> {
        self.0.difference(&before.0).collect()
    }
}

/// Waits until a scene's containers have left nothing, for at most `limit`: what ends beside the answer of a deletion, such
/// as a shim, takes a moment.
///
/// # Errors
/// What is left.
pub async fn gone(scene: &Scene, word: &str, before: &Traces, limit: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let now = Traces::of(scene, word);
        let left = now.since(before);
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > limit {
            bail!("after {limit:?} there is still\n{left:#?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// All processes but zombies, which are their parent's to reap, with their command lines.
fn processes() -> Vec<(u32, String)> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .collect()
}

/// The cgroups in all hierarchies whose names have `word` in them.
fn cgroups(word: &str) -> Vec<PathBuf> {
    let here = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(word));
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    hierarchies.filter(|path| !path.is_symlink()).flat_map(|path| directories(&path)).filter(here).collect()
}

fn directories(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).into_iter().flatten().flatten();
    let found: Vec<PathBuf> = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect();
    let deeper: Vec<PathBuf> = found.iter().flat_map(|path| directories(path)).collect();
    found.into_iter().chain(deeper).collect()
}

/// Everything below a folder, to a depth of six: trees of files that containers see are no concern here.
fn files(below: &Path) -> Vec<PathBuf> {
    fn walk(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if depth > 1 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&entry.path(), depth - 1, found);
            }
            found.push(entry.path());
        }
    }
    let mut found = Vec::new();
    walk(below, 6, &mut found);
    found
}
