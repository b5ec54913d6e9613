//! What a command needs on the machine: installed where that is possible, named where not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::bail;

use crate::build;

/// A program and the Debian package that has it.
#[derive(Clone, Copy)]
pub struct Need {
    program: &'static str,
    package: &'static str,
}

const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

/// What running containers needs.
pub const RUN: &[Need] = &[need("runc", "runc")];

/// What the tests need beside it: a real registry, real clients, makers of images.
pub const TEST: &[Need] = &[
    need("runc", "runc"),
    need("containerd", "containerd"),
    need("ctr", "containerd"),
    need("docker-registry", "docker-registry"),
    need("skopeo", "skopeo"),
    need("umoci", "umoci"),
    need("busybox", "busybox-static"),
    need("ip", "iproute2"),
    need("nsenter", "util-linux"),
    need("pgrep", "procps"),
    need("setfattr", "attr"),
    need("strace", "strace"),
    need("mkfs.xfs", "xfsprogs"),
    need("zstd", "zstd"),
];

/// Sees that every program is there; installs what is missing with apt where this is root on Debian.
///
/// # Errors
/// Names what is missing and the command that installs it.
pub fn ensure(needs: &[Need]) -> anyhow::Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !is_root() || find("apt-get").is_none() {
        let programs: Vec<&str> = missing.iter().map(|need| need.program).collect();
        bail!("missing: {}; on Debian, as root: {by_hand}", programs.join(", "));
    }
    eprintln!("installing {}", packages.join(" "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    build::run(apt().args(["update", "-qq"]))?;
    build::run(apt().args(["install", "-y", "-qq", "--no-install-recommends"]).args(&packages))?;
    match self::missing(needs).first() {
        None => Ok(()),
        Some(need) => bail!("{} is still missing after {by_hand}", need.program),
    }
}

fn missing(needs: &[Need]) -> Vec<Need> {
    needs.iter().copied().filter(|need| find(need.program).is_none()).collect()
}

/// A program on the path, or where Debian puts what only root needs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Path::new).map(Path::to_owned);
    std::env::split_paths(&path).chain(more).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// True when this process is root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    // The kernel shows a process's files as its effective user's.
    std::fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}
