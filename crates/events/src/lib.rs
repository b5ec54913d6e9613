//! Publish and subscribe by topic and filter.
//!
//! An [`Exchange`] promises that a publisher never waits for a subscriber, that events of one publisher arrive in their
//! order, and that a subscriber who was too slow is told how many events it missed. It never stores events and knows
//! nothing of what is in them.
//!
//! ```
//! use std::time::SystemTime;
//! use wharf_events::{Delivery, Envelope, Exchange, Hub};
//! use wharf_types::{Any, Filters};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::default();
//! let mut exits = hub.subscribe(Filters::parse(&["topic==\"/tasks/exit\""])?);
//! hub.publish(Envelope {
//!     timestamp: SystemTime::now(),
//!     namespace: "default".parse()?,
//!     topic: "/tasks/exit".to_owned(),
//!     event: Any::default(),
//! })?;
//! drop(hub);
//! assert!(matches!(exits.next().await, Some(Delivery::Event(event)) if event.topic == "/tasks/exit"));
//! assert!(exits.next().await.is_none());
//! # Ok(())
//! # }
//! ```

mod envelope;
pub mod error;
mod hub;
mod late;
mod queue;
#[cfg(feature = "testsuite")]
pub mod testsuite;

use std::sync::Arc;
use std::time::SystemTime;

pub use error::{Error, Result};
pub use hub::{Decoder, Hub};
pub use queue::{Limits, Subscription};
use wharf_types::{Any, Filters, Namespace};

/// Where events come in and go out.
pub trait Exchange: Send + Sync {
    /// Hands an event to every subscriber whose filters match it. Never waits.
    ///
    /// # Errors
    /// `InvalidArgument` for a topic that does not begin with `/` or has an empty or odd part.
    fn publish(&self, envelope: Envelope) -> Result<()>;

    /// Subscribes to events that `filters` match (fields: `topic`, `namespace`, and `event.*` where the event is known).
    /// What was published before is not seen, but for what
    /// an implementation keeps of the time before it was there ([`Hub::keep_late`]).
    fn subscribe(&self, filters: Filters) -> Subscription;
}

/// What travels from publisher to subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// When it was published first.
    pub timestamp: SystemTime,
    /// The namespace it happened in.
    pub namespace: Namespace,
    /// Such as `/tasks/exit`.
    pub topic: String,
    /// The event.
    pub event: Any,
}

/// What a subscriber receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// An event.
    Event(Arc<Envelope>),
    /// So many matching events were dropped here, because the subscriber was too slow.
    Missed(u64),
}
