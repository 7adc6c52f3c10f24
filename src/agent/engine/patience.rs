//! How long something that fails is tried again.

use std::time::Duration;

use tokio::time::Instant;

use super::Timing;

/// Waits that double, until it has been long enough.
pub(super) struct Patience {
    whole: Duration,
    since: Option<Instant>,
    failed: u32,
}

// === impl Patience ===

impl Patience {
    pub(super) fn new(whole: Duration) -> Self {
        Self { whole, since: None, failed: 0 }
    }

    /// It failed again: how long to wait before the next try, or that it has been long enough.
    pub(super) fn wait(&mut self, timing: &Timing) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.whole {
            return None;
        }
        let doublings = self.failed.min(20);
        self.failed = self.failed.saturating_add(1);
        Some(timing.backoff_min.saturating_mul(1 << doublings).min(timing.backoff_max))
    }

    /// It worked.
    pub(super) fn renew(&mut self) {
        *self = Self::new(self.whole);
    }
}
