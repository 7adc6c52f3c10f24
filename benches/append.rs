//! What one record costs from the lane to the disk, in instructions: encoded, chained, framed, handed
//! over and acknowledged, in batches of 64 as a busy runtime makes them.
//!
//! `append RECORDS` appends that many to a log in a folder of its own and says nothing. `.ci/append` runs
//! it under callgrind with two numbers of records, so that what is not the append path cancels out, and
//! compares the difference with the limit there. Instructions are counted and not time: they are the same
//! on a busy machine.
// It is run by a script: a panic ends it as a failure, which is what is wanted.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

use std::time::Duration;

use bulla::audit::{Outcome, Record};
use bulla::keys::{KeyId, TenantId};
use bulla::trail::{RealDisk, Trail, TrailOptions};
use bulla::{clock::SystemClock, crypto::OsRandom};
use futures_util::future::join_all;

fn main() {
    let asked = std::env::args().nth(1).and_then(|records| records.parse().ok());
    // As `cargo bench` and `cargo test` run it: a few, to see that it works.
    let records: usize = asked.unwrap_or(BATCH);
    let folder = tempfile::tempdir().unwrap();
    let options = TrailOptions {
        disk: std::sync::Arc::new(RealDisk),
        clock: std::sync::Arc::new(SystemClock),
        random: std::sync::Arc::new(OsRandom),
        segment_bytes: SEGMENT_BYTES,
        try_again: Duration::from_secs(1),
    };
    let (trail, _) = Trail::open(&folder.path().join("audit"), [7; 16], &options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let lane = trail.lane();
        let running = tokio::spawn(lane.run());
        let record = record();
        for _ in 0..records / BATCH {
            let batch: Vec<_> = (0..BATCH).map(|_| lane.append(&record)).collect();
            assert!(join_all(batch).await.iter().all(Result::is_ok));
        }
        trail.close().await;
        running.await.unwrap();
    });
}

/// As `GenerateDataKey` makes it.
fn record() -> Record<'static> {
    Record {
        tenant: Some(TenantId::from_bytes([1; 16])),
        principal: "spiffe://bench.bulla/billing".into(),
        credential_kind: "certificate".into(),
        source_address: "192.0.2.17:40312".into(),
        key: Some(KeyId::from_bytes([2; 16])),
        version: 3,
        context: vec![("app".into(), "billing".into()), ("table".into(), "customers".into())],
        items: 1,
        wrapped_bytes: 32,
        policies: vec!["role-key-user".into()].into(),
        policy_revision: 12,
        latency_us: 85,
        items_root: Some([3; 32]),
        ..Record::new(1_767_225_600_000_001, "crypto.generate_data_key", Outcome::Succeeded)
    }
}

const BATCH: usize = 64;
const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
