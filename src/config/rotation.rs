//! How much happens by itself, and up to when the clock was looked at.

use serde::Deserialize;
use toml::value::Datetime;

use super::{ConfigError, setting};

/// What the scheduler may do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// Keys that rotate by themselves, at most.
    pub rotations_per_hour_max: u32,
    /// Versions whose destruction is due that are destroyed, at most.
    pub destructions_per_hour_max: u32,
    /// A time at which somebody looked at the clock, and it was right. Up to then the clock is
    /// believed, even if no program was there to see the time pass.
    pub clock_checked: Option<Datetime>,
}

// === impl Rotation ===

impl Rotation {
    pub(super) fn checked(self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("rotation.rotations_per_hour_max", self.rotations_per_hour_max),
            ("rotation.destructions_per_hour_max", self.destructions_per_hour_max),
        ] {
            if !(1..=1_000_000).contains(&value) {
                return Err(setting(name, "must be from 1 to 1000000"));
            }
        }
        if self.clock_checked.is_some() && self.clock_checked_ms().is_none() {
            let problem = "must be a time in UTC, such as 2026-11-24T08:00:00Z";
            return Err(setting("rotation.clock_checked", problem));
        }
        Ok(())
    }

    /// [`Rotation::clock_checked`] in Unix milliseconds.
    pub fn clock_checked_ms(&self) -> Option<i64> {
        let checked = self.clock_checked?;
        let (date, time) = (checked.date?, checked.time?);
        checked.offset.filter(|offset| *offset == toml::value::Offset::Z)?;
        let days = days_since_1970(date.year.into(), date.month.into(), date.day.into());
        let seconds = [(days, 24), (time.hour.into(), 60), (time.minute.into(), 60)]
            .into_iter()
            .fold(0_i64, |sum, (count, factor)| sum.saturating_add(count).saturating_mul(factor));
        let seconds = seconds.saturating_add(time.second.unwrap_or(0).into());
        Some(seconds.saturating_mul(1_000))
    }
}

/// The days from 1970-01-01 to a day of the Gregorian calendar, after 1970. Years begin in March, so
/// that a leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let of_march = month.saturating_add(9).rem_euclid(12);
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let leap_days = year.div_euclid(4).saturating_sub(year.div_euclid(100));
    let leap_days = leap_days.saturating_add(year.div_euclid(400));
    let month_days = of_march.saturating_mul(153).saturating_add(2).div_euclid(5);
    let days = year.saturating_mul(365).saturating_add(leap_days).saturating_add(month_days);
    days.saturating_add(day).saturating_sub(DAYS_TO_1970)
}

/// From the first of March of year 0, and one more because days of a month begin at 1.
const DAYS_TO_1970: i64 = 719_469;

impl Default for Rotation {
    fn default() -> Self {
        Self { rotations_per_hour_max: 600, destructions_per_hour_max: 100, clock_checked: None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;

    fn checked_ms(text: &str) -> Option<i64> {
        let rotation: Rotation = toml::from_str(&format!("clock_checked = {text}")).unwrap();
        rotation.clock_checked_ms()
    }

    #[test]
    fn the_time_at_which_the_clock_was_looked_at_is_read_in_utc() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-11-24T08:00:00Z", 1_795_507_200),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(checked_ms(text), Some(seconds * 1_000), "{text}");
        }
        for bad in ["2026-11-24", "08:00:00", "2026-11-24T08:00:00", "2026-11-24T08:00:00+01:00"] {
            assert_eq!(checked_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_budget_is_at_least_one() {
        let none = Rotation { rotations_per_hour_max: 0, ..Rotation::default() };
        assert!(none.checked().is_err());
        assert!(Rotation::default().checked().is_ok());
    }
}
