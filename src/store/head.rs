//! Tells who waits that the head has moved. It only hints; the rows are what counts.

use std::time::Duration;

use tokio::sync::watch;

use super::rows::WAIT_HINT_MS_MAX;

/// The newest revision, as those who wait for it see it.
#[derive(Debug)]
pub(super) struct Head(watch::Sender<u64>);

// === impl Head ===

impl Head {
    pub(super) fn new(revision: u64) -> Head {
        Head(watch::Sender::new(revision))
    }

    pub(super) fn announce(&self, revision: u64) {
        self.0.send_if_modified(|head| {
            let is_newer = revision > *head;
            *head = revision.max(*head);
            is_newer
        });
    }

    /// Returns once the head is beyond `after`, or after [`WAIT_HINT_MS_MAX`].
    pub(super) async fn wait_beyond(&self, after: u64) {
        let mut head = self.0.subscribe();
        let moved = head.wait_for(|head| *head > after);
        // Out of time is no error: the caller looks either way.
        let _ = tokio::time::timeout(Duration::from_millis(WAIT_HINT_MS_MAX), moved).await;
    }
}
