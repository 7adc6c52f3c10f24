//! The index of the log: it agrees with reading everything, whatever was done to its files.

use std::sync::atomic::{AtomicU64, Ordering};

use bulla::audit::{Destination, Filter, Outcome, Owners, Query, Record, RecordItem};
use bulla::keys::{KeyId, TenantId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::segments::{all, until};
use super::*;

const RECORDS: usize = 900;
const QUESTIONS: u32 = 400;
/// Where nothing but reading everything answers them.
const SLOW_QUESTIONS: u32 = 12;

fn key(n: u8) -> KeyId {
    KeyId::from_bytes([n; 16])
}

fn tenant(n: u8) -> TenantId {
    TenantId::from_bytes([n; 16])
}

fn outcome(n: u8) -> Outcome {
    match n % 4 {
        0 => Outcome::Started,
        1 => Outcome::Succeeded,
        2 => Outcome::Refused,
        _ => Outcome::Failed,
    }
}

fn name(kind: &str, n: u8) -> String {
    format!("{kind}-{n}")
}

/// A record of about 4 KiB, of few tenants, keys and callers, so that questions meet some.
fn any_record() -> impl Strategy<Value = Record<'static>> {
    let who = (0..4_u8, 0..4_u8, 0..4_u8, 0..4_u8, 0..3_u8);
    let what = (0..5_u8, 0..3_u32, 0..5_u8, 0..3_u32, any::<bool>(), 0..1_000_i64);
    (who, what).prop_map(|((owner, principal, action, ended, reason), what)| {
        let (own, version, other, other_version, is_batch, time_us) = what;
        let to =
            (other > 0).then(|| Destination { key: key(other), version: other_version, store: 0 });
        let item = RecordItem {
            key: Some(key(other)),
            version: other_version,
            store: 0,
            reason: "".into(),
            class: "".into(),
            count: 1,
            destination: None,
            wrapped_bytes: 0,
        };
        Record {
            tenant: (owner > 0).then(|| tenant(owner)),
            principal: name("principal", principal).into(),
            key: (own > 0).then(|| key(own)),
            version,
            reason: if reason > 0 { name("reason", reason) } else { String::new() }.into(),
            destination: to.filter(|_| !is_batch),
            item_details: if is_batch { vec![item] } else { Vec::new() },
            context: vec![("k".into(), "x".repeat(4_000).into())],
            ..Record::new(time_us, name("action", action), outcome(ended))
        }
    })
}

fn any_question() -> impl Strategy<Value = Query> {
    let owners = prop_oneof![
        Just(Owners::Everybody),
        (1..4_u8).prop_map(|n| Owners::Tenant(tenant(n))),
        (1..4_u8).prop_map(|n| Owners::TenantAndLog(tenant(n))),
    ];
    let some = |strategy: std::ops::Range<u8>| proptest::option::weighted(0.3, strategy);
    let what = (some(0..4), some(0..4), some(0..4), some(1..3));
    let about = (some(1..5), proptest::option::of(0..3_u32));
    let time = || proptest::option::weighted(0.3, 0..1_000_i64);
    (owners, what, about, time(), time()).prop_map(|(owners, what, about, start_us, end_us)| {
        let (principal, action, ended, reason) = what;
        let filter = Filter {
            start_us,
            end_us,
            principal: principal.map(|n| name("principal", n)),
            action: action.map(|n| name("action", n)),
            key: about.0.map(key),
            version: about.1.filter(|_| about.0.is_some()),
            outcome: ended.map(outcome),
            reason: reason.map(|n| name("reason", n)),
            ..Filter::default()
        };
        Query { owners, filter }
    })
}

/// What the log has, in pages of `limit`.
async fn searched(trail: &Trail, query: &Query, limit: usize) -> Vec<Record<'static>> {
    let (mut found, mut after, end) = (Vec::new(), 0, *trail.durable().borrow());
    while after < end {
        let part = trail.search(query, after, limit).await.unwrap();
        assert!(part.reached > after && part.entries.len() <= limit);
        for entry in part.entries {
            assert!(entry.sequence > after && entry.sequence <= part.reached);
            found.push(entry.record);
        }
        after = part.reached;
    }
    found
}

/// Asks the same questions of the index, and of everything that is there.
fn assert_agrees(trail: &Trail, records: &[Record<'static>], questions: u32) -> u64 {
    let found = AtomicU64::new(0);
    let config = Config { cases: questions, failure_persistence: None, ..Config::default() };
    let asked = (any_question(), prop_oneof![Just(5_usize), Just(37), Just(1_000)]);
    let agreed = TestRunner::new_with_rng(config, deterministic()).run(&asked, |(query, limit)| {
        let expected: Vec<_> = records.iter().filter(|it| query.holds(it)).cloned().collect();
        prop_assert_eq!(&on_a_runtime(searched(trail, &query, limit)), &expected);
        found.fetch_add(expected.len() as u64, Ordering::Relaxed);
        Ok(())
    });
    agreed.unwrap();
    found.into_inner()
}

fn deterministic() -> proptest::test_runner::TestRng {
    proptest::test_runner::TestRng::deterministic_rng(Default::default())
}

fn log_of_random_records(disk: &FakeDisk) -> Trail {
    let (trail, _) = open(disk);
    let mut runner = TestRunner::deterministic();
    on_a_runtime(async {
        let lane = running_lane(&trail);
        for _ in 0..RECORDS {
            let record = any_record().new_tree(&mut runner).unwrap().current();
            while lane.append(&record).await.is_err() {}
        }
    });
    trail
}

fn sealed(disk: &FakeDisk) -> usize {
    disk.segments()
        .iter()
        .map(|(name, _)| &name[..25])
        .collect::<std::collections::BTreeSet<_>>()
        .len()
        - 1
}

fn until_indexed(disk: &FakeDisk, trail: &Trail) {
    until("there is no index", || trail.indexed() == (sealed(disk), *trail.durable().borrow()));
}

#[test]
fn the_index_and_reading_everything_agree_on_random_logs_and_questions() {
    let disk = FakeDisk::default();
    let trail = log_of_random_records(&disk);
    until_indexed(&disk, &trail);
    let records = all(&trail);
    assert!(sealed(&disk) >= 3 && records.len() >= RECORDS);
    let found = assert_agrees(&trail, &records, QUESTIONS);
    println!("{} records, {QUESTIONS} questions, {found} records found", records.len());
    assert!(found > 1_000, "{found}");
}

#[test]
fn h03_an_index_that_is_damaged_missing_or_of_another_segment_hides_nothing_and_is_made_anew() {
    let disk = FakeDisk::default();
    let trail = log_of_random_records(&disk);
    until_indexed(&disk, &trail);
    let records = all(&trail);
    on_a_runtime(trail.close());
    drop(trail);
    let names: Vec<_> =
        disk.files().into_iter().filter(|(name, _)| name.ends_with(".idx")).collect();
    assert!(names.len() >= 3);
    for (place, (name, bytes)) in names.iter().enumerate() {
        match place % 3 {
            0 => disk.replace(name, None),
            1 => disk.change(name, |bytes| bytes[40] ^= 1),
            _ => disk.replace(name, Some(&names[place - 1].1)),
        }
        assert!(!bytes.is_empty());
    }
    let (trail, _) = open(&disk);
    until_indexed(&disk, &trail);
    assert_agrees(&trail, &records, SLOW_QUESTIONS);
    // Under the running log, too: what is behind the head is looked at when it is needed.
    for (name, _) in &names {
        disk.change(name, |bytes| bytes[196..].iter_mut().for_each(|byte| *byte ^= 0x55));
    }
    assert_agrees(&trail, &records, SLOW_QUESTIONS);
}
