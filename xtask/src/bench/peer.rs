//! Both daemons side by side, and what the kernel says of a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use wharf_client::Client;
use wharf_testkit::daemon::Daemon;

use crate::{build, needs};

/// The namespace that is measured in.
pub const NAMESPACE: &str = "bench";

/// Debian's containerd.
///
/// # Errors
/// When it is not installed.
pub fn containerd() -> anyhow::Result<PathBuf> {
    needs::find("containerd").context("containerd is not installed: apt-get install containerd")
}

/// Starts a daemon in a fresh folder below `place`.
///
/// # Errors
/// When it does not start.
pub async fn start(place: &Path, name: &str, programs: Option<&Path>) -> anyhow::Result<(Daemon, Client)> {
    let folder = place.join(name);
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let mut daemon = match programs {
        Some(programs) => Daemon::wharf(programs, &folder),
        // Plugins that this machine has nothing for only take memory.
        None => Daemon::containerd(&containerd()?, &folder),
    };
    daemon.start()?;
    let client = Client::connect(daemon.address(), NAMESPACE).await?;
    Ok((daemon, client))
}

/// Pulls with Debian's `ctr`, the way that both daemons know.
///
/// # Errors
/// Its own words.
pub fn ctr_pull(daemon: &Daemon, reference: &str) -> anyhow::Result<()> {
    let mut ctr = Command::new("ctr");
    ctr.arg("--address").arg(daemon.address()).args(["--namespace", NAMESPACE]);
    build::output(ctr.args(["images", "pull", "--plain-http", reference])).map(drop)
}

/// A fresh xfs in a loop device, below which all that is compared keeps its files: ext4 allocates slowly after mass deletes.
/// Dropping it unmounts it.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// Makes it, of at most `gigabytes`.
    ///
    /// # Errors
    /// When it cannot be made or mounted.
    pub fn new(gigabytes: u64) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("wharf-bench-").tempdir().context("make a folder")?;
        let (image, point) = (folder.path().join("xfs.img"), folder.path().join("xfs"));
        fs::create_dir(&point)?;
        fs::File::create(&image)?.set_len(gigabytes << 30)?;
        build::output(Command::new("mkfs.xfs").arg("-q").arg(&image))?;
        build::output(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&point))?;
        Ok(Self { folder })
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("xfs")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        wharf_testkit::daemon::unmount_below(&self.path());
    }
}

/// A line of `/proc/PID/FILE` such as `VmHWM:  1234 kB`, in megabytes.
pub fn megabytes(pid: u32, file: &str, key: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// The CPU seconds that a process has taken.
pub fn cpu_seconds(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = text.rsplit(") ").next().unwrap_or_default();
    let ticks: f64 = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    // USER_HZ is 100 on every Linux there is.
    ticks / 100.0
}

/// What this is measured on.
pub fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {}, kernel {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}
