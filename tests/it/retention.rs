//! Retention of the audit log: what was deleted by a signed record verifies, what was cut otherwise does
//! not; a stop at any step leaves a log that opens; and the census goes on as if nothing had happened.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulla::audit::verify::{Finding, What};
use bulla::audit::{Deletion, Filter, Outcome, Owners, Query, Record, Sign};
use bulla::auditor::{self, Copied, Export, Shown};
use bulla::keys::TenantId;
use bulla::trail::{Lane, MIN_SEGMENT_BYTES, Notary, NotaryError, Trail, TrailError, TrailOptions};
use bulla_proof::verify_inclusion;
use bulla_proto::kms;

use super::server::TestServer;
use super::tampering::Key;
use super::trail::{Call, EIO, FakeDisk};

const INSTALLATION: [u8; 16] = [9; 16];

// === how the tests use it ===

fn open(directory: &Path) -> Result<Trail, TrailError> {
    let options = TrailOptions { segment_bytes: MIN_SEGMENT_BYTES, ..TrailOptions::default() };
    Ok(Trail::open(&directory.join("audit"), INSTALLATION, &options)?.0)
}

fn sign(directory: &Path, trail: &Trail) -> Result<Notary, NotaryError> {
    let key = Arc::new(Key::new(INSTALLATION, 5));
    Notary::start(&directory.join("audit"), trail.clone(), key, None, Box::new(|| 7))
}

fn record(tenant: u8) -> Record<'static> {
    Record {
        tenant: Some(TenantId::from_bytes([tenant; 16])),
        context: vec![("k".into(), "x".repeat(16_000).into())],
        ..Record::new(1, "crypto.decrypt", Outcome::Succeeded)
    }
}

async fn with_lane<T>(trail: &Trail, act: impl AsyncFnOnce(&Lane) -> T) -> T {
    let lane = trail.lane();
    let running = tokio::spawn(lane.run());
    let done = act(&lane).await;
    running.abort();
    let _ = running.await;
    done
}

/// Records of two tenants in turn, over several segments.
async fn fill(trail: &Trail, records: usize) {
    with_lane(trail, async |lane| {
        for place in 0..records {
            while lane.append(&record(1 + (place % 2) as u8)).await.is_err() {}
        }
    })
    .await;
}

/// What may be deleted, as soon as it is so many segments.
async fn due(trail: &Trail, segments: usize) -> Vec<Deletion> {
    let begun = Instant::now();
    loop {
        let due = trail.deletions_due(i64::MAX, u64::MAX).await.unwrap();
        if due.len() >= segments {
            return due;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{due:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn say(trail: &Trail, deletions: &[Deletion]) {
    with_lane(trail, async |lane| {
        for deletion in deletions {
            lane.append(&deletion.record(9)).await.unwrap();
        }
    })
    .await;
}

fn audited(directory: &Path, checkpoints: &[&Path]) -> Result<(u64, u64, u64), Finding> {
    let public_key = directory.join("pinned.pub");
    fs::write(&public_key, Key::new(INSTALLATION, 5).key().to_string()).unwrap();
    let checkpoints = checkpoints.iter().map(|path| path.to_path_buf()).collect();
    let directory = directory.to_owned();
    let copied = Copied { directory, public_key, checkpoints, ..Copied::default() };
    match auditor::verify(&copied, &mut |_, _| ()).unwrap() {
        Shown::Whole(verified, _) => Ok((verified.first, verified.size, verified.proven)),
        Shown::Bad(finding) => Err(finding),
        Shown::Unwitnessed(_) => panic!("no witness was asked for"),
    }
}

fn copy(from: &Path, to: &Path) {
    let mut made = fs::DirBuilder::new();
    made.recursive(true).mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

fn files(directory: &Path, ending: &str) -> Vec<String> {
    let names = fs::read_dir(directory.join("audit/segments")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.contains(ending)).collect();
    names.sort();
    names
}

fn segments(directory: &Path) -> usize {
    let names = files(directory, ".seg").into_iter().map(|name| name[..25].to_owned());
    names.collect::<std::collections::BTreeSet<_>>().len()
}

// === what a verifier says ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_a_log_shortened_by_a_signed_deletion_verifies_and_one_cut_otherwise_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let trail = open(path).unwrap();
    fill(&trail, 400).await;
    let notary = sign(path, &trail).unwrap();
    let old = path.join("old-checkpoint");
    fs::copy(path.join("audit/checkpoint"), &old).unwrap();
    let leaf = bulla::audit::leaf_hash(&trail.read(4, 1).await.unwrap()[0].hash);
    let due = due(&trail, 3).await;
    say(&trail, &due[..2]).await;
    drop(notary);
    let notary = sign(path, &trail).unwrap();
    for deletion in &due[..2] {
        trail.delete(*deletion).await.unwrap();
    }
    let first = due[1].to + 1;
    // Proofs of what is deleted stay.
    let notarized = notary.notarized();
    let signed = notarized.checkpoint().unwrap();
    let (size, proof) = notarized.prove_inclusion(5, None).unwrap();
    verify_inclusion(&leaf, 4, size, &proof, &signed.checkpoint().root).unwrap();
    assert_eq!(trail.read(0, 1).await.unwrap()[0].sequence, first);
    drop((notary, notarized));
    trail.close().await;
    drop(trail);
    let size = signed.checkpoint().size;
    assert_eq!(audited(path, &[]), Ok((first, size, size)));
    assert_eq!(audited(path, &[&old]), Ok((first, size, size)), "an anchor from before the cut");
    assert_eq!(files(path, ".begins"), [format!("{first:020}.begins")]);

    // It opens, is signed on, and each tenant's own sequence goes on.
    let trail = open(path).unwrap();
    fill(&trail, 1).await;
    let last = trail.read(size, 10).await.unwrap().pop().unwrap();
    assert_eq!(last.record.tenant_sequence, 201);
    drop(sign(path, &trail).unwrap());
    trail.close().await;
    drop(trail);
    assert_eq!(audited(path, &[]), Ok((first, size + 1, size + 1)));

    // Without tiles the chain values in the checkpoints are compared alone.
    let bare = path.join("bare");
    copy(&path.join("audit"), &bare.join("audit"));
    fs::remove_dir_all(bare.join("audit/tile")).unwrap();
    assert_eq!(audited(&bare, &[]), Ok((first, size + 1, size + 1)));

    // One segment more is gone, without a record of it.
    let cut = path.join("cut");
    copy(&path.join("audit"), &cut.join("audit"));
    let gone = &files(&cut, ".seg")[0];
    fs::remove_file(cut.join("audit/segments").join(gone)).unwrap();
    let found = audited(&cut, &[]).unwrap_err();
    assert_eq!((found.what, found.first, found.last), (What::CutBeginning, 1, due[2].to));
    let refused = open(&cut).err().unwrap();
    assert!(matches!(refused, TrailError::Beginning { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_a_deletion_that_is_not_signed_yet_or_names_another_cut_excuses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let trail = open(path).unwrap();
    fill(&trail, 400).await;
    let due = due(&trail, 3).await;
    let forged = Deletion { chain: [3; 32], ..due[0] };
    say(&trail, &[forged, due[1]]).await;
    drop(sign(path, &trail).unwrap());
    let refused = trail.delete(forged).await.unwrap_err();
    assert!(matches!(refused, TrailError::Broken { .. }), "{refused}");
    trail.delete(due[0]).await.unwrap();
    trail.close().await;
    drop(trail);
    let found = audited(path, &[]).unwrap_err();
    assert_eq!((found.what, found.last), (What::CutBeginning, due[0].to));

    // The right one, after the newest checkpoint.
    let trail = open(path).unwrap();
    say(&trail, &due[..1]).await;
    trail.close().await;
    drop(trail);
    assert_eq!(audited(path, &[]).unwrap_err().what, What::CutBeginning);
    let trail = open(path).unwrap();
    drop(sign(path, &trail).unwrap());
    trail.close().await;
    drop(trail);
    assert_eq!(audited(path, &[]).map(|(first, ..)| first), Ok(due[0].to + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_two_segments_and_what_is_young_or_not_counted_stay() {
    let folder = tempfile::tempdir().unwrap();
    let trail = open(folder.path()).unwrap();
    fill(&trail, 400).await;
    let count = segments(folder.path());
    let all = due(&trail, count - 2).await;
    assert_eq!(all.len(), count - 2);
    let until = all[1].to;
    assert_eq!(trail.deletions_due(i64::MAX, until).await.unwrap(), all[..2]);
    assert_eq!(trail.deletions_due(i64::MAX, until - 1).await.unwrap(), all[..1]);
    assert!(trail.deletions_due(1, u64::MAX).await.unwrap().is_empty(), "records are of time 1");
    let last = Deletion { to: *trail.durable().borrow(), ..all[0] };
    assert!(trail.delete(last).await.is_err());
    assert_eq!(segments(folder.path()), count);
}

// === exporting a copy ===

/// What an export of the copy gives after `after`, and whether the log verified.
fn exported(directory: &Path, query: &Query, after: u64) -> (Vec<u64>, bool) {
    let public_key = directory.join("pinned.pub");
    fs::write(&public_key, Key::new(INSTALLATION, 5).key().to_string()).unwrap();
    let copied = Copied { directory: directory.to_owned(), public_key, ..Copied::default() };
    let mut given = Vec::new();
    let mut give = |entry: bulla::trail::Entry| {
        given.push(entry.sequence);
        Ok(())
    };
    let export = Export { query, after, give: &mut give };
    let shown = auditor::export(&copied, export, &mut |_, _| ()).unwrap();
    (given, matches!(shown, Shown::Whole(..)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_an_export_of_a_copy_gives_what_was_asked_for_and_nothing_behind_a_broken_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let trail = open(path).unwrap();
    fill(&trail, 200).await;
    drop(sign(path, &trail).unwrap());
    let owners = Owners::Tenant(TenantId::from_bytes([2; 16]));
    let query = Query { owners, filter: Filter::default() };
    let wanted = trail.search(&query, 0, usize::MAX).await.unwrap().entries;
    let wanted: Vec<_> = wanted.iter().map(|entry| entry.sequence).collect();
    assert!(wanted.len() == 100);
    trail.close().await;
    drop(trail);
    assert_eq!(exported(path, &query, 0), (wanted.clone(), true));
    let (rest, whole) = exported(path, &query, 100);
    assert!(whole && rest == wanted.iter().copied().filter(|it| *it > 100).collect::<Vec<_>>());
    let last = files(path, ".seg").into_iter().rfind(|name| name.ends_with(".seg")).unwrap();
    let file = path.join("audit/segments").join(&last);
    let mut bytes = fs::read(&file).unwrap();
    bytes[200] ^= 1;
    fs::write(&file, bytes).unwrap();
    let first: u64 = last[..20].parse().unwrap();
    let (given, whole) = exported(path, &query, 0);
    assert!(!whole && given.iter().all(|sequence| *sequence < first), "{first}: {given:?}");
    assert!(!given.is_empty());
}

// === when it is stopped ===

#[test]
fn h02_a_stop_at_any_call_of_the_disk_leaves_a_log_that_opens_and_the_deletion_can_be_ended() {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
    let disk = FakeDisk::default();
    let due = runtime.block_on(async {
        let (trail, _) = disk.open(INSTALLATION).unwrap();
        fill(&trail, 330).await;
        let due = due(&trail, 3).await;
        trail.close().await;
        due
    });
    let (mut steps, mut done) = (0_u64, false);
    for step in 1..=60 {
        let broken = disk.copy();
        let stopped = runtime.block_on(async {
            let (trail, _) = broken.open(INSTALLATION).unwrap();
            until_quiet(&broken, &trail).await;
            broken.with(|inner| {
                let call = inner.calls + step;
                inner.faults.insert(call, super::trail::FAILS);
            });
            let mut done = true;
            for deletion in &due[..2] {
                done = done && trail.delete(*deletion).await.is_ok();
            }
            broken.with(|inner| inner.failing = [(Call::Write, EIO), (Call::Create, EIO)].into());
            done
        });
        for kept in 0..=1 {
            let crashed = broken.crashed(|limit| if kept == 0 { 0 } else { limit - 1 });
            let cut = runtime.block_on(async {
                let (trail, recovery) = crashed.open(INSTALLATION).unwrap();
                let cut = trail.segments().begins();
                let firsts = [1, due[0].to + 1, due[1].to + 1];
                assert!(firsts.contains(&cut), "step {step}: begins at {cut}");
                read_to(&trail, cut, recovery.sequence);
                for deletion in &due[..2] {
                    trail.delete(*deletion).await.unwrap();
                }
                assert_eq!(trail.segments().begins(), firsts[2]);
                read_to(&trail, firsts[2], recovery.sequence);
                trail.close().await;
                cut
            });
            steps += 1;
            assert!(!stopped || kept == 1 || cut == due[1].to + 1, "done, and not durable");
        }
        done = stopped;
        if done {
            break;
        }
    }
    assert!(done, "more than 60 calls");
    println!("{steps} stops of a deletion, each opened, verified and ended");
}

fn read_to(trail: &Trail, first: u64, last: u64) {
    let mut frames = trail.segments().frames(0);
    let mut expected = first;
    while let Some(sequence) = frames.next(|frame| frame.sequence()).unwrap() {
        assert_eq!(sequence, expected);
        expected += 1;
    }
    assert!(expected > last);
}

/// Until nothing is done in the background.
async fn until_quiet(disk: &FakeDisk, trail: &Trail) {
    disk.rest(trail);
    let begun = Instant::now();
    let mut calls = 0;
    loop {
        let now = disk.with(|inner| inner.calls);
        let packed = disk.segments().iter().filter(|(name, _)| name.ends_with(".zst")).count();
        if now == calls && packed + 1 >= disk.segments().len() {
            return;
        }
        calls = now;
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
}

// === the whole program ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_the_census_is_unaffected_by_retention_and_a_tenant_sees_what_was_deleted() {
    let mut server = TestServer::install(
        "sqlite",
        "clock_ahead_file = \"ahead\"\n[audit]\nretention_days = 30\n",
    );
    fs::write(server.path("ahead"), "0").unwrap();
    server.serve();
    let (operator, app) = (server.client("operator").await, server.client("app").await);
    let made = operator.create_key(kms::CreateKeyRequest::default()).await.unwrap();
    let key = made.key.unwrap().key_id;
    let long = "x".repeat(2_000);
    let context: Vec<_> = (0..7).map(|place| (format!("k{place}"), long.clone())).collect();
    let generate = || kms::GenerateDataKeyRequest {
        key: key.clone(),
        encryption_context: context.iter().cloned().collect(),
        ..Default::default()
    };
    for _ in 0..400 {
        app.generate_data_key(generate()).await.unwrap();
    }
    let issued = issued(&operator, &key, 400).await;
    assert_eq!(server.stop(), 0);

    fs::write(server.path("ahead"), (40 * 24 * 3_600 * 1_000_i64).to_string()).unwrap();
    server.serve();
    let begun = Instant::now();
    let first = "00000000000000000001-0000.seg";
    while files(&server.path("data"), first).iter().any(|_| true) || {
        files(&server.path("data"), ".seg").len() > 3
    } {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (operator, app) = (server.client("operator").await, server.client("app").await);
    app.generate_data_key(generate()).await.unwrap();
    assert_eq!(self::issued(&operator, &key, issued + 1).await, issued + 1);
    let auditor = server.client("auditor").await;
    let filter = kms::RecordFilter { action: "audit.delete_segments".into(), ..Default::default() };
    let asked = kms::ListRecordsRequest { filter: Some(filter), ..Default::default() };
    let page = auditor.list_records(asked).await.unwrap();
    assert!(page.records.len() >= 2 && page.end, "{page:?}");
    let told = page.records.iter().map(|record| record.detail.clone());
    let told: Vec<_> = told.map(|it| it.split(' ').nth(1).unwrap()[3..].to_owned()).collect();
    let asked = kms::ListRecordsRequest { page_size: 1, ..Default::default() };
    let oldest = auditor.list_records(asked).await.unwrap().records.remove(0);
    assert_eq!(oldest.sequence, told.last().unwrap().parse::<u64>().unwrap() + 1);
    assert!(oldest.tenant_sequence > 1);
    let key_file = server.path("pinned.pub");
    fs::copy(server.path("data/audit/key.pub"), &key_file).unwrap();
    assert_eq!(server.stop(), 0);
    let copied =
        Copied { directory: server.path("data"), public_key: key_file, ..Copied::default() };
    match auditor::verify(&copied, &mut |_, _| ()).unwrap() {
        Shown::Whole(verified, _) => assert_eq!(verified.first, oldest.sequence),
        Shown::Bad(finding) => panic!("{finding}"),
        Shown::Unwitnessed(_) => panic!("no witness was asked for"),
    }
}

/// How many data keys of version 1 the census has counted, once it is `wanted`.
async fn issued(operator: &bulla_client::Client, key: &str, wanted: u64) -> u64 {
    let begun = Instant::now();
    loop {
        let asked = kms::GetCensusRequest { key: key.to_owned() };
        let census = operator.get_census(asked).await.unwrap();
        let counted: u64 = census
            .versions
            .iter()
            .flat_map(|version| &version.stores)
            .map(|store| store.issued)
            .sum();
        if counted >= wanted || begun.elapsed() > Duration::from_secs(30) {
            return counted;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
