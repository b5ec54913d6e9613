//! Telling of what was done, after it is on disk.

mod content;
mod decode;
mod snapshots;

use std::sync::Arc;
use std::time::SystemTime;

pub use decode::event_field;
use wharf_api::containerd::events;
use wharf_content::ContentStore;
use wharf_events::{Envelope, Exchange};
use wharf_metadata::{Object, ObjectKind};
use wharf_snapshot::Snapshotter;
use wharf_types::Namespace;

use crate::Stores;
use crate::convert::pack;

/// Publishes one event. What was done is done: an event that is refused is logged and delays nobody.
pub(crate) fn announce(
    exchange: &dyn Exchange,
    namespace: &Namespace,
    topic: &str,
    name: &str,
    event: &impl prost::Message,
) {
    let event = pack(name, event);
    let envelope =
        Envelope { timestamp: SystemTime::now(), namespace: namespace.clone(), topic: topic.to_owned(), event };
    if let Err(error) = exchange.publish(envelope) {
        tracing::error!(%namespace, topic, %error, "an event was not published");
    }
}

/// [`Stores`] that tell of blobs and snapshots that come and go, whoever makes them come and go through them.
pub struct Announcer {
    /// The stores themselves.
    pub stores: Arc<dyn Stores>,
    /// Where to tell.
    pub exchange: Arc<dyn Exchange>,
}

impl Stores for Announcer {
    fn content(&self, namespace: &Namespace, lease: Option<&str>) -> wharf_metadata::Result<Arc<dyn ContentStore>> {
        let inner = self.stores.content(namespace, lease)?;
        Ok(Arc::new(content::Announced { inner, namespace: namespace.clone(), exchange: self.exchange.clone() }))
    }

    fn snapshotter(
        &self,
        namespace: &Namespace,
        name: &str,
        lease: Option<&str>,
    ) -> wharf_metadata::Result<Arc<dyn Snapshotter>> {
        let inner = self.stores.snapshotter(namespace, name, lease)?;
        let (namespace, exchange) = (namespace.clone(), self.exchange.clone());
        Ok(Arc::new(snapshots::Announced { inner, name: name.to_owned(), namespace, exchange }))
    }

    fn collect(&self) -> wharf_metadata::Result<()> {
        self.stores.collect()
    }
}

/// Tells of one object that the collector removed.
pub fn publish_collected(exchange: &dyn Exchange, removed: &Object) {
    let (namespace, name) = (&removed.namespace, removed.name.clone());
    match &removed.kind {
        ObjectKind::Content => {
            let event = events::ContentDelete { digest: name };
            announce(exchange, namespace, "/content/delete", "containerd.events.ContentDelete", &event);
        }
        ObjectKind::Snapshot(snapshotter) => {
            let event = events::SnapshotRemove { key: name, snapshotter: snapshotter.clone() };
            announce(exchange, namespace, "/snapshot/remove", "containerd.events.SnapshotRemove", &event);
        }
        ObjectKind::Image => {
            let event = wharf_api::containerd::services::images::v1::ImageDelete { name };
            let of = "containerd.services.images.v1.ImageDelete";
            announce(exchange, namespace, "/images/delete", of, &event);
        }
        ObjectKind::Ingest | ObjectKind::Container | ObjectKind::Lease | ObjectKind::Sandbox | ObjectKind::Mount => {}
    }
}
