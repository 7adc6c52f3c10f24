//! A record as one line of JSON in ASCII alone, which every kind of sink sends.
//!
//! Whatever is no printable ASCII is written as `\uXXXX`: no record can begin a line, colour, hide or
//! reorder anything wherever the line is shown (H05). What does not fit is left out and named; what
//! identifies the record never is. Holds what the log holds and nothing else: hashed context values stay
//! hashed.

use std::fmt::Write as _;

use prost_types::Timestamp;
use serde::Serialize;

use crate::audit::{Record, RecordItem};
use crate::trail::Entry;

/// The line of this record, without a line feed; of at most about `bytes_max`.
pub(super) fn line(entry: &Entry, bytes_max: usize) -> String {
    let mut shown = Line::new(entry);
    let mut text = shown.text();
    for (name, leave_out) in LEFT_OUT {
        if text.len() <= bytes_max {
            break;
        }
        leave_out(&mut shown);
        shown.left_out.push(name);
        text = shown.text();
    }
    text
}

/// Microseconds since the Unix epoch as RFC 3339 has them, in UTC, all six digits of the second.
pub(super) fn rfc3339(unix_us: i64) -> String {
    let (seconds, micros) = (unix_us.div_euclid(1_000_000), unix_us.rem_euclid(1_000_000));
    let second = Timestamp { seconds, nanos: 0 }.to_string();
    format!("{}.{micros:06}Z", second.trim_end_matches('Z'))
}

#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    id: String,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    tenant_sequence: u64,
    principal: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    credential_kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    end_user: &'a str,
    action: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    class: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    version: u64,
    #[serde(skip_serializing_if = "is_zero")]
    store: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    encryption_context: Vec<Pair<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    items: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    item_details: Vec<Item<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<Destination>,
    #[serde(skip_serializing_if = "is_zero")]
    wrapped_bytes: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source_address: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    started_sequence: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    policy_revision: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    approval: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    latency_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    items_root: Option<String>,
    hash: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<&'static str>,
}

#[derive(Serialize)]
struct Pair<'a> {
    key: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct Destination {
    key_id: String,
    version: u32,
    store: u32,
}

#[derive(Serialize)]
struct Item<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    version: u32,
    store: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    class: &'a str,
    count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<Destination>,
    #[serde(skip_serializing_if = "is_zero")]
    wrapped_bytes: u64,
}

// === impl Line ===

impl<'a> Line<'a> {
    fn new(entry: &'a Entry) -> Self {
        let record = &entry.record;
        Self {
            sequence: entry.sequence,
            id: hex::encode(record.id),
            time: rfc3339(record.time_us),
            tenant_id: record.tenant.map(|tenant| tenant.to_string()),
            tenant_sequence: record.tenant_sequence,
            principal: &record.principal,
            credential_kind: &record.credential_kind,
            end_user: &record.end_user,
            action: &record.action,
            outcome: record.outcome.as_str(),
            reason: &record.reason,
            class: &record.class,
            key_id: record.key.map(|key| key.to_string()),
            version: record.version.into(),
            store: record.store.into(),
            encryption_context: pairs(record),
            items: record.items.into(),
            item_details: record.item_details.iter().map(Item::new).collect(),
            destination: record.destination.map(Destination::new),
            wrapped_bytes: record.wrapped_bytes,
            request_id: &record.request_id,
            source_address: &record.source_address,
            detail: &record.detail,
            started_sequence: record.started_sequence,
            policies: record.policies.iter().map(|policy| &**policy).collect(),
            policy_revision: record.policy_revision,
            approval: &record.approval,
            latency_us: record.latency_us,
            items_root: record.items_root.map(hex::encode),
            hash: hex::encode(entry.hash),
            left_out: Vec::new(),
        }
    }

    fn text(&self) -> String {
        // Strings, numbers and lists of them: this cannot fail.
        ascii(&serde_json::to_string(self).unwrap_or_default())
    }
}

// === impl Item ===

impl<'a> Item<'a> {
    fn new(item: &'a RecordItem<'_>) -> Self {
        Self {
            key_id: item.key.map(|key| key.to_string()),
            version: item.version,
            store: item.store,
            reason: &item.reason,
            class: &item.class,
            count: item.count,
            destination: item.destination.map(Destination::new),
            wrapped_bytes: item.wrapped_bytes,
        }
    }
}

// === impl Destination ===

impl Destination {
    fn new(destination: crate::audit::Destination) -> Self {
        let crate::audit::Destination { key, version, store } = destination;
        Self { key_id: key.to_string(), version, store }
    }
}

fn pairs<'a>(record: &'a Record<'_>) -> Vec<Pair<'a>> {
    record.context.iter().map(|(key, value)| Pair { key, value }).collect()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// JSON in which every character that is no printable ASCII is written by its code.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

type LeaveOut = for<'l, 'a> fn(&'l mut Line<'a>);

/// What is left out, in this order, of a record that is too long.
const LEFT_OUT: [(&str, LeaveOut); 5] = [
    ("item_details", |line| line.item_details.clear()),
    ("encryption_context", |line| line.encryption_context.clear()),
    ("detail", |line| line.detail = ""),
    ("policies", |line| line.policies.clear()),
    ("request_id", |line| line.request_id = ""),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::audit::Outcome;

    fn entry() -> Entry {
        let mut record = Record::new(1_800_000_000_123_456, "crypto.decrypt", Outcome::Refused);
        record.id = [7; 16];
        record.principal = "spiffe://one.test/app".into();
        record.context = vec![("customer".into(), "hmac-sha256:00".into())];
        Entry { sequence: 12, hash: [1; 32], record }
    }

    #[test]
    fn a_line_says_what_the_record_says() {
        let text = line(&entry(), usize::MAX);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["sequence"], 12);
        assert_eq!(json["time"], "2027-01-15T08:00:00.123456Z");
        assert_eq!(json["id"], "07".repeat(16));
        assert_eq!(json["hash"], "01".repeat(32));
        assert_eq!(json["outcome"], "REFUSED");
        assert_eq!(json["encryption_context"][0]["value"], "hmac-sha256:00");
        assert!(json.get("reason").is_none() && json.get("left_out").is_none(), "{text}");
    }

    #[test]
    fn h05_nothing_in_a_record_breaks_out_of_its_line() {
        let mut entry = entry();
        entry.record.detail =
            "a\nb\r\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2028}\u{feff}\u{e0041}\"\\é🔑<13>1 ".into();
        let text = line(&entry, usize::MAX);
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["detail"], *entry.record.detail);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_named() {
        let mut entry = entry();
        entry.record.context = vec![("k".into(), "v".repeat(9_000).into())];
        entry.record.detail = "x".repeat(1_024).into();
        let text = line(&entry, 2_048);
        assert!(text.len() <= 2_048, "{}", text.len());
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["left_out"], serde_json::json!(["item_details", "encryption_context"]));
        assert_eq!(json["detail"].as_str().unwrap().len(), 1_024);
    }

    #[test]
    fn a_time_is_that_of_the_calendar() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (951_868_799_999_999, "2000-02-29T23:59:59.999999Z"),
            (4_107_542_400_000_001, "2100-03-01T00:00:00.000001Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(rfc3339(us), text);
        }
    }
}
