//! Which records somebody wants to see.

use crate::keys::KeyId;

use super::record::{Outcome, Record};

/// Those records for which everything holds that is said. The default is all records.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Filter {
    /// Not before this time, in microseconds since the Unix epoch.
    pub start_us: Option<i64>,
    /// Before this time.
    pub end_us: Option<i64>,
    /// Of this principal.
    pub principal: Option<String>,
    /// Of this action.
    pub action: Option<String>,
    /// About this key, alone or among others, or moved to it.
    pub key: Option<KeyId>,
    /// And about this version of it.
    pub version: Option<u32>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// With this reason.
    pub reason: Option<String>,
    /// With this id of the request.
    pub request_id: Option<String>,
    /// With these pairs, as they are recorded, in the encryption context.
    pub context: Vec<(String, String)>,
}

// === impl Filter ===

impl Filter {
    /// Whether the record is one of them.
    pub fn holds(&self, record: &Record<'_>) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        self.start_us.is_none_or(|start| record.time_us >= start)
            && self.end_us.is_none_or(|end| record.time_us < end)
            && self.outcome.is_none_or(|outcome| record.outcome == outcome)
            && is(&self.principal, &record.principal)
            && is(&self.action, &record.action)
            && is(&self.reason, &record.reason)
            && is(&self.request_id, &record.request_id)
            && self.key.is_none_or(|key| self.is_about(key, record))
            && self.context.iter().all(|(key, value)| {
                record.context.iter().any(|(name, found)| name == key && found == value)
            })
    }

    fn is_about(&self, key: KeyId, record: &Record<'_>) -> bool {
        let is = |found: KeyId, version: u32| {
            found == key && self.version.is_none_or(|wanted| wanted == version)
        };
        let own = record.key.map(|key| (key, record.version));
        let destination = record.destination.map(|to| (to.key, to.version));
        let items = record.item_details.iter().flat_map(|item| {
            let from = item.key.map(|key| (key, item.version));
            let to = item.destination.map(|to| (to.key, to.version));
            [from, to]
        });
        [own, destination].into_iter().chain(items).flatten().any(|(found, at)| is(found, at))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::{Destination, RecordItem};
    use super::*;

    const KEY: KeyId = KeyId::from_bytes([1; 16]);
    const OTHER: KeyId = KeyId::from_bytes([2; 16]);

    fn record() -> Record<'static> {
        Record {
            principal: "spiffe://d/app".into(),
            key: Some(KEY),
            version: 3,
            reason: "NOT_FOUND".into(),
            request_id: "r1".into(),
            context: vec![("table".into(), "cards".into()), ("row".into(), "7".into())],
            ..Record::new(1_000, "crypto.decrypt", Outcome::Refused)
        }
    }

    fn item(key: Option<KeyId>, version: u32, to: Option<(KeyId, u32)>) -> RecordItem<'static> {
        let to = to.map(|(key, version)| Destination { key, version, store: 0 });
        RecordItem {
            key,
            version,
            store: 0,
            reason: Cow::Borrowed(""),
            class: Cow::Borrowed(""),
            count: 1,
            destination: to,
            wrapped_bytes: 0,
        }
    }

    #[test]
    fn everything_that_is_said_must_hold_and_what_is_not_said_holds() {
        let text = |text: &str| Some(text.to_owned());
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let nothing = Filter::default;
        let cases = [
            (nothing(), true),
            (Filter { start_us: Some(1_000), ..nothing() }, true),
            (Filter { start_us: Some(1_001), ..nothing() }, false),
            (Filter { end_us: Some(1_001), ..nothing() }, true),
            (Filter { end_us: Some(1_000), ..nothing() }, false),
            (Filter { principal: text("spiffe://d/app"), ..nothing() }, true),
            (Filter { principal: text("spiffe://d/ap"), ..nothing() }, false),
            (Filter { action: text("crypto.decrypt"), ..nothing() }, true),
            (Filter { action: text("crypto"), ..nothing() }, false),
            (Filter { outcome: Some(Outcome::Refused), ..nothing() }, true),
            (Filter { outcome: Some(Outcome::Failed), ..nothing() }, false),
            (Filter { reason: text("NOT_FOUND"), ..nothing() }, true),
            (Filter { reason: text("DENIED"), ..nothing() }, false),
            (Filter { request_id: text("r1"), ..nothing() }, true),
            (Filter { request_id: text("r2"), ..nothing() }, false),
            (Filter { key: Some(KEY), ..nothing() }, true),
            (Filter { key: Some(OTHER), ..nothing() }, false),
            (Filter { key: Some(KEY), version: Some(3), ..nothing() }, true),
            (Filter { key: Some(KEY), version: Some(4), ..nothing() }, false),
            (Filter { context: vec![pair("row", "7")], ..nothing() }, true),
            (Filter { context: vec![pair("row", "7"), pair("table", "cards")], ..nothing() }, true),
            (Filter { context: vec![pair("row", "cards")], ..nothing() }, false),
            (Filter { context: vec![pair("row", "7"), pair("x", "")], ..nothing() }, false),
        ];
        for (filter, expected) in cases {
            assert_eq!(filter.holds(&record()), expected, "{filter:?}");
        }
    }

    #[test]
    fn a_batch_is_about_each_of_its_items_and_where_they_went() {
        let batch = Record {
            key: None,
            version: 0,
            item_details: vec![item(None, 0, None), item(Some(KEY), 2, Some((OTHER, 9)))],
            ..record()
        };
        let moved = Record {
            destination: Some(Destination { key: OTHER, version: 9, store: 1 }),
            ..record()
        };
        let about = |key, version| Filter { key: Some(key), version, ..Filter::default() };
        for record in [&batch, &moved] {
            assert!(about(KEY, None).holds(record) && about(OTHER, Some(9)).holds(record));
            assert!(!about(OTHER, Some(2)).holds(record) && !about(KEY, Some(9)).holds(record));
        }
        assert!(!about(OTHER, None).holds(&record()));
    }
}
