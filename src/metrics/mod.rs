//! What the program counts about itself, and the page that tells it (OpenMetrics 1.0, text).
//!
//! Every label is a word from a list that is fixed at the start: a method, a reason, a trigger. Never a
//! key id, an alias, a tenant or a principal (attack I04). What counts a call is one relaxed atomic
//! addition to a place that is known before: nothing here locks, hashes or waits, and nothing asks a
//! clock or a disk. What others count, the page is given ([`Readings`]).

mod families;
mod outside;
mod page;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::keys::Trigger;

pub use families::{FAMILIES, Family, Kind};
pub use outside::PlaceCounts;
pub use page::CONTENT_TYPE;

/// Every reason that an answer can be counted under: OK, those of `google.rpc.ErrorInfo`, and two for
/// calls that were left without one.
pub const REASONS: [&str; 28] = [
    "OK",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "INVALID_ARGUMENT",
    "CONTEXT_TOO_LARGE",
    "INVALID_CIPHERTEXT",
    "KEY_DISABLED",
    "VERSION_NOT_USABLE",
    "RETIRE_NOT_SAFE",
    "ALREADY_EXISTS",
    "CAMPAIGN_STATE",
    "SEPARATION_OF_DUTIES",
    "STALE_REPLICA",
    "APPROVAL_REQUIRED",
    "PROPOSAL_STATE",
    "CONFLICT",
    "TOO_LARGE",
    "RATE_LIMITED",
    "QUOTA_EXCEEDED",
    "STORE_UNAVAILABLE",
    "AUDIT_UNAVAILABLE",
    "INTERNAL",
    "UNKNOWN_METHOD",
    "DRAINING",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    CANCELLED,
    OTHER,
];
/// The caller went away before there was an answer.
pub const CANCELLED: &str = "CANCELLED";
/// None of the others. A defect of the list.
pub const OTHER: &str = "OTHER";

/// The counters of one program.
#[derive(Debug, Default)]
pub struct Metrics {
    /// The label of each row of the method table.
    methods: Vec<&'static str>,
    requests: Vec<[AtomicU64; REASONS.len()]>,
    rotations: [[AtomicU64; Outcome::ALL.len()]; Trigger::ALL.len()],
    version_steps: [AtomicU64; VERSION_STEPS.len()],
    moved_blobs: AtomicU64,
    break_glass: AtomicU64,
    commits: [AtomicU64; Commit::ALL.len()],
    turns: [AtomicU64; Turn::ALL.len()],
    due: [AtomicU64; Due::ALL.len()],
    due_failed: [AtomicU64; Due::ALL.len()],
    deferred: [AtomicU64; Deferral::ALL.len()],
    holds_lease: AtomicU64,
    last_turn_unix_ms: AtomicU64,
    sinks: OnceLock<Vec<Arc<PlaceCounts>>>,
    anchors: OnceLock<Vec<Arc<PlaceCounts>>>,
}

/// What others count and the page shows besides.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Readings {
    /// Open now.
    pub connections: u64,
    /// Audit records made durable since the start.
    pub audit_records: u64,
    /// Syncs of the audit log since the start.
    pub audit_syncs: u64,
    /// Bytes by which the audit log grew since the start.
    pub audit_written_bytes: u64,
    /// Whether the audit log takes records of calls that use keys.
    pub audit_available: bool,
    /// Segments of the audit log that are ready to be written next.
    pub audit_spare_segments: u64,
    /// Segments given up after an error since the start.
    pub audit_poisoned_segments: u64,
    /// Calls refused since the start because no record could be made.
    pub audit_refused: u64,
    /// How often since the start the tree over the audit log or a checkpoint could not be written.
    pub audit_notary_failures: u64,
    /// The last durable audit record.
    pub audit_sequence: u64,
}

/// How the scheduler of this program stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SchedulerReading {
    /// Whether it holds the lease.
    pub holds_lease: bool,
    /// When it last looked for what is due; `None` before the first time.
    pub last_turn_unix_ms: Option<u64>,
    /// Keys that this program has rotated because they were due.
    pub rotations: u64,
    /// Rotations, destructions and steps on ladders that it last found due.
    pub due: u64,
    /// How many of them it left for later.
    pub deferred: u64,
}

/// What a committed change did to versions of a key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Happened {
    /// Why the key rotated, if it did.
    pub rotation: Option<Trigger>,
    /// Whether a version was prepared.
    pub prepared: bool,
    /// Whether a version became Active.
    pub activated: bool,
    /// Whether a version was destroyed.
    pub destroyed: bool,
}

/// What one round of looking found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Round {
    due: [u64; Due::ALL.len()],
    deferred: [u64; Deferral::ALL.len()],
}

macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident: $($(#[doc = $of:literal])+ $word:ident = $text:literal;)+) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name {
            $($(#[doc = $of])+ $word,)+
        }

        impl $name {
            const ALL: &[Self] = &[$(Self::$word),+];

            const fn name(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)+
                }
            }
        }
    };
}

words! {
    /// How something ended.
    Outcome:
    /// It was done.
    Succeeded = "succeeded";
    /// It may not be done.
    Refused = "refused";
    /// It could not be done.
    Failed = "failed";
}

words! {
    /// How a commit to the store ended.
    Commit:
    /// It is durable.
    Committed = "committed";
    /// Another change came first.
    Conflict = "conflict";
    /// Anything else.
    Failed = "failed";
}

words! {
    /// How a look for what is due ended.
    Turn:
    /// This program held the lease and did what was due.
    Held = "held";
    /// Another program holds the lease.
    NotHeld = "not_held";
    /// The lease or what is due could not be read.
    Failed = "failed";
}

words! {
    /// What can be due.
    Due:
    /// A key's rotation.
    Rotation = "rotation";
    /// A version's destruction.
    Destruction = "destruction";
    /// A version's step on its ladder.
    LadderStep = "ladder_step";
}

words! {
    /// Why what is due is left for later.
    Deferral:
    /// The hour's budget is used up.
    Budget = "budget";
    /// A server has yet to follow.
    ServerBehind = "server_behind";
    /// The key has as many versions as it may have.
    Quota = "quota";
}

const VERSION_STEPS: [&str; 3] = ["prepared", "activated", "destroyed"];

// === impl Metrics ===

impl Metrics {
    /// Nothing counted yet. `methods` are the labels of the rows of the method table, in its order.
    pub fn new(methods: Vec<&'static str>) -> Self {
        let requests = methods.iter().map(|_| Default::default()).collect();
        Self { methods, requests, ..Self::default() }
    }

    /// Counts a call that was answered well. `row` is its place in the method table.
    pub fn succeeded(&self, row: usize) {
        if let Some([ok, ..]) = self.requests.get(row) {
            add(ok, 1);
        }
    }

    /// Counts a call that was answered with this reason.
    pub fn not_done(&self, row: usize, reason: &str) {
        let known = REASONS.iter().position(|known| *known == reason);
        let place = known.unwrap_or(REASONS.len().saturating_sub(1));
        if let Some(counter) = self.requests.get(row).and_then(|row| row.get(place)) {
            add(counter, 1);
        }
    }

    /// Counts what a change did, or what became of a rotation that was not committed.
    pub fn changed(&self, happened: Happened, outcome: Outcome) {
        if let Some(trigger) = happened.rotation {
            let row = self.rotations.get(trigger as usize);
            row.and_then(|row| row.get(outcome as usize)).into_iter().for_each(|it| add(it, 1));
        }
        if outcome == Outcome::Succeeded {
            let steps = [happened.prepared, happened.activated, happened.destroyed];
            for (counter, is_taken) in self.version_steps.iter().zip(steps) {
                add(counter, u64::from(is_taken));
            }
        }
    }

    /// Counts blobs that were moved to another version.
    pub fn moved(&self, blobs: u64) {
        add(&self.moved_blobs, blobs);
    }

    /// Counts an emergency: a proposal that was made or used with fewer people than the rule asks for.
    pub fn broke_glass(&self) {
        add(&self.break_glass, 1);
    }

    /// Counts a commit to the store.
    pub fn committed(&self, commit: Commit) {
        self.commits.get(commit as usize).into_iter().for_each(|it| add(it, 1));
    }

    /// Counts a look for what is due.
    pub fn turned(&self, turn: Turn, now_unix_ms: u64) {
        self.turns.get(turn as usize).into_iter().for_each(|it| add(it, 1));
        if turn != Turn::Failed {
            self.holds_lease.store(u64::from(turn == Turn::Held), Ordering::Relaxed);
            self.last_turn_unix_ms.store(now_unix_ms, Ordering::Relaxed);
        }
    }

    /// Shows what one whole round of looking found.
    pub fn found(&self, round: Round) {
        let places = self.due.iter().zip(round.due);
        for (place, count) in places.chain(self.deferred.iter().zip(round.deferred)) {
            place.store(count, Ordering::Relaxed);
        }
    }

    /// Counts something due that failed.
    pub fn due_failed(&self, due: Due) {
        self.due_failed.get(due as usize).into_iter().for_each(|it| add(it, 1));
    }

    /// How the scheduler stands.
    pub fn scheduler(&self) -> SchedulerReading {
        let triggers = Trigger::ALL.iter().zip(&self.rotations);
        let due = triggers.filter(|(trigger, _)| trigger.is_due());
        let at = read(&self.last_turn_unix_ms);
        SchedulerReading {
            holds_lease: read(&self.holds_lease) > 0,
            last_turn_unix_ms: (at > 0).then_some(at),
            rotations: sum(due.filter_map(|(_, row)| row.get(Outcome::Succeeded as usize))),
            due: sum(&self.due),
            deferred: sum(&self.deferred),
        }
    }
}

// === impl Round ===

impl Round {
    /// One more that is due.
    pub fn add_due(&mut self, due: Due) {
        self.due.get_mut(due as usize).into_iter().for_each(|it| *it = it.saturating_add(1));
    }

    /// One more that is left for later.
    pub fn add_deferred(&mut self, why: Deferral) {
        self.deferred.get_mut(why as usize).into_iter().for_each(|it| *it = it.saturating_add(1));
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn sum<'a>(counters: impl IntoIterator<Item = &'a AtomicU64>) -> u64 {
    counters.into_iter().fold(0, |sum, counter| sum.saturating_add(read(counter)))
}

#[cfg(test)]
mod tests;
