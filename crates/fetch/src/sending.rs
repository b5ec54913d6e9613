//! Bytes on their way to a registry, watched: what stalls is given up.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use reqwest::{Body, RequestBuilder, Response};
use tokio::time::timeout;

use crate::config::Timeouts;
use crate::{ByteStream, Error, Result, answer};

/// A part of a blob as the body of one request.
pub(crate) struct Sending {
    pub(crate) body: Body,
    /// In bytes.
    pub(crate) length: u64,
    pub(crate) watch: Arc<Watch>,
}

/// What is known of a body that is being sent.
#[derive(Default)]
pub(crate) struct Watch {
    /// Bytes that were handed over for sending.
    taken: AtomicU64,
    ended: AtomicBool,
    failed: Mutex<Option<Error>>,
}

impl Sending {
    /// The first `length` bytes of a stream.
    pub(crate) fn new(stream: ByteStream, length: u64) -> Self {
        let watch = Arc::new(Watch::default());
        let body = Body::wrap_stream(Part { stream, left: length, watch: watch.clone() });
        Self { body, length, watch }
    }
}

impl Watch {
    /// Sends a request whose body this watches.
    pub(crate) async fn over(&self, request: RequestBuilder, timeouts: &Timeouts, doing: &str) -> Result<Response> {
        let sent = request.send();
        tokio::pin!(sent);
        let mut before = None;
        loop {
            let now = (self.taken.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed));
            if before == Some(now) {
                let what = if now.1 { "no answer to what was sent" } else { "nothing more can be sent" };
                return Err(answer::too_slow(doing, &format!("{what} after {} bytes", now.0)));
            }
            before = Some(now);
            let patience = if now.1 { timeouts.commit } else { timeouts.stall };
            if let Ok(answer) = timeout(patience, &mut sent).await {
                // Why the bytes could not be read says more than that the request ended early.
                let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
                return match (answer, failed) {
                    (Ok(response), _) => Ok(response),
                    (Err(_), Some(error)) => Err(error),
                    (Err(error), None) => Err(answer::transport(doing, error)),
                };
            }
        }
    }
}

/// The beginning of a stream.
struct Part {
    stream: ByteStream,
    left: u64,
    watch: Arc<Watch>,
}

impl Stream for Part {
    type Item = std::result::Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            self.watch.ended.store(true, Ordering::Relaxed);
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = self.stream.as_mut().poll_next(context) else { return Poll::Pending };
        Poll::Ready(match next {
            Some(Ok(mut bytes)) => {
                bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len()));
                self.left -= bytes.len() as u64;
                self.watch.taken.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                self.watch.ended.store(self.left == 0, Ordering::Relaxed);
                Some(Ok(bytes))
            }
            Some(Err(error)) => {
                let told = std::io::Error::other(error.to_string());
                *self.watch.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Some(Err(told))
            }
            None => None,
        })
    }
}
