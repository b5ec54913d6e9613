//! Tells calls that would wait for ever that the daemon is about to stop.

use tokio::sync::watch;

/// Says it, by being dropped.
#[derive(Debug)]
pub struct Stop(#[expect(dead_code, reason = "its drop is what it says")] watch::Sender<()>);

/// Hears it.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<()>);

impl Stopping {
    /// Both ends.
    #[must_use]
    pub fn new() -> (Stop, Self) {
        let (sender, receiver) = watch::channel(());
        (Stop(sender), Self(receiver))
    }

    /// Waits until the other end is dropped.
    pub async fn stopped(&self) {
        let mut receiver = self.0.clone();
        while receiver.changed().await.is_ok() {}
    }
}
