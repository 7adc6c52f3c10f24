//! What time it is, passed in so that tests can stop it, move it and break it.
//!
//! Wall-clock time may jump either way, so nothing that must not happen twice or too early may rest on
//! it alone: [`Clock::running_ms`] says how much time this program has seen pass, and never jumps.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since the Unix epoch. Negative before it; saturates at the ends of `i64`.
    fn unix_us(&self) -> i64;

    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> i64 {
        self.unix_us().div_euclid(1_000)
    }

    /// Milliseconds that have passed since some moment of this program's run. Never goes back and never
    /// jumps; says nothing about the time of day.
    fn running_ms(&self) -> u64;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// A clock that stands where it was put.
#[derive(Debug)]
pub struct ManualClock {
    unix_us: AtomicI64,
    running_ms: AtomicU64,
}

// === impl SystemClock ===

impl Clock for SystemClock {
    fn unix_us(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_micros()).map_or(i64::MIN, i64::wrapping_neg)
            }
        }
    }

    fn running_ms(&self) -> u64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl ManualClock ===

impl ManualClock {
    /// A clock that stands at `unix_ms`.
    pub fn at_ms(unix_ms: i64) -> Self {
        Self {
            unix_us: AtomicI64::new(unix_ms.saturating_mul(1_000)),
            running_ms: AtomicU64::new(0),
        }
    }

    /// Lets time pass.
    pub fn advance_ms(&self, by_ms: i64) {
        self.jump_ms(by_ms);
        let passed = u64::try_from(by_ms).unwrap_or(0);
        self.running_ms.fetch_add(passed, Ordering::SeqCst);
    }

    /// Moves the time of day, forwards or back, without any time passing.
    pub fn jump_ms(&self, by_ms: i64) {
        let now = self.unix_us.load(Ordering::SeqCst);
        self.unix_us.store(now.saturating_add(by_ms.saturating_mul(1_000)), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_us(&self) -> i64 {
        self.unix_us.load(Ordering::SeqCst)
    }

    fn running_ms(&self) -> u64 {
        self.running_ms.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_it_is_moved() {
        let clock = ManualClock::at_ms(1_000);
        assert_eq!(clock.unix_ms(), 1_000);
        clock.advance_ms(-2_500);
        assert_eq!((clock.unix_ms(), clock.unix_us()), (-1_500, -1_500_000));
        clock.advance_ms(70);
        clock.jump_ms(1_000_000);
        assert_eq!((clock.unix_ms(), clock.running_ms()), (998_570, 70));
    }

    #[test]
    fn the_system_clock_is_past_2026() {
        assert!(SystemClock.unix_ms() > 1_767_225_600_000);
    }
}
