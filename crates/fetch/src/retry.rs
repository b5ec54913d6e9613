//! When to try again, and after which pause.

use std::time::Duration;

use rand::RngExt as _;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::sleep;
use wharf_types::{ErrorKind, Kind as _};

use crate::Error;
use crate::answer::Cause;
use crate::config::Retries;

/// Counts attempts and pauses between them.
pub(crate) struct Tries {
    retries: Retries,
    left: u32,
    pause: Duration,
}

impl Tries {
    pub(crate) fn new(retries: Retries) -> Self {
        Self { retries, left: retries.attempts.saturating_sub(1), pause: retries.pause }
    }

    /// Waits before the next attempt: as long as the server wishes, within bounds. False when there is to be none.
    pub(crate) async fn pause(&mut self, wished: Option<Duration>) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        // Clients that were cut off together are not to come back together.
        let jitter = rand::rng().random_range(0.5..=1.0);
        let pause = wished.unwrap_or_else(|| self.pause.mul_f64(jitter));
        sleep(pause.min(self.retries.max_pause)).await;
        self.pause = self.pause.saturating_mul(2).min(self.retries.max_pause);
        true
    }
}

/// True for statuses that say that the same request may be answered later.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
        || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED)
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3). One that is a date counts as none.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// True for connections that broke; false for hosts that cannot be reached at all and for those that are silent.
pub(crate) fn may_help(error: &Error) -> bool {
    match error {
        Error::Transport { source, .. } => {
            error.kind() == ErrorKind::Unavailable
                && !source.downcast_ref::<Cause>().is_some_and(|cause| cause.connecting)
        }
        _ => false,
    }
}
