//! Publish and subscribe by topic and filter.
//!
//! [`Exchange`] promises that a publisher never waits for a subscriber, that events of one publisher arrive in their
//! order, and that a subscriber who was too slow is told how many events it missed. It never stores events and knows
//! nothing of what is in them.

use std::time::SystemTime;

use wharf_types::{Any, Namespace};

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
