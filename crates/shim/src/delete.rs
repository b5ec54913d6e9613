//! `delete`: cleans up after a shim that died.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use prost::Message as _;
use wharf_api::containerd::task::v3::DeleteResponse;
use wharf_runtime::{Children, Runtime as _};
use wharf_types::{ErrorKind, Kind as _};

use crate::container::{remove_cgroup, unmounting};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::forward::deliver;
use crate::ledger::{self, Exit};
use crate::options::Options;
use crate::outbox::Outbox;
use crate::shim::warn;
use crate::socket;
use crate::start::Place;
use crate::time::timestamp;
use crate::unfinished;

/// How long the events that the dead shim left may take to be delivered.
const DELIVER: Duration = Duration::from_secs(2);

/// How long the runtime may take.
const RUNTIME: Duration = Duration::from_secs(30);

/// The exit status of a process that was killed here.
const KILLED: u32 = 128 + 9;

/// Kills what is left of a container, removes what the runtime and the kernel hold of it, and prints how it ended.
pub(crate) fn delete(flags: &Flags) -> Result<()> {
    let place = Place::find(flags, None)?;
    let loop_ = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let exit = loop_.map_err(Error::io("starting an event loop"))?.block_on(clean(flags, &place))?;
    let answer = DeleteResponse { pid: exit.pid, exit_status: exit.status, exited_at: Some(timestamp(exit.at)) };
    std::io::stdout().lock().write_all(&answer.encode_to_vec()).map_err(Error::io("answering on standard output"))
}

async fn clean(flags: &Flags, place: &Place) -> Result<Exit> {
    unfinished::settle(&place.bundle, unfinished::PATIENCE).await;
    let options = Options::load(&place.bundle);
    let runtime =
        options.runtime(&place.bundle, &place.state, &flags.namespace, &Children::default()).deadline(RUNTIME);
    match runtime.delete(&flags.id, true).await {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    remove_cgroup(&place.bundle).await;
    let rootfs = place.bundle.join("rootfs");
    wharf_sys::mount::unmount_all(&rootfs).map_err(unmounting(&rootfs))?;
    // A group's socket may be served by a shim that lives; its events are its own to deliver.
    if !socket::is_served(&place.socket) {
        inherit(place).await;
    }
    Ok(ledger::find(&place.bundle).unwrap_or_else(|| Exit { pid: pid(place), status: KILLED, at: SystemTime::now() }))
}

/// Delivers the events that the dead shim could not, and removes its files once nothing is left in them.
async fn inherit(place: &Place) {
    for path in socket::outboxes(&place.socket) {
        match Outbox::open(&path) {
            Ok(outbox) => {
                let delivered = tokio::time::timeout(DELIVER, deliver(&outbox, &place.ttrpc)).await;
                if !matches!(delivered, Ok(Ok(()))) {
                    warn("events of a dead shim could not be delivered");
                }
                let _ = fs::remove_file(&path);
            }
            // A shim that was told to stop is still delivering.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => warn(&format!("reading {}: {error}", path.display())),
        }
    }
    let _ = fs::remove_file(&place.socket);
}

fn pid(place: &Place) -> u32 {
    let text = fs::read_to_string(place.bundle.join("init.pid")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}
