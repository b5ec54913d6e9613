//! containerd's gRPC services, each a thin adapter over one trait of the crates behind it.
//!
//! It promises that a request is answered with the code and the words of whoever refused it, that an event tells only of
//! what is on disk already, and that a client that vanishes leaves nothing half done. It stores nothing, runs nothing and
//! decides nothing: [`Services`] holds the traits that do.
//!
//! What is not built is registered all the same and answers `Unimplemented` with a sentence.

mod announce;
mod answer;
mod blocking;
mod call;
mod convert;
pub mod plugin;
mod refuse;
mod serve;
mod services;
pub mod shims;
mod stopping;
mod transfer;
mod service {
    //! One file a service.
    pub(crate) mod containers;
    pub(crate) mod content;
    pub(crate) mod diff;
    pub(crate) mod events;
    pub(crate) mod health;
    pub(crate) mod images;
    pub(crate) mod introspection;
    pub(crate) mod leases;
    pub(crate) mod mounts;
    pub(crate) mod namespaces;
    pub(crate) mod sandbox;
    pub(crate) mod snapshots;
    pub(crate) mod streaming;
    pub(crate) mod tasks;
    pub(crate) mod transfer;
    pub(crate) mod version;
}

pub use announce::{Announcer, event_field, publish_collected};
pub use serve::{MAX_MESSAGE_BYTES, router, serve};
pub use services::{Access, Identity, Registries, Services, Stores};
pub use stopping::{Stop, Stopping};
pub use transfer::Pulls;
