//! When the collector runs (containerd: `plugins/gc`): soon after the start, after enough changes, and never for more than its
//! share of the time.

mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use schedule::Schedule;
use tokio::sync::Notify;
use wharf_metadata::{Change, Database};

use crate::collector::Collector;
use crate::config::Gc;

/// How long after a failed run the next one comes.
const AGAIN: Duration = Duration::from_secs(1);

/// Changes since they were taken last.
#[derive(Default)]
struct Changes {
    all: AtomicU64,
    deletions: AtomicU64,
    some: Notify,
}

/// Runs `collector` by `config` for as long as the future is polled.
pub(crate) async fn run(config: Gc, database: &Database, collector: Arc<Collector>) {
    let changes = Arc::new(Changes::default());
    let seen = changes.clone();
    database.on_change(Arc::new(move |change: Change| seen.add(change)));
    let mut schedule = Schedule::new(config, Instant::now());
    loop {
        tokio::select! {
            () = changes.some.notified() => {
                let (all, deletions) = changes.take();
                schedule.changed(all, deletions, Instant::now());
            }
            () = until(schedule.next()) => {
                let (began, collector) = (Instant::now(), collector.clone());
                match tokio::task::spawn_blocking(move || collector.collect()).await {
                    Ok(Ok(())) => {
                        // Its own deletions are no reason to run again.
                        changes.take();
                        schedule.ran(began.elapsed(), Instant::now());
                    }
                    Ok(Err(error)) => {
                        tracing::error!(%error, "nothing was collected");
                        schedule.again(Instant::now() + AGAIN);
                    }
                    Err(error) => {
                        tracing::error!(%error, "the collector ended early");
                        schedule.again(Instant::now() + AGAIN);
                    }
                }
            }
        }
    }
}

impl Changes {
    /// Counts one; called on the thread that made it.
    fn add(&self, change: Change) {
        self.all.fetch_add(1, Ordering::Relaxed);
        self.deletions.fetch_add(u64::from(change.removed), Ordering::Relaxed);
        self.some.notify_one();
    }

    fn take(&self) -> (u64, u64) {
        (self.all.swap(0, Ordering::Relaxed), self.deletions.swap(0, Ordering::Relaxed))
    }
}

/// Waits for a point in time, for ever where there is none.
async fn until(next: Option<Instant>) {
    match next {
        Some(next) => tokio::time::sleep_until(next.into()).await,
        None => std::future::pending().await,
    }
}
