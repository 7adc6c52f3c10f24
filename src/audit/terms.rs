//! What a record can be found by: short byte strings, read straight from its payload.
//!
//! A term says only where to look; a record is shown because it was read and holds. Never decodes a
//! whole record, and never fails: of bytes that are no record there are no terms.

/// The first byte of a term says of what it is.
const TENANT: u8 = 1;
const PRINCIPAL: u8 = 2;
const ACTION: u8 = 3;
const KEY: u8 = 4;
const VERSION: u8 = 5;
const OUTCOME: u8 = 6;
const REASON: u8 = 7;

/// The longest term: a principal's.
pub const MAX_TERM_BYTES: usize = 1 + super::record::MAX_PRINCIPAL_BYTES;

/// Gives each term of the record in `payload` to `take`, some of them perhaps twice, and returns the
/// record's time.
pub fn each_term(payload: &[u8], mut take: impl FnMut(&[u8])) -> i64 {
    let mut seen = Seen::default();
    let mut term = Vec::with_capacity(40);
    let mut give = |kind: u8, parts: [&[u8]; 2]| {
        term.clear();
        term.push(kind);
        parts.iter().for_each(|part| term.extend_from_slice(part));
        if term.len() <= MAX_TERM_BYTES {
            take(&term);
        }
    };
    let about = |place: &Place<'_>, give: &mut dyn FnMut(u8, [&[u8]; 2])| {
        if !place.key.is_empty() {
            give(KEY, [place.key, &[]]);
            give(VERSION, [place.key, &place.version.to_be_bytes()]);
        }
    };
    for (field, value) in Fields(payload) {
        match (field, value) {
            (2, Value::Number(number)) => seen.time_us = number.cast_signed(),
            (3, Value::Bytes(bytes)) => seen.tenant = bytes,
            (4, Value::Bytes(bytes)) => seen.principal = bytes,
            (5, Value::Bytes(bytes)) => seen.action = bytes,
            (6, Value::Bytes(bytes)) => seen.own.key = bytes,
            (7, Value::Number(number)) => seen.own.version = version(number),
            (10, Value::Number(number)) => seen.outcome = number,
            (11, Value::Bytes(bytes)) => seen.reason = bytes,
            (18, Value::Bytes(bytes)) => {
                let (from, to) = item(bytes);
                about(&from, &mut give);
                about(&to, &mut give);
            }
            (19, Value::Bytes(bytes)) => seen.to.key = bytes,
            (20, Value::Number(number)) => seen.to.version = version(number),
            _ => {}
        }
    }
    about(&seen.own, &mut give);
    about(&seen.to, &mut give);
    give(TENANT, [seen.tenant, &[]]);
    give(PRINCIPAL, [seen.principal, &[]]);
    give(ACTION, [seen.action, &[]]);
    give(OUTCOME, [&[u8::try_from(seen.outcome).unwrap_or(u8::MAX)], &[]]);
    give(REASON, [seen.reason, &[]]);
    seen.time_us
}

/// The term of whose record it is; of none where the slice is empty.
pub(super) fn of_tenant(tenant: &[u8]) -> Vec<u8> {
    term(TENANT, &[tenant])
}

pub(super) fn of_principal(principal: &str) -> Vec<u8> {
    term(PRINCIPAL, &[principal.as_bytes()])
}

pub(super) fn of_action(action: &str) -> Vec<u8> {
    term(ACTION, &[action.as_bytes()])
}

pub(super) fn of_key(key: &[u8]) -> Vec<u8> {
    term(KEY, &[key])
}

pub(super) fn of_version(key: &[u8], version: u32) -> Vec<u8> {
    term(VERSION, &[key, &version.to_be_bytes()])
}

pub(super) fn of_outcome(number: u32) -> Vec<u8> {
    term(OUTCOME, &[&[u8::try_from(number).unwrap_or(u8::MAX)]])
}

pub(super) fn of_reason(reason: &str) -> Vec<u8> {
    term(REASON, &[reason.as_bytes()])
}

fn term(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    std::iter::once(kind).chain(parts.iter().flat_map(|part| part.iter().copied())).collect()
}

#[derive(Default)]
struct Seen<'a> {
    time_us: i64,
    tenant: &'a [u8],
    principal: &'a [u8],
    action: &'a [u8],
    own: Place<'a>,
    to: Place<'a>,
    outcome: u64,
    reason: &'a [u8],
}

/// A key and a version of it.
#[derive(Default)]
struct Place<'a> {
    key: &'a [u8],
    version: u32,
}

/// What an item of a batch is about, and where it went.
fn item(bytes: &[u8]) -> (Place<'_>, Place<'_>) {
    let (mut from, mut to) = (Place::default(), Place::default());
    for (field, value) in Fields(bytes) {
        match (field, value) {
            (1, Value::Bytes(bytes)) => from.key = bytes,
            (2, Value::Number(number)) => from.version = version(number),
            (7, Value::Bytes(bytes)) => to.key = bytes,
            (8, Value::Number(number)) => to.version = version(number),
            _ => {}
        }
    }
    (from, to)
}

/// As protobuf reads a `uint32`: the lower half.
fn version(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message of protobuf's wire format, up to what is none.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let pass = |fields: &mut Self, bytes: usize| {
            let (value, rest) = fields.0.split_at_checked(bytes)?;
            fields.0 = rest;
            Some(Value::Bytes(value))
        };
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => pass(self, 8)?,
            2 => {
                let length = self.varint()?;
                pass(self, usize::try_from(length).ok()?)?
            }
            5 => pass(self, 4)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{Destination, Outcome, Owners, Query, Record, RecordItem};
    use super::*;
    use crate::audit::Filter;
    use crate::keys::{KeyId, TenantId};
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn terms(record: &Record<'_>) -> (i64, HashSet<Vec<u8>>) {
        let (mut payload, mut found) = (Vec::new(), HashSet::new());
        record.encode(&mut payload).unwrap();
        let time = each_term(&payload, |term| {
            found.insert(term.to_vec());
        });
        (time, found)
    }

    fn full(time_us: i64, version: u32) -> Record<'static> {
        let (one, other) = (KeyId::from_bytes([1; 16]), KeyId::from_bytes([2; 16]));
        Record {
            tenant: Some(TenantId::from_bytes([7; 16])),
            principal: "spiffe://d/app".into(),
            key: Some(one),
            version,
            reason: "NOT_FOUND".into(),
            context: vec![("k".into(), "v".into())],
            destination: Some(Destination { key: other, version: 9, store: 1 }),
            item_details: vec![RecordItem {
                key: Some(KeyId::from_bytes([3; 16])),
                version: 4,
                store: 0,
                reason: "".into(),
                class: "".into(),
                count: 2,
                destination: Some(Destination { key: other, version: 11, store: 0 }),
                wrapped_bytes: 0,
            }],
            id: [8; 16],
            policies: vec!["".into(), "p".into()].into(),
            ..Record::new(time_us, "crypto.decrypt", Outcome::Refused)
        }
    }

    #[test]
    fn a_record_is_found_by_each_thing_that_a_filter_can_ask_for() {
        let (time, found) = terms(&full(-5, 0));
        assert_eq!(time, -5);
        let key = |byte| Some(KeyId::from_bytes([byte; 16]));
        let nothing = Filter::default;
        for filter in [
            Filter { principal: Some("spiffe://d/app".into()), ..nothing() },
            Filter { action: Some("crypto.decrypt".into()), ..nothing() },
            Filter { key: key(1), version: Some(0), ..nothing() },
            Filter { key: key(2), version: Some(9), ..nothing() },
            Filter { key: key(2), version: Some(11), ..nothing() },
            Filter { key: key(3), version: Some(4), ..nothing() },
            Filter { key: key(3), ..nothing() },
            Filter { outcome: Some(Outcome::Refused), ..nothing() },
            Filter { reason: Some("NOT_FOUND".into()), ..nothing() },
        ] {
            let owners = Owners::Tenant(TenantId::from_bytes([7; 16]));
            let query = Query { owners, filter };
            assert!(query.holds(&full(-5, 0)));
            for any in query.terms() {
                assert!(any.iter().any(|term| found.contains(term)), "{query:?}");
            }
        }
        assert_eq!(found.len(), 7 + 5, "of keys and versions, and of all else");
    }

    proptest! {
        #[test]
        fn j05_any_bytes_have_terms_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut longest = 0;
            each_term(&bytes, |term| longest = longest.max(term.len()));
            prop_assert!(longest <= MAX_TERM_BYTES);
        }
    }
}
