//! The disk fails at every call, forgets what was not synced, and the process is killed wherever it
//! touches the disk: whatever happens, what was acknowledged is in the log once, and the log verifies.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bulla::trail::{Disk, LogFile, RealDisk};

use super::disk::EDQUOT;
use super::*;

/// What one run was told: the details of records and their sequences.
#[derive(Clone, Default)]
struct Told(Vec<(String, u64)>);

/// Adds `records`, a few at a time, and remembers what was acknowledged.
async fn use_log(lane: &Lane, records: u64, told: &Mutex<Told>) {
    let mut number = 0;
    while number < records {
        let together = 1 + number % 3;
        let appends: Vec<_> = (0..together)
            .map(|of| {
                let detail = format!("record {}", number + of);
                let is_big = (number + of).is_multiple_of(2);
                let context = if is_big { big_record().context } else { Vec::new() };
                let append = lane.append(&Record { context, ..record(&detail) });
                (detail, append)
            })
            .collect();
        for (detail, append) in appends {
            match append.await {
                Ok(sequence) => told.lock().unwrap().0.push((detail, sequence)),
                // Meanwhile the log tries again by itself.
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
        number += together;
    }
}

/// How many promises a log on `disk` breaks: the acknowledged have one record each, at its sequence;
/// nothing is there twice; the whole log verifies.
fn violations(disk: &FakeDisk, told: &Told) -> Vec<String> {
    let trail = match disk.open(INSTALLATION) {
        Ok((trail, _)) => trail,
        Err(error) => return vec![format!("does not open: {error}")],
    };
    let mut frames = trail.segments().frames(0);
    let mut found: HashMap<String, Vec<u64>> = HashMap::new();
    let mut wrong = Vec::new();
    loop {
        let next = frames.next(|frame| {
            (frame.sequence(), Record::decode(frame.payload()).unwrap().detail.into_owned())
        });
        match next {
            Ok(Some((sequence, detail))) => found.entry(detail).or_default().push(sequence),
            Ok(None) => break,
            Err(error) => {
                wrong.push(format!("does not verify: {error}"));
                break;
            }
        }
    }
    for (detail, sequence) in &told.0 {
        if found.get(detail) != Some(&vec![*sequence]) {
            wrong.push(format!("{detail} told at {sequence}, found at {:?}", found.get(detail)));
        }
    }
    let twice = found.iter().filter(|(detail, at)| detail.starts_with("record") && at.len() > 1);
    wrong.extend(twice.map(|(detail, at)| format!("{detail} at {at:?}")));
    wrong
}

/// One run whose disk has this fault at its `call`th call.
fn run_with(call: u64, fault: Fault) -> (FakeDisk, Told) {
    let disk = FakeDisk::default();
    disk.with(|inner| inner.faults.insert(call, fault));
    let told = Mutex::default();
    let opened = disk.open(INSTALLATION).or_else(|_| disk.open(INSTALLATION));
    // A log that cannot be begun has promised nothing; the next try finds what the first left.
    let Ok((trail, _)) = opened else { return (disk, Told::default()) };
    on_a_runtime(async {
        let lane = running_lane(&trail);
        use_log(&lane, RECORDS, &told).await;
        trail.close().await;
    });
    (disk, told.into_inner().unwrap())
}

/// More than 500 calls of the disk, and more than one segment.
const RECORDS: u64 = 420;

fn sweep(name: &str, faults: &[Fault]) {
    let every = std::env::var("BULLA_FAULTS").is_ok();
    let mut cases = 0_u64;
    let mut wrong = Vec::new();
    for fault in faults {
        // In CI every one near the beginning, where a log is begun, and then every seventh.
        for call in (1..=500).filter(|call| every || *call <= 40 || call % 7 == 0) {
            let (disk, told) = run_with(call, *fault);
            assert!(
                told.0.len() as u64 > RECORDS / 2,
                "{fault:?} at {call}: service never came back"
            );
            let kept = disk.with(|inner| inner.used_after_a_failure);
            if kept > 0 {
                wrong.push(format!("{fault:?} at {call}: used {kept} times after it failed"));
            }
            let found = violations(&disk.crashed(|_| 0), &told);
            wrong.extend(found.into_iter().map(|what| format!("{fault:?} at {call}: {what}")));
            cases += 1;
        }
    }
    println!("faults: {cases} cases of {name}, {} violations", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn h01_h02_eio_at_every_call_loses_nothing_that_was_acknowledged() {
    sweep("EIO", &[Fault::Fails(EIO)]);
}

#[test]
fn h01_h02_a_full_disk_or_quota_at_every_call_loses_nothing_that_was_acknowledged() {
    sweep("ENOSPC and EDQUOT", &[Fault::Fails(ENOSPC), Fault::Fails(EDQUOT)]);
}

#[test]
fn h01_short_writes_at_every_call_lose_nothing_that_was_acknowledged() {
    sweep("short writes", &[Fault::Short]);
}

/// A bit that changes on the disk cannot be undone; it must be told.
#[test]
fn h03_bit_rot_at_every_call_is_found_and_named() {
    let mut cases = 0;
    for call in (20..=500).step_by(if std::env::var("BULLA_FAULTS").is_ok() { 1 } else { 11 }) {
        let (disk, told) = run_with(call, Fault::Rots);
        if !disk.with(|inner| inner.rotted) {
            continue;
        }
        let wrong = violations(&disk.crashed(|_| 0), &told);
        let is_named = wrong.iter().any(|what| what.contains("broken at sequence"));
        let torn = disk.copy().open(INSTALLATION).is_ok_and(|(_, found)| found.torn_bytes > 0);
        // What changed before a later write stood over it harmed nothing.
        assert!(is_named || torn || wrong.is_empty(), "at {call}: {wrong:#?}");
        cases += 1;
    }
    println!("faults: {cases} cases of bit rot, 0 violations");
}

/// Real time, many logs at once: the disk stops for longer than any call waits, at any call.
#[test]
fn h02_a_disk_that_stops_at_any_call_is_told_in_time_and_got_over() {
    let every = std::env::var("BULLA_FAULTS").is_ok();
    let calls: Vec<u64> = (8..=500).filter(|call| every || call % 25 == 0).collect();
    let mut cases = 0;
    for calls in calls.chunks(10) {
        on_a_runtime(async {
            let runs = calls.iter().map(|call| tokio::spawn(stops_at(*call)));
            for run in runs.collect::<Vec<_>>() {
                run.await.unwrap();
                cases += 1;
            }
        });
    }
    println!("faults: {cases} cases of a disk that stops, 0 violations");
}

async fn stops_at(call: u64) {
    let disk = FakeDisk::default();
    let (trail, _) = disk.open(INSTALLATION).unwrap();
    disk.rest(&trail);
    disk.with(|inner| {
        inner.faults.insert(inner.calls.max(call), Fault::Hangs);
    });
    let lane = running_lane(&trail);
    let told = Mutex::new(Told::default());
    let used = async {
        for number in 0..RECORDS {
            let detail = format!("record {number}");
            let begun = std::time::Instant::now();
            let context = big_record().context;
            let told_now = lane.append(&Record { context, ..record(&detail) }).await;
            let waited = begun.elapsed();
            assert!(waited < Duration::from_millis(2_500), "at {call}: waited {waited:?}");
            match told_now {
                Ok(sequence) => told.lock().unwrap().0.push((detail, sequence)),
                // Ten seconds later the disk answers.
                Err(_) => disk.open_gate(),
            }
            if number % 16 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    used.await;
    disk.open_gate();
    back(&lane).await;
    trail.close().await;
    let wrong = violations(&disk.crashed(|_| 0), &told.into_inner().unwrap());
    assert!(wrong.is_empty(), "at {call}: {wrong:#?}");
}

/// A machine that stops at any moment, with any part of what was not synced on its disk.
#[test]
fn h01_torn_and_reordered_writes_lose_nothing_that_was_acknowledged() {
    let states: u64 = std::env::var("BULLA_TORN_STATES")
        .ok()
        .and_then(|states| states.parse().ok())
        .unwrap_or(500);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let (mut seen, mut wrong) = (0_u64, Vec::new());
    while seen < states {
        let disk = FakeDisk::default();
        let told = Mutex::new(Told::default());
        let (trail, _) = disk.open(INSTALLATION).unwrap();
        let mut caught = Vec::new();
        on_a_runtime(async {
            let lane = running_lane(&trail);
            for round in 0..25 {
                // Some of it is known, and the disk stands still in the middle of more.
                disk.close_gate();
                let begun = disk.with(|inner| inner.syncs_begun);
                let together: Vec<_> = (0..next() % 40 + 1)
                    .map(|of| {
                        let detail = format!("record {round} {of}");
                        let context =
                            vec![("k".into(), "x".repeat(next() as usize % 3_000).into())];
                        let append = lane.append(&Record { context, ..record(&detail) });
                        (detail, append)
                    })
                    .collect();
                for _ in 0..next() % 3 {
                    settle().await;
                }
                while disk.with(|inner| inner.syncs_begun) == begun {
                    tokio::task::yield_now().await;
                }
                let known = told.lock().unwrap().clone();
                caught.push((disk.crashed(|of| next() % of), known));
                disk.open_gate();
                for (detail, append) in together {
                    if let Ok(sequence) = append.await {
                        told.lock().unwrap().0.push((detail, sequence));
                    }
                }
            }
            trail.close().await;
        });
        for (disk, told) in caught {
            let found = violations(&disk, &told);
            wrong.extend(found.into_iter().map(|what| format!("state {seen}: {what}")));
            seen += 1;
        }
    }
    println!("faults: {seen} cases of torn and reordered writes, {} violations", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

// === killed at every place ===

/// The real disk, which kills the process before or after the `nth` call of a kind.
struct KillingDisk {
    point: Call,
    nth: u64,
    after: bool,
    calls: Arc<AtomicU64>,
}

struct KillingFile {
    file: Box<dyn LogFile>,
    disk: KillingDisk,
}

impl KillingDisk {
    fn at<T>(&self, call: Call, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if call != self.point || self.calls.fetch_add(1, Ordering::SeqCst) + 1 != self.nth {
            return act();
        }
        if self.after {
            act()?;
        }
        let own = std::process::id().to_string();
        Command::new("kill").args(["-9", &own]).status().unwrap();
        loop {
            std::thread::park();
        }
    }

    fn same(&self) -> Self {
        Self { calls: Arc::clone(&self.calls), ..*self }
    }

    fn file(&self, file: Box<dyn LogFile>) -> Box<dyn LogFile> {
        Box::new(KillingFile { file, disk: self.same() })
    }
}

impl Disk for KillingDisk {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.make_directory(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        RealDisk.lock(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(directory)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.at(Call::Create, || RealDisk.create(path)).map(|file| self.file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.at(Call::Open, || RealDisk.open(path)).map(|file| self.file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(Call::Rename, || RealDisk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.at(Call::Remove, || RealDisk.remove(path))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.at(Call::SyncDirectory, || RealDisk.sync_directory(directory))
    }
}

impl LogFile for KillingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.at(Call::Write, || self.file.write_at(offset, bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.at(Call::Sync, || self.file.sync())
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.disk.at(Call::IsAt, || self.file.is_at(path))
    }
}

const POINTS: [(&str, Call); 8] = [
    ("create", Call::Create),
    ("open", Call::Open),
    ("rename", Call::Rename),
    ("remove", Call::Remove),
    ("sync_directory", Call::SyncDirectory),
    ("write", Call::Write),
    ("sync", Call::Sync),
    ("is_at", Call::IsAt),
];
const KILL_DIRECTORY: &str = "BULLA_TEST_KILL_DIRECTORY";
const KILL_POINT: &str = "BULLA_TEST_KILL_POINT";

/// The child of the test below. By itself it does nothing that is killed.
#[test]
fn every_record_is_printed_only_when_it_is_durable() {
    let own = tempfile::tempdir().unwrap();
    let parent = std::env::var_os(KILL_DIRECTORY).map(PathBuf::from);
    let directory = parent.as_deref().unwrap_or(own.path());
    let point = std::env::var(KILL_POINT).unwrap_or_default();
    let mut words = point.split(' ');
    let name = words.next().unwrap_or_default();
    let disk = KillingDisk {
        point: POINTS.iter().find(|it| it.0 == name).map_or(Call::Length, |it| it.1),
        nth: words.next().and_then(|nth| nth.parse().ok()).unwrap_or(u64::MAX),
        after: words.next() == Some("after"),
        calls: Arc::default(),
    };
    let options = TrailOptions { disk: Arc::new(disk), ..small() };
    let (trail, _) = Trail::open(&directory.join("audit"), INSTALLATION, &options).unwrap();
    on_a_runtime(async {
        let lane = running_lane(&trail);
        for number in 0..200 {
            let record = Record { context: big_record().context, ..record("x") };
            if let Ok(sequence) = lane.append(&record).await {
                println!("told {sequence}");
            }
            // Time for what is done in the background, so that it is killed there too.
            if number % 50 == 49 && parent.is_some() {
                tokio::time::sleep(Duration::from_millis(600)).await;
            }
        }
        trail.close().await;
    });
}

#[test]
fn h01_kill_9_at_every_call_of_the_disk_loses_nothing_that_was_acknowledged() {
    let every = std::env::var("BULLA_FAULTS").is_ok();
    let nths: &[u64] = if every { &[1, 2, 3, 4, 5, 7, 11, 30, 100] } else { &[1, 3] };
    let mut cases = 0;
    for (point, _) in POINTS {
        for nth in nths {
            for when in ["before", "after"] {
                killed_at(&format!("{point} {nth} {when}"));
                cases += 1;
            }
        }
    }
    println!("faults: {cases} cases of kill -9, 0 violations");
}

fn killed_at(point: &str) {
    let directory = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("trail::faults::every_record_is_printed_only_when_it_is_durable")
        .env(KILL_DIRECTORY, directory.path())
        .env(KILL_POINT, point)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let told =
        said.lines().filter_map(|line| line.strip_prefix("told ")?.parse::<u64>().ok()).max();
    let (trail, recovery) =
        Trail::open(&directory.path().join("audit"), INSTALLATION, &small()).unwrap();
    assert!(recovery.sequence >= told.unwrap_or(0), "{point}: {recovery:?}, told {told:?}");
    let mut frames = trail.segments().frames(0);
    let mut read = 0;
    while frames.next(|_| ()).unwrap_or_else(|error| panic!("{point}: {error}")).is_some() {
        read += 1;
    }
    assert!(read >= recovery.sequence, "{point}: {read} of {recovery:?}");
    on_a_runtime(trail.close());
}
