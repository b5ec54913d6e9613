//! The ways in which a registry misbehaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use wharf_types::Digest;

/// One way to misbehave. Those that concern the body apply to `GET` only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An empty refusal with this status.
    Status(u16),
    /// A status with a `Retry-After` header, in seconds or as a date.
    RetryAfter(u16, String),
    /// The right number of bytes, the last one wrong.
    WrongBytes,
    /// So many bytes fewer than there are, `Content-Length` saying so too.
    Truncated(u64),
    /// So many bytes more than there are, `Content-Length` saying so too.
    TooLong(u64),
    /// A wrong `Content-Length`; the connection is closed when the true bytes are sent.
    ContentLength(u64),
    /// No `Content-Length`, chunks instead.
    Chunked,
    /// The connection is closed after exactly so many bytes of the body.
    CutAfter(u64),
    /// The connection is reset after so many bytes of the body, of which the last ones may be lost.
    ResetAfter(u64),
    /// After so many bytes of the body nothing more comes; the connection stays open.
    StallAfter(u64),
    /// The request is read and never answered.
    NoAnswer,
    /// One byte of the body at a time, with this pause after each.
    Trickle(Duration),
    /// One byte of the headers at a time, with this pause after each.
    TrickleHeaders(Duration),
    /// `Range` is ignored: 200 and everything.
    IgnoreRange,
    /// 206 with a `Content-Range` that begins one byte later than asked.
    WrongContentRange,
    /// A redirect with this status to the same path at another origin (`http://host:port`).
    Redirect(u16, String),
    /// A redirect with this status to a full address.
    RedirectTo(u16, String),
    /// A redirect to itself.
    RedirectLoop,
    /// 200 with another body.
    Body(&'static str, Bytes),
    /// 200 with `Content-Length` and body of so many zeros.
    Zeros(u64),
    /// The right body with another `Content-Type`.
    ContentType(&'static str),
    /// The right body with another `Docker-Content-Digest`.
    DigestHeader(String),
    /// Of what a `PUT` or `PATCH` brings only so many bytes are taken; then the connection is closed without an answer.
    CutUpload(u64),
    /// Bytes that are no HTTP.
    Garbage,
}

/// What a fault concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// Requests for this digest, as a blob or a manifest.
    Digest(Digest),
    /// Requests whose path has this in it.
    Path(String),
    /// Requests of this method whose path has this in it.
    Method(&'static str, String),
    /// Every request.
    All,
}

impl From<&Digest> for On {
    fn from(digest: &Digest) -> Self {
        Self::Digest(digest.clone())
    }
}

impl From<&str> for On {
    fn from(path: &str) -> Self {
        Self::Path(path.to_owned())
    }
}

impl On {
    fn fits(&self, method: &str, path: &str) -> bool {
        match self {
            Self::Digest(digest) => path.ends_with(&digest.to_string()),
            Self::Path(part) => path.contains(part),
            Self::Method(wanted, part) => method == *wanted && path.contains(part),
            Self::All => true,
        }
    }
}

/// Limits a fault that was set.
#[derive(Debug)]
pub struct FaultHandle(Arc<AtomicU32>);

impl FaultHandle {
    /// The fault happens so many times from now on, and then no more.
    pub fn times(&self, times: u32) {
        self.0.store(times, Ordering::Relaxed);
    }
}

/// How slow the registry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// Before each answer.
    pub latency: Duration,
    /// Of each body, per connection.
    pub bytes_per_second: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(On, Fault, Arc<AtomicU32>)>);

impl Faults {
    pub(super) fn add(&mut self, on: On, fault: Fault) -> FaultHandle {
        let times = Arc::new(AtomicU32::new(u32::MAX));
        self.0.push((on, fault, times.clone()));
        FaultHandle(times)
    }

    /// The fault for a request, and one time fewer of it.
    pub(super) fn take(&self, method: &str, path: &str, ranged: bool) -> Option<Fault> {
        let fits = |(on, fault, times): &&(On, Fault, Arc<AtomicU32>)| {
            on.fits(method, path) && times.load(Ordering::Relaxed) > 0 && applies(fault, method, ranged)
        };
        let (_, fault, times) = self.0.iter().find(fits)?;
        if times.load(Ordering::Relaxed) != u32::MAX {
            times.fetch_sub(1, Ordering::Relaxed);
        }
        Some(fault.clone())
    }
}

fn applies(fault: &Fault, method: &str, ranged: bool) -> bool {
    match fault {
        Fault::IgnoreRange | Fault::WrongContentRange => ranged,
        Fault::CutUpload(_) => matches!(method, "PUT" | "PATCH"),
        Fault::WrongBytes
        | Fault::Truncated(_)
        | Fault::TooLong(_)
        | Fault::Chunked
        | Fault::CutAfter(_)
        | Fault::ResetAfter(_)
        | Fault::StallAfter(_)
        | Fault::Trickle(_) => method == "GET",
        _ => true,
    }
}
