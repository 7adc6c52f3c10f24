//! Times and spans, for people: an absolute time with how far away it is, and spans such as `90d`.
//!
//! Never trusts a time that came over the wire to be one: what lies outside the years 1 to 9999 is
//! said to be invalid.

use std::time::{SystemTime, UNIX_EPOCH};

use prost_types::{Duration, Timestamp};

/// Seconds since the Unix epoch.
pub(crate) fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(0)
}

/// `2026-11-24T03:55:12Z (3 days ago)`; `-` when absent.
pub(crate) fn shown(time: Option<&Timestamp>, now: i64) -> String {
    match time {
        None => "-".into(),
        Some(time) => match absolute(time.seconds, 0) {
            None => "invalid".into(),
            Some(text) => format!("{text} ({})", relative(time.seconds, now)),
        },
    }
}

/// RFC 3339 in UTC with as many digits of the second as it has; `None` outside the years 1 to 9999.
pub(crate) fn rfc3339(time: &Timestamp) -> Option<String> {
    absolute(time.seconds, time.nanos)
}

/// How far `seconds` is from `now`, in its largest unit.
fn relative(seconds: i64, now: i64) -> String {
    let away = seconds.saturating_sub(now);
    let size = away.unsigned_abs();
    let (count, unit) = UNITS
        .iter()
        .find(|(length, _, _)| size >= *length)
        .map_or((0, "second"), |(length, _, name)| (size.checked_div(*length).unwrap_or(0), name));
    let plural = if count == 1 { "" } else { "s" };
    match away {
        0 => "now".into(),
        1.. => format!("in {count} {unit}{plural}"),
        _ => format!("{count} {unit}{plural} ago"),
    }
}

/// A span in its two largest units: `90d`, `1d 12h`, `4m 5s`; `-` when absent.
pub(crate) fn span(duration: Option<&Duration>) -> String {
    let Some(duration) = duration else { return "-".into() };
    let Ok(mut left) = u64::try_from(duration.seconds) else { return "invalid".into() };
    let mut parts = Vec::new();
    for (length, letter, _) in UNITS {
        let count = left.checked_div(length).unwrap_or(0);
        left = left.checked_rem(length).unwrap_or(0);
        if count > 0 && parts.len() < 2 {
            parts.push(format!("{count}{letter}"));
        } else if !parts.is_empty() {
            break;
        }
    }
    if parts.is_empty() { "0s".into() } else { parts.join(" ") }
}

/// Parses `90d`, `12h`, `30m`, `45s`, `2w`, or `0`.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a span such as 90d, 12h, 30m or 45s");
    if text == "0" {
        return Ok(Duration { seconds: 0, nanos: 0 });
    }
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let length: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let count: i64 = number.parse().map_err(|_| wrong())?;
    let seconds = count.checked_mul(length).filter(|s| *s <= SPAN_MAX_SECONDS).ok_or_else(wrong)?;
    Ok(Duration { seconds, nanos: 0 })
}

/// The same, or `never`, which is zero.
pub(crate) fn parse_rotation_period(text: &str) -> Result<Duration, String> {
    match text {
        "never" => Ok(Duration { seconds: 0, nanos: 0 }),
        other => parse_span(other).map_err(|wrong| format!("{wrong}, or never")),
    }
}

/// Parses RFC 3339, such as `2027-01-15T08:00:00Z`.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let time = text.parse().ok().filter(|time| text.contains('T') && rfc3339(time).is_some());
    time.ok_or_else(|| format!("{text:?} is not a time such as 2027-01-15T08:00:00Z"))
}

/// The same, or how long ago it was, as a span.
pub(crate) fn parse_past(text: &str) -> Result<Timestamp, String> {
    match parse_span(text) {
        Ok(ago) => Ok(Timestamp { seconds: unix_now().saturating_sub(ago.seconds), nanos: 0 }),
        Err(_) => parse_time(text).map_err(|wrong| format!("{wrong}, or how long ago, such as 7d")),
    }
}

/// The same as [`parse_time`], or in how long it is, as a span.
pub(crate) fn parse_future(text: &str) -> Result<Timestamp, String> {
    match parse_span(text) {
        Ok(away) => Ok(Timestamp { seconds: unix_now().saturating_add(away.seconds), nanos: 0 }),
        Err(_) => parse_time(text).map_err(|wrong| format!("{wrong}, or in how long, such as 8h")),
    }
}

/// The same as [`parse_time`], or `never`, which is the Unix epoch.
pub(crate) fn parse_rotation_time(text: &str) -> Result<Timestamp, String> {
    match text {
        "never" => Ok(Timestamp::default()),
        other => parse_time(other).map_err(|wrong| format!("{wrong}, or never")),
    }
}

fn absolute(seconds: i64, nanos: i32) -> Option<String> {
    let lawful = (YEAR_1..=YEAR_9999_END).contains(&seconds) && (0..1_000_000_000).contains(&nanos);
    lawful.then(|| Timestamp { seconds, nanos }.to_string())
}

/// Length in seconds, letter, name; the largest first.
const UNITS: [(u64, &str, &str); 4] =
    [(86_400, "d", "day"), (3_600, "h", "hour"), (60, "m", "minute"), (1, "s", "second")];

/// Ten thousand years: beyond any limit of the server, and far from where arithmetic ends.
const SPAN_MAX_SECONDS: i64 = 315_576_000_000;

const YEAR_1: i64 = -62_135_596_800;
const YEAR_9999_END: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 5 })
    }

    #[test]
    fn a_time_is_shown_with_how_far_away_it_is() {
        let now = 1_800_000_000;
        for (seconds, text) in [
            (now, "2027-01-15T08:00:00Z (now)"),
            (now - 1, "2027-01-15T07:59:59Z (1 second ago)"),
            (now + 119, "2027-01-15T08:01:59Z (in 1 minute)"),
            (now - 3 * 86_400, "2027-01-12T08:00:00Z (3 days ago)"),
            (now + 90 * 86_400, "2027-04-15T08:00:00Z (in 90 days)"),
        ] {
            assert_eq!(shown(at(seconds).as_ref(), now), text);
        }
        assert_eq!(shown(None, now), "-");
    }

    #[test]
    fn a_time_that_cannot_be_is_said_to_be_invalid() {
        for seconds in [i64::MIN, YEAR_1 - 1, YEAR_9999_END + 1, i64::MAX] {
            assert_eq!(shown(at(seconds).as_ref(), 0), "invalid");
        }
        assert_eq!(rfc3339(&Timestamp { seconds: 0, nanos: -1 }), None);
        assert_eq!(rfc3339(&Timestamp { seconds: 0, nanos: i32::MAX }), None);
        assert_eq!(span(Some(&Duration { seconds: -1, nanos: 0 })), "invalid");
        assert!(span(Some(&Duration { seconds: i64::MAX, nanos: 0 })).ends_with('h'));
    }

    #[test]
    fn spans_are_read_and_written_in_the_same_words() {
        for (text, seconds) in [
            ("90d", 7_776_000),
            ("12h", 43_200),
            ("30m", 1_800),
            ("45s", 45),
            ("9999d", 863_913_600),
        ] {
            let parsed = parse_span(text).unwrap();
            assert_eq!((parsed.seconds, span(Some(&parsed))), (seconds, text.to_owned()));
        }
        assert_eq!(span(Some(&Duration { seconds: 129_600, nanos: 0 })), "1d 12h");
        assert_eq!(span(Some(&Duration { seconds: 86_405, nanos: 0 })), "1d");
        assert_eq!(parse_rotation_period("never").unwrap().seconds, 0);
        for bad in ["", "d", "-1d", "+1d", "1.5d", "90 d", "90", "1y", "99999999999999999999d", "é"]
        {
            assert!(parse_span(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_time_is_given_in_full_or_as_how_long_ago_it_was() {
        let seconds = 1_800_000_000;
        for text in ["2027-01-15T08:00:00Z", "2027-01-15T09:30:00+01:30"] {
            assert_eq!(parse_time(text).unwrap(), Timestamp { seconds, nanos: 0 });
        }
        let ago = unix_now() - parse_past("7d").unwrap().seconds;
        assert!((604_800..604_860).contains(&ago), "{ago}");
        assert_eq!(parse_past("2027-01-15T08:00:00Z").unwrap().seconds, seconds);
        let away = parse_future("8h").unwrap().seconds - unix_now();
        assert!((28_740..=28_800).contains(&away), "{away}");
        assert_eq!(parse_future("2027-01-15T08:00:00Z").unwrap().seconds, seconds);
        assert!(parse_future("soon").is_err());
        assert_eq!(parse_rotation_time("never").unwrap(), Timestamp::default());
        for bad in ["", "2027-01-15", "08:00", "tomorrow", "2027-13-01T00:00:00Z", "1800000000"] {
            assert!(parse_time(bad).is_err(), "{bad:?}");
        }
    }
}
