//! The audit log on disk: what it promises to those who wait, and what it survives.

mod disk;
mod faults;
mod index;
mod needed;
mod segments;

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bulla::audit::{Outcome, Record, SEGMENT_HEADER_BYTES, SegmentHeader};
use bulla::trail::{
    Lane, MAX_LANE_BYTES, MIN_SEGMENT_BYTES, Recovery, Trail, TrailError, TrailOptions,
};
use futures_util::FutureExt;

pub(crate) use disk::{Call, EIO, FakeDisk};
use disk::{ENOSPC, Fault};

/// A call that fails.
pub(crate) const FAILS: Fault = Fault::Fails(EIO);

const INSTALLATION: [u8; 16] = [0xb0; 16];
const FIRST: &str = "00000000000000000001-0000.seg";

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

fn open(disk: &FakeDisk) -> (Trail, Recovery) {
    disk.open(INSTALLATION).unwrap()
}

fn broken(disk: &FakeDisk) -> TrailError {
    match disk.open(INSTALLATION) {
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

/// A disk with a log of these details on it.
fn disk_of(details: &[&str]) -> FakeDisk {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        for detail in details {
            lane.append(&record(detail)).await.unwrap();
        }
        trail.close().await;
    });
    disk.copy()
}

/// Its first segment.
fn segment_of(disk: &FakeDisk) -> Vec<u8> {
    disk.segments().into_iter().find(|(name, _)| name == FIRST).unwrap().1
}

fn details(trail: &Trail) -> Vec<String> {
    on_a_runtime(trail.read(0, usize::MAX))
        .unwrap()
        .into_iter()
        .map(|entry| entry.record.detail.into_owned())
        .collect()
}

/// Where each frame begins, and where the last one ends.
fn frame_bounds(segment: &[u8]) -> Vec<usize> {
    let mut bounds = vec![SEGMENT_HEADER_BYTES];
    loop {
        let start = bounds[bounds.len() - 1];
        let length = u32::from_be_bytes(segment[start..start + 4].try_into().unwrap());
        if length == 0 {
            return bounds;
        }
        bounds.push(start + length as usize + 48);
    }
}

/// What the log thread does in a test is counted from here: opening a new log costs some of it.
struct Costs(bulla::trail::Counts);

impl Costs {
    fn of(trail: &Trail) -> Self {
        Self(trail.counts())
    }

    /// Records, batches, writes and syncs since then.
    fn since(&self, trail: &Trail) -> [u64; 4] {
        let (now, then) = (trail.counts(), self.0);
        [
            now.records - then.records,
            now.batches - then.batches,
            now.writes - then.writes,
            now.syncs - then.syncs,
        ]
    }
}

/// A log on one segment that is large enough for everything.
fn open_wide(disk: &FakeDisk) -> Trail {
    let options = TrailOptions { segment_bytes: 16 * MIN_SEGMENT_BYTES, ..disk.options() };
    Trail::open(Path::new("audit"), INSTALLATION, &options).unwrap().0
}

// === what those who wait are told ===

#[test]
fn h01_a_waiter_is_told_only_after_the_sync() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        disk.rest(&trail);
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
        let trail = open_wide(&disk);
        disk.rest(&trail);
        let costs = Costs::of(&trail);
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
        assert_eq!(costs.since(&trail), [5120, 10, 10, 10], "5120 records of 512 requests");
    });
}

#[test]
fn all_lanes_share_one_write_and_one_sync() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        disk.rest(&trail);
        let costs = Costs::of(&trail);
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
        assert_eq!(costs.since(&trail), [4, 4, 2, 2]);
    });
}

#[test]
fn h02_more_than_a_lane_may_hold_is_refused_at_once_and_the_rest_is_kept() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let trail = open_wide(&disk);
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
        // And perhaps the log's own, of those that were refused.
        assert!((expected..=expected + 1).contains(&trail.counts().records));
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

/// Records before, while and after the disk fails as `spoil` says. All of them are acknowledged, the
/// failed file is left alone, and all are in the log once.
fn got_over(spoil: impl FnOnce(&mut disk::Inner)) {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        disk.rest(&trail);
        let (lane, other_lane) = (running_lane(&trail), running_lane(&trail));
        assert_eq!(lane.append(&record("before")).await.unwrap(), 1);
        disk.with(spoil);
        assert_eq!(lane.append(&record("while")).await.unwrap(), 2);
        let poisoned = trail.counts().poisoned;
        assert_eq!(poisoned, 1, "the segment is given up");
        assert!(other_lane.append(&record("after")).await.unwrap() >= 3);
        trail.close().await;
    });
    disk.with(|inner| assert_eq!(inner.used_after_a_failure, 0, "used after it had failed"));
    let (trail, _) = open(&disk.crashed(|_| 0));
    let found = details(&trail);
    assert_eq!(found[..2], ["before", "while"]);
    assert_eq!(found.iter().filter(|it| it.starts_with("segment=0000")).count(), 1, "{found:?}");
    assert_eq!(found.iter().filter(|it| **it == "after").count(), 1);
}

/// The next call of the disk.
fn next(inner: &mut disk::Inner, after: u64, fault: Fault) {
    let number = inner.calls + after;
    inner.faults.insert(number, fault);
}

#[test]
fn h02_a_failed_write_poisons_the_segment_and_is_done_again_in_another() {
    for number in [EIO, ENOSPC, disk::EDQUOT] {
        got_over(|inner| next(inner, 1, Fault::Fails(number)));
    }
}

#[test]
fn h02_a_failed_sync_poisons_the_segment_and_is_never_tried_again_on_it() {
    // Delayed allocation can find the disk full only now: nothing is known about what was written.
    for number in [EIO, ENOSPC] {
        got_over(|inner| next(inner, 2, Fault::Fails(number)));
    }
}

#[test]
fn h02_what_fails_twice_is_refused_and_service_goes_on_by_itself() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        disk.rest(&trail);
        let (lane, other_lane) = (running_lane(&trail), running_lane(&trail));
        assert_eq!(lane.append(&record("before")).await.unwrap(), 1);
        disk.with(|inner| inner.failing = [(Call::Sync, EIO)].into());
        let refused = lane.append(&record("refused")).await;
        assert!(matches!(refused, Err(TrailError::Unavailable)), "{refused:?}");
        for lane in [&lane, &other_lane] {
            assert!(matches!(lane.append(&record("no")).await, Err(TrailError::Unavailable)));
            let ready = lane.ready(bulla::trail::Purpose::Manage);
            assert!(matches!(ready, Err(TrailError::Unavailable)));
        }
        assert!(!trail.takes_records(bulla::trail::Purpose::Manage));
        assert_eq!(*trail.durable().borrow(), 1);
        assert_eq!(trail.read(0, 10).await.unwrap().len(), 1, "what is durable can be read");
        disk.with(|inner| inner.failing.clear());
        let after = back(&lane).await;
        let found = trail.read(0, 100).await.unwrap();
        let of = |action: &str| found.iter().filter(|it| it.record.action == action).count();
        assert_eq!((of("audit.gap"), of("audit.segment_poisoned")), (1, 1), "{found:?}");
        let gap = found.iter().find(|it| it.record.action == "audit.gap").unwrap();
        assert!(gap.record.detail.starts_with("refused="), "{}", gap.record.detail);
        assert_eq!(found.iter().filter(|it| it.record.detail == "back").count(), 1);
        assert!(found.iter().any(|it| it.sequence == after));
        trail.close().await;
    });
}

/// Until a record is taken again.
async fn back(lane: &Lane) -> u64 {
    let begun = std::time::Instant::now();
    loop {
        match lane.append(&record("back")).await {
            Ok(sequence) => return sequence,
            Err(TrailError::Unavailable) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => panic!("{error:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "service never came back");
    }
}

#[test]
fn short_writes_are_completed() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        disk.rest(&trail);
        let lane = running_lane(&trail);
        let costs = Costs::of(&trail);
        disk.with(|inner| (1..=3).for_each(|call| next(inner, call, Fault::Short)));
        assert_eq!(lane.append(&record("one")).await.unwrap(), 1);
        assert_eq!(costs.since(&trail), [1, 1, 4, 1]);
        trail.close().await;
        assert!(!trail.takes_records(bulla::trail::Purpose::Manage));
    });
    assert_eq!(open(&disk.crashed(|_| 0)).1.sequence, 1);
}

#[test]
fn h02_a_disk_that_hangs_is_told_in_less_than_a_second_and_got_over() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        disk.rest(&trail);
        let (lane, other_lane) = (running_lane(&trail), running_lane(&trail));
        disk.close_gate();
        let begun = std::time::Instant::now();
        let on_its_way = tokio::spawn(lane.append(&record("on its way")));
        settle().await;
        let gathering = tokio::spawn(lane.append(&record("gathering")));
        let other = tokio::spawn(other_lane.append(&record("other")));
        for waiter in [on_its_way, gathering, other] {
            assert!(matches!(waiter.await.unwrap(), Err(TrailError::Unavailable)));
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        for lane in [&lane, &other_lane] {
            let mut late = lane.append(&record("late"));
            let at_once = (&mut late).now_or_never();
            assert!(matches!(at_once, Some(Err(TrailError::Unavailable))), "{at_once:?}");
        }
        disk.open_gate();
        back(&lane).await;
        assert_eq!(trail.waiting_bytes(), 0);
        trail.close().await;
    });
    let (trail, _) = open(&disk.crashed(|_| 0));
    let found = details(&trail);
    assert!(!found.contains(&"gathering".to_owned()) && !found.contains(&"late".to_owned()));
}

#[test]
fn h02_closing_does_not_wait_for_a_disk_that_hangs() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        disk.rest(&trail);
        let lane = running_lane(&trail);
        disk.close_gate();
        let waiter = tokio::spawn(lane.append(&record("on its way")));
        settle().await;
        tokio::time::timeout(3 * bulla::trail::CLOSE_MAX, trail.close()).await.unwrap();
        assert!(matches!(waiter.await.unwrap(), Err(TrailError::Unavailable | TrailError::Closed)));
        disk.open_gate();
    });
}

// === opening again ===

#[test]
fn a_torn_end_is_left_behind_wherever_it_was_torn_and_a_record_says_so() {
    let whole = disk_of(&["one", "two", "three"]);
    let segment = segment_of(&whole);
    let bounds = frame_bounds(&segment);
    for end in (SEGMENT_HEADER_BYTES..=bounds[3]).step_by(7) {
        let disk = whole.copy();
        disk.change(FIRST, |bytes| bytes[end..].fill(0));
        let torn_segment = segment_of(&disk);
        let (trail, recovery) = open(&disk);
        let records = bounds.iter().filter(|bound| **bound <= end).count() - 1;
        assert_eq!(recovery.sequence, records as u64, "cut at {end}");
        let last = segment[..end].iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let torn = last.saturating_sub(bounds[records]) as u64;
        assert_eq!(recovery.torn_bytes, torn, "cut at {end}");
        on_a_runtime(async {
            let lane = running_lane(&trail);
            let expected = records as u64 + 1 + u64::from(torn > 0);
            // The log's own record comes first, once its thread has begun.
            while torn > 0 && *trail.durable().borrow() < expected - 1 {
                tokio::task::yield_now().await;
            }
            assert_eq!(lane.append(&record("next")).await.unwrap(), expected);
            trail.close().await;
        });
        if torn > 0 {
            let left = disk.segments().into_iter().find(|(name, _)| name == FIRST);
            let same = left.is_none_or(|(_, bytes)| bytes == torn_segment);
            assert!(same, "written over, and not compressed");
            let found = details(&trail);
            assert_eq!(found[records], format!("torn_bytes={torn}"));
        }
        let again = open(&disk.crashed(|_| 0));
        assert_eq!(again.1.torn_bytes, 0);
        assert_eq!(details(&again.0), details(&trail));
    }
}

#[test]
fn an_end_that_was_left_as_rubbish_is_left_behind() {
    let whole = disk_of(&["one", "two"]);
    let end = frame_bounds(&segment_of(&whole))[2];
    let rubbish: Vec<u8> =
        (0..200_000_u32).flat_map(|n| (n.wrapping_mul(0x9e37_79b9) | 1).to_be_bytes()).collect();
    for tail in [&[0xff; 1][..], &[0xff; 70_000], &rubbish] {
        let disk = whole.copy();
        disk.change(FIRST, |bytes| bytes[end..end + tail.len()].copy_from_slice(tail));
        let (_, recovery) = open(&disk);
        assert_eq!((recovery.sequence, recovery.torn_bytes), (2, tail.len() as u64));
    }
}

#[test]
fn what_is_left_of_one_write_in_any_order_is_torn_and_not_damage() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        lane.append(&record("durable")).await.unwrap();
        let together: Vec<_> = (0..4).map(|n| lane.append(&record(&format!("{n}")))).collect();
        for append in together {
            append.await.unwrap();
        }
        lane.append(&record("of a later write")).await.unwrap();
        trail.close().await;
    });
    let bounds = frame_bounds(&segment_of(&disk));
    // The second of the four is lost, and so is everything after them: a write that was not finished.
    let torn = disk.copy();
    torn.change(FIRST, |bytes| {
        bytes[bounds[5]..].fill(0);
        bytes[bounds[2]..bounds[3]].fill(0);
    });
    let (trail, recovery) = open(&torn);
    assert_eq!((recovery.sequence, recovery.torn_bytes), (2, (bounds[5] - bounds[2]) as u64));
    assert_eq!(details(&trail)[..2], ["durable", "0"]);
    // The same with a record of a later write behind it: that was durable when this one was written.
    disk.change(FIRST, |bytes| bytes[bounds[2]..bounds[3]].fill(0));
    assert!(matches!(broken(&disk), TrailError::Broken { sequence: 3 }));
}

#[test]
fn h03_damage_before_the_end_is_an_error_that_names_the_first_bad_record() {
    let whole = disk_of(&["one", "two", "three"]);
    let bounds = frame_bounds(&segment_of(&whole));
    for position in (bounds[0]..bounds[2]).step_by(3) {
        let sequence = if position < bounds[1] { 1 } else { 2 };
        for flip in [0x01, 0x80] {
            let disk = whole.copy();
            disk.change(FIRST, |bytes| bytes[position] ^= flip);
            let damaged = segment_of(&disk);
            let error = broken(&disk);
            assert!(
                matches!(error, TrailError::Broken { sequence: found } if found == sequence),
                "byte {position}: {error:?}"
            );
            assert_eq!(segment_of(&disk), damaged, "a broken log is left as it is");
        }
    }
}

#[test]
fn h03_a_record_taken_out_put_in_or_moved_is_an_error() {
    let whole = disk_of(&["one", "two", "three"]);
    let segment = segment_of(&whole);
    let other = segment_of(&disk_of(&["ONE", "two", "three"]));
    let bounds = frame_bounds(&segment);
    let frame = |log: &[u8], place: usize| log[bounds[place]..bounds[place + 1]].to_vec();
    let cases = [
        (1, vec![frame(&segment, 1), frame(&segment, 2)]),
        (2, vec![frame(&segment, 0), frame(&segment, 2)]),
        (2, vec![frame(&segment, 0), frame(&segment, 2), frame(&segment, 1)]),
        (2, vec![frame(&segment, 0), frame(&segment, 0), frame(&segment, 1)]),
        (2, vec![frame(&segment, 0), frame(&other, 1), frame(&segment, 2)]),
        (2, vec![frame(&segment, 0), vec![0; 9], frame(&segment, 2)]),
    ];
    for (expected, frames) in cases {
        let disk = whole.copy();
        disk.change(FIRST, |bytes| {
            bytes[bounds[0]..].fill(0);
            let frames = frames.concat();
            bytes[bounds[0]..bounds[0] + frames.len()].copy_from_slice(&frames);
        });
        let error = broken(&disk);
        assert!(
            matches!(error, TrailError::Broken { sequence } if sequence == expected),
            "{expected}: {error:?}"
        );
    }
}

#[test]
fn a_file_that_is_not_this_installations_log_is_refused_and_left_alone() {
    let disk = disk_of(&["one"]);
    let foreign = SegmentHeader::first([1; 16]).to_bytes();
    disk.change(FIRST, |bytes| bytes[..foreign.len()].copy_from_slice(&foreign));
    assert!(matches!(broken(&disk), TrailError::OtherInstallation));
    for other in [&b"#!/bin/sh\necho this is not a log at all\n"[..], b"x", b"bulla-audit-v1\0\0"] {
        disk.change(FIRST, |bytes| *bytes = other.to_vec());
        assert!(matches!(broken(&disk), TrailError::Broken { sequence: 1 }));
        assert_eq!(segment_of(&disk), other);
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
        let trail = open_wide(&disk);
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
    let disk = disk_of(&["one", "two", "three"]);
    let (trail, _) = open(&disk);
    let second = frame_bounds(&segment_of(&disk))[1];
    disk.change(FIRST, |bytes| bytes[second + 20] ^= 1);
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
    disk.rest(&trail);
    let begun = disk.with(|inner| inner.syncs_begun);
    disk.close_gate();
    let lane = trail.lane();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
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

fn small() -> TrailOptions {
    TrailOptions { segment_bytes: MIN_SEGMENT_BYTES, ..TrailOptions::default() }
}

#[test]
fn e08_the_log_is_its_owners_alone_and_one_process_alone_has_it_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit");
    let open = || Trail::open(&path, INSTALLATION, &small());
    let (trail, recovery) = open().unwrap();
    assert!(recovery.created);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let segment = path.join("segments").join(FIRST);
    assert_eq!((mode(&path), mode(&path.join("segments")), mode(&segment)), (0o700, 0o700, 0o600));
    assert!(matches!(open(), Err(TrailError::Locked)));
    on_a_runtime(async {
        let lane = running_lane(&trail);
        assert_eq!(lane.append(&record("one")).await.unwrap(), 1);
        trail.close().await;
    });
    drop(trail);
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (path, bad, good) in [(&segment, 0o640, 0o600), (&path, 0o750, 0o700)] {
        set(path, bad);
        assert!(matches!(open(), Err(TrailError::Exposed)), "{bad:o}");
        set(path, good);
    }
    let (trail, recovery) = open().unwrap();
    assert_eq!(recovery.sequence, 1);
    on_a_runtime(trail.close());
    drop(trail);
    let moved = directory.path().join("moved");
    std::fs::rename(&segment, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &segment).unwrap();
    assert!(matches!(open(), Err(TrailError::Io { .. })), "a symbolic link was followed");
    let absent = Trail::open(&directory.path().join("no/audit"), INSTALLATION, &small());
    assert!(matches!(absent, Err(TrailError::Io { .. })));
}

/// The child of the test below, which kills it; by itself it stops after a hundred records.
#[test]
fn every_sequence_is_printed_only_when_it_is_durable() {
    let parent = std::env::var_os(CHILD_DIRECTORY);
    let own = tempfile::tempdir().unwrap();
    let directory = parent.as_ref().map_or(own.path(), |directory| Path::new(directory));
    let (trail, recovery) = Trail::open(&directory.join("audit"), INSTALLATION, &small()).unwrap();
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
        Trail::open(&directory.path().join("audit"), INSTALLATION, &small()).unwrap();
    assert!(recovery.sequence >= acknowledged && acknowledged > 0);
    drop(trail);
}
