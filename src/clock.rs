//! What time it is, passed in so that tests can stop it, move it and break it.
//!
//! Wall-clock time may jump either way, so nothing that must not happen twice or too early may rest on
//! it alone: [`Clock::running_ms`] says how much time this program has seen pass, and never jumps.

use std::path::PathBuf;
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

/// The operating system's clock, ahead by as many milliseconds as a file says: a way to try out in a
/// minute what takes months. For development; the file is read again at most every 50 milliseconds.
///
/// What it is ahead by only grows, and counts as time that has passed.
#[derive(Debug)]
pub struct AheadClock {
    file: PathBuf,
    ahead_ms: AtomicU64,
    read_at_ms: AtomicU64,
}

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

// === impl AheadClock ===

impl AheadClock {
    /// A clock that is ahead by what stands in `file`, in decimal; by nothing while it is not there.
    pub fn new(file: PathBuf) -> Self {
        Self { file, ahead_ms: AtomicU64::new(0), read_at_ms: AtomicU64::new(0) }
    }

    fn ahead_ms(&self) -> u64 {
        let now_ms = SystemClock.running_ms().saturating_add(READ_EVERY_MS);
        let read_at_ms = self.read_at_ms.load(Ordering::Relaxed);
        if now_ms.saturating_sub(read_at_ms) >= READ_EVERY_MS {
            self.read_at_ms.store(now_ms, Ordering::Relaxed);
            let text = std::fs::read_to_string(&self.file).unwrap_or_default();
            if let Ok(ahead_ms) = text.trim().parse() {
                self.ahead_ms.fetch_max(ahead_ms, Ordering::SeqCst);
            }
        }
        self.ahead_ms.load(Ordering::SeqCst)
    }
}

impl Clock for AheadClock {
    fn unix_us(&self) -> i64 {
        let ahead_us = i64::try_from(self.ahead_ms().saturating_mul(1_000)).unwrap_or(i64::MAX);
        SystemClock.unix_us().saturating_add(ahead_us)
    }

    fn running_ms(&self) -> u64 {
        SystemClock.running_ms().saturating_add(self.ahead_ms())
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

const READ_EVERY_MS: u64 = 50;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_clock_is_ahead_by_what_its_file_says_and_never_less_than_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ahead");
        let at_start = AheadClock::new(file.clone());
        assert_eq!(at_start.ahead_ms(), 0);
        for (text, ahead_ms) in [("86400000\n", 86_400_000), ("never", 0), ("7", 7)] {
            std::fs::write(&file, text).unwrap();
            let clock = AheadClock::new(file.clone());
            assert_eq!(clock.ahead_ms(), ahead_ms, "{text:?}");
            assert!(clock.unix_ms() - SystemClock.unix_ms() + 1_000 > ahead_ms as i64);
            assert!(clock.running_ms() >= ahead_ms);
        }
        std::fs::write(&file, "9").unwrap();
        let clock = AheadClock::new(file.clone());
        assert_eq!(clock.ahead_ms(), 9);
        std::fs::write(&file, "3").unwrap();
        clock.read_at_ms.store(0, Ordering::Relaxed);
        assert_eq!(clock.ahead_ms(), 9);
    }

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
