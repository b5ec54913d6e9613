//! What the transfer service does, by its pairs of ends.

mod access;
mod bytes;
pub(crate) mod export;
mod held;
pub(crate) mod import;
mod names;
mod progress;
pub(crate) mod pull;
pub(crate) mod push;
mod save;
pub(crate) mod tag;

pub use held::Pulls;
pub(crate) use progress::Reporter;
