//! A lease for as long as something is under way.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tonic::Status;
use wharf_metadata::Leases;
use wharf_types::{Labels, Namespace};

use crate::blocking::blocking;
use crate::convert::timestamp;
use crate::refuse::refuse;

/// When a lease ends that nobody removed, because the daemon was killed.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes its lease when it is dropped, also when the call it was made for is given up.
pub(super) struct Held {
    leases: Arc<dyn Leases>,
    namespace: Namespace,
    /// The lease.
    pub(super) id: String,
}

impl Held {
    /// Makes a lease.
    pub(super) async fn begin(leases: Arc<dyn Leases>, namespace: Namespace) -> Result<Self, Status> {
        let id = uuid::Uuid::new_v4().to_string();
        let expires = timestamp(SystemTime::now() + EXPIRES).to_string();
        let labels = Labels::from([("containerd.io/gc.expire".to_owned(), expires)]);
        blocking(move || {
            leases.create(&namespace, &id, &labels).map_err(refuse)?;
            Ok(Self { leases, namespace, id })
        })
        .await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (leases, namespace, id) = (self.leases.clone(), self.namespace.clone(), std::mem::take(&mut self.id));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn_blocking(move || {
            if let Err(error) = leases.delete(&namespace, &id) {
                tracing::warn!(%namespace, id, %error, "a lease stays until it expires");
            }
        });
    }
}
