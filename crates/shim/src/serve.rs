//! The server: one thread, one task a call, and the chores of a subreaper.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use wharf_ttrpc::Server;

use crate::error::{Error, Result};
use crate::forward::forward;
use crate::outbox::Outbox;
use crate::sandbox::{self, SandboxService};
use crate::service::TaskService;
use crate::shim::Shim;
use crate::socket;
use crate::start::Place;

/// How often a shim without containers looks whether its bundle is still there.
const IDLE: Duration = Duration::from_secs(60);

/// What a server needs to know.
pub(crate) struct Config {
    pub(crate) namespace: String,
    pub(crate) place: Place,
    pub(crate) listener: UnixListener,
}

/// Serves until it is told to shut down and everything was delivered.
pub(crate) fn serve(config: Config) -> Result<()> {
    wharf_sys::process::become_subreaper().map_err(Error::io("becoming a subreaper"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::io("starting the shim's event loop"))?.block_on(run(config))
}

async fn run(Config { namespace, place, listener }: Config) -> Result<()> {
    let doing = || format!("serving {}", place.socket.display());
    listener.set_nonblocking(true).map_err(Error::io(doing()))?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(Error::io(doing()))?;
    let path = socket::outbox(&place.socket, std::process::id());
    let outbox = Outbox::open(&path).map_err(Error::io(format!("opening {}", path.display())))?;
    let shim = Arc::new(Shim::new(namespace, place.state.clone(), place.socket.clone(), outbox));
    let reaper = tokio::spawn(reap(shim.clone()));
    let forwarder = tokio::spawn(forward(shim.clone(), place.ttrpc.clone()));
    let watcher = tokio::spawn(abandoned(shim.clone(), place.bundle));
    let service = Arc::new(TaskService::new(shim.clone()));
    let sandbox = Arc::new(SandboxService::new(shim.clone()));
    let server = Server::new().service("containerd.task.v3.Task", service.clone());
    let server = server.service("containerd.task.v2.Task", service).service(sandbox::SERVICE, sandbox);
    server.serve(listener, shim.stopped()).await;
    watcher.abort();
    // Ends when all was delivered, or when there is nobody to deliver to any more.
    let _ = forwarder.await;
    reaper.abort();
    if shim.outbox().is_empty() {
        let _ = fs::remove_file(&path);
    }
    Ok(())
}

/// Reaps orphans whenever there may be some, and refuses to be ended while it has containers.
async fn reap(shim: Arc<Shim>) {
    let (Ok(mut child), Ok(mut term), Ok(mut int)) =
        (signal(SignalKind::child()), signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    loop {
        shim.children().reap_strays();
        tokio::select! {
            _ = child.recv() => {}
            () = shim.children().changed() => {}
            _ = term.recv() => shim.stop_if_empty(),
            _ = int.recv() => shim.stop_if_empty(),
        }
    }
}

/// Stops the shim when nothing runs here and the bundle is gone: whoever started us has died before it could tell anybody.
async fn abandoned(shim: Arc<Shim>, bundle: PathBuf) {
    let left = || shim.is_empty() && !bundle.exists();
    let watch = watch_for_removal(&bundle);
    // It may have gone before it was watched.
    let mut misses = if left() { 2 } else { 0 };
    while misses < 2 {
        tokio::select! {
            // Its removal is the end, unless somebody else's container runs here.
            () = happened(watch.as_ref()) => if left() { break },
            () = tokio::time::sleep(IDLE) => misses = if left() { misses + 1 } else { 0 },
        }
    }
    shim.stop();
}

/// What becomes readable when a directory is renamed or removed; `None` where that cannot be watched.
fn watch_for_removal(dir: &Path) -> Option<AsyncFd<OwnedFd>> {
    let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok()?;
    let removal = inotify::WatchFlags::MOVE_SELF | inotify::WatchFlags::DELETE_SELF | inotify::WatchFlags::ONLYDIR;
    inotify::add_watch(&fd, dir, removal).ok()?;
    wharf_runtime::watch(fd, Interest::READABLE).ok()
}

/// Waits for the next event of a watch, for ever where there is none.
async fn happened(watch: Option<&AsyncFd<OwnedFd>>) {
    let Some(Ok(mut guard)) = (match watch {
        Some(watch) => Some(watch.readable().await),
        None => None,
    }) else {
        return std::future::pending().await;
    };
    let mut space = [MaybeUninit::uninit(); 1024];
    let mut reader = inotify::Reader::new(guard.get_inner(), &mut space);
    while reader.next().is_ok() {}
    guard.clear_ready();
}
