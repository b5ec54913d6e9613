//! The exchange of one process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharf_types::{Any, Filters};

use crate::envelope::{Known, check_topic};
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
    /// Replaced as a whole, so that a publisher walks it without holding the lock.
    queues: Mutex<Arc<Vec<Arc<Queue>>>>,
}

impl Hub {
    /// A hub whose subscribers may have so much waiting, and whose filters can ask for `event.*` when there is a decoder.
    #[must_use]
    pub fn new(limits: Limits, decoder: Option<Decoder>) -> Self {
        Self { inner: Arc::new(Inner { limits, decoder, queues: Mutex::default() }) }
    }

    /// A hub whose filters can ask for `event.*`.
    #[must_use]
    pub fn with_decoder(decoder: Decoder) -> Self {
        Self::new(Limits::default(), Some(decoder))
    }
}

impl Exchange for Hub {
    fn publish(&self, envelope: Envelope) -> Result<()> {
        check_topic(&envelope.topic)?;
        let event = Arc::new(envelope);
        let known = Known { envelope: &event, decoder: self.inner.decoder };
        let queues = self.inner.queues().clone();
        queues.iter().filter(|queue| queue.filters.matches(&known)).for_each(|queue| queue.push(&event));
        Ok(())
    }

    fn subscribe(&self, filters: Filters) -> Subscription {
        let queue = Arc::new(Queue::new(filters, self.inner.limits));
        Arc::make_mut(&mut self.inner.queues()).push(queue.clone());
        Subscription { queue, hub: Arc::downgrade(&self.inner) }
    }
}

impl Inner {
    fn queues(&self) -> MutexGuard<'_, Arc<Vec<Arc<Queue>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the subscription that `queue` belongs to.
    pub(crate) fn forget(&self, queue: &Arc<Queue>) {
        Arc::make_mut(&mut self.queues()).retain(|other| !Arc::ptr_eq(other, queue));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queues().iter().for_each(|queue| queue.close());
    }
}

#[cfg(test)]
mod tests;
