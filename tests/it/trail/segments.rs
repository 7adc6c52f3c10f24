//! More than one segment: what is read across them, compressed, taken away and kept in reserve.

use bulla::audit::Record;
use bulla::keys::TenantId;
use bulla::trail::Purpose;

use super::*;

/// A record of this tenant.
fn of_tenant(tenant: u8, detail: &str) -> Record<'static> {
    Record { tenant: Some(TenantId::from_bytes([tenant; 16])), ..record(detail) }
}

/// Fills segments with `count` records of 16 KiB of two tenants in turn, one after another.
async fn fill(lane: &Lane, count: u64) {
    for n in 0..count {
        let tenant = 1 + u8::from(n % 3 == 0);
        let record = Record { context: big_record().context, ..of_tenant(tenant, "fill") };
        while let Err(error) = lane.append(&record).await {
            assert!(matches!(error, TrailError::Unavailable | TrailError::Overloaded), "{error}");
        }
    }
}

/// Every frame of the log, the chain verified from the first.
pub(super) fn all(trail: &Trail) -> Vec<Record<'static>> {
    let mut frames = trail.segments().frames(0);
    let mut records = Vec::new();
    while let Some(record) = frames.next(|frame| Record::decode(frame.payload()).unwrap()).unwrap()
    {
        records.push(record);
    }
    records
}

/// The tenants' own sequences are dense, and ids are given once.
fn assert_dense(records: &[Record<'_>]) {
    for tenant in [1, 2] {
        let own = records.iter().filter(|it| it.tenant == Some(TenantId::from_bytes([tenant; 16])));
        let sequences: Vec<_> = own.map(|it| it.tenant_sequence).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    }
    let ids: std::collections::HashSet<_> = records.iter().map(|it| it.id).collect();
    assert_eq!(ids.len(), records.len());
    assert!(!ids.contains(&[0; 16]));
}

pub(super) fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_log_of_many_segments_is_one_log_also_when_they_are_compressed() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        fill(&lane, 300).await;
        let records = all(&trail);
        assert!(records.len() >= 300);
        assert_dense(&records);
        until("nothing is compressed", || {
            disk.segments().iter().filter(|(name, _)| name.ends_with(".zst")).count() >= 3
        });
        assert_eq!(all(&trail), records, "read again through compression");
        let mut paged = Vec::new();
        loop {
            let page = trail.read(paged.len() as u64, 7).await.unwrap();
            if page.is_empty() {
                break;
            }
            paged.extend(page.into_iter().map(|entry| entry.record));
        }
        assert_eq!(paged, records);
        trail.close().await;
    });
    let disk = disk.crashed(|_| 0);
    let before = all(&open(&disk).0).len();
    // A start needs the last segments and the counts beside them, and finds the same without those.
    for (name, _) in disk.files().iter().filter(|(name, _)| name.ends_with(".tenants")) {
        disk.replace(name, None);
    }
    let (trail, recovery) = open(&disk);
    assert_eq!(recovery.sequence, before as u64);
    on_a_runtime(async {
        let lane = running_lane(&trail);
        fill(&lane, 10).await;
        assert_dense(&all(&trail));
        trail.close().await;
    });
}

#[test]
fn h03_a_segment_taken_out_changed_or_swapped_is_named_when_the_log_is_read() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        fill(&lane, 220).await;
        trail.close().await;
    });
    let names: Vec<_> = disk.segments().into_iter().map(|(name, _)| name).collect();
    assert!(names.len() >= 3, "{names:?}");
    let first_bad = |disk: &FakeDisk| {
        let (trail, _) = match open_any(disk) {
            Ok(opened) => opened,
            Err(error) => return error,
        };
        let mut frames = trail.segments().frames(0);
        loop {
            match frames.next(|_| ()) {
                Ok(Some(())) => {}
                Ok(None) => panic!("the whole log verifies"),
                Err(error) => return error,
            }
        }
    };
    for (place, name) in names[..names.len() - 1].iter().enumerate() {
        let first: u64 = name[..20].parse().unwrap();
        let gone = disk.copy();
        gone.replace(name, None);
        let error = first_bad(&gone);
        match place {
            0 => assert!(matches!(error, TrailError::Beginning { .. }), "{error:?}"),
            _ => assert!(matches!(error, TrailError::Broken { .. }), "{place} gone: {error:?}"),
        }
        let changed = disk.copy();
        changed.change(name, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
        let error = first_bad(&changed);
        let named = matches!(error, TrailError::Broken { sequence } if sequence >= first);
        assert!(named || name.ends_with(".zst"), "{place} changed: {error:?}");
    }
}

fn open_any(disk: &FakeDisk) -> Result<(Trail, Recovery), TrailError> {
    disk.open(INSTALLATION)
}

#[test]
fn h01_a_segment_deleted_or_replaced_under_the_running_log_is_written_anew() {
    for replaced in [None, Some(&b"something else"[..])] {
        let disk = FakeDisk::default();
        on_a_runtime(async {
            let (trail, _) = open(&disk);
            let lane = running_lane(&trail);
            for detail in ["one", "two"] {
                lane.append(&record(detail)).await.unwrap();
            }
            disk.rest(&trail);
            disk.replace(FIRST, replaced);
            // Whether or not there is another call.
            until("the loss is not noticed", || trail.counts().poisoned == 1);
            back(&lane).await;
            trail.close().await;
        });
        let (trail, _) = open(&disk.crashed(|_| 0));
        let found = details(&trail);
        assert_eq!(found[..2], ["one", "two"], "{found:?}");
        assert_eq!(found.iter().filter(|it| *it == "back").count(), 1);
        assert_eq!(all(&trail).len(), found.len());
    }
}

#[test]
fn h02_on_a_full_disk_keys_are_not_used_and_management_goes_on_until_it_is_full() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        let lane = running_lane(&trail);
        lane.append(&record("before")).await.unwrap();
        disk.rest(&trail);
        assert!(trail.takes_records(Purpose::Use));
        // From now on no file can be made, for as long as ten minutes or ten years.
        disk.with(|inner| inner.failing = [(Call::Create, ENOSPC)].into());
        let mut managed = 0;
        let mut refused_uses = 0;
        loop {
            refused_uses += u64::from(lane.ready(Purpose::Use).is_err());
            if lane.append(&big_record()).await.is_err() {
                break;
            }
            managed += 1;
        }
        // More than a whole segment's worth was there for management alone.
        assert!(managed > 64, "{managed}");
        assert!(refused_uses > 30, "{refused_uses} of {managed}");
        assert!(!trail.takes_records(Purpose::Use) && !trail.takes_records(Purpose::Manage));
        for _ in 0..600 {
            let mut refused = lane.append(&record("a second later"));
            let at_once = (&mut refused).now_or_never();
            assert!(matches!(at_once, Some(Err(TrailError::Unavailable))), "{at_once:?}");
        }
        disk.with(|inner| inner.failing.clear());
        back(&lane).await;
        until("keys are not used again", || trail.takes_records(Purpose::Use));
        let records = all(&trail);
        let gaps: Vec<_> = records.iter().filter(|it| it.action == "audit.gap").collect();
        assert!(!gaps.is_empty());
        trail.close().await;
    });
}

#[test]
fn j08_all_lanes_together_hold_no_more_than_the_limit() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        disk.rest(&trail);
        disk.close_gate();
        let lanes: Vec<_> = (0..20).map(|_| trail.lane()).collect();
        let mut waiting = Vec::new();
        for lane in &lanes {
            for _ in 0..600 {
                waiting.push(lane.append(&big_record()));
            }
        }
        let held = trail.waiting_bytes();
        let max = bulla::trail::MAX_WAITING_BYTES;
        assert!(held <= max && held > max - MAX_LANE_BYTES, "{held} B held");
        drop(waiting);
        for lane in &lanes {
            tokio::spawn(lane.run());
        }
        disk.open_gate();
        trail.close().await;
        assert_eq!(trail.waiting_bytes(), 0);
    });
}
