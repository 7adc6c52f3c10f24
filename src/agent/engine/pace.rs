//! No more blobs a second than the campaign allows.

use std::time::Duration;

use tokio::time::Instant;

/// When the next blobs may go. A batch goes at once and is paid for by the wait of the next.
pub(super) struct Pace {
    free: Instant,
}

// === impl Pace ===

impl Pace {
    pub(super) fn new() -> Self {
        Self { free: Instant::now() }
    }

    /// Waits until this many more may go, at so many a second; 0: as many as there are.
    pub(super) async fn take(&mut self, blobs: usize, per_second: u32) {
        if per_second == 0 {
            return;
        }
        tokio::time::sleep_until(self.free).await;
        let nanos = u64::try_from(blobs).unwrap_or(u64::MAX).saturating_mul(1_000_000_000);
        let cost = Duration::from_nanos(nanos.checked_div(per_second.into()).unwrap_or(0));
        let from = self.free.max(Instant::now());
        self.free = from.checked_add(cost).unwrap_or(from);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_whatever_the_batches() {
        for batch in [1, 7, 100] {
            let (start, mut pace, mut sent) = (Instant::now(), Pace::new(), 0);
            while start.elapsed() < Duration::from_secs(60) {
                pace.take(batch, 100).await;
                sent += batch;
            }
            assert!((5_900..=6_200).contains(&sent), "{batch}: {sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_earns_no_burst() {
        let mut pace = Pace::new();
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        let start = Instant::now();
        for _ in 0..11 {
            pace.take(10, 100).await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn no_rate_is_no_wait() {
        let (start, mut pace) = (Instant::now(), Pace::new());
        for _ in 0..1_000 {
            pace.take(1_000, 0).await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
