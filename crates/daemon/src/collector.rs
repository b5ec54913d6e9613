//! Runs the collector and tells of what it removed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wharf_events::Exchange;
use wharf_metadata::Database;
use wharf_mount::Mounts;

/// The collector, one run at a time.
pub(crate) struct Collector {
    database: Database,
    mounts: Arc<Mounts>,
    exchange: Arc<dyn Exchange>,
    running: Mutex<()>,
}

impl Collector {
    /// Collects in `database`, has `mounts` unmount what was collected, and tells `exchange`.
    pub(crate) fn new(database: Database, mounts: Arc<Mounts>, exchange: Arc<dyn Exchange>) -> Self {
        Self { database, mounts, exchange, running: Mutex::new(()) }
    }

    /// Removes what nothing holds on to. Blocks; a second caller waits and then runs again, since what it gave up may have
    /// come too late for the first.
    pub(crate) fn collect(&self) -> wharf_metadata::Result<()> {
        let _one_at_a_time = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let collected = self.database.collect()?;
        collected.removed.iter().for_each(|removed| wharf_server::publish_collected(&*self.exchange, removed));
        if let Err(error) = self.mounts.sweep() {
            tracing::warn!(%error, "mounts without record stay until the next collection");
        }
        let (removed, took) = (collected.removed.len(), began.elapsed());
        tracing::debug!(removed, ?took, "collected");
        Ok(())
    }
}
