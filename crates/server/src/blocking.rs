//! Work that blocks, and work that must not be given up midway.

use std::future::Future;

use tonic::Status;
use tracing::{Instrument, Span};

/// Runs `work` on a thread for blocking work. It runs to its end even when the caller is gone, so that a record and the event
/// that tells of it are never parted.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let span = Span::current();
    ended(tokio::task::spawn_blocking(move || span.in_scope(work)).await)
}

/// Runs `work` to its end even when the caller is gone.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    ended(tokio::spawn(work.in_current_span()).await)
}

/// A panic in one call is an error of that call.
fn ended<T>(result: Result<Result<T, Status>, tokio::task::JoinError>) -> Result<T, Status> {
    result.unwrap_or_else(|error| {
        tracing::error!(%error, "a call ended early");
        Err(Status::internal(format!("the call ended early: {error}")))
    })
}
