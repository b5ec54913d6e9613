//! Signals.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits until the process is told to stop (SIGTERM, SIGINT) and says by what. SIGHUP and SIGUSR1, which others send to have
/// a configuration read again or stacks printed, are taken and have no effect.
///
/// # Errors
/// When signals cannot be taken.
pub(crate) async fn told_to_stop() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut user = signal(SignalKind::user_defined1())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("SIGTERM"),
            _ = interrupt.recv() => return Ok("SIGINT"),
            _ = hangup.recv() => tracing::info!("SIGHUP has no effect: restart to have the configuration read again"),
            _ = user.recv() => tracing::info!("SIGUSR1 has no effect"),
        }
    }
}
