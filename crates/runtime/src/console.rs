//! Receives the master side of a terminal that a runtime made.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixListener;

/// A socket that a runtime sends one descriptor to; its file is removed with it.
#[derive(Debug)]
pub(crate) struct Console {
    listener: UnixListener,
    file: PathBuf,
    dir: OwnedFd,
    name: String,
}

impl Console {
    /// Listens in `dir` under `name`. Bundles may lie deeper than the 107 bytes that a socket's address can hold, so the
    /// address goes through the directory's descriptor.
    pub(crate) fn listen(dir: &Path, name: String) -> io::Result<Self> {
        let opened = OwnedFd::from(std::fs::File::open(dir)?);
        let file = dir.join(&name);
        let _ = std::fs::remove_file(&file);
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{name}", opened.as_raw_fd()))?;
        Ok(Self { listener, file, dir: opened, name })
    }

    /// The path for the runtime's `--console-socket`.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}/{}", std::process::id(), self.dir.as_raw_fd(), self.name).into()
    }

    /// Waits for the descriptor (SCM_RIGHTS), which is close-on-exec.
    pub(crate) async fn receive(&self) -> io::Result<OwnedFd> {
        let (stream, _) = self.listener.accept().await?;
        stream.async_io(Interest::READABLE, || receive(&stream)).await
    }
}

/// One message with one descriptor.
fn receive(stream: &tokio::net::UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0_u8; 4096];
    let mut name = [io::IoSliceMut::new(&mut name)];
    recvmsg(stream, &mut name, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .ok_or_else(|| io::Error::other("the runtime sent no terminal over the console socket"))
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
