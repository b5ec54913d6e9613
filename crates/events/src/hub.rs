//! The exchange of one process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wharf_types::{Any, Filters};

use crate::envelope::{Known, check_topic};
use crate::late::Late;
use crate::queue::Queue;
use crate::{Envelope, Exchange, Limits, Result, Subscription};

/// Reads one field of an event, such as `["container_id"]`; nothing where the event is not known or has no such field.
pub type Decoder = fn(&Any, &[&str]) -> Option<String>;

/// An exchange in memory. Clones share one; subscriptions end when the last is dropped.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    inner: Arc<Inner>,
}

/// What the clones of a hub share.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    limits: Limits,
    decoder: Option<Decoder>,
    subscribers: Mutex<Subscribers>,
}

/// Who is subscribed, and what those get who come soon.
#[derive(Debug, Default)]
struct Subscribers {
    /// Replaced as a whole, so that a publisher walks it without holding the lock.
    queues: Arc<Vec<Arc<Queue>>>,
    late: Option<Late>,
}

impl Subscribers {
    fn late(&mut self) -> Option<&mut Late> {
        self.late.take_if(|late| late.is_over());
        self.late.as_mut()
    }
}

impl Hub {
    /// A hub whose subscribers may have so much waiting, and whose filters can ask for `event.*` when there is a decoder.
    #[must_use]
    pub fn new(limits: Limits, decoder: Option<Decoder>) -> Self {
        Self { inner: Arc::new(Inner { limits, decoder, subscribers: Mutex::default() }) }
    }

    /// A hub whose filters can ask for `event.*`.
    #[must_use]
    pub fn with_decoder(decoder: Decoder) -> Self {
        Self::new(Limits::default(), Some(decoder))
    }

    /// From now on, and for so long, events that are older than this moment are kept for those who subscribe: what happened
    /// while this exchange was not there reaches its subscribers although its publishers are back before them.
    pub fn keep_late(&self, window: Duration) {
        self.inner.subscribers().late = Some(Late::new(window, self.inner.limits));
    }
}

impl Exchange for Hub {
    fn publish(&self, envelope: Envelope) -> Result<()> {
        check_topic(&envelope.topic)?;
        let event = Arc::new(envelope);
        let known = Known { envelope: &event, decoder: self.inner.decoder };
        let queues = {
            let mut subscribers = self.inner.subscribers();
            if let Some(late) = subscribers.late() {
                late.keep(&event);
            }
            subscribers.queues.clone()
        };
        queues.iter().filter(|queue| queue.filters.matches(&known)).for_each(|queue| queue.push(&event));
        Ok(())
    }

    fn subscribe(&self, filters: Filters) -> Subscription {
        let queue = Arc::new(Queue::new(filters, self.inner.limits));
        let decoder = self.inner.decoder;
        let mut subscribers = self.inner.subscribers();
        if let Some(late) = subscribers.late() {
            late.hand_to(&queue, |envelope| queue.filters.matches(&Known { envelope, decoder }));
        }
        Arc::make_mut(&mut subscribers.queues).push(queue.clone());
        drop(subscribers);
        Subscription { queue, hub: Arc::downgrade(&self.inner) }
    }
}

impl Inner {
    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the subscription that `queue` belongs to.
    pub(crate) fn forget(&self, queue: &Arc<Queue>) {
        Arc::make_mut(&mut self.subscribers().queues).retain(|other| !Arc::ptr_eq(other, queue));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.subscribers().queues.iter().for_each(|queue| queue.close());
    }
}

#[cfg(test)]
mod tests;
