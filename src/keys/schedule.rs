//! How often a key rotates and how long a destruction waits. Milliseconds throughout.

use crate::keys::Timestamp;

/// How often a key rotates by itself: never, or every 1 hour to 2 years.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RotationPeriod(Option<u64>);

/// How long a destruction waits: 7 to 365 days.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DestroyWait(u64);

/// The duration is outside its limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be {0}")]
pub struct OutOfRange(&'static str);

// === impl OutOfRange ===

impl OutOfRange {
    /// Outside of what `lawful` says in words.
    pub(crate) const fn new(lawful: &'static str) -> Self {
        Self(lawful)
    }
}

// === impl RotationPeriod ===

impl RotationPeriod {
    /// 90 days.
    pub const DEFAULT: Self = Self(Some(90 * DAY_MS));
    /// The key rotates only when it is told to.
    pub const NEVER: Self = Self(None);
    /// 1 hour.
    pub const MIN_MS: u64 = HOUR_MS;
    /// 2 years of 365 days.
    pub const MAX_MS: u64 = 730 * DAY_MS;

    /// 0 means never.
    pub fn from_ms(millis: u64) -> Result<Self, OutOfRange> {
        match millis {
            0 => Ok(Self::NEVER),
            Self::MIN_MS..=Self::MAX_MS => Ok(Self(Some(millis))),
            _ => Err(OutOfRange("0 (never) or from 1 hour to 2 years")),
        }
    }

    /// The milliseconds; `None` for never.
    pub fn as_ms(self) -> Option<u64> {
        self.0
    }

    /// When a key rotates next whose last rotation was at `last`.
    pub fn next(self, last: Timestamp) -> Option<Timestamp> {
        self.0.map(|period_ms| last.plus_ms(period_ms))
    }
}

// === impl DestroyWait ===

impl DestroyWait {
    /// 30 days.
    pub const DEFAULT: Self = Self(30 * DAY_MS);
    /// 7 days.
    pub const MIN_MS: u64 = 7 * DAY_MS;
    /// 365 days.
    pub const MAX_MS: u64 = 365 * DAY_MS;

    /// From 7 to 365 days.
    pub fn from_ms(millis: u64) -> Result<Self, OutOfRange> {
        if (Self::MIN_MS..=Self::MAX_MS).contains(&millis) {
            Ok(Self(millis))
        } else {
            Err(OutOfRange("from 7 to 365 days"))
        }
    }

    /// When a destruction scheduled at `now` is due.
    pub fn after(self, now: Timestamp) -> Timestamp {
        now.plus_ms(self.0)
    }
}

const HOUR_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_rotation_period_is_never_or_an_hour_to_two_years() {
        assert_eq!(RotationPeriod::from_ms(0).unwrap().next(Timestamp::from_unix_ms(5)), None);
        for good in [HOUR_MS, HOUR_MS + 1, RotationPeriod::MAX_MS] {
            let next = RotationPeriod::from_ms(good).unwrap().next(Timestamp::from_unix_ms(0));
            assert_eq!(next, Some(Timestamp::from_unix_ms(0).plus_ms(good)));
        }
        for bad in [1, HOUR_MS - 1, RotationPeriod::MAX_MS + 1, u64::MAX] {
            assert!(RotationPeriod::from_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn g09_a_destruction_waits_at_least_seven_days() {
        for good in [DestroyWait::MIN_MS, DestroyWait::MAX_MS] {
            assert!(DestroyWait::from_ms(good).is_ok());
        }
        for bad in [0, DestroyWait::MIN_MS - 1, DestroyWait::MAX_MS + 1, u64::MAX] {
            assert!(DestroyWait::from_ms(bad).is_err(), "{bad}");
        }
    }
}
