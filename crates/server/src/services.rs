//! What the services stand on.

use std::fmt;
use std::sync::Arc;

use wharf_content::ContentStore;
use wharf_diff::{Applier, Comparer};
use wharf_events::Exchange;
use wharf_fetch::{CredentialSource, Resolver, Scheme};
use wharf_metadata::{Containers, Images, Leases, Namespaces, Sandboxes};
use wharf_mount::MountManager;
use wharf_snapshot::Snapshotter;
use wharf_supervisor::{SandboxController, TaskManager};
use wharf_types::{Namespace, Platform};

use crate::Stopping;
use crate::transfer::Pulls;

/// Everything that the services are adapters over.
#[derive(Clone)]
pub struct Services {
    /// Namespaces.
    pub namespaces: Arc<dyn Namespaces>,
    /// Images.
    pub images: Arc<dyn Images>,
    /// Records of containers.
    pub containers: Arc<dyn Containers>,
    /// Records of sandboxes.
    pub sandboxes: Arc<dyn Sandboxes>,
    /// Leases.
    pub leases: Arc<dyn Leases>,
    /// Mounts for clients.
    pub mounts: Arc<dyn MountManager>,
    /// Content and snapshots as namespaces see them.
    pub stores: Arc<dyn Stores>,
    /// What extracts layers.
    pub applier: Arc<dyn Applier>,
    /// What writes layers.
    pub comparer: Arc<dyn Comparer>,
    /// Where images come from.
    pub registries: Arc<dyn Registries>,
    /// Pulls that are under way.
    pub pulls: Pulls,
    /// Tasks.
    pub tasks: Arc<dyn TaskManager>,
    /// What starts and ends sandboxes.
    pub sandbox_controller: Arc<dyn SandboxController>,
    /// Events.
    pub events: Arc<dyn Exchange>,
    /// Who this daemon is.
    pub identity: Identity,
    /// When calls that wait for ever have to end.
    pub stopping: Stopping,
}

/// Who this daemon is and what it offers.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The same for as long as the root directory lives.
    pub uuid: String,
    /// Of the daemon.
    pub version: String,
    /// The source it was built from, empty where that is not known.
    pub revision: String,
    /// The platform that images are chosen for.
    pub platform: Platform,
    /// The snapshotters, the default one first.
    pub snapshotters: Vec<String>,
    /// The root directory, for those who ask what is where.
    pub root: String,
}

/// Content and snapshots as one namespace sees them; what a call makes is held by its lease where it has one.
pub trait Stores: Send + Sync {
    /// The content of a namespace.
    ///
    /// # Errors
    /// When the lease does not exist.
    fn content(&self, namespace: &Namespace, lease: Option<&str>) -> wharf_metadata::Result<Arc<dyn ContentStore>>;

    /// A snapshotter of a namespace.
    ///
    /// # Errors
    /// `NotFound` when there is no snapshotter of that name.
    fn snapshotter(
        &self,
        namespace: &Namespace,
        name: &str,
        lease: Option<&str>,
    ) -> wharf_metadata::Result<Arc<dyn Snapshotter>>;

    /// Removes what nothing holds on to, and returns when that is done.
    ///
    /// # Errors
    /// When the database or a store cannot be read.
    fn collect(&self) -> wharf_metadata::Result<()>;
}

/// Makes resolvers.
pub trait Registries: Send + Sync {
    /// A resolver for one transfer.
    ///
    /// # Errors
    /// When the client for HTTP cannot be made.
    fn resolver(&self, access: Access) -> wharf_fetch::Result<Arc<dyn Resolver>>;
}

/// How one client wants registries to be asked.
#[derive(Clone, Default)]
pub struct Access {
    /// HTTPS or plain HTTP, where the client says.
    pub scheme: Option<Scheme>,
    /// HTTP headers for every request.
    pub headers: Vec<(String, String)>,
    /// Asks the client for credentials.
    pub credentials: Option<Arc<dyn CredentialSource>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may carry secrets.
        f.debug_struct("Access").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}
