//! Tests of RetireCheck.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;
use crate::census::{FoundBlobs, RunningScan, STORES_MAX, StoreKind, WriteDelay};
use crate::keys::{Owner, Reason, ScanId, Step, StoreName, StoreNumber};

const KEY: KeyId = KeyId::from_bytes([7; 16]);
const DELAY_MS: u64 = 1_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_ms(millis)
}

/// Deactivated at 100, its last data key at record 5 and time 90.
fn retired() -> (Version, VersionCensus) {
    let made = Version::pre_active(1, Reason::none(), at(10));
    let active = made.step(Step::Activate, Reason::none(), at(10)).unwrap();
    let version = active.step(Step::Supersede, Reason::none(), at(100)).unwrap();
    let mut census = VersionCensus { sequence: 5, wraps: 1, ..VersionCensus::default() };
    let issued = UseCount { count: 1, sequence: 5, time: at(90) };
    census.stores.insert(4, StoreCensus { issued, ..StoreCensus::default() });
    (version, census)
}

fn scanned(begin_sequence: u64, begin_ms: i64) -> StoreEvidence {
    let store = RegisteredStore {
        number: StoreNumber::new(4).unwrap(),
        name: StoreName::parse("orders").unwrap(),
        owner: Owner::parse("someone").unwrap(),
        kind: StoreKind::Other,
        write_delay: WriteDelay::from_ms(DELAY_MS).unwrap(),
        create_time: at(1),
        restore: None,
    };
    let begun = RunningScan {
        id: ScanId::from_bytes([1; 16]),
        principal: "agent".into(),
        begin_time: at(begin_ms),
        begin_sequence,
    };
    let ended = Some(Scan { begun, end_time: at(begin_ms), found: FoundBlobs::default() });
    StoreEvidence { scans: Scans { running: None, ended }, ..StoreEvidence::new(store, true) }
}

fn judged(version: &Version, census: &VersionCensus, one: StoreEvidence) -> Verdict {
    let (counted_sequence, durable_sequence) = (9, 9);
    let (key, waiver, stores) = (KEY, None, &[one][..]);
    let evidence =
        Evidence { key, version, census, counted_sequence, durable_sequence, waiver, stores };
    check(&evidence)
}

#[test]
fn a_scan_counts_from_the_last_record_and_the_end_of_the_write_delay() {
    let (version, census) = retired();
    for (sequence, begin_ms, expected) in [
        (5, 1_100, VerdictWord::Safe),
        (4, 1_100, VerdictWord::Unknown),
        (5, 1_099, VerdictWord::Unknown),
    ] {
        let verdict = judged(&version, &census, scanned(sequence, begin_ms));
        assert_eq!(verdict.word, expected, "{sequence} {begin_ms}");
    }
    let early = judged(&version, &census, scanned(5, 1_099));
    let finding = &early.findings[0];
    assert_eq!((finding.code, finding.time), (FindingCode::ScanOutdated, Some(at(1_100))));
    let moved = UseCount { count: 1, sequence: 5, time: at(2_000) };
    let mut census = census;
    census.stores.entry(4).or_default().moved = moved;
    let held = judged(&version, &census, scanned(5, 2_999));
    assert_eq!(held.findings[0].time, Some(at(3_000)), "an agent holds what it moved");
    assert!(judged(&version, &census, scanned(5, 3_000)).is_safe());
}

#[test]
fn what_is_not_counted_to_the_end_is_unknown() {
    let (version, census) = retired();
    let stores = [scanned(9, 5_000)];
    let mut evidence = Evidence {
        key: KEY,
        version: &version,
        census: &census,
        counted_sequence: 9,
        durable_sequence: 9,
        waiver: None,
        stores: &stores,
    };
    assert!(check(&evidence).is_safe());
    evidence.counted_sequence = 8;
    let verdict = check(&evidence);
    assert_eq!(verdict.word, VerdictWord::Unknown);
    assert_eq!(verdict.findings[0].code, FindingCode::CensusBehind);
    let mut full = census.clone();
    full.stores.extend((10_000..).zip(vec![StoreCensus::default(); STORES_MAX]));
    let full = judged(&version, &full, scanned(9, 5_000));
    assert!(full.findings.iter().any(|one| one.code == FindingCode::StoresTruncated));
}

#[test]
fn a_version_that_never_wrapped_needs_no_scan() {
    let version = Version::pre_active(3, Reason::none(), at(10));
    let none = VersionCensus::default();
    let mut store = scanned(0, 0);
    store.scans = Scans::default();
    assert!(judged(&version, &none, store).is_safe());
    // But what a scan has found there is there.
    let mut store = scanned(9, 5_000);
    store.scans.ended.as_mut().unwrap().found.versions.insert(3, 1);
    assert_eq!(judged(&version, &none, store).word, VerdictWord::Unsafe);
}
