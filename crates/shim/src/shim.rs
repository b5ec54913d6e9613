//! What all calls of one shim share.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prost::Message;
use tokio::sync::{Notify, watch};
use wharf_api::containerd::services::events::ttrpc::v1::ForwardRequest;
use wharf_api::containerd::types::Envelope;
use wharf_runtime::Children;

use crate::container::Container;
use crate::error::{Error, Result};
use crate::outbox::Outbox;
use crate::time::timestamp;

/// The containers of a shim, its events and its end.
#[derive(Debug)]
pub(crate) struct Shim {
    namespace: String,
    state: PathBuf,
    children: Children,
    outbox: Outbox,
    socket: PathBuf,
    /// `None` while a container is being created.
    containers: Mutex<BTreeMap<String, Option<Arc<Container>>>>,
    /// Told when a creation has ended, well or not.
    settled: Notify,
    stop: watch::Sender<bool>,
}

/// A name that is taken while a container is being created; given back unless it was filled.
pub(crate) struct Reserved<'a> {
    shim: &'a Shim,
    id: String,
}

impl Shim {
    pub(crate) fn new(namespace: String, state: PathBuf, socket: PathBuf, outbox: Outbox) -> Self {
        let (children, containers) = (Children::default(), Mutex::default());
        let (settled, stop) = (Notify::new(), watch::Sender::new(false));
        Self { namespace, state, children, outbox, socket, containers, settled, stop }
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The directory of the daemon's socket.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn children(&self) -> &Children {
        &self.children
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The container of an id; of one that is being created, once that is done. A daemon that died meanwhile asks for it when
    /// it is back, and must not be told that there is none.
    pub(crate) async fn container(&self, id: &str) -> Result<Arc<Container>> {
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            // From here on nothing is missed, and the lock is not held over the wait.
            settled.as_mut().enable();
            match self.containers().get(id) {
                Some(Some(container)) => return Ok(container.clone()),
                Some(None) => {}
                None => return Err(Error::NotFound(format!("container {id:?} is not in this shim"))),
            }
            settled.await;
        }
    }

    /// The container of an id, if it has been created.
    pub(crate) fn created(&self, id: &str) -> Option<Arc<Container>> {
        self.containers().get(id).and_then(Clone::clone)
    }

    /// True while a container of this id exists, or is being created.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.containers().contains_key(id)
    }

    /// Takes a name.
    pub(crate) fn reserve(&self, id: &str) -> Result<Reserved<'_>> {
        let mut containers = self.containers();
        if containers.contains_key(id) {
            return Err(Error::Exists(format!("container {id:?}")));
        }
        containers.insert(id.to_owned(), None);
        Ok(Reserved { shim: self, id: id.to_owned() })
    }

    pub(crate) fn forget(&self, id: &str) {
        self.containers().remove(id);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.containers().is_empty()
    }

    /// Puts an event where it is delivered from, whatever becomes of the daemon. `name` is the message's in `containerd.events`.
    pub(crate) fn publish(&self, topic: &str, name: &str, event: &impl Message) {
        let event = prost_types::Any { type_url: format!("containerd.events.{name}"), value: event.encode_to_vec() };
        let envelope = Envelope {
            timestamp: Some(timestamp(SystemTime::now())),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(event),
        };
        if let Err(error) = self.outbox.push(&ForwardRequest { envelope: Some(envelope) }.encode_to_vec()) {
            warn(&format!("event {topic} is lost: {error}"));
        }
    }

    /// Ends the service. The socket goes first, so that whoever is told of it can start a successor at once.
    pub(crate) fn stop(&self) {
        if !self.is_stopped() {
            let _ = std::fs::remove_file(&self.socket);
        }
        self.stop.send_replace(true);
    }

    pub(crate) fn stop_if_empty(&self) {
        if self.is_empty() {
            self.stop();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the shim was told to stop.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.subscribe();
        async move {
            let _ = stop.wait_for(|stopped| *stopped).await;
        }
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Option<Arc<Container>>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reserved<'_> {
    pub(crate) fn fill(self, container: Arc<Container>) {
        self.shim.containers().insert(self.id.clone(), Some(container));
        self.shim.settled.notify_waiters();
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut containers = self.shim.containers();
        if matches!(containers.get(&self.id), Some(None)) {
            containers.remove(&self.id);
            self.shim.settled.notify_waiters();
        }
    }
}

/// Tells the daemon's log, if it listens.
pub(crate) fn warn(message: &str) {
    let _ = writeln!(std::io::stderr(), "level=warning msg={message:?}");
}
