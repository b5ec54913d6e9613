//! Descriptors under tokio's eyes.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor for readiness.
///
/// # Errors
/// `EPERM` for what has none, such as a regular file.
#[allow(deprecated, reason = "the successor is unsafe for types whose descriptor may change; an OwnedFd's cannot")]
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
