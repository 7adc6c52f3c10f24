//! How often a key rotates and how long a destruction waits. Milliseconds throughout.

use crate::keys::{KeyId, Timestamp};

/// How often a key rotates by itself: never, or every 1 hour to 2 years.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RotationPeriod(Option<u64>);

/// How much a version wraps before its key rotates, in wraps or in bytes: so much, or any amount.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RotationLimit(Option<u64>);

/// Why a key rotates: one of its limits was reached, or somebody asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trigger {
    /// Its period is over.
    Period,
    /// Its Active version has wrapped so often.
    Wraps,
    /// Its Active version has wrapped so many bytes.
    Bytes,
    /// Its date has come.
    Date,
    /// A caller asked for it.
    Manual,
    /// Its Active version was compromised.
    Compromise,
}

/// How long a destruction waits: 7 to 365 days.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DestroyWait(u64);

/// The duration or number is outside its limits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be {0}")]
pub struct OutOfRange(pub(super) &'static str);

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

    /// When a key whose period began at `start` has rotated at the latest.
    pub fn end(self, start: Timestamp) -> Option<Timestamp> {
        self.0.map(|period_ms| start.plus_ms(period_ms))
    }

    /// When the key `id`, whose period began at `start`, is rotated: up to a tenth of the period and
    /// up to a day before its end, always the same for the same key, so that keys that were made
    /// together do not rotate together.
    pub fn due(self, start: Timestamp, id: KeyId) -> Option<Timestamp> {
        self.0.map(|period_ms| start.plus_ms(period_ms).minus_ms(jitter_ms(period_ms, id)))
    }
}

// === impl RotationLimit ===

impl RotationLimit {
    /// Any amount.
    pub const NEVER: Self = Self(None);
    /// The fewest wraps: fewer would make a busy key use up what others may rotate in an hour.
    pub const WRAPS_MIN: u64 = 100;
    /// The fewest bytes: the largest plaintext of one call.
    pub const BYTES_MIN: u64 = 4_096;
    /// The largest number of either that every program reads exactly: 2^53.
    pub const MAX: u64 = 1 << 53;

    /// So many wraps; 0 means never.
    pub fn wraps(wraps: u64) -> Result<Self, OutOfRange> {
        match wraps {
            0 => Ok(Self::NEVER),
            Self::WRAPS_MIN..=Self::MAX => Ok(Self(Some(wraps))),
            _ => Err(OutOfRange("0 (never) or from 100 to 2^53")),
        }
    }

    /// So many bytes; 0 means never.
    pub fn bytes(bytes: u64) -> Result<Self, OutOfRange> {
        match bytes {
            0 => Ok(Self::NEVER),
            Self::BYTES_MIN..=Self::MAX => Ok(Self(Some(bytes))),
            _ => Err(OutOfRange("0 (never) or from 4096 to 2^53")),
        }
    }

    /// The number; 0 for never.
    pub fn as_u64(self) -> u64 {
        self.0.unwrap_or(0)
    }

    /// Whether `amount` is as much as may be.
    pub fn is_reached(self, amount: u64) -> bool {
        self.0.is_some_and(|limit| limit <= amount)
    }
}

// === impl Trigger ===

impl Trigger {
    /// Every trigger.
    pub const ALL: [Self; 6] =
        [Self::Period, Self::Wraps, Self::Bytes, Self::Date, Self::Manual, Self::Compromise];

    /// The name that people use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Period => "period",
            Self::Wraps => "wraps",
            Self::Bytes => "bytes",
            Self::Date => "date",
            Self::Manual => "manual",
            Self::Compromise => "compromise",
        }
    }

    /// Whether the key was due, and nobody asked for it to rotate.
    pub const fn is_due(self) -> bool {
        !matches!(self, Self::Manual | Self::Compromise)
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

    /// The milliseconds.
    pub fn as_ms(self) -> u64 {
        self.0
    }

    /// When a destruction scheduled at `now` is due.
    pub fn after(self, now: Timestamp) -> Timestamp {
        now.plus_ms(self.0)
    }
}

/// How much before the end of its period a key rotates: drawn from its id, which is random.
fn jitter_ms(period_ms: u64, id: KeyId) -> u64 {
    let most = period_ms.div_euclid(10).min(DAY_MS);
    let (draw, _) = id.as_bytes().split_at(8);
    let draw = draw.iter().fold(0_u64, |draw, byte| draw << 8 | u64::from(*byte));
    // A fraction of 2^64, so that the result is below `most`.
    let share = u128::from(most).saturating_mul(u128::from(draw)) >> 64;
    u64::try_from(share).unwrap_or(most)
}

const HOUR_MS: u64 = 60 * 60 * 1_000;
const DAY_MS: u64 = 24 * HOUR_MS;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn a_rotation_period_is_never_or_an_hour_to_two_years() {
        assert_eq!(RotationPeriod::from_ms(0).unwrap().end(Timestamp::from_unix_ms(5)), None);
        for good in [HOUR_MS, HOUR_MS + 1, RotationPeriod::MAX_MS] {
            let next = RotationPeriod::from_ms(good).unwrap().end(Timestamp::from_unix_ms(0));
            assert_eq!(next, Some(Timestamp::from_unix_ms(0).plus_ms(good)));
        }
        for bad in [1, HOUR_MS - 1, RotationPeriod::MAX_MS + 1, u64::MAX] {
            assert!(RotationPeriod::from_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_rotates_before_the_end_of_its_period_by_a_tenth_or_a_day_at_most() {
        let start = Timestamp::from_unix_ms(0);
        for (period_ms, most_ms) in [(HOUR_MS, HOUR_MS / 10), (90 * DAY_MS, DAY_MS)] {
            let period = RotationPeriod::from_ms(period_ms).unwrap();
            let early = |id: [u8; 16]| {
                let due = period.due(start, KeyId::from_bytes(id)).unwrap();
                due.until_ms(period.end(start).unwrap())
            };
            assert_eq!(early([0; 16]), 0);
            assert_eq!(early([255; 16]), most_ms - 1);
            let mut half = [0; 16];
            half[0] = 0x80;
            assert_eq!(early(half), most_ms / 2);
        }
        assert_eq!(RotationPeriod::NEVER.due(start, KeyId::from_bytes([9; 16])), None);
    }

    #[test]
    fn a_limit_is_reached_at_its_number_and_never_without_one() {
        let limit = RotationLimit::wraps(100).unwrap();
        assert!(!limit.is_reached(99) && limit.is_reached(100));
        assert!(!RotationLimit::wraps(0).unwrap().is_reached(u64::MAX));
        assert!(RotationLimit::bytes(4_096).is_ok() && RotationLimit::bytes(1 << 53).is_ok());
        for bad in [1, 99, (1 << 53) + 1, u64::MAX] {
            assert!(RotationLimit::wraps(bad).is_err() && RotationLimit::bytes(bad).is_err());
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
