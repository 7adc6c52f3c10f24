//! Random histories of a small world: whatever happens, a version that is SAFE is in no registered
//! store.
//!
//! The world has what the argument of [`check`] is about: writers and agents that hold blobs for a
//! while, copies, deletions, restores that are reported, scans that look at one moment and report
//! at another, agents that are killed, a census that lags and begins again. `BULLA_HISTORIES` says
//! how many histories there are.

use std::cell::Cell;
use std::collections::BTreeMap;

use bulla::audit::{Destination, Outcome, Record};
use bulla::census::{
    Evidence, FoundBlobs, MOVE_HELD_MS_MAX, RegisteredStore, Restore, RunningScan, StoreEvidence,
    StoreKind, Verdict, VerdictWord, VersionCensus, Waiver, WriteDelay, check, uses,
};
use bulla::keys::{
    KeyId, Owner, Reason, ScanId, State, Step, StoreName, StoreNumber, Timestamp, Use, Version,
};
use bulla::policy::Action;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

const KEY: KeyId = KeyId::from_bytes([7; 16]);
/// How long writers hold a blob, by registered store: number 1, 2 and 3.
const DELAYS_MS: [u64; 3] = [0, 400, 3_000];
/// A number that nobody has registered; its blobs, like those of 0, are kept nowhere that counts.
const UNREGISTERED: u32 = 9;

/// One thing that happens. Each number picks among what there is.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Pass(u16),
    Issue { store: u8, count: u8 },
    IssueNowhere(bool),
    Settle(u8),
    Move(u8),
    MoveAll(u8),
    Copy { row: u8, store: u8 },
    Delete(u8),
    Open(u8),
    Rotate,
    Take(u8, u8),
    Backup(u8),
    Restore(u8),
    BeginScan(u8),
    Look(u8),
    EndScan(u8),
    Scan(u8),
    Waive(u8),
    Fold(u8),
    FoldAgain,
    KillAgents,
}

/// A blob in a registered store.
#[derive(Clone, Debug)]
struct Blob {
    version: u32,
    /// As its header says.
    names: u32,
    /// Whether it was copied to another store: such a one is not deleted.
    is_copied: bool,
}

/// A blob that somebody holds and is about to write.
#[derive(Clone, Copy, Debug)]
struct Held {
    store: u32,
    by: Timestamp,
    work: Work,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    /// A writer puts a new blob there.
    Write { version: u32 },
    /// An agent replaces this blob if it is still under `from`.
    Swap { row: u64, from: u32, to: u32 },
}

struct Running {
    id: ScanId,
    /// What it saw, once it has looked.
    seen: Option<BTreeMap<u32, u64>>,
}

struct World {
    now: Timestamp,
    versions: BTreeMap<u32, Version>,
    log: Vec<Record<'static>>,
    census: BTreeMap<u32, VersionCensus>,
    position: u64,
    stores: BTreeMap<u32, StoreEvidence>,
    /// By store, then by primary key.
    blobs: BTreeMap<u32, BTreeMap<u64, Blob>>,
    held: Vec<Held>,
    running: BTreeMap<u32, Running>,
    backups: Vec<(u32, BTreeMap<u64, Blob>)>,
    waivers: BTreeMap<u32, Waiver>,
    drawn: u64,
}

// === impl World ===

impl World {
    fn new() -> Self {
        let now = Timestamp::from_unix_ms(1_000_000);
        let first = Version::pre_active(1, Reason::none(), now);
        let first = first.step(Step::Activate, Reason::none(), now).unwrap();
        let store = |number: u32| {
            let delay = DELAYS_MS[number as usize - 1];
            let store = RegisteredStore {
                number: StoreNumber::new(number).unwrap(),
                name: StoreName::parse(&format!("store-{number}")).unwrap(),
                owner: Owner::parse("someone").unwrap(),
                kind: StoreKind::Other,
                write_delay: WriteDelay::from_ms(delay).unwrap(),
                create_time: now,
                restore: None,
            };
            (number, StoreEvidence::new(store, false))
        };
        Self {
            now,
            versions: BTreeMap::from([(1, first)]),
            log: Vec::new(),
            census: BTreeMap::new(),
            position: 0,
            stores: (1..=3).map(store).collect(),
            blobs: (1..=3).map(|number| (number, BTreeMap::new())).collect(),
            held: Vec::new(),
            running: BTreeMap::new(),
            backups: Vec::new(),
            waivers: BTreeMap::new(),
            drawn: 0,
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Pass(millis) => self.pass(millis.into()),
            Happening::Issue { store, count } => self.issue(store_of(store), 1 + count % 3),
            Happening::IssueNowhere(unnamed) => {
                self.issue(if unnamed { 0 } else { UNREGISTERED }, 1);
            }
            Happening::Settle(which) => self.settle(which),
            Happening::Move(which) => {
                if let Some((store, row)) = self.pick(which) {
                    self.move_away(store, row);
                }
            }
            Happening::MoveAll(version) => self.move_all(self.version_of(version)),
            Happening::Copy { row, store } => self.copy(row, store_of(store)),
            Happening::Delete(which) => self.delete(which),
            Happening::Open(which) => self.open(which),
            Happening::Rotate => self.rotate(),
            Happening::Take(version, step) => self.take(self.version_of(version), step),
            Happening::Backup(store) => {
                let store = store_of(store);
                self.backups.push((store, self.blobs[&store].clone()));
            }
            Happening::Restore(which) => self.restore(which),
            Happening::BeginScan(store) => self.begin_scan(store_of(store)),
            Happening::Look(store) => self.look(store_of(store)),
            Happening::EndScan(store) => self.end_scan(store_of(store)),
            Happening::Scan(store) => {
                self.begin_scan(store_of(store));
                self.end_scan(store_of(store));
            }
            Happening::Waive(version) => self.waive(self.version_of(version)),
            Happening::Fold(records) => self.fold(records.into(), true),
            Happening::FoldAgain => self.fold(u64::MAX, false),
            Happening::KillAgents => self.kill_agents(),
        }
    }

    /// Time passes, and what is held no longer is written or, by an agent, thrown away.
    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus_ms(millis);
        let (due, held): (Vec<_>, _) = self.held.iter().partition(|held| held.by <= self.now);
        self.held = held;
        for held in due {
            match held.work {
                Work::Write { .. } => self.carry_out(held),
                Work::Swap { row, .. } if row % 2 == 0 => self.carry_out(held),
                Work::Swap { .. } => {}
            }
        }
    }

    fn issue(&mut self, store: u32, count: u8) {
        let active = self.versions.values().find(|version| version.allows(Use::Wrap));
        let Some(version) = active.map(Version::number) else { return };
        let record = Record { items: count.into(), ..self.record(Action::GenerateDataKey) };
        self.append(Record { version, store, ..record });
        for _ in 0..count {
            self.hold(store, self.delay_ms(store), Work::Write { version });
        }
    }

    fn move_away(&mut self, store: u32, row: u64) {
        let blob = self.blobs[&store][&row].clone();
        let active = self.versions.values().find(|version| version.allows(Use::Wrap));
        let (Some(to), true) =
            (active.map(Version::number), self.versions[&blob.version].allows(Use::ReEncryptFrom))
        else {
            return;
        };
        let destination = Some(Destination { key: KEY, version: to, store: blob.names });
        let record = Record { destination, ..self.record(Action::ReEncryptFrom) };
        self.append(Record { version: blob.version, store: blob.names, ..record });
        let held_ms = self.delay_ms(store).min(MOVE_HELD_MS_MAX);
        self.hold(store, held_ms, Work::Swap { row, from: blob.version, to });
    }

    fn move_all(&mut self, version: u32) {
        for (store, row) in self.rows() {
            if self.blobs[&store].get(&row).is_some_and(|blob| blob.version == version) {
                self.move_away(store, row);
            }
        }
    }

    /// Into a store that the key was never used with, a copy is reported.
    fn copy(&mut self, row: u8, to: u32) {
        let Some((from, row)) = self.pick(row) else { return };
        let blob = self.blobs.get_mut(&from).unwrap().get_mut(&row).unwrap();
        blob.is_copied |= from != to;
        let copy = Blob { is_copied: false, ..blob.clone() };
        self.put(to, copy);
        if !self.is_known(to) {
            self.report_restore(to);
        }
    }

    fn delete(&mut self, which: u8) {
        let Some((store, row)) = self.pick(which) else { return };
        if !self.blobs[&store][&row].is_copied {
            self.blobs.get_mut(&store).unwrap().remove(&row);
        }
    }

    fn open(&mut self, which: u8) {
        let Some((store, row)) = self.pick(which) else { return };
        let Blob { version, names, .. } = self.blobs[&store][&row];
        let mut record = Record { version, store: names, ..self.record(Action::Decrypt) };
        if !self.versions[&version].allows(Use::Decrypt) {
            record.outcome = Outcome::Refused;
            record.reason = "VERSION_NOT_USABLE".into();
        }
        self.append(record);
    }

    fn rotate(&mut self) {
        let former = *self.versions.keys().last().unwrap();
        let superseded = self.versions[&former].step(Step::Supersede, Reason::none(), self.now);
        if let Ok(superseded) = superseded {
            self.versions.insert(former, superseded);
        }
        let made = Version::pre_active(former + 1, Reason::none(), self.now);
        let active = made.step(Step::Activate, Reason::none(), self.now).unwrap();
        self.versions.insert(former + 1, active);
    }

    fn take(&mut self, version: u32, step: u8) {
        let steps = [Step::Restrict, Step::Unrestrict, Step::Suspend, Step::Resume];
        let step = steps[usize::from(step) % steps.len()];
        if let Ok(after) = self.versions[&version].step(step, Reason::none(), self.now) {
            self.versions.insert(version, after);
        }
    }

    /// The store is as it was when the backup was made; what came since is gone.
    fn restore(&mut self, which: u8) {
        if self.backups.is_empty() {
            return;
        }
        let (store, blobs) = self.backups[usize::from(which) % self.backups.len()].clone();
        self.blobs.insert(store, blobs);
        self.report_restore(store);
    }

    fn report_restore(&mut self, store: u32) {
        let restore = Restore { time: self.now, sequence: self.log.len() as u64 };
        self.stores.get_mut(&store).unwrap().store.restore = Some(restore);
        self.append(self.record(Action::ReportRestore));
    }

    fn begin_scan(&mut self, store: u32) {
        self.drawn += 1;
        let id = ScanId::from_bytes(u128::from(self.drawn).to_be_bytes());
        let begun = RunningScan {
            id,
            principal: "agent".into(),
            begin_time: self.now,
            begin_sequence: self.log.len() as u64,
        };
        self.stores.get_mut(&store).unwrap().scans.begin(begun);
        self.append(self.record(Action::BeginScan));
        self.running.insert(store, Running { id, seen: None });
    }

    fn look(&mut self, store: u32) {
        let seen = self.blobs[&store].values().fold(BTreeMap::new(), |mut seen, blob| {
            *seen.entry(blob.version).or_default() += 1;
            seen
        });
        if let Some(running) = self.running.get_mut(&store) {
            running.seen.get_or_insert(seen);
        }
    }

    fn end_scan(&mut self, store: u32) {
        self.look(store);
        let Some(Running { id, seen }) = self.running.remove(&store) else { return };
        let found = FoundBlobs { versions: seen.unwrap(), ..FoundBlobs::default() };
        let scans = &mut self.stores.get_mut(&store).unwrap().scans;
        scans.end(id, "agent", self.now, found).unwrap();
        self.append(self.record(Action::ReportScan));
    }

    fn waive(&mut self, version: u32) {
        let waiver = Waiver {
            principal: "operator".into(),
            reason: "none is left".into(),
            create_time: self.now,
            sequence: self.log.len() as u64,
        };
        self.waivers.insert(version, waiver);
    }

    /// Counts some more of the log. A crash after the rows and before the position keeps the rows.
    fn fold(&mut self, records: u64, moves_position: bool) {
        let start = if moves_position { self.position } else { self.position.saturating_sub(5) };
        let end = start.saturating_add(records).min(self.log.len() as u64);
        for sequence in start + 1..=end {
            let record = &self.log[sequence as usize - 1];
            let uses = uses(record);
            for version in self.versions.keys() {
                let of: Vec<_> =
                    uses.iter().filter(|used| used.version == *version).copied().collect();
                if !of.is_empty() {
                    self.census.entry(*version).or_default().apply(sequence, record, &of);
                }
            }
        }
        if moves_position {
            self.position = end;
        }
    }

    fn kill_agents(&mut self) {
        self.running.clear();
        self.held.retain(|held| matches!(held.work, Work::Write { .. }));
    }

    fn check(&self, version: u32) -> Verdict {
        let none = VersionCensus::default();
        let stores: Vec<_> = self
            .stores
            .values()
            .map(|one| {
                let number = one.store.number.as_u32();
                let is_used = self.census.values().any(|of| of.stores.contains_key(&number));
                StoreEvidence { is_used, ..one.clone() }
            })
            .collect();
        check(&Evidence {
            key: KEY,
            version: &self.versions[&version],
            census: self.census.get(&version).unwrap_or(&none),
            counted_sequence: self.position,
            durable_sequence: self.log.len() as u64,
            waiver: self.waivers.get(&version),
            stores: &stores,
        })
    }

    fn holds(&self, version: u32) -> bool {
        let mut blobs = self.blobs.values().flat_map(BTreeMap::values);
        blobs.any(|blob| blob.version == version)
    }

    // --- small things ---

    fn record(&self, action: Action) -> Record<'static> {
        Record {
            key: Some(KEY),
            principal: "someone".into(),
            ..Record::new(self.now.unix_ms() * 1_000, action.name(), Outcome::Succeeded)
        }
    }

    fn append(&mut self, record: Record<'static>) {
        self.log.push(record);
    }

    fn hold(&mut self, store: u32, held_ms: u64, work: Work) {
        self.held.push(Held { store, by: self.now.plus_ms(held_ms), work });
        self.pass(0);
    }

    fn settle(&mut self, which: u8) {
        if !self.held.is_empty() {
            let held = self.held.swap_remove(usize::from(which) % self.held.len());
            self.carry_out(held);
        }
    }

    fn carry_out(&mut self, Held { store, work, .. }: Held) {
        match work {
            Work::Write { version } => {
                self.put(store, Blob { version, names: store, is_copied: false });
            }
            Work::Swap { row, from, to } => {
                let blob = self.blobs.get_mut(&store).and_then(|blobs| blobs.get_mut(&row));
                if let Some(blob) = blob.filter(|blob| blob.version == from) {
                    blob.version = to;
                }
            }
        }
    }

    /// Blobs outside the registered stores are nobody's concern here.
    fn put(&mut self, store: u32, blob: Blob) {
        self.drawn += 1;
        if let Some(blobs) = self.blobs.get_mut(&store) {
            blobs.insert(self.drawn, blob);
        }
    }

    fn delay_ms(&self, store: u32) -> u64 {
        self.stores.get(&store).map_or(0, |one| one.store.write_delay.as_ms())
    }

    /// Whether the log tells that the key was used with the store.
    fn is_known(&self, store: u32) -> bool {
        self.log.iter().flat_map(uses).any(|used| used.store == store)
    }

    fn rows(&self) -> Vec<(u32, u64)> {
        let rows = |(store, blobs): (&u32, &BTreeMap<u64, Blob>)| {
            blobs.keys().map(|row| (*store, *row)).collect::<Vec<_>>()
        };
        self.blobs.iter().flat_map(rows).collect()
    }

    fn pick(&self, which: u8) -> Option<(u32, u64)> {
        let rows = self.rows();
        rows.get(usize::from(which) % rows.len().max(1)).copied()
    }

    fn version_of(&self, which: u8) -> u32 {
        1 + u32::from(which) % self.versions.len() as u32
    }
}

fn store_of(which: u8) -> u32 {
    1 + u32::from(which) % 3
}

/// Anything, in any order.
fn anything() -> impl Strategy<Value = Vec<Happening>> {
    let any = any::<u8>;
    let one = prop_oneof![
        4 => (0..4_000_u16).prop_map(Happening::Pass),
        4 => (any(), any()).prop_map(|(store, count)| Happening::Issue { store, count }),
        1 => proptest::bool::weighted(0.9).prop_map(Happening::IssueNowhere),
        4 => any().prop_map(Happening::Settle),
        4 => any().prop_map(Happening::Move),
        3 => any().prop_map(Happening::MoveAll),
        5 => (any(), any()).prop_map(|(row, store)| Happening::Copy { row, store }),
        2 => any().prop_map(Happening::Delete),
        1 => any().prop_map(Happening::Open),
        2 => Just(Happening::Rotate),
        1 => (any(), any()).prop_map(|(version, step)| Happening::Take(version, step)),
        2 => any().prop_map(Happening::Backup),
        1 => any().prop_map(Happening::Restore),
        3 => any().prop_map(Happening::BeginScan),
        2 => any().prop_map(Happening::Look),
        5 => any().prop_map(Happening::EndScan),
        3 => any().prop_map(Happening::Scan),
        1 => any().prop_map(Happening::Waive),
        3 => any().prop_map(Happening::Fold),
        1 => Just(Happening::FoldAgain),
        1 => Just(Happening::KillAgents),
    ];
    prop::collection::vec(one, 0..40)
}

/// An operator finishes the rotation of version 1 while others copy, restore and write: the order
/// of moves and scans is what is tried.
fn finish() -> impl Strategy<Value = Vec<Happening>> {
    let any = any::<u8>;
    let issue = (any(), any()).prop_map(|(store, count)| Happening::Issue { store, count });
    let early = prop_oneof![
        4 => issue.clone(),
        2 => any().prop_map(Happening::Backup),
        1 => (any(), any()).prop_map(|(row, store)| Happening::Copy { row, store }),
        1 => any().prop_map(Happening::Settle),
    ];
    let race = prop_oneof![
        8 => any().prop_map(Happening::Scan),
        4 => Just(Happening::MoveAll(0)),
        3 => (any(), any()).prop_map(|(row, store)| Happening::Copy { row, store }),
        2 => any().prop_map(Happening::Settle),
        2 => (0..3_500_u16).prop_map(Happening::Pass),
        1 => issue,
        1 => any().prop_map(Happening::Backup),
        1 => any().prop_map(Happening::Restore),
        1 => any().prop_map(Happening::Delete),
        1 => any().prop_map(Happening::BeginScan),
        1 => any().prop_map(Happening::Look),
        1 => any().prop_map(Happening::EndScan),
        1 => Just(Happening::KillAgents),
    ];
    let last =
        (any(), any(), any(), 0..3_500_u16, prop::option::of(any()), prop::option::of(any()));
    let last = last.prop_flat_map(|(row, store, held, millis, restored, moved)| {
        let scans = (0..3).map(Happening::Scan);
        let others = [
            Happening::Copy { row, store },
            Happening::Settle(held),
            Happening::Settle(held),
            Happening::Pass(millis),
        ];
        let restore = restored.filter(|backup| backup % 3 == 0).map(Happening::Restore);
        let moved = moved.map(|_| Happening::MoveAll(0));
        let all: Vec<_> = scans.chain(others).chain(restore).chain(moved).collect();
        Just(all).prop_shuffle()
    });
    let parts = (
        prop::collection::vec(early, 1..5),
        prop::collection::vec(race, 0..12),
        prop::bool::ANY,
        last,
    );
    parts.prop_map(|(early, race, moved, last)| {
        let stop = [Happening::Rotate, Happening::Pass(u16::MAX)];
        let moved = moved.then_some([Happening::MoveAll(0), Happening::Pass(u16::MAX)]);
        let moved = moved.into_iter().flatten().collect::<Vec<_>>();
        let count = [Happening::Waive(0), Happening::Fold(u8::MAX)];
        [&early[..], &stop, &race, &moved, &last, &count].concat()
    })
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    prop_oneof![
        1 => anything(),
        2 => finish(),
        1 => (finish(), anything()).prop_map(|(first, then)| [first, then].concat()),
    ]
}

#[test]
fn g04_whatever_happens_a_safe_version_is_in_no_registered_store() {
    let histories = std::env::var("BULLA_HISTORIES").map_or(10_000, |text| text.parse().unwrap());
    let (safe, not_safe) = (Cell::new(0_u64), Cell::new(0_u64));
    let config = Config { cases: histories, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&happenings(), |happenings| {
        let mut world = World::new();
        for happening in happenings {
            world.happen(happening);
            for version in world.versions.keys().copied() {
                let verdict = world.check(version);
                let wrapped = world.census.get(&version).is_some_and(|census| census.wraps > 0);
                if !verdict.is_safe() {
                    not_safe.set(not_safe.get() + 1);
                    continue;
                }
                if wrapped {
                    safe.set(safe.get() + 1);
                }
                let state = world.versions[&version].state();
                prop_assert_ne!(state, State::Active);
                if world.holds(version) {
                    let said = format!("{version} is SAFE by {:#?}", verdict.findings);
                    return Err(TestCaseError::fail(said));
                }
            }
        }
        Ok(())
    });
    println!("{histories} histories: SAFE {} times, not SAFE {}", safe.get(), not_safe.get());
    if let Err(TestError::Fail(reason, history)) = outcome {
        panic!("{reason}\n{history:#?}");
    }
    outcome.unwrap();
    assert!(safe.get() > u64::from(histories) / 50, "SAFE is reached");
}

/// A history that is told step by step, up to the answer about version 1.
fn told(happenings: &[Happening]) -> (VerdictWord, bool) {
    let mut world = World::new();
    let stop = [Happening::Rotate, Happening::Pass(u16::MAX)];
    let count = [Happening::Fold(u8::MAX)];
    let early = [
        Happening::Backup(2),
        Happening::Issue { store: 2, count: 0 },
        Happening::Issue { store: 1, count: 0 },
        Happening::Settle(1),
        Happening::Delete(0),
        Happening::Settle(0),
    ];
    for happening in [&early[..], &stop, happenings, &count].concat() {
        world.happen(happening);
    }
    (world.check(1).word, world.holds(1))
}

#[test]
fn the_told_history_is_safe_when_nothing_comes_between() {
    let way = [Happening::MoveAll(0), Happening::Settle(0), Happening::Pass(u16::MAX)];
    let scans = [Happening::Scan(1), Happening::Scan(2)];
    assert_eq!(told(&[&way[..], &scans].concat()), (VerdictWord::Safe, false));
}

#[test]
fn a_copy_whose_source_was_lost_in_a_restore_is_looked_for_again() {
    let way = [
        Happening::Scan(1),
        Happening::Copy { row: 0, store: 1 },
        Happening::Restore(0),
        Happening::Scan(2),
    ];
    assert_eq!(told(&way), (VerdictWord::Unknown, true));
}

#[test]
fn a_copy_that_was_made_while_an_agent_held_the_new_blob_is_looked_for_again() {
    let way = [
        Happening::MoveAll(0),
        Happening::Scan(1),
        Happening::Copy { row: 0, store: 1 },
        Happening::Settle(0),
        Happening::Scan(2),
    ];
    assert_eq!(told(&way), (VerdictWord::Unknown, true));
}
