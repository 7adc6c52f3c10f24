//! Which records somebody wants to see, and of those which they may.

use crate::keys::{KeyId, TenantId};

use super::deletion::DELETE_SEGMENTS;
use super::record::{Outcome, Record};
use super::terms;

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

/// Whose records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owners {
    /// Everybody's.
    Everybody,
    /// This tenant's, and the log's own that say what of it was deleted.
    Tenant(TenantId),
    /// This tenant's, and all of the log's own, which are of no tenant.
    TenantAndLog(TenantId),
}

/// What somebody asks of the log: those of the owners' records that the filter wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    /// Whose.
    pub owners: Owners,
    /// Which of them.
    pub filter: Filter,
}

// === impl Owners ===

impl Owners {
    /// Whether it is a record of theirs.
    pub fn have(&self, record: &Record<'_>) -> bool {
        match (*self, record.tenant) {
            (Self::Everybody, _) | (Self::TenantAndLog(_), None) => true,
            (Self::Tenant(_), None) => record.action == DELETE_SEGMENTS,
            (Self::Tenant(own) | Self::TenantAndLog(own), Some(tenant)) => own == tenant,
        }
    }

    /// A record of theirs has one of these terms; None where any may be one.
    fn terms(&self) -> Option<Vec<Vec<u8>>> {
        match self {
            Self::Everybody => None,
            Self::Tenant(own) => {
                Some(vec![terms::of_tenant(own.as_bytes()), terms::of_action(DELETE_SEGMENTS)])
            }
            Self::TenantAndLog(own) => {
                Some(vec![terms::of_tenant(own.as_bytes()), terms::of_tenant(&[])])
            }
        }
    }
}

// === impl Query ===

impl Query {
    /// Whether the record is one of them.
    pub fn holds(&self, record: &Record<'_>) -> bool {
        self.owners.have(record) && self.filter.holds(record)
    }

    /// Of each of these groups, a record that holds has one term at least. Where there is no group
    /// nothing is said.
    pub fn terms(&self) -> Vec<Vec<Vec<u8>>> {
        let filter = &self.filter;
        let about = filter.key.map(|key| match filter.version {
            Some(version) => terms::of_version(key.as_bytes(), version),
            None => terms::of_key(key.as_bytes()),
        });
        let each = [
            about,
            filter.principal.as_deref().map(terms::of_principal),
            filter.reason.as_deref().map(terms::of_reason),
            filter.outcome.map(|outcome| terms::of_outcome(outcome.number())),
            filter.action.as_deref().map(terms::of_action),
        ];
        let each = each.into_iter().flatten().map(|term| vec![term]);
        each.chain(self.owners.terms()).collect()
    }
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
