//! The shim's socket: where it is, and who gets to make it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// The most bytes of a socket's path (sockaddr_un, without the zero byte).
const PATH_MAX: usize = 107;

/// Where a group's socket is: `<dir>/<sha256 of address/namespace/group>`, as containerd names it.
pub(crate) fn path(dir: &Path, address: &str, namespace: &str, group: &str) -> Result<PathBuf> {
    let name = Path::new(address).join(namespace).join(group);
    let digest = Sha256::digest(name.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    let path = dir.join(hex);
    let length = path.as_os_str().len();
    if length > PATH_MAX {
        return Err(Error::invalid(format!(
            "the shim's socket {} is {length} bytes long, and a socket's path can have {PATH_MAX}: choose a shorter state \
             directory",
            path.display()
        )));
    }
    Ok(path)
}

/// Where a shim's events wait. The pid keeps a shim that is still delivering apart from its successor at the same socket.
pub(crate) fn outbox(socket: &Path, pid: u32) -> PathBuf {
    socket.with_extension(format!("{pid}.events"))
}

/// The outboxes of all shims that a socket has had and that left something behind.
pub(crate) fn outboxes(socket: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(stem)) = (socket.parent(), socket.file_name()) else { return Vec::new() };
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    files.filter(|p| p.extension().is_some_and(|e| e == "events") && Path::new(p).file_prefix() == Some(stem)).collect()
}

/// The path in an address: `unix:///run/x` or the bare path.
pub(crate) fn strip(address: &str) -> &Path {
    Path::new(address.strip_prefix("unix://").unwrap_or(address))
}

/// The socket, made now, or the news that another shim serves it already.
pub(crate) enum Claim {
    /// It is ours; nobody else can claim it as long as the lock is held.
    Ours(UnixListener),
    /// A shim answers there.
    Served,
}

/// Makes the socket unless a living shim has it. Starts are serialised by a lock on the directory, so that two starts of one
/// group never take each other's fresh socket for a dead one.
pub(crate) fn claim(path: &Path) -> Result<Claim> {
    let doing = || format!("making the shim's socket {}", path.display());
    let dir = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Error::io(doing()))?;
    let lock = File::open(dir).map_err(Error::io(doing()))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(Error::io(doing()))?;
    if is_served(path) {
        return Ok(Claim::Served);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::io(doing())(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(Error::io(doing()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(Error::io(doing()))?;
    Ok(Claim::Ours(listener))
}

/// True when somebody accepts connections there.
pub(crate) fn is_served(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_is_replaced_and_a_living_one_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path(), "/run/x.sock", "default", "web").unwrap();
        let Claim::Ours(first) = claim(&path).unwrap() else { panic!("nobody had it") };
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(claim(&path).unwrap(), Claim::Served));
        drop(first);
        assert!(matches!(claim(&path).unwrap(), Claim::Ours(_)));
    }

    #[test]
    fn a_path_too_long_is_refused_with_its_length() {
        let error = super::path(Path::new(&format!("/{}", "x".repeat(60))), "a", "b", "c").err().unwrap();
        assert!(error.to_string().contains("107"), "{error}");
    }
}
