//! Events of the time before the exchange was there, for those who subscribe soon after.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::queue::Queue;
use crate::{Envelope, Limits};

/// Keeps events that are older than itself, for a while.
///
/// Whoever publishes across a restart of the exchange (a shim, across the daemon's) may be back before its subscribers
/// are. Without this, what happened in between would reach nobody.
#[derive(Debug)]
pub(crate) struct Late {
    since: SystemTime,
    until: Instant,
    limits: Limits,
    kept: VecDeque<Arc<Envelope>>,
    bytes: usize,
}

impl Late {
    pub(crate) fn new(window: Duration, limits: Limits) -> Self {
        let now = Instant::now();
        let until = now.checked_add(window).unwrap_or(now);
        Self { since: SystemTime::now(), until, limits, kept: VecDeque::new(), bytes: 0 }
    }

    /// True when nothing is kept any more.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() > self.until
    }

    /// Keeps an event if it is older than the exchange. The oldest go when the limits are met: their publishers were back first,
    /// and their subscribers had the longest to come.
    pub(crate) fn keep(&mut self, event: &Arc<Envelope>) {
        if event.timestamp >= self.since {
            return;
        }
        self.bytes += event.cost();
        self.kept.push_back(event.clone());
        while self.kept.len() > self.limits.events || (self.bytes > self.limits.bytes && self.kept.len() > 1) {
            self.bytes -= self.kept.pop_front().map_or(0, |oldest| oldest.cost());
        }
    }

    /// Hands what is kept to a new subscriber.
    pub(crate) fn hand_to(&self, queue: &Queue, wanted: impl Fn(&Arc<Envelope>) -> bool) {
        self.kept.iter().filter(|event| wanted(event)).for_each(|event| queue.push(event));
    }
}
