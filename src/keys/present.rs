//! What time it is, as far as it can be known: the wall clock says one thing, the time that was seen
//! to pass another, and nothing that must not happen too early rests on one of them alone.
//!
//! Attacks G06 and J09: a wall clock that jumps ten years makes nothing due, because nobody saw ten
//! years pass; one that goes back or stands still makes nothing due either, only late.

use crate::keys::Timestamp;

/// The present.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Present {
    /// The machine's clock, which people and the audit log see. May jump either way.
    wall: Timestamp,
    /// The earliest of all wall clocks that were asked: the machine's and the store's.
    earliest_wall: Timestamp,
    /// The time that was seen to pass. Never jumps and never goes back.
    witnessed: Timestamp,
}

// === impl Present ===

impl Present {
    /// What the machine's clock, the store's clock and the witnessed time say.
    pub fn new(wall: Timestamp, store: Timestamp, witnessed: Timestamp) -> Self {
        Self { wall, earliest_wall: wall.min(store), witnessed }
    }

    /// A present in which all clocks agree.
    pub fn of(now: Timestamp) -> Self {
        Self::new(now, now, now)
    }

    /// What the wall clock says: for whatever is shown, and compared with the audit log.
    pub fn wall(self) -> Timestamp {
        self.wall
    }

    /// The time that was seen to pass.
    pub fn witnessed(self) -> Timestamp {
        self.witnessed
    }

    /// The latest time that every clock has reached: what is due up to then is due.
    pub fn reached(self) -> Timestamp {
        self.earliest_wall.min(self.witnessed)
    }

    /// Whether every clock has reached `due`.
    pub fn has_reached(self, due: Timestamp) -> bool {
        due <= self.reached()
    }

    /// When a period begins that begins now: as early as any clock says, so that a clock that is ahead
    /// puts nothing off for years.
    pub fn period_start(self) -> Timestamp {
        if self.agrees() { self.wall } else { self.wall.min(self.witnessed) }
    }

    /// When a wait begins that begins now: as late as any clock says, so that one that is behind cuts
    /// no wait short.
    pub fn wait_start(self) -> Timestamp {
        if self.agrees() { self.wall } else { self.wall.max(self.witnessed) }
    }

    /// How far the wall clocks are ahead of the time that was seen to pass: for so long what they say
    /// is due is withheld.
    pub fn unwitnessed_ms(self) -> u64 {
        self.witnessed.until_ms(self.earliest_wall)
    }

    /// The witnessed time is stored every few seconds, so that a small difference is none.
    fn agrees(self) -> bool {
        let apart = self.witnessed.until_ms(self.wall).max(self.wall.until_ms(self.witnessed));
        apart <= AGREE_WITHIN_MS
    }
}

impl Timestamp {
    /// The witnessed time after a program has seen `passed_ms` go by: so much later, and drawn
    /// towards `wall` no faster than clocks are slewed.
    pub fn witness(self, passed_ms: u64, wall: Self) -> Self {
        let slew_ms = passed_ms.div_euclid(SLEW_ONE_IN);
        let passed = self.plus_ms(passed_ms);
        wall.clamp(passed.minus_ms(slew_ms), passed.plus_ms(slew_ms))
    }

    /// The witnessed time when a program takes over: nobody saw the silence before it pass, so that a
    /// clock is believed for a bounded part of it. Never past `wall`, never back.
    pub fn credit(self, silent_ms: u64, wall: Self) -> Self {
        self.max(wall.min(self.plus_ms(silent_ms.min(CREDIT_MS_MAX))))
    }
}

/// The most that a clock is believed about a time in which nothing ran, in milliseconds: 24 hours.
pub const CREDIT_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// One millisecond in so many that the wall clock may gain on the program's own: 500 ppm, the most
/// that a clock is slewed by NTP (RFC 5905).
const SLEW_ONE_IN: u64 = 2_000;
const AGREE_WITHIN_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::cast_possible_wrap)]
    use proptest::prelude::*;

    use super::*;

    const T: i64 = 1_790_000_000_000;
    const YEARS_10_MS: i64 = 10 * 365 * 24 * 60 * 60 * 1_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(T + ms)
    }

    #[test]
    fn g06_a_clock_that_jumps_makes_nothing_due_that_nobody_saw_come() {
        let ahead = Present::new(at(YEARS_10_MS), at(YEARS_10_MS), at(1_000));
        assert!(ahead.has_reached(at(1_000)));
        assert!(!ahead.has_reached(at(1_001)));
        let behind = Present::new(at(-YEARS_10_MS), at(1_000), at(1_000));
        assert!(!behind.has_reached(at(0)));
        let store_behind = Present::new(at(1_000), at(-1), at(1_000));
        assert!(!store_behind.has_reached(at(0)));
    }

    #[test]
    fn a_period_begins_early_and_a_wait_late_when_clocks_disagree() {
        for (wall, witnessed) in [(YEARS_10_MS, 0), (0, YEARS_10_MS)] {
            let present = Present::new(at(wall), at(wall), at(witnessed));
            assert_eq!(present.period_start(), at(0));
            assert_eq!(present.wait_start(), at(YEARS_10_MS));
        }
        let close = Present::new(at(10_000), at(10_000), at(0));
        assert_eq!((close.period_start(), close.wait_start()), (at(10_000), at(10_000)));
    }

    #[test]
    fn witnessed_time_follows_what_passed_and_never_the_clock_alone() {
        let hour = 3_600_000;
        assert_eq!(at(0).witness(hour, at(YEARS_10_MS)), at(3_601_800));
        assert_eq!(at(0).witness(hour, at(3_600_500)), at(3_600_500));
        assert_eq!(at(0).witness(hour, at(0)), at(3_598_200), "a clock that stands still");
        assert_eq!(at(0).witness(hour, at(-YEARS_10_MS)), at(3_598_200), "never back");
        assert_eq!(at(0).credit(u64::MAX, at(YEARS_10_MS)), at(24 * 3_600_000));
        assert_eq!(at(0).credit(5_000, at(YEARS_10_MS)), at(5_000));
        assert_eq!(at(0).credit(5_000, at(-1)), at(0));
    }

    proptest! {
        /// Whatever the wall does, time is not witnessed faster than it passes.
        #[test]
        fn j09_no_sequence_of_jumps_makes_time_pass(
            steps in prop::collection::vec((0_u64..100_000, -YEARS_10_MS..YEARS_10_MS), 1..50)
        ) {
            let (mut witnessed, mut passed) = (at(0), 0);
            for (passes, wall) in steps {
                passed += passes;
                let next = witnessed.witness(passes, at(wall));
                prop_assert!(next >= witnessed);
                witnessed = next;
            }
            prop_assert!(witnessed <= at((passed + passed / SLEW_ONE_IN) as i64));
        }
    }
}
