//! Tests of the census.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use super::*;

const KEY: KeyId = KeyId::from_bytes([7; 16]);

fn record(action: Action, version: u32, store: u32) -> Record<'static> {
    Record {
        key: Some(KEY),
        version,
        store,
        items: 1,
        principal: "spiffe://one.test/app".into(),
        ..Record::new(5_000_000, action.name(), Outcome::Succeeded)
    }
}

fn item(version: u32, store: u32, count: u32) -> RecordItem<'static> {
    let (key, reason, class) = (Some(KEY), "".into(), "".into());
    let (destination, wrapped_bytes) = (None, 0);
    RecordItem { key, version, store, reason, class, count, destination, wrapped_bytes }
}

fn counted(records: &[Record<'_>], version: u32) -> VersionCensus {
    let mut census = VersionCensus::default();
    for (at, record) in records.iter().enumerate() {
        let of = |used: &VersionUse| used.version == version;
        let uses: Vec<_> = uses(record).into_iter().filter(of).collect();
        census.apply(at as u64 + 1, record, &uses);
    }
    census
}

fn counts(census: &VersionCensus, store: u32) -> [u64; 4] {
    let store = census.stores.get(&store).cloned().unwrap_or_default();
    [store.issued, store.moved, store.opened, store.refused].map(|used| used.count)
}

#[test]
fn batches_and_single_uses_are_counted_alike() {
    let many = Record { items: 100, wrapped_bytes: 3_200, ..record(Action::GenerateDataKey, 1, 4) };
    let encrypted = Record { wrapped_bytes: 9, ..record(Action::Encrypt, 1, 4) };
    let opened = record(Action::Decrypt, 1, 4);
    let batch = Record {
        key: None,
        version: 0,
        store: 0,
        items: 9,
        item_details: vec![
            item(1, 4, 5),
            item(1, 5, 1),
            RecordItem { reason: "INVALID_CIPHERTEXT".into(), ..item(1, 4, 1) },
            RecordItem { reason: NOT_USABLE.into(), ..item(1, 4, 2) },
        ],
        ..record(Action::Decrypt, 0, 0)
    };
    let census = counted(&[many, encrypted, opened, batch], 1);
    assert_eq!((census.wraps, census.wrapped_bytes, census.sequence), (101, 3_209, 4));
    assert_eq!(counts(&census, 4), [101, 0, 6, 2]);
    assert_eq!(counts(&census, 5), [0, 0, 1, 0]);
    assert_eq!(census.stores[&4].issued.sequence, 2);
    assert_eq!(census.stores[&4].opened.sequence, 4);
    assert_eq!(census.stores[&4].opened.time, Timestamp::from_unix_ms(5_000));
}

#[test]
fn a_move_counts_at_both_ends_also_when_they_are_the_same() {
    let to = |version, store| Some(Destination { key: KEY, version, store });
    let away =
        Record { destination: to(2, 9), wrapped_bytes: 32, ..record(Action::ReEncryptFrom, 1, 4) };
    let inside = Record { destination: to(2, 9), ..record(Action::ReEncryptFrom, 2, 9) };
    let batch = Record {
        key: None,
        item_details: vec![RecordItem { destination: to(2, 9), ..item(1, 4, 3) }],
        ..record(Action::ReEncryptFrom, 0, 0)
    };
    let records = [away, inside, batch];
    assert_eq!(counts(&counted(&records, 1), 4), [0, 4, 0, 0]);
    let second = counted(&records, 2);
    assert_eq!(counts(&second, 9), [5, 1, 0, 0]);
    assert_eq!((second.wraps, second.wrapped_bytes), (5, 32));
}

#[test]
fn only_what_succeeded_counts_and_refusals_only_because_of_the_state() {
    let not = |outcome, reason: &'static str| Record {
        outcome,
        reason: reason.into(),
        ..record(Action::Decrypt, 1, 4)
    };
    let records = [
        not(Outcome::Failed, "INTERNAL"),
        not(Outcome::Started, ""),
        not(Outcome::Refused, "INVALID_CIPHERTEXT"),
        not(Outcome::Refused, "KEY_DISABLED"),
        not(Outcome::Refused, NOT_USABLE),
        record(Action::Inspect, 1, 4),
        record(Action::GetVersion, 1, 0),
    ];
    let census = counted(&records, 1);
    assert_eq!(counts(&census, 4), [0, 0, 0, 1]);
    assert_eq!(census.stores.len(), 1);
}

#[test]
fn d10_a_record_that_was_counted_is_not_counted_again() {
    let record = record(Action::Encrypt, 1, 4);
    let uses = uses(&record);
    let mut census = VersionCensus::default();
    for sequence in [3, 3, 2, 4] {
        census.apply(sequence, &record, &uses);
    }
    assert_eq!((census.wraps, census.sequence), (2, 4));
}

#[test]
fn the_latest_eight_principals_are_kept_and_the_rest_is_said_to_be_missing() {
    let by = |who: usize| Record {
        principal: format!("spiffe://one.test/{who}").into(),
        ..record(Action::Decrypt, 1, 4)
    };
    let eight: Vec<_> = (0..8).chain([0]).map(by).collect();
    let store = counted(&eight, 1).stores[&4].clone();
    assert!(!store.principals_truncated);
    assert_eq!(store.principals[0].principal, "spiffe://one.test/0");
    assert_eq!(store.principals[0].opened, 2);
    let nine: Vec<_> = (0..9).map(by).collect();
    let store = counted(&nine, 1).stores[&4].clone();
    assert!(store.principals_truncated);
    assert_eq!(store.principals.len(), PRINCIPALS_PER_STORE_MAX);
    assert_eq!(store.principals[0].principal, "spiffe://one.test/8");
    assert_eq!(store.last_principal(VersionUseKind::Opened), Some("spiffe://one.test/8"));
    assert_eq!(store.last_principal(VersionUseKind::Moved), None);
}

#[test]
fn a_list_of_stores_has_an_end_and_totals_have_none() {
    let records: Vec<_> = (0..500).map(|store| record(Action::GenerateDataKey, 1, store)).collect();
    let census = counted(&records, 1);
    assert_eq!((census.stores.len(), census.wraps), (STORES_MAX, 500));
    assert!(census.is_full());
    let named: usize = census.stores.values().map(|store| store.principals.len()).sum();
    assert_eq!(named, STORES_MAX);
    let mut records = records;
    records.extend((0..500).map(|store| Record {
        principal: "spiffe://one.test/other".into(),
        ..record(Action::Decrypt, 1, store)
    }));
    let census = counted(&records, 1);
    let named: usize = census.stores.values().map(|store| store.principals.len()).sum();
    assert_eq!(named, PRINCIPALS_MAX);
}
