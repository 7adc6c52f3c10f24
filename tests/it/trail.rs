//! The audit log on disk: what it promises to those who wait, and what it survives.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bulla::audit::{LOG_HEADER_BYTES, LogHeader, Outcome, Record};
use bulla::trail::{Counts, Disk, Lane, LogFile, MAX_LANE_BYTES, RealDisk, Trail, TrailError};
use futures_util::FutureExt;
use proptest::prelude::*;

const INSTALLATION: [u8; 16] = [0xb0; 16];

// === a disk that breaks as it is told ===

/// What the next write does. A disk without a script writes everything.
#[derive(Clone, Copy, Debug)]
enum Write {
    All,
    /// Writes this many bytes and says so.
    Short(usize),
    /// Writes this many bytes of the rest and then fails with this number.
    Fails(usize, i32),
}

#[derive(Clone, Default)]
struct FakeDisk(Arc<FakeState>);

#[derive(Default)]
struct FakeState {
    inner: Mutex<Inner>,
    gate: Condvar,
}

#[derive(Default)]
struct Inner {
    bytes: Vec<u8>,
    writes: VecDeque<Write>,
    syncs: VecDeque<Option<i32>>,
    truncate_fails: bool,
    /// Syncs wait while it is closed.
    gate_closed: bool,
    syncs_begun: usize,
    calls_after_a_failure: usize,
    failed: bool,
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EDQUOT: i32 = 122;

impl FakeDisk {
    /// What the log holds besides its header.
    fn record_bytes(&self) -> u64 {
        self.with(|inner| (inner.bytes.len() - LOG_HEADER_BYTES) as u64)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let result = act(&mut self.0.inner.lock().unwrap());
        self.0.gate.notify_all();
        result
    }

    fn holding(bytes: &[u8]) -> Self {
        let disk = Self::default();
        disk.with(|inner| inner.bytes = bytes.to_vec());
        disk
    }

    fn bytes(&self) -> Vec<u8> {
        self.with(|inner| inner.bytes.clone())
    }

    fn close_gate(&self) {
        self.with(|inner| inner.gate_closed = true);
    }

    fn open_gate(&self) {
        self.with(|inner| inner.gate_closed = false);
    }

    /// Until the log thread stands in its `nth` sync since the disk was made.
    fn wait_for_sync(&self, nth: usize) {
        let inner = self.0.inner.lock().unwrap();
        let wait = Duration::from_secs(20);
        let begun = |inner: &mut Inner| inner.syncs_begun < nth;
        let (_inner, late) = self.0.gate.wait_timeout_while(inner, wait, begun).unwrap();
        assert!(!late.timed_out(), "the log thread never came to sync {nth}");
    }
}

impl Disk for FakeDisk {
    fn open(&self, _: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(self.clone()))
    }
}

impl LogFile for FakeDisk {
    fn length(&self) -> io::Result<u64> {
        Ok(self.with(|inner| inner.bytes.len() as u64))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.with(|inner| {
            let from = inner.bytes.get(offset as usize..).unwrap_or_default();
            let read = from.len().min(into.len());
            into[..read].copy_from_slice(&from[..read]);
            Ok(read)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.with(|inner| {
            inner.calls_after_a_failure += usize::from(inner.failed);
            let mut put = |count: usize| {
                let end = offset as usize + count;
                if inner.bytes.len() < end {
                    inner.bytes.resize(end, 0);
                }
                inner.bytes[offset as usize..end].copy_from_slice(&bytes[..count]);
                count
            };
            match inner.writes.pop_front().unwrap_or(Write::All) {
                Write::All => Ok(put(bytes.len())),
                Write::Short(count) => Ok(put(count.min(bytes.len()))),
                Write::Fails(count, number) => {
                    put(count.min(bytes.len()));
                    inner.failed = number == EIO;
                    Err(io::Error::from_raw_os_error(number))
                }
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|inner| inner.syncs_begun += 1);
        let inner = self.0.inner.lock().unwrap();
        let mut inner = self.0.gate.wait_while(inner, |inner| inner.gate_closed).unwrap();
        inner.calls_after_a_failure += usize::from(inner.failed);
        match inner.syncs.pop_front().flatten() {
            None => Ok(()),
            Some(number) => {
                inner.failed = true;
                Err(io::Error::from_raw_os_error(number))
            }
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.with(|inner| {
            if inner.truncate_fails {
                inner.failed = true;
                return Err(io::Error::from_raw_os_error(EIO));
            }
            inner.bytes.truncate(length as usize);
            Ok(())
        })
    }
}

// === how the tests use it ===

fn record(detail: &str) -> Record<'static> {
    Record {
        detail: detail.to_owned().into(),
        ..Record::new(1, "crypto.decrypt", Outcome::Succeeded)
    }
}

/// A record of about 16 KiB.
fn big_record() -> Record<'static> {
    Record { context: vec![("k".into(), "x".repeat(16_000).into())], ..record("big") }
}

fn open(disk: &FakeDisk) -> (Trail, bulla::trail::Recovery) {
    Trail::open(Path::new("audit.log"), INSTALLATION, disk).unwrap()
}

fn broken(disk: &FakeDisk) -> TrailError {
    match Trail::open(Path::new("audit.log"), INSTALLATION, disk) {
        Ok((_, recovery)) => panic!("opened: {recovery:?}"),
        Err(error) => error,
    }
}

/// Runs on a data-plane kind of runtime, with a deadline.
fn on_a_runtime<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.unwrap() })
}

fn running_lane(trail: &Trail) -> Lane {
    let lane = trail.lane();
    tokio::spawn(lane.run());
    lane
}

/// Lets every task that is ready on this runtime run until none is.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// A log with these details in it, made on a sound disk.
fn log_of(details: &[&str]) -> Vec<u8> {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        for detail in details {
            lane.append(&record(detail)).await.unwrap();
        }
        trail.close().await;
    });
    disk.bytes()
}

fn details(trail: &Trail) -> Vec<String> {
    on_a_runtime(trail.read(0, usize::MAX))
        .unwrap()
        .into_iter()
        .map(|entry| entry.record.detail.into_owned())
        .collect()
}

/// Where each frame begins, and the end.
fn frame_bounds(log: &[u8]) -> Vec<usize> {
    let mut bounds = vec![32];
    while let Some(&start) = bounds.last().filter(|start| **start < log.len()) {
        let length = u32::from_be_bytes(log[start..start + 4].try_into().unwrap());
        bounds.push(start + length as usize + 48);
    }
    bounds
}

// === what those who wait are told ===

#[test]
fn h01_a_waiter_is_told_only_after_the_sync() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        let begun = disk.with(|inner| inner.syncs_begun);
        disk.close_gate();
        let waiter = tokio::spawn(lane.append(&record("one")));
        settle().await;
        tokio::task::spawn_blocking({
            let disk = disk.clone();
            move || disk.wait_for_sync(begun + 1)
        })
        .await
        .unwrap();
        settle().await;
        assert!(!waiter.is_finished(), "answered before the record was durable");
        assert_eq!(*trail.durable().borrow(), 0);
        assert!(trail.read(0, 10).await.unwrap().is_empty(), "read before it was durable");
        disk.open_gate();
        assert_eq!(waiter.await.unwrap().unwrap(), 1);
        assert_eq!(*trail.durable().borrow(), 1);
    });
}

/// DESIGN "Threads", in counts: whatever is ready together costs one wake, one write and one sync.
#[test]
fn requests_that_are_ready_together_share_one_wake_one_write_and_one_sync() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        let mut requests = Vec::new();
        for request in 0..512 {
            let lane = lane.clone();
            requests.push(tokio::spawn(async move {
                let mut sequences = Vec::new();
                for _ in 0..10 {
                    sequences.push(lane.append(&record(&request.to_string())).await.unwrap());
                }
                sequences
            }));
        }
        let mut all = Vec::new();
        for (place, request) in requests.into_iter().enumerate() {
            let sequences = request.await.unwrap();
            // In the order in which they asked, round after round.
            let expected: Vec<u64> = (0..10).map(|round| round * 512 + place as u64 + 1).collect();
            assert_eq!(sequences, expected);
            all.extend(sequences);
        }
        all.sort_unstable();
        assert_eq!(all, (1..=5120).collect::<Vec<u64>>());
        assert_eq!(
            trail.counts(),
            Counts {
                records: 5120,
                batches: 10,
                writes: 10,
                syncs: 10,
                written_bytes: disk.record_bytes(),
            },
            "5120 records of 512 requests"
        );
    });
}

#[test]
fn all_lanes_share_one_write_and_one_sync() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lanes: Vec<Lane> = (0..4).map(|_| running_lane(&trail)).collect();
        let begun = disk.with(|inner| inner.syncs_begun);
        disk.close_gate();
        let first = tokio::spawn(lanes[0].append(&record("first")));
        settle().await;
        tokio::task::spawn_blocking({
            let disk = disk.clone();
            move || disk.wait_for_sync(begun + 1)
        })
        .await
        .unwrap();
        let others: Vec<_> =
            lanes[1..].iter().map(|lane| tokio::spawn(lane.append(&record("other")))).collect();
        settle().await;
        disk.open_gate();
        assert_eq!(first.await.unwrap().unwrap(), 1);
        let mut sequences = Vec::new();
        for other in others {
            sequences.push(other.await.unwrap().unwrap());
        }
        sequences.sort_unstable();
        assert_eq!(sequences, [2, 3, 4]);
        let written_bytes = disk.record_bytes();
        assert_eq!(
            trail.counts(),
            Counts { records: 4, batches: 4, writes: 2, syncs: 2, written_bytes }
        );
    });
}

#[test]
fn h02_more_than_a_lane_may_hold_is_refused_at_once_and_the_rest_is_kept() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        disk.close_gate();
        let mut taken = Vec::new();
        let mut refused = 0;
        for round in 0..(2 * MAX_LANE_BYTES / 16_000) {
            let mut append = lane.append(&big_record());
            match (&mut append).now_or_never() {
                Some(Err(TrailError::Overloaded)) => refused += 1,
                Some(other) => panic!("{other:?}"),
                None => taken.push(append),
            }
            if round == 100 {
                settle().await; // some are on their way, and count
            }
        }
        let bytes = taken.len() * 16_000;
        assert!((MAX_LANE_BYTES - 100_000..MAX_LANE_BYTES).contains(&bytes), "{bytes} B taken");
        assert!(refused > 0);
        disk.open_gate();
        let expected = taken.len() as u64;
        for append in taken {
            append.await.unwrap();
        }
        assert_eq!(trail.counts().records, expected);
        lane.append(&record("after")).await.unwrap();
    });
}

#[test]
fn a_record_over_a_limit_is_refused_and_others_are_not_disturbed() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        let before = lane.append(&record("before"));
        let over = lane.append(&record(&"x".repeat(1025)));
        let after = lane.append(&record("after"));
        assert!(matches!(over.await, Err(TrailError::Record(limit)) if limit.field == "detail"));
        assert_eq!((before.await.unwrap(), after.await.unwrap()), (1, 2));
    });
}

// === when the disk breaks ===

fn poisoned_by(spoil: impl FnOnce(&mut Inner)) {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        let other_lane = running_lane(&trail);
        lane.append(&record("good")).await.unwrap();
        disk.with(spoil);
        assert!(matches!(lane.append(&record("bad")).await, Err(TrailError::Failed(_))));
        assert!(matches!(trail.failed().await, TrailError::Failed(_)));
        for lane in [&lane, &other_lane] {
            assert!(matches!(lane.append(&record("later")).await, Err(TrailError::Failed(_))));
        }
        assert_eq!(*trail.durable().borrow(), 1);
        assert_eq!(trail.read(0, 10).await.unwrap().len(), 1, "what is durable can be read");
        trail.close().await;
    });
    disk.with(|inner| {
        assert!(inner.failed, "the disk was never asked");
        assert_eq!(inner.calls_after_a_failure, 0, "written or synced again after a failure");
    });
}

#[test]
fn h02_a_failed_write_poisons_the_log_and_is_not_tried_again() {
    poisoned_by(|inner| inner.writes.push_back(Write::Fails(0, EIO)));
    poisoned_by(|inner| inner.writes.extend([Write::Short(10), Write::Fails(7, EIO)]));
}

#[test]
fn h02_a_failed_sync_poisons_the_log_and_is_not_tried_again() {
    poisoned_by(|inner| inner.syncs.push_back(Some(EIO)));
    // Delayed allocation can find the disk full only now: nothing is known about what was written.
    poisoned_by(|inner| inner.syncs.push_back(Some(ENOSPC)));
}

#[test]
fn a_batch_that_waits_behind_a_failed_sync_fails_without_being_written() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let (lane, other_lane) = (running_lane(&trail), running_lane(&trail));
        let begun = disk.with(|inner| inner.syncs_begun);
        disk.close_gate();
        disk.with(|inner| inner.syncs.push_back(Some(EIO)));
        let failing = tokio::spawn(lane.append(&record("failing")));
        settle().await;
        tokio::task::spawn_blocking({
            let disk = disk.clone();
            move || disk.wait_for_sync(begun + 1)
        })
        .await
        .unwrap();
        let behind = tokio::spawn(other_lane.append(&record("behind")));
        let gathering = tokio::spawn(lane.append(&record("gathering")));
        settle().await;
        disk.open_gate();
        for waiter in [failing, behind, gathering] {
            assert!(matches!(waiter.await.unwrap(), Err(TrailError::Failed(_))));
        }
        assert_eq!((trail.counts().writes, trail.counts().syncs), (1, 1));
    });
}

#[test]
fn h02_a_full_disk_is_told_cut_back_and_got_over() {
    for (written, number) in [(0, ENOSPC), (1, ENOSPC), (50, ENOSPC), (50, EDQUOT)] {
        let disk = FakeDisk::default();
        on_a_runtime(async {
            let (trail, _) = open(&disk);
            let lane = running_lane(&trail);
            lane.append(&record("one")).await.unwrap();
            let length = disk.bytes().len();
            for _ in 0..3 {
                disk.with(|inner| inner.writes.push_back(Write::Fails(written, number)));
                let lost = lane.append(&record("lost"));
                let lost_too = lane.append(&record("lost too"));
                assert!(matches!(lost.await, Err(TrailError::Full)));
                assert!(matches!(lost_too.await, Err(TrailError::Full)));
                assert_eq!(disk.bytes().len(), length, "half a frame was left behind");
            }
            assert_eq!(lane.append(&record("two")).await.unwrap(), 2);
            trail.close().await;
        });
        let (trail, recovery) = open(&disk);
        assert_eq!((recovery.sequence, recovery.torn_bytes), (2, 0));
        assert_eq!(details(&trail), ["one", "two"]);
    }
}

#[test]
fn a_full_disk_that_cannot_be_cut_back_poisons_the_log() {
    poisoned_by(|inner| {
        inner.writes.push_back(Write::Fails(20, ENOSPC));
        inner.truncate_fails = true;
    });
}

#[test]
fn short_writes_are_completed() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        disk.with(|inner| {
            inner.writes.extend([Write::Short(1), Write::Short(15), Write::Short(3)])
        });
        assert_eq!(lane.append(&record("one")).await.unwrap(), 1);
        let written_bytes = disk.record_bytes();
        assert_eq!(
            trail.counts(),
            Counts { records: 1, batches: 1, writes: 4, syncs: 1, written_bytes }
        );
        assert!(trail.takes_records());
        trail.close().await;
        assert!(!trail.takes_records());
    });
    assert_eq!(open(&disk).1.sequence, 1);
}

#[test]
fn a_disk_that_writes_nothing_does_not_make_the_log_thread_spin() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        disk.with(|inner| inner.writes.push_back(Write::Short(0)));
        assert!(matches!(lane.append(&record("one")).await, Err(TrailError::Failed(_))));
    });
}

// === opening again ===

#[test]
fn a_torn_end_is_cut_off_wherever_it_was_torn() {
    let log = log_of(&["one", "two", "three"]);
    let bounds = frame_bounds(&log);
    for end in 32..=log.len() {
        let disk = FakeDisk::holding(&log[..end]);
        let (trail, recovery) = open(&disk);
        let whole = bounds.iter().filter(|bound| **bound <= end).count() - 1;
        assert_eq!(recovery.sequence, whole as u64, "cut at {end}");
        assert_eq!(recovery.torn_bytes, (end - bounds[whole]) as u64);
        assert_eq!(disk.bytes(), log[..bounds[whole]]);
        on_a_runtime(async {
            let lane = running_lane(&trail);
            assert_eq!(lane.append(&record("next")).await.unwrap(), whole as u64 + 1);
            trail.close().await;
        });
        assert_eq!(open(&disk).1.sequence, whole as u64 + 1);
    }
}

#[test]
fn an_end_that_was_left_as_zeros_or_as_rubbish_is_cut_off() {
    let log = log_of(&["one", "two"]);
    let bounds = frame_bounds(&log);
    let rubbish: Vec<u8> =
        (0..300_000_u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect();
    for tail in [&[0; 1][..], &[0; 70_000], &[0xff; 70_000], &rubbish] {
        let disk = FakeDisk::holding(&[&log, tail].concat());
        let (_, recovery) = open(&disk);
        assert_eq!((recovery.sequence, recovery.torn_bytes), (2, tail.len() as u64));
    }
    for zeroed in 1..bounds[2] - bounds[1] {
        let mut torn = log.clone();
        let end = torn.len();
        torn[end - zeroed..].fill(0);
        let found = Trail::open(Path::new("audit.log"), INSTALLATION, &FakeDisk::holding(&torn));
        match found {
            Ok((_, recovery)) => assert_eq!(recovery.sequence, 1),
            // A hash that is zeros in less than its second half may as well have been changed.
            Err(error) => {
                assert!(zeroed < 16 && matches!(error, TrailError::Broken { sequence: 2 }));
            }
        }
    }
}

#[test]
fn h03_damage_before_the_end_is_an_error_that_names_the_first_bad_record() {
    let log = log_of(&["one", "two", "three"]);
    let bounds = frame_bounds(&log);
    for position in 32..bounds[2] {
        let sequence = if position < bounds[1] { 1 } else { 2 };
        for flip in [0x01, 0x80] {
            let mut damaged = log.clone();
            damaged[position] ^= flip;
            let disk = FakeDisk::holding(&damaged);
            let error = broken(&disk);
            assert!(
                matches!(error, TrailError::Broken { sequence: found } if found == sequence),
                "byte {position}: {error:?}"
            );
            assert_eq!(disk.bytes(), damaged, "a broken log is left as it is");
        }
    }
}

#[test]
fn h03_a_record_taken_out_put_in_or_moved_is_an_error() {
    let log = log_of(&["one", "two", "three"]);
    let other = log_of(&["ONE", "two", "three"]);
    let bounds = frame_bounds(&log);
    let frame = |log: &[u8], place: usize| log[bounds[place]..bounds[place + 1]].to_vec();
    let head = log[..32].to_vec();
    let cases = [
        (1, vec![frame(&log, 1), frame(&log, 2)]),
        (2, vec![frame(&log, 0), frame(&log, 2)]),
        (2, vec![frame(&log, 0), frame(&log, 2), frame(&log, 1)]),
        (2, vec![frame(&log, 0), frame(&log, 0), frame(&log, 1)]),
        (2, vec![frame(&log, 0), frame(&other, 1), frame(&log, 2)]),
        (2, vec![frame(&log, 0), vec![0; 9], frame(&log, 1)]),
    ];
    for (expected, frames) in cases {
        let disk = FakeDisk::holding(&[head.clone(), frames.concat()].concat());
        let error = broken(&disk);
        assert!(
            matches!(error, TrailError::Broken { sequence } if sequence == expected),
            "{error:?}"
        );
    }
}

#[test]
fn a_file_that_is_not_this_installations_log_is_refused_and_left_alone() {
    let foreign = LogHeader::new([1; 16]).to_bytes();
    let not_a_log = b"#!/bin/sh\necho this is not a log at all\n".as_slice();
    assert!(matches!(broken(&FakeDisk::holding(&foreign)), TrailError::OtherInstallation));
    for other in [not_a_log, b"x", b"bulla-audit-v2\0\0................"] {
        let disk = FakeDisk::holding(other);
        assert!(matches!(broken(&disk), TrailError::NotALog));
        assert_eq!(disk.bytes(), other);
    }
}

#[test]
fn a_crash_while_the_log_was_begun_is_got_over() {
    let header = LogHeader::new(INSTALLATION).to_bytes();
    for end in 0..32 {
        let (_, recovery) = open(&FakeDisk::holding(&header[..end]));
        assert!(recovery.created && recovery.sequence == 0);
    }
    assert!(!open(&FakeDisk::holding(&header)).1.created);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the disk does and wherever the crash comes, what was acknowledged is there.
    #[test]
    fn h01_what_was_acknowledged_survives_any_crash(
        script in proptest::collection::vec((0_u8..8, 1_usize..400), 1..40),
        torn in 0_usize..600,
        rubbish in any::<bool>(),
    ) {
        let disk = FakeDisk::default();
        let acknowledged = on_a_runtime(async {
            let (trail, _) = open(&disk);
            let lane = running_lane(&trail);
            let mut acknowledged = Vec::new();
            for (kind, size) in script {
                disk.with(|inner| match kind {
                    0 => inner.writes.push_back(Write::Fails(size, ENOSPC)),
                    1 | 2 => inner.writes.push_back(Write::Short(size)),
                    _ => {}
                });
                let detail = "x".repeat(size);
                if let Ok(sequence) = lane.append(&record(&detail)).await {
                    acknowledged.push((sequence, detail));
                }
            }
            acknowledged
        });
        // The crash: some of a batch that was never synced.
        let unsynced = log_of(&["a batch", "that was never synced"]);
        disk.with(|inner| {
            let tail = if rubbish { vec![0; torn] } else { unsynced[40..].to_vec() };
            inner.bytes.extend_from_slice(&tail[..torn.min(tail.len()).min(70)]);
        });
        let (trail, recovery) = open(&disk);
        prop_assert_eq!(recovery.sequence, acknowledged.len() as u64);
        let found: Vec<(u64, String)> = on_a_runtime(trail.read(0, usize::MAX))
            .unwrap()
            .into_iter()
            .map(|entry| (entry.sequence, entry.record.detail.into_owned()))
            .collect();
        prop_assert_eq!(found, acknowledged);
    }
}

// === reading back ===

#[test]
fn pages_of_any_size_make_the_whole_log() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        let appends: Vec<_> = (1..=3000).map(|n| lane.append(&record(&format!("{n}")))).collect();
        for append in appends {
            append.await.unwrap();
        }
        trail.close().await;
    });
    let (trail, _) = open(&disk);
    on_a_runtime(async {
        let lane = running_lane(&trail);
        let appends: Vec<_> =
            (3001..=5000).map(|n| lane.append(&record(&format!("{n}")))).collect();
        for append in appends {
            append.await.unwrap();
        }
        for limit in [7, 1000, 1023, 1024, 1025] {
            let mut after = 0;
            loop {
                let page = trail.read(after, limit).await.unwrap();
                assert!(page.len() <= limit);
                for entry in &page {
                    after += 1;
                    assert_eq!(entry.sequence, after);
                    assert_eq!(entry.record.detail, after.to_string());
                }
                if page.is_empty() {
                    break;
                }
            }
            assert_eq!(after, 5000, "in pages of {limit}");
        }
        assert!(trail.read(5000, 10).await.unwrap().is_empty());
        assert!(trail.read(u64::MAX, 10).await.unwrap().is_empty());
        assert!(trail.read(0, 0).await.unwrap().is_empty());
    });
}

#[test]
fn a_page_of_long_records_is_bounded_in_bytes() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        let appends: Vec<_> = (0..400).map(|_| lane.append(&big_record())).collect();
        for append in appends {
            append.await.unwrap();
        }
        let page = trail.read(0, usize::MAX).await.unwrap();
        assert!((200..400).contains(&page.len()), "{} records", page.len());
        let rest = trail.read(page.len() as u64, usize::MAX).await.unwrap();
        assert_eq!(page.len() + rest.len(), 400);
    });
}

#[test]
fn h03_a_log_that_is_changed_while_it_is_open_does_not_read_as_if_it_were_true() {
    let disk = FakeDisk::holding(&log_of(&["one", "two", "three"]));
    let (trail, _) = open(&disk);
    let second = frame_bounds(&disk.bytes())[1];
    disk.with(|inner| inner.bytes[second + 20] ^= 1);
    let error = on_a_runtime(trail.read(0, 10)).unwrap_err();
    assert!(matches!(error, TrailError::Broken { sequence: 2 }), "{error:?}");
}

// === closing ===

#[test]
fn closing_makes_durable_what_was_taken_and_takes_no_more() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        let taken: Vec<_> = (0..100).map(|_| lane.append(&record("taken"))).collect();
        trail.close().await;
        assert!(matches!(lane.append(&record("late")).await, Err(TrailError::Closed)));
        for (place, append) in taken.into_iter().enumerate() {
            assert_eq!(append.await.unwrap(), place as u64 + 1);
        }
        trail.close().await; // again is nothing
    });
    assert_eq!(open(&disk).1.sequence, 100);
}

#[test]
fn those_who_wait_on_a_runtime_that_goes_away_are_told() {
    let disk = FakeDisk::default();
    let (trail, _) = open(&disk);
    let begun = disk.with(|inner| inner.syncs_begun);
    disk.close_gate();
    let lane = trail.lane();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let on_its_way = lane.append(&record("on its way"));
    runtime.block_on(async {
        tokio::spawn(lane.run());
        settle().await;
        disk.wait_for_sync(begun + 1);
    });
    let gathering = lane.append(&record("gathering"));
    drop(runtime);
    on_a_runtime(async {
        assert!(matches!(on_its_way.await, Err(TrailError::Closed)));
        assert!(matches!(gathering.await, Err(TrailError::Closed)));
        assert!(matches!(lane.append(&record("late")).await, Err(TrailError::Closed)));
        disk.open_gate();
        trail.close().await;
    });
}

// === the real disk ===

#[test]
fn e08_the_log_is_its_owners_alone_and_one_process_alone_has_it_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let open = || Trail::open(&path, INSTALLATION, &RealDisk);
    let (trail, recovery) = open().unwrap();
    assert!(recovery.created);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(matches!(open(), Err(TrailError::Locked)));
    on_a_runtime(async {
        let lane = running_lane(&trail);
        assert_eq!(lane.append(&record("one")).await.unwrap(), 1);
        trail.close().await;
    });
    drop(trail);
    for mode in [0o640, 0o604, 0o620] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(open(), Err(TrailError::Exposed)), "{mode:o}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(open().unwrap().1.sequence, 1);
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let linked = Trail::open(&link, INSTALLATION, &RealDisk);
    assert!(matches!(linked, Err(TrailError::Io { .. })), "a symbolic link was followed");
    let absent = Trail::open(&directory.path().join("no/audit.log"), INSTALLATION, &RealDisk);
    assert!(matches!(absent, Err(TrailError::Io { .. })));
}

/// The child of the test below, which kills it; by itself it stops after a hundred records.
#[test]
fn every_sequence_is_printed_only_when_it_is_durable() {
    let parent = std::env::var_os(CHILD_DIRECTORY);
    let own = tempfile::tempdir().unwrap();
    let directory = parent.as_ref().map_or(own.path(), |directory| Path::new(directory));
    let (trail, recovery) =
        Trail::open(&directory.join("audit.log"), INSTALLATION, &RealDisk).unwrap();
    println!("opened {} torn {}", recovery.sequence, recovery.torn_bytes);
    on_a_runtime(async {
        let lane = running_lane(&trail);
        let last = if parent.is_some() { u64::MAX } else { 100 };
        let mut durable = recovery.sequence;
        while durable < last {
            let appends: Vec<_> = (0..20).map(|_| lane.append(&record("x"))).collect();
            for append in appends {
                durable += 1;
                assert_eq!(append.await.unwrap(), durable);
            }
            println!("durable {durable}");
        }
    });
}

const CHILD_DIRECTORY: &str = "BULLA_TEST_TRAIL_DIRECTORY";

#[test]
fn h01_kill_9_at_any_moment_loses_nothing_that_was_acknowledged() {
    use std::io::BufRead;
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for cycle in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "trail::every_sequence_is_printed_only_when_it_is_durable",
            ])
            .env(CHILD_DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        while heard <= cycle % 7 {
            let line = lines.next().expect("the child ended by itself").unwrap();
            if let Some(rest) = line.split("opened ").nth(1) {
                let opened: u64 = rest.split(' ').next().unwrap().parse().unwrap();
                assert!(opened >= acknowledged, "cycle {cycle}: {opened} < {acknowledged}");
            }
            if let Some(durable) = line.strip_prefix("durable ") {
                acknowledged = durable.parse().unwrap();
                heard += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some(durable) = line.strip_prefix("durable ") {
                acknowledged = durable.parse().unwrap_or(acknowledged);
            }
        }
    }
    let (trail, recovery) =
        Trail::open(&directory.path().join("audit.log"), INSTALLATION, &RealDisk).unwrap();
    assert!(recovery.sequence >= acknowledged && acknowledged > 0);
    drop(trail);
}
