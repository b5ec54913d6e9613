//! Stores served by themselves, as a proxy plugin of containerd's (containerd: `docs/PLUGINS.md`): snapshots, content and
//! the differ, without namespaces. Whoever asks keeps its own; a call that names one is taken as one that does not.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use wharf_server::plugin::{self, Bare};
//! use wharf_snapshot::overlay::OverlaySnapshotter;
//!
//! let snapshotter = Arc::new(OverlaySnapshotter::open("/var/lib/snapshots")?);
//! let routes = plugin::snapshots(Arc::new(Bare { snapshotter: Some(snapshotter), content: None }));
//! let listener = tokio::net::UnixListener::bind("/run/snapshots.sock")?;
//! wharf_server::serve(routes, listener, std::future::pending()).await?;
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};
use wharf_api::containerd::services as api;
use wharf_content::ContentStore;
use wharf_diff::{Applier, Comparer};
use wharf_metadata::Error;
use wharf_snapshot::Snapshotter;
use wharf_types::Namespace;

use crate::call::NAMESPACE;
use crate::service::{content, diff, snapshots};
use crate::{MAX_MESSAGE_BYTES, Stores};

/// One store for all namespaces.
#[derive(Clone, Default)]
pub struct Bare {
    /// The snapshotter, whatever name it is asked for by.
    pub snapshotter: Option<Arc<dyn Snapshotter>>,
    /// The content.
    pub content: Option<Arc<dyn ContentStore>>,
}

impl Stores for Bare {
    fn content(&self, _: &Namespace, _: Option<&str>) -> wharf_metadata::Result<Arc<dyn ContentStore>> {
        let none = || Error::Unimplemented("this plugin serves no content".to_owned());
        self.content.clone().ok_or_else(none)
    }

    fn snapshotter(&self, _: &Namespace, _: &str, _: Option<&str>) -> wharf_metadata::Result<Arc<dyn Snapshotter>> {
        let none = || Error::Unimplemented("this plugin serves no snapshots".to_owned());
        self.snapshotter.clone().ok_or_else(none)
    }

    fn collect(&self) -> wharf_metadata::Result<()> {
        // Whoever asks this plugin knows what it needs.
        Ok(())
    }
}

/// The snapshots service.
#[must_use]
pub fn snapshots(stores: Arc<dyn Stores>) -> Routes {
    use api::snapshots::v1::snapshots_server::SnapshotsServer;
    let service = SnapshotsServer::new(snapshots::Snapshots { stores, namespaces: None })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(InterceptedService::new(service, somewhere))
}

/// The content service.
#[must_use]
pub fn content(stores: Arc<dyn Stores>) -> Routes {
    use api::content::v1::content_server::ContentServer;
    let service = ContentServer::new(content::Content(stores))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(InterceptedService::new(service, somewhere))
}

/// The diff service. The layers come from `stores`, which are told the caller's namespace: `default` where it names none.
#[must_use]
pub fn differ(stores: Arc<dyn Stores>, applier: Arc<dyn Applier>, comparer: Arc<dyn Comparer>) -> Routes {
    use api::diff::v1::diff_server::DiffServer;
    let service = DiffServer::new(diff::Diff { stores, applier, comparer })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(InterceptedService::new(service, somewhere))
}

/// Puts a call without a namespace into the default one: the services ask for one.
#[allow(clippy::result_large_err, clippy::unnecessary_wraps, reason = "as tonic wants it")]
fn somewhere(mut request: Request<()>) -> Result<Request<()>, Status> {
    if request.metadata().get(NAMESPACE).is_none_or(|name| name.is_empty()) {
        request.metadata_mut().insert(NAMESPACE, tonic::metadata::MetadataValue::from_static("default"));
    }
    Ok(request)
}
