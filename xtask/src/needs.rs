//! What a command needs on the machine: installed where that is possible, named where not.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

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
    need("dockerd", "docker.io"),
    need("docker", "docker.io"),
    need("docker-registry", "docker-registry"),
    need("skopeo", "skopeo"),
    need("umoci", "umoci"),
    need("busybox", "busybox-static"),
    need("ip", "iproute2"),
    need("nsenter", "util-linux"),
    need("pgrep", "procps"),
    need("setfattr", "attr"),
    need("strace", "strace"),
    need("mkfs.ext4", "e2fsprogs"),
    need("mkfs.xfs", "xfsprogs"),
    need("mount", "mount"),
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
    let _policy = Policy::at(Path::new(POLICY)).context("keep the packages' services from starting")?;
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

/// What Debian's packages ask before they start their services.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// By 101 it forbids them.
const FORBIDS: &str = "#!/bin/sh\n# Of `cargo xtask`, while it installs packages.\nexit 101\n";

/// While it lives, packages start no services: the tests want the programs alone, and a `dockerd` of the machine's own would change
/// its firewall. A policy that was there before is left as it is.
struct Policy<'a>(Option<&'a Path>);

impl<'a> Policy<'a> {
    fn at(path: &'a Path) -> io::Result<Self> {
        match File::options().write(true).create_new(true).mode(0o755).open(path) {
            Ok(mut file) => {
                let policy = Self(Some(path));
                file.write_all(FORBIDS.as_bytes())?;
                Ok(policy)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Of one that was interrupted, it is removed in the end.
                let ours = fs::read(path).is_ok_and(|text| text == FORBIDS.as_bytes());
                Ok(Self(ours.then_some(path)))
            }
            Err(error) => Err(error),
        }
    }
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // One that somebody else removed is gone as it should be.
            let _ = fs::remove_file(path);
        }
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
    fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_policy_goes_with_the_installation_and_anothers_stays() {
        let path = std::env::temp_dir().join(format!("policy-rc.d-{}", std::process::id()));
        let policy = Policy::at(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o111, 0o111);
        let status = Command::new("sh").arg(&path).status().unwrap();
        assert_eq!(status.code(), Some(101));
        drop(policy);
        assert!(!path.exists());
        fs::write(&path, "exit 0").unwrap();
        drop(Policy::at(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "exit 0");
        fs::write(&path, FORBIDS).unwrap();
        drop(Policy::at(&path).unwrap());
        assert!(!path.exists());
    }
}
