//! Carries events from the outbox to the daemon, in order, each until the daemon has taken it.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use wharf_api::containerd::services::events::ttrpc::v1::ForwardRequest;
use wharf_runtime::watch;
use wharf_ttrpc::{CallOptions, Client, Code, Status};

use crate::outbox::Outbox;
use crate::shim::Shim;

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";

/// How long the daemon may take to take one event.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long to wait after the first failure; doubled up to the second at each further one. A socket that appears ends the wait.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Delivers until the shim was told to stop and nothing is left, or until the daemon's directory is gone by then.
pub(crate) async fn forward(shim: Arc<Shim>, ttrpc: PathBuf) {
    let outbox = shim.outbox();
    let mut backoff = BACKOFF.0;
    loop {
        match deliver(outbox, &ttrpc).await {
            Ok(()) => {
                backoff = BACKOFF.0;
                if shim.is_stopped() && outbox.is_empty() {
                    return;
                }
                tokio::select! {
                    () = outbox.pushed() => {}
                    () = shim.stopped(), if !shim.is_stopped() => {}
                }
            }
            Err(_) => {
                if shim.is_stopped() && !ttrpc.parent().is_some_and(Path::exists) {
                    return;
                }
                tokio::select! {
                    // It may be there a moment before anybody listens.
                    () = appeared(&ttrpc) => backoff = BACKOFF.0,
                    () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF.1),
                }
            }
        }
    }
}

/// Delivers all there is over one connection, which is closed again: an idle shim costs the daemon nothing.
pub(crate) async fn deliver(outbox: &Outbox, ttrpc: &Path) -> Result<(), Status> {
    let broken = |e: std::io::Error| Status::new(Code::Internal, format!("reading the outbox: {e}"));
    let mut client = None;
    while let Some(event) = outbox.first().map_err(broken)? {
        let client = match &client {
            Some(client) => client,
            None => client.insert(Client::connect(ttrpc).await?),
        };
        if let Ok(request) = ForwardRequest::decode(event.as_slice()) {
            let options = CallOptions { timeout: Some(DEADLINE), ..Default::default() };
            match client.call::<_, ()>(SERVICE, "Forward", &request, &options).await {
                // Refused for what it is: no later attempt would fare better, and the events behind it wait.
                Err(status) if status.code == Code::InvalidArgument => {}
                answer => answer?,
            }
        }
        outbox.taken(event.len()).map_err(broken)?;
    }
    Ok(())
}

/// Waits until something of the socket's name is made in its directory; for ever where that cannot be watched.
async fn appeared(socket: &Path) {
    let Some((fd, name)) = watch_for(socket) else { return std::future::pending().await };
    loop {
        let Ok(mut guard) = fd.readable().await else { return };
        let mut space = [MaybeUninit::uninit(); 1024];
        let mut reader = inotify::Reader::new(fd.get_ref(), &mut space);
        loop {
            match reader.next() {
                Ok(event) if event.file_name().is_some_and(|n| n.to_bytes() == name.as_encoded_bytes()) => return,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        guard.clear_ready();
    }
}

fn watch_for(socket: &Path) -> Option<(AsyncFd<OwnedFd>, &OsStr)> {
    let (dir, name) = (socket.parent()?, socket.file_name()?);
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    inotify::add_watch(&fd, dir, inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO).ok()?;
    Some((watch(fd, Interest::READABLE).ok()?, name))
}
