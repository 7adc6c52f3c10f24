//! How long "who opened anything under version 3 of key K since Tuesday" takes over a log of so many
//! records, with the index: `cargo bench --bench audit_query -- RECORDS`. The log is made first, in a
//! folder of its own that is removed: about 100 B on the disk for a record.
//!
//! Target: under 2 s over 100,000,000 records.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use std::path::Path;
use std::time::{Duration, Instant};

use bulla::audit::{Filter, Outcome, Owners, Query, Record};
use bulla::keys::{KeyId, TenantId};
use bulla::trail::{Trail, TrailOptions};

/// One record in so many is about the version that is asked for.
const RARE: u64 = 50_000;
const AT_ONCE: u64 = 20_000;

fn record(n: u64) -> Record<'static> {
    let is_rare = n.is_multiple_of(RARE);
    let key = if is_rare { 0xff } else { (n % 40) as u8 };
    Record {
        tenant: Some(TenantId::from_bytes([1 + (n % 4) as u8 * u8::from(!is_rare); 16])),
        principal: format!("spiffe://bank.example/app-{}", n % 50).into(),
        key: Some(KeyId::from_bytes([key; 16])),
        version: if is_rare { 3 } else { 1 + (n % 3) as u32 },
        source_address: "192.0.2.1:40000".into(),
        credential_kind: "certificate".into(),
        ..Record::new(n.cast_signed(), "crypto.decrypt", Outcome::Succeeded)
    }
}

async fn write(trail: &Trail, records: u64) {
    let lane = trail.lane();
    let running = tokio::spawn(lane.run());
    let mut n = 0;
    while n < records {
        let appended: Vec<_> =
            (n..records.min(n + AT_ONCE)).map(|n| lane.append(&record(n))).collect();
        n += appended.len() as u64;
        for appended in appended {
            appended.await.unwrap();
        }
    }
    running.abort();
}

/// How many records were found, and how long it took.
async fn ask(trail: &Trail, query: &Query) -> (usize, Duration) {
    let began = Instant::now();
    let (mut found, mut after, end) = (0, 0, *trail.durable().borrow());
    while after < end {
        let part = trail.search(query, after, 1_000).await.unwrap();
        found += part.entries.len();
        after = part.reached;
    }
    (found, began.elapsed())
}

/// How many segments the log has, the one that is written too.
fn segments_in(directory: &Path) -> usize {
    let files = std::fs::read_dir(directory.join("segments")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let is_segment = |name: &String| name.starts_with('0') && name.contains(".seg");
    let names = names.filter(is_segment).map(|name| name[..20].to_owned());
    names.collect::<std::collections::BTreeSet<_>>().len()
}

fn open(directory: &Path) -> Trail {
    Trail::open(directory, [7; 16], &TrailOptions::default()).unwrap().0
}

fn main() {
    let records = std::env::args().find_map(|it| it.parse().ok()).unwrap_or(1_000_000_u64);
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("audit");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let trail = open(&directory);
        let began = Instant::now();
        write(&trail, records).await;
        let written = began.elapsed();
        let all = |(sealed, reached): (usize, u64)| {
            reached >= *trail.durable().borrow() && sealed + 1 >= segments_in(&directory)
        };
        while !all(trail.indexed()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (segments, _) = trail.indexed();
        let made = began.elapsed();
        println!("audit_query: {records} records written in {written:.1?}, indexed after {made:.1?}");
        let since = |share: u64| Query {
            owners: Owners::Tenant(TenantId::from_bytes([1; 16])),
            filter: Filter {
                start_us: Some((records / 10 * share).cast_signed()),
                key: Some(KeyId::from_bytes([0xff; 16])),
                version: Some(3),
                ..Filter::default()
            },
        };
        for (name, query) in [("the whole log", since(0)), ("the last tenth", since(9))] {
            for round in 1..=2 {
                let (found, took) = ask(&trail, &query).await;
                println!(
                    "audit_query {round}: {name}, {segments} sealed segments: {found} found in {took:.1?}"
                );
            }
        }
        trail.close().await;
    });
}
