//! How long something that fails is tried again.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use super::Timing;

/// Waits of random length below a bound that doubles (full jitter, so that the agents of many stores do
/// not all come back at one moment), until it has been long enough.
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
        let bound = timing.backoff_min.saturating_mul(1 << doublings).min(timing.backoff_max);
        let most = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Some(Duration::from_micros(rand::rng().random_range(0..=most)))
    }

    /// It worked.
    pub(super) fn renew(&mut self) {
        *self = Self::new(self.whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_stay_below_their_bound_and_patience_ends() {
        let timing = Timing::default();
        let (mut patience, began) = (Patience::new(timing.patience), Instant::now());
        let mut longest = Duration::ZERO;
        let mut bound = timing.backoff_min;
        while let Some(wait) = patience.wait(&timing) {
            assert!(wait <= bound, "{wait:?} {bound:?}");
            bound = bound.saturating_mul(2).min(timing.backoff_max);
            longest = longest.max(wait);
            tokio::time::sleep(wait).await;
        }
        let ended = began.elapsed();
        assert!(ended >= timing.patience, "{ended:?}");
        assert!(ended <= timing.patience.saturating_add(timing.backoff_max), "{ended:?}");
        assert!(longest > timing.backoff_max / 2, "{longest:?}");
    }
}
