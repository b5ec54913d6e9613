//! Sockets: a stale one is replaced, one that somebody serves is left alone.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::Mode;

/// A bound socket. Its file is removed when this is dropped.
pub(crate) struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Binds `path`, which `uid` may connect to, and `gid` where it is not 0.
    pub(crate) fn bind(path: &Path, uid: u32, gid: u32) -> Result<Self> {
        let doing = || format!("bind socket {}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(doing)?;
        }
        clear(path).with_context(doing)?;
        // Whoever connects needs the right to write; nobody else gets it, not even until the mode is set below.
        let umask = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(umask);
        let listener = listener.with_context(doing)?;
        chown(path, Some(uid), Some(gid)).with_context(doing)?;
        let mode = if gid == 0 { 0o600 } else { 0o660 };
        fs::set_permissions(path, Permissions::from_mode(mode)).with_context(doing)?;
        listener.set_nonblocking(true).with_context(doing)?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// The listener, for the runtime this is called in.
    pub(crate) fn listen(&self) -> Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone().context("duplicate a socket")?;
        tokio::net::UnixListener::from_std(listener).context("listen on a socket")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes a socket that nobody serves.
fn clear(path: &Path) -> Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !found.file_type().is_socket() {
        bail!("something that is no socket is there; remove it, or choose another --address");
    }
    if UnixStream::connect(path).is_ok() {
        bail!("another process serves it; stop that one, or choose another --address");
    }
    fs::remove_file(path).context("remove the socket of a daemon that is gone")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_served_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let socket = Socket::bind(&path, 0, 0).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = format!("{:#}", Socket::bind(&path, 0, 0).err().unwrap());
        assert!(error.contains("another process serves it"), "{error}");
        drop(socket);
        assert!(!path.exists());
        fs::write(&path, "a file").unwrap();
        let error = format!("{:#}", Socket::bind(&path, 0, 0).err().unwrap());
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"a file");
    }
}
