//! Stopping without dropping anything: one switch that every accept loop and every connection watches.
//!
//! Once it is thrown nothing new is accepted, clients are told to go elsewhere (GOAWAY), and requests
//! in flight end, up to a deadline. Never thrown back.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Throws the switch.
#[derive(Debug)]
pub struct DrainSwitch(watch::Sender<bool>);

/// Watches the switch.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<bool>);

/// A switch that has not been thrown, and who watches it.
pub fn drain() -> (DrainSwitch, Drain) {
    let (sender, receiver) = watch::channel(false);
    (DrainSwitch(sender), Drain(receiver))
}

/// Resolves when the process is asked to stop: SIGTERM or SIGINT.
///
/// # Errors
/// When the signals cannot be caught, so that the process must not start as if they could.
pub fn terminated() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

// === impl DrainSwitch ===

impl DrainSwitch {
    /// Asks everybody who watches to come to an end. A second time is nothing.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

// === impl Drain ===

impl Drain {
    /// Whether the switch was thrown.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Resolves when the switch is thrown. Never, when it is dropped without.
    pub async fn requested(&self) {
        let mut watched = self.0.clone();
        if watched.wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn those_who_watch_hear_of_it_before_and_after() {
        let (switch, drain) = drain();
        assert!(!drain.is_requested() && drain.requested().now_or_never().is_none());
        switch.request();
        assert!(drain.is_requested() && drain.requested().now_or_never().is_some());
        switch.request();
        drop(switch);
        assert!(drain.requested().now_or_never().is_some());
    }

    #[test]
    fn a_switch_that_is_dropped_was_not_thrown() {
        let (switch, drain) = drain();
        drop(switch);
        assert!(drain.requested().now_or_never().is_none());
    }
}
