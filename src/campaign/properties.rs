//! Two agents, two stores, and everything that can happen between them, at random: reports that come
//! twice, late or without an answer, agents that die or fall silent, writers that are slow, people who
//! decide. What must hold is asserted at every step.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::prelude::*;

use super::*;
use crate::keys::HolderId;

#[derive(Clone, Copy, Debug)]
enum Event {
    Claim { agent: usize, store: usize },
    Work { agent: usize, rows: usize },
    Send { agent: usize, answer_lost: bool },
    Replay { which: prop::sample::Index },
    Crash { agent: usize },
    Silence { ms: u64 },
    BeginScan { agent: usize },
    EndScan { agent: usize },
    WriteLate { store: usize },
    Decide { store: usize, decision: Decision, mended: bool },
    Pause,
    Resume,
}

fn event() -> impl Strategy<Value = Event> {
    let (agent, store) = (0..2usize, 0..2usize);
    let decision = prop_oneof![Just(Decision::Abandoned), Just(Decision::Retry)];
    prop_oneof![
        4 => (agent.clone(), store.clone()).prop_map(|(agent, store)| Event::Claim { agent, store }),
        8 => (agent.clone(), 1..6usize).prop_map(|(agent, rows)| Event::Work { agent, rows }),
        8 => (agent.clone(), prop::bool::weighted(0.2))
            .prop_map(|(agent, answer_lost)| Event::Send { agent, answer_lost }),
        2 => any::<prop::sample::Index>().prop_map(|which| Event::Replay { which }),
        1 => agent.clone().prop_map(|agent| Event::Crash { agent }),
        3 => (0..40_000u64).prop_map(|ms| Event::Silence { ms }),
        3 => agent.clone().prop_map(|agent| Event::BeginScan { agent }),
        3 => agent.prop_map(|agent| Event::EndScan { agent }),
        1 => store.clone().prop_map(|store| Event::WriteLate { store }),
        3 => (store, decision, any::<bool>())
            .prop_map(|(store, decision, mended)| Event::Decide { store, decision, mended }),
        1 => Just(Event::Pause),
        2 => Just(Event::Resume),
    ]
}

/// What stands in a place of a store: a blob of the old version, one of the new, or one of the old
/// that does not open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Blob {
    Old,
    New,
    Broken,
}

/// A store as it is, and as the campaign knows it.
struct Site {
    blobs: Vec<Blob>,
    progress: StoreProgress,
    problems: BTreeMap<ProblemPlace, Problem>,
    /// The last scan that ended.
    scan: Option<ScanSummary>,
    /// A scan began since the pass ended: from then on no writer is so slow.
    scan_began: bool,
}

/// A run of an agent: it forgets all of it when it dies.
struct Worker {
    agent: Agent,
    /// The store that it believes to have.
    store: Option<usize>,
    heard: Timestamp,
    at: usize,
    pass: u32,
    moved: u64,
    found: Vec<usize>,
    /// Sent, and not answered yet.
    pending: Option<Sent>,
    scan: Option<(usize, ScanSummary)>,
}

#[derive(Clone)]
struct Sent {
    agent: Agent,
    store: usize,
    report: Report,
    found: Vec<usize>,
    /// It arrived, and the sender had the store or got it.
    taken: bool,
}

struct World {
    now: Timestamp,
    sequence: u64,
    runs: u8,
    campaign: Campaign,
    stores: Vec<Site>,
    workers: Vec<Worker>,
    /// Every report that was taken, to arrive again.
    arrived: Vec<Sent>,
}

impl World {
    fn new(blobs: [Vec<Blob>; 2]) -> Self {
        let stores = blobs.map(|blobs| Site {
            blobs,
            progress: StoreProgress::default(),
            problems: BTreeMap::new(),
            scan: None,
            scan_began: false,
        });
        let mut world = Self {
            now: Timestamp::from_unix_ms(1_790_000_000_000),
            sequence: 1,
            runs: 0,
            campaign: campaign(),
            stores: stores.into(),
            workers: Vec::new(),
            arrived: Vec::new(),
        };
        world.workers = vec![world.new_worker(), world.new_worker()];
        world
    }

    fn new_worker(&mut self) -> Worker {
        self.runs += 1;
        let id = HolderId::from_bytes([self.runs; 16]);
        Worker {
            agent: Agent { id, principal: "spiffe://demo.bulla/rewrap".into() },
            store: None,
            heard: self.now,
            at: 0,
            pass: 0,
            moved: 0,
            found: Vec::new(),
            pending: None,
            scan: None,
        }
    }

    fn happen(&mut self, event: Event) {
        if self.campaign.state.is_final() {
            return;
        }
        self.sequence += 1;
        match event {
            Event::Claim { agent, store } => self.claim(agent, store),
            Event::Work { agent, rows } => self.work(agent, rows),
            Event::Send { agent, answer_lost } => self.send(agent, answer_lost),
            Event::Replay { which } if !self.arrived.is_empty() => {
                let again = which.get(&self.arrived).clone();
                self.arrive_again(&again);
            }
            Event::Replay { .. } => {}
            Event::Crash { agent } => self.workers[agent] = self.new_worker(),
            Event::Silence { ms } => self.now = self.now.plus_ms(ms),
            Event::BeginScan { agent } => self.begin_scan(agent),
            Event::EndScan { agent } => self.end_scan(agent),
            Event::WriteLate { store } => {
                self.stores[store].write_late();
            }
            Event::Decide { store, decision, mended } => self.decide(store, decision, mended),
            Event::Pause => self.step(CampaignStep::Pause),
            Event::Resume => self.step(CampaignStep::Resume),
        }
        let phases: Vec<_> = self.stores.iter().map(|store| store.progress.phase).collect();
        self.campaign = self.campaign.settle(&phases, self.now);
        self.check();
    }

    /// What must hold, whatever happened.
    fn check(&self) {
        for (at, store) in self.stores.iter().enumerate() {
            let progress = &store.progress;
            let undecided = store.problems.values().filter(|problem| problem.is_undecided());
            assert_eq!(progress.undecided, undecided.count() as u64);
            assert_eq!(progress.problems, store.problems.len() as u64);
            let holds = |worker: &&Worker| {
                worker.store == Some(at)
                    && self.now.unix_ms() - worker.heard.unix_ms() < LEASE_MS as i64
            };
            assert!(self.workers.iter().filter(holds).count() <= 1, "two agents hold one store");
            if progress.phase == Phase::Clean {
                assert_eq!(progress.undecided, 0);
                assert_eq!(store.remaining(), 0, "clean, and something is left");
            }
        }
        if self.campaign.state == CampaignState::Done {
            assert!(self.stores.iter().all(|store| store.progress.phase == Phase::Clean));
        }
    }

    fn claim(&mut self, worker: usize, at: usize) {
        if self.campaign.state == CampaignState::Paused {
            return;
        }
        let worker = &mut self.workers[worker];
        let store = &mut self.stores[at];
        match store.progress.claim(&worker.agent, self.now) {
            Ok(after) => {
                store.progress = after;
                store.judge();
                worker.adopt(at, &store.progress, self.now);
            }
            Err(Held { free_in_ms, .. }) => assert!((1..=LEASE_MS).contains(&free_in_ms)),
        }
    }

    fn work(&mut self, worker: usize, rows: usize) {
        let worker = &mut self.workers[worker];
        let (Some(at), None) = (worker.store, &worker.pending) else { return };
        let store = &mut self.stores[at];
        for _ in 0..rows {
            let Some(blob) = store.blobs.get_mut(worker.at) else { return };
            match blob {
                Blob::Old => {
                    *blob = Blob::New;
                    worker.moved += 1;
                }
                Blob::Broken => worker.found.push(worker.at),
                Blob::New => {}
            }
            worker.at += 1;
        }
    }

    fn send(&mut self, worker: usize, answer_lost: bool) {
        let sender = &mut self.workers[worker];
        let Some(at) = sender.store else { return };
        let unsent = || sender.sent(at, self.stores[at].blobs.len());
        let mut sent = sender.pending.clone().unwrap_or_else(unsent);
        if sent.taken {
            self.arrive_again(&sent);
        } else {
            sent.taken = self.arrive_first(&sent);
        }
        let sender = &mut self.workers[worker];
        let progress = &self.stores[at].progress;
        if answer_lost {
            sender.pending = Some(sent);
        } else if progress.is_held_by(&sender.agent, self.now) {
            sender.adopt(at, progress, self.now);
        } else {
            // Another has the store: this run ends.
            self.workers[worker] = self.new_worker();
        }
    }

    /// Nothing that the holder says for the first time is lost.
    fn arrive_first(&mut self, sent: &Sent) -> bool {
        let store = &mut self.stores[sent.store];
        let before = store.progress.clone();
        let taken = store.arrive(sent, self.now, self.sequence);
        let after = &store.progress;
        let held_on = before.holder.as_ref() == Some(&sent.agent);
        if taken && held_on && before.phase == Phase::Moving && before.pass == sent.report.pass {
            assert_eq!(after.moved, before.moved + sent.report.moved, "lost");
            let stands = after.pass > before.pass || after.seen == sent.report.seen;
            assert!(stands, "lost");
        }
        if !taken {
            assert_eq!(*after, before);
        }
        if after.pass == before.pass {
            assert!(after.seen >= before.seen, "went back");
        }
        if taken {
            self.arrived.push(sent.clone());
        }
        taken
    }

    /// Nothing that is said again is counted again.
    fn arrive_again(&mut self, sent: &Sent) {
        let store = &mut self.stores[sent.store];
        let (before, problems) = (store.progress.clone(), store.problems.clone());
        store.arrive(sent, self.now, self.sequence);
        let after = &store.progress;
        let counts = |progress: &StoreProgress| {
            (progress.moved, progress.changed, progress.problems, progress.undecided)
        };
        assert_eq!(counts(after), counts(&before), "counted twice");
        assert_eq!(store.problems, problems, "a decision was undone");
        let stands = |progress: &StoreProgress| (progress.seen, progress.place.clone());
        assert!(after.pass > before.pass || stands(after) == stands(&before), "went elsewhere");
    }

    fn begin_scan(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let Some(at) = worker.store else { return };
        let store = &mut self.stores[at];
        store.scan_began = store.progress.phase >= Phase::Verifying;
        let scan =
            ScanSummary { begin_sequence: self.sequence, remaining: store.remaining() as u64 };
        worker.scan = Some((at, scan));
    }

    fn end_scan(&mut self, worker: usize) {
        if let Some((at, scan)) = self.workers[worker].scan.take() {
            self.stores[at].scan = Some(scan);
        }
    }

    fn decide(&mut self, at: usize, decision: Decision, mended: bool) {
        let store = &mut self.stores[at];
        let undecided = store.problems.values().find(|problem| problem.is_undecided());
        let Some(problem) = undecided.cloned() else { return };
        let who = "spiffe://demo.bulla/operator".to_owned();
        let decided = store.progress.decide(&problem, decision, who, Reason::none());
        store.problems.insert(problem.place.clone(), decided);
        if decision == Decision::Retry && mended {
            for (at, blob) in store.blobs.iter_mut().enumerate() {
                if *blob == Blob::Broken && place(at) == problem.place {
                    *blob = Blob::Old;
                }
            }
        }
        store.began_again();
    }

    fn step(&mut self, step: CampaignStep) {
        if let Ok(after) = self.campaign.step(step, String::new(), self.now) {
            self.campaign = after;
        }
    }
}

impl Site {
    /// A writer that held a data key of the old version overwrites something.
    fn write_late(&mut self) {
        if !self.scan_began
            && let Some(blob) = self.blobs.iter_mut().find(|blob| **blob == Blob::New)
        {
            *blob = Blob::Old;
        }
    }

    /// What a scan finds now, without what was abandoned.
    fn remaining(&self) -> usize {
        let abandoned = |at: usize| {
            self.problems.get(&place(at)).is_some_and(|problem| problem.is(Decision::Abandoned))
        };
        let left = |(at, blob): &(usize, &Blob)| match blob {
            Blob::New => false,
            Blob::Old => true,
            Blob::Broken => !abandoned(*at),
        };
        self.blobs.iter().enumerate().filter(left).count()
    }

    /// A report arrives, as the service takes it. Whether it was taken.
    fn arrive(&mut self, sent: &Sent, now: Timestamp, sequence: u64) -> bool {
        let old = self.progress.is_old(&sent.report);
        let Ok(mut after) = self.progress.report(&sent.agent, &sent.report, now, sequence) else {
            return false;
        };
        if !old && self.progress.phase != Phase::Clean {
            for at in &sent.found {
                let found = Problem { told_by: sent.digest(), ..problem(*at, now) };
                let known = self.problems.get(&found.place);
                if let Some(noted) = after.note(found, known).unwrap() {
                    self.problems.insert(noted.place.clone(), noted);
                }
            }
        }
        self.progress = after;
        self.began_again();
        self.judge();
        true
    }

    fn judge(&mut self) {
        if let Some(scan) = self.scan {
            self.progress = self.progress.judge(scan);
            self.began_again();
        }
    }

    fn began_again(&mut self) {
        if self.progress.phase < Phase::Verifying {
            self.scan_began = false;
        }
    }
}

impl Sent {
    /// Of all that it says.
    fn digest(&self) -> ReportDigest {
        let mut hash = DefaultHasher::new();
        let Report { pass, seen, moved, pass_ended, .. } = self.report;
        let place = self.report.place.as_bytes();
        (self.agent.id.as_bytes(), pass, place, seen, moved, pass_ended, &self.found)
            .hash(&mut hash);
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&hash.finish().to_be_bytes());
        digest
    }
}

impl Worker {
    fn adopt(&mut self, at: usize, progress: &StoreProgress, now: Timestamp) {
        let place = progress.place.as_bytes();
        let place = place.try_into().map_or(0, u64::from_be_bytes);
        (self.moved, self.found) = (0, Vec::new());
        self.store = Some(at);
        self.heard = now;
        self.at = place as usize;
        self.pass = progress.pass;
        self.pending = None;
    }

    fn sent(&self, store: usize, rows: usize) -> Sent {
        let at = self.at as u64;
        let report = Report {
            pass: self.pass,
            place: Place::new(at.to_be_bytes().into()).unwrap(),
            seen: at,
            total: rows as u64,
            moved: self.moved,
            changed: 0,
            pass_ended: self.at >= rows,
        };
        let (agent, found) = (self.agent.clone(), self.found.clone());
        Sent { agent, store, report, found, taken: false }
    }
}

pub(super) fn campaign() -> Campaign {
    Campaign {
        id: CampaignId::from_bytes([1; 16]),
        key: KeyId::from_bytes([2; 16]),
        source_versions: vec![1],
        stores: [1, 2].map(|number| StoreNumber::new(number).unwrap()).into(),
        state: CampaignState::Running,
        rate_per_second: 0,
        urgent: false,
        reason: Reason::none(),
        principal: "spiffe://demo.bulla/operator".into(),
        create_time: Timestamp::from_unix_ms(1_790_000_000_000),
        end_time: None,
        note: String::new(),
    }
}

/// Late writers overwrite what is good, so that a blob that does not open stays where it is.
fn place(at: usize) -> ProblemPlace {
    ProblemPlace::parse(&format!("id={at}")).unwrap()
}

/// The same broken bytes stand in many places.
fn digest(at: usize) -> BlobDigest {
    BlobDigest::from_slice(&[u8::try_from(at % 2).unwrap(); 32]).unwrap()
}

pub(super) fn problem(at: usize, now: Timestamp) -> Problem {
    Problem {
        digest: digest(at),
        place: place(at),
        version: 1,
        reason: ProblemReason::parse("INVALID_CIPHERTEXT").unwrap(),
        report_time: now,
        told_by: [0; 32],
        decided: None,
    }
}

fn blobs() -> impl Strategy<Value = [Vec<Blob>; 2]> {
    let blob = prop_oneof![6 => Just(Blob::Old), 2 => Just(Blob::New), 1 => Just(Blob::Broken)];
    let blobs = prop::collection::vec(blob, 0..12);
    [blobs.clone(), blobs]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn g05_progress_is_never_lost_nor_counted_twice_and_done_is_true(
        blobs in blobs(),
        events in prop::collection::vec(event(), 0..200),
    ) {
        let mut world = World::new(blobs);
        for event in events {
            world.happen(event);
        }
    }

    #[test]
    fn g05_whatever_has_happened_one_agent_can_bring_it_to_an_end(
        blobs in blobs(),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut world = World::new(blobs);
        for event in events {
            world.happen(event);
        }
        world.happen(Event::Resume);
        for _ in 0..20 {
            for store in 0..2 {
                world.happen(Event::Crash { agent: 0 });
                world.happen(Event::Silence { ms: LEASE_MS });
                world.happen(Event::Claim { agent: 0, store });
                world.happen(Event::Work { agent: 0, rows: 12 });
                world.happen(Event::Send { agent: 0, answer_lost: false });
                for _ in 0..12 {
                    let decision = Decision::Abandoned;
                    world.happen(Event::Decide { store, decision, mended: false });
                }
                world.happen(Event::BeginScan { agent: 0 });
                world.happen(Event::EndScan { agent: 0 });
                world.happen(Event::Send { agent: 0, answer_lost: false });
            }
        }
        assert_eq!(world.campaign.state, CampaignState::Done);
    }
}
