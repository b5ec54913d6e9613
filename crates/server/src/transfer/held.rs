//! A lease for as long as a pull is under way, and a while longer where it was interrupted.
//!
//! What an interrupted pull has fetched is held for the next pull of the same image, which goes on from there and, once it is
//! done, lets go of all that its predecessors left. A pull that was refused leaves nothing to go on from.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tonic::{Code, Status};
use wharf_metadata::Leases;
use wharf_types::{Filters, Labels, Namespace, Reference, labels, rfc3339};

use crate::blocking::blocking;
use crate::refuse::refuse;

/// When a lease ends whose image nobody pulled again.
const EXPIRES: Duration = Duration::from_secs(24 * 60 * 60);

/// Says which image a lease was made for.
const PULL: &str = "io.wharf.transfer.pull";

/// The leases of pulls that are under way in this process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pulls(Arc<Mutex<BTreeSet<String>>>);

impl Pulls {
    fn live(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lease of a pull. Dropped without a word, because the call was given up, it stays for the next pull.
pub(super) struct Held {
    pulls: Pulls,
    leases: Arc<dyn Leases>,
    namespace: Namespace,
    reference: String,
    /// The lease.
    pub(super) id: String,
}

impl Held {
    /// Makes a lease.
    pub(super) async fn begin(
        pulls: Pulls,
        leases: Arc<dyn Leases>,
        namespace: Namespace,
        reference: &Reference,
    ) -> Result<Self, Status> {
        let (id, reference) = (uuid::Uuid::new_v4().to_string(), reference.to_string());
        let expires = rfc3339::format(SystemTime::now() + EXPIRES);
        let labels = Labels::from([(labels::GC_EXPIRE.to_owned(), expires), (PULL.to_owned(), reference.clone())]);
        blocking(move || {
            pulls.live().insert(id.clone());
            let held = Self { pulls, leases, namespace, reference, id };
            held.leases.create(&held.namespace, &held.id, &labels).map_err(refuse)?;
            Ok(held)
        })
        .await
    }

    /// The pull has ended. Where trying again may help, what it has is kept; otherwise this lease ends, and with it those that
    /// earlier pulls of the image left.
    pub(super) async fn end<T>(self, outcome: &Result<T, Status>) -> Result<(), Status> {
        if outcome.as_ref().is_err_and(|status| again(status.code())) {
            return Ok(());
        }
        blocking(move || {
            let mut ended = self.left()?;
            ended.push(self.id.clone());
            for id in ended {
                match self.leases.delete(&self.namespace, &id) {
                    Ok(()) => {}
                    // Another pull of the image was quicker, or somebody removed it by hand.
                    Err(error) => tracing::debug!(namespace = %self.namespace, id, %error, "a lease is gone already"),
                }
            }
            Ok(())
        })
        .await
    }

    /// The leases that earlier pulls of the image left.
    fn left(&self) -> Result<Vec<String>, Status> {
        let filter = format!("labels.\"{PULL}\"==\"{}\"", self.reference);
        let filters = Filters::parse(&[filter]).map_err(refuse)?;
        let found = self.leases.list(&self.namespace, &filters).map_err(refuse)?;
        let live = self.pulls.live();
        Ok(found.into_iter().map(|lease| lease.id).filter(|id| !live.contains(id)).collect())
    }
}

/// True for failures of the way, not of what came.
fn again(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted
    )
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pulls.live().remove(&self.id);
    }
}
