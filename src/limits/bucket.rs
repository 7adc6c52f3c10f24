//! One token bucket: the generic cell rate algorithm (ITU-T I.371) in one word of memory.

use std::sync::atomic::{AtomicU64, Ordering};

/// A bucket that holds one second's worth of tokens, is full at first and is filled at an even rate.
///
/// It keeps the time at which it will be full again; taking a token moves that time on. Never locks.
pub(super) struct Bucket {
    full_at_us: AtomicU64,
}

// === impl Bucket ===

impl Bucket {
    pub(super) const fn new() -> Self {
        Self { full_at_us: AtomicU64::new(0) }
    }

    /// Whether not one more token is there at `now_us`.
    pub(super) fn is_empty(&self, now_us: u64, per_second: u32) -> bool {
        let cost_us = SECOND_US.div_ceil(u64::from(per_second.max(1)));
        let full_at = self.full_at_us.load(Ordering::Acquire).max(now_us);
        full_at.saturating_add(cost_us) > now_us.saturating_add(SECOND_US)
    }

    /// Takes `tokens` at `now_us`, where `per_second` tokens come in. Otherwise: in how many
    /// microseconds they will be there. More than a second's worth is taken from a full bucket, and
    /// then has to be waited for.
    pub(super) fn take(&self, now_us: u64, tokens: u32, per_second: u32) -> Result<(), u64> {
        let rate = u64::from(per_second.max(1));
        let cost_us = u64::from(tokens).saturating_mul(SECOND_US).div_ceil(rate);
        let allowed_us = now_us.saturating_add(SECOND_US);
        let taken = self.full_at_us.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full_at| {
            let full_at = full_at.max(now_us).saturating_add(cost_us);
            (full_at <= allowed_us
                || cost_us > SECOND_US && full_at.saturating_sub(cost_us) <= now_us)
                .then_some(full_at)
        });
        match taken {
            Ok(_) => Ok(()),
            Err(full_at) => {
                let wanted = full_at.max(now_us).saturating_add(cost_us.min(SECOND_US));
                Err(wanted.saturating_sub(allowed_us))
            }
        }
    }
}

const SECOND_US: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_one_second_ahead(
            per_second in 1_u32..1_000,
            steps in proptest::collection::vec((0_u64..400_000, 1_u32..4), 1..200),
        ) {
            let (bucket, mut now, mut taken) = (Bucket::new(), 1_000_000_000, 0_u64);
            let began = now;
            let mut most = 0;
            for (wait, tokens) in steps {
                now += wait;
                if bucket.take(now, tokens, per_second).is_ok() {
                    taken += u64::from(tokens);
                    most = most.max(u64::from(tokens));
                }
                let came_in = (now - began) * u64::from(per_second) / SECOND_US;
                prop_assert!(taken <= came_in + u64::from(per_second) + most);
            }
        }

        #[test]
        fn what_was_refused_is_there_after_the_time_that_was_told(
            per_second in 1_u32..1_000, tokens in 1_u32..50,
        ) {
            let (bucket, now) = (Bucket::new(), 1_000_000_000);
            while bucket.take(now, tokens, per_second).is_ok() {}
            let wait = bucket.take(now, tokens, per_second).unwrap_err();
            prop_assert!(wait > 0);
            prop_assert_eq!(bucket.take(now + wait, tokens, per_second), Ok(()));
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_tokens_twice() {
        let bucket = Bucket::new();
        for _ in 0..10 {
            assert_eq!(bucket.take(5_000_000, 1, 10), Ok(()));
        }
        assert!(bucket.take(5_000_000, 1, 10).is_err());
        assert!(bucket.take(1_000_000, 1, 10).is_err());
    }
}
