//! Sandboxes: groups of containers that share a shim.

mod controller;
mod store;

pub(crate) use controller::Controller;
pub(crate) use store::Store;
