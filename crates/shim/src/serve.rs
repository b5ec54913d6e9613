//! The server: one thread, one task a call, and the chores of a subreaper.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use wharf_ttrpc::Server;

use crate::error::{Error, Result};
use crate::forward::forward;
use crate::outbox::Outbox;
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
    let service = Arc::new(TaskService::new(shim.clone()));
    let server =
        Server::new().service("containerd.task.v3.Task", service.clone()).service("containerd.task.v2.Task", service);
    tokio::select! {
        () = server.serve(listener, shim.stopped()) => {}
        () = abandoned(&shim, &place.bundle) => shim.stop(),
    }
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

/// Returns when nothing runs here and the bundle is gone: whoever started us has forgotten us.
async fn abandoned(shim: &Shim, bundle: &Path) {
    let mut misses = 0;
    while misses < 2 {
        tokio::time::sleep(IDLE).await;
        misses = if shim.is_empty() && !bundle.exists() { misses + 1 } else { 0 };
    }
}
