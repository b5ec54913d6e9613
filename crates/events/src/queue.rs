//! What waits for one subscriber.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use wharf_types::Filters;

use crate::hub::Inner;
use crate::{Delivery, Envelope};

/// How much may wait for one subscriber. What comes when a limit is met is counted and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most events.
    pub events: usize,
    /// The most bytes of events. One event alone may be larger.
    pub bytes: usize,
}

impl Default for Limits {
    /// 8,192 events and 8 MiB: a minute of a node that starts a hundred containers in each second.
    fn default() -> Self {
        Self { events: 8192, bytes: 8 << 20 }
    }
}

/// The queue between the publishers and one subscriber.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) filters: Filters,
    limits: Limits,
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Between two gaps there is an event, so that the gaps are bounded as the events are.
    deliveries: VecDeque<Delivery>,
    events: usize,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(filters: Filters, limits: Limits) -> Self {
        Self { filters, limits, waiting: Mutex::default(), ready: Notify::new() }
    }

    /// No code of others runs while this is held, and each change is whole: a panic elsewhere leaves it usable.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event, or counts it as missed.
    pub(crate) fn push(&self, event: &Arc<Envelope>) {
        let mut waiting = self.waiting();
        let bytes = waiting.bytes + event.cost();
        let full = waiting.events >= self.limits.events || (waiting.events > 0 && bytes > self.limits.bytes);
        if !full {
            waiting.deliveries.push_back(Delivery::Event(event.clone()));
            waiting.events += 1;
            waiting.bytes = bytes;
        } else if let Some(Delivery::Missed(count)) = waiting.deliveries.back_mut() {
            *count += 1;
        } else {
            waiting.deliveries.push_back(Delivery::Missed(1));
        }
        drop(waiting);
        self.ready.notify_one();
    }

    /// Says that nothing follows what is queued.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.ready.notify_one();
    }

    /// The next delivery, and whether nothing follows.
    fn pop(&self) -> (Option<Delivery>, bool) {
        let mut waiting = self.waiting();
        let next = waiting.deliveries.pop_front();
        if let Some(Delivery::Event(event)) = &next {
            waiting.events -= 1;
            waiting.bytes -= event.cost();
        }
        (next, waiting.closed)
    }
}

/// A subscription. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) queue: Arc<Queue>,
    pub(crate) hub: Weak<Inner>,
}

impl Subscription {
    /// Waits for the next delivery; nothing once the exchange is gone and all it took was delivered.
    ///
    /// A future that is dropped before it is ready takes no delivery with it.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            let (next, closed) = self.queue.pop();
            if next.is_some() || closed {
                return next;
            }
            // Whatever was pushed since has left a permit: this returns at once.
            self.queue.ready.notified().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.forget(&self.queue);
        }
    }
}
