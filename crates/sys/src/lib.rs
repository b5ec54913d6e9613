//! The kernel: mounts, pidfds, openat2, sync; the one crate where unsafe may stand.
//!
//! It promises that a failure names what was being done to what, and that what it mounted in part it takes down again. It
//! decides nothing: what to mount, where and why is the caller's.

pub mod detach;
pub mod error;
pub mod fs;
pub mod loops;
pub mod memory;
pub mod mount;
pub mod process;

pub use error::{Error, Result};
