//! How far one store of a campaign has come, and what moves it on.
//!
//! A store goes through passes. In a pass one agent at a time holds the store and says how far it has
//! come; when it is through, a scan must prove it, and what the scan finds is another pass's. A report
//! counts once: one that is older than what is known changes nothing of it.

use crate::keys::{HolderId, Reason, Timestamp};

use super::problem::{Decided, Decision, Problem};
use super::{LEASE_MS, PROBLEMS_MAX};

/// How far one store has come.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoreProgress {
    /// Where it stands.
    pub phase: Phase,
    /// Who has the store, unless it has been silent for too long.
    pub holder: Option<Agent>,
    /// When an agent was last heard.
    pub report_time: Option<Timestamp>,
    /// Where to go on in this pass.
    pub place: Place,
    /// Which time through: from 1; 0 while no agent has begun.
    pub pass: u32,
    /// Places looked at in this pass.
    pub seen: u64,
    /// How many places there are, as far as the agent can say; 0: unknown.
    pub total: u64,
    /// Blobs moved, in the whole campaign.
    pub moved: u64,
    /// Places that somebody else changed meanwhile, in the whole campaign.
    pub changed: u64,
    /// Blobs that did not open.
    pub problems: u64,
    /// Those of them about which nobody has decided.
    pub undecided: u64,
    /// The last audit record before the pass ended: a scan that proves it began no earlier.
    pub pass_end_sequence: u64,
}

/// Where a store stands, in the order in which it gets there.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// No agent has begun.
    #[default]
    Waiting,
    /// A pass is under way.
    Moving,
    /// A pass has ended; a scan must prove it.
    Verifying,
    /// A scan found nothing left.
    Clean,
}

/// One run of an agent: another run, or another principal, is another agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Agent {
    /// What it drew when it started.
    pub id: HolderId,
    /// As whom it calls.
    pub principal: String,
}

/// Where to go on, in the connector's own words: at most 4096 bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place(Vec<u8>);

/// The place is longer than 4096 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be at most 4096 bytes")]
pub struct PlaceTooLong;

/// What an agent says of a pass.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Which pass: from 1.
    pub pass: u32,
    /// Where it would go on.
    pub place: Place,
    /// Places looked at, of the whole pass.
    pub seen: u64,
    /// How many there are; 0: unknown.
    pub total: u64,
    /// Blobs moved since the report before.
    pub moved: u64,
    /// Places changed by others since the report before.
    pub changed: u64,
    /// Whether the pass came to the end of the store.
    pub pass_ended: bool,
}

/// Another agent has the store.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{principal} has the store; it is free when that agent has been silent for 30 seconds")]
pub struct Held {
    /// As whom it calls.
    pub principal: String,
    /// How long until it is free, should that agent stay silent.
    pub free_in_ms: u64,
}

/// A report is not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReportRefusal {
    /// Another agent has the store.
    #[error(transparent)]
    Held(#[from] Held),
    /// It is about a pass that has not begun.
    #[error("the store is in pass {pass}; report pass 0 to learn where it stands")]
    PassNotBegun {
        /// The pass that it is in.
        pass: u32,
    },
}

/// The store has as many problems as a store may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the store has {PROBLEMS_MAX} problems; see what is wrong with it and begin a new campaign"
)]
pub struct TooManyProblems;

/// What the last scan of a store that ended found, for one campaign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ScanSummary {
    /// The last audit record before it began.
    pub begin_sequence: u64,
    /// Blobs of the source versions, without those that a person has abandoned.
    pub remaining: u64,
}

// === impl StoreProgress ===

impl StoreProgress {
    /// Gives the store to `agent`, which begins or goes on where the store stands.
    ///
    /// # Errors
    /// Another agent has it.
    pub fn claim(&self, agent: &Agent, now: Timestamp) -> Result<Self, Held> {
        self.check_free_for(agent, now)?;
        let mut after = self.held_by(agent, now);
        if after.phase == Phase::Waiting {
            after.begin_next_pass();
        }
        Ok(after)
    }

    /// What `report` makes of it. An old report, which says less than is known, changes nothing but
    /// that its agent was heard. What a report says to have moved is counted only when it has seen
    /// more than the report before, or ends the pass. `durable_sequence` is the last audit record now.
    ///
    /// # Errors
    /// Another agent has the store, or the pass has not begun.
    pub fn report(
        &self,
        agent: &Agent,
        report: &Report,
        now: Timestamp,
        durable_sequence: u64,
    ) -> Result<Self, ReportRefusal> {
        if self.phase == Phase::Waiting && report.pass == FIRST_PASS {
            // Nobody has begun: the first that is heard of an agent need not be that it asks.
            return self.claim(agent, now)?.report(agent, report, now, durable_sequence);
        }
        self.check_free_for(agent, now)?;
        if report.pass > self.pass {
            return Err(ReportRefusal::PassNotBegun { pass: self.pass });
        }
        if self.is_old(report) {
            // It was heard all the same; but nobody gets a store by what is old.
            let is_holder = self.holder.as_ref() == Some(agent);
            return Ok(if is_holder { self.held_by(agent, now) } else { self.clone() });
        }
        let mut after = self.held_by(agent, now);
        if self.phase == Phase::Moving && (report.seen > self.seen || report.pass_ended) {
            after.place = report.place.clone();
            after.seen = report.seen;
            after.total = report.total;
            after.moved = self.moved.saturating_add(report.moved);
            after.changed = self.changed.saturating_add(report.changed);
            if report.pass_ended {
                after.end_pass(durable_sequence);
            }
        }
        Ok(after)
    }

    /// Whether `report` says less than is known.
    pub fn is_old(&self, report: &Report) -> bool {
        report.pass < self.pass || (self.phase == Phase::Moving && report.seen < self.seen)
    }

    /// Lets the store go, if `agent` has it.
    pub fn release(&self, agent: &Agent) -> Self {
        let holder = self.holder.clone().filter(|holder| holder != agent);
        Self { holder, ..self.clone() }
    }

    /// What the last scan makes of it. Only a store whose pass has ended is judged, and only by a scan
    /// that began no earlier. While what is left are blobs about which nobody has decided, it waits
    /// for the decisions: another pass would meet them again.
    pub fn judge(&self, scan: ScanSummary) -> Self {
        let proves = scan.begin_sequence >= self.pass_end_sequence;
        let mut after = self.clone();
        if self.phase == Phase::Verifying && proves {
            if scan.remaining > self.undecided {
                after.begin_next_pass();
            } else if self.undecided == 0 {
                after.phase = Phase::Clean;
            }
        }
        after
    }

    /// Takes note of a blob that did not open; `known` is what is known of the same place. Gives what
    /// is to be known of it now, if that is something else. A report that is said again changes nothing,
    /// even if somebody has decided since.
    ///
    /// # Errors
    /// The store has as many problems as it may have.
    pub fn note(
        &mut self,
        found: Problem,
        known: Option<&Problem>,
    ) -> Result<Option<Problem>, TooManyProblems> {
        let Some(known) = known else {
            if self.problems >= PROBLEMS_MAX {
                return Err(TooManyProblems);
            }
            self.problems = self.problems.saturating_add(1);
            self.undecided = self.undecided.saturating_add(1);
            return Ok(Some(Problem { decided: None, ..found }));
        };
        if known.told_by == found.told_by {
            return Ok(None);
        }
        if known.is_same_as(&found) && known.is_undecided() {
            return Ok(Some(Problem { told_by: found.told_by, ..known.clone() }));
        }
        if known.is_same_as(&found) && known.is(Decision::Abandoned) {
            return Ok(None);
        }
        // It was not mended after all, or other bytes stand there, about which nobody has decided.
        if !known.is_undecided() {
            self.undecided = self.undecided.saturating_add(1);
        }
        Ok(Some(Problem { decided: None, ..found }))
    }

    /// Decides about `problem`. A blob that is to be tried again needs a pass that comes by it: a
    /// store that is through begins another.
    pub fn decide(
        &mut self,
        problem: &Problem,
        decision: Decision,
        principal: String,
        reason: Reason,
    ) -> Problem {
        if problem.is_undecided() {
            self.undecided = self.undecided.saturating_sub(1);
        }
        if decision == Decision::Retry && self.phase > Phase::Moving {
            self.begin_next_pass();
        }
        Problem { decided: Some(Decided { decision, principal, reason }), ..problem.clone() }
    }

    /// Whether `agent` has the store.
    pub fn is_held_by(&self, agent: &Agent, now: Timestamp) -> bool {
        self.holder.as_ref() == Some(agent) && self.is_held(now)
    }

    /// Whether an agent has the store and has not been silent for too long. A clock that was set back
    /// keeps no store from anybody.
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.holder.is_some() && self.silent_ms(now) < LEASE_MS
    }

    fn check_free_for(&self, agent: &Agent, now: Timestamp) -> Result<(), Held> {
        match &self.holder {
            Some(holder) if holder != agent && self.is_held(now) => Err(Held {
                principal: holder.principal.clone(),
                free_in_ms: LEASE_MS.saturating_sub(self.silent_ms(now)),
            }),
            _ => Ok(()),
        }
    }

    fn silent_ms(&self, now: Timestamp) -> u64 {
        let heard = self.report_time.unwrap_or_default();
        now.unix_ms().abs_diff(heard.unix_ms())
    }

    fn held_by(&self, agent: &Agent, now: Timestamp) -> Self {
        Self { holder: Some(agent.clone()), report_time: Some(now), ..self.clone() }
    }

    fn begin_next_pass(&mut self) {
        self.phase = Phase::Moving;
        self.pass = self.pass.saturating_add(1);
        self.place = Place::default();
        self.seen = 0;
        self.total = 0;
    }

    fn end_pass(&mut self, durable_sequence: u64) {
        self.phase = Phase::Verifying;
        self.pass_end_sequence = durable_sequence;
    }
}

// === impl Phase ===

impl Phase {
    /// Every phase, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Moving, Self::Verifying, Self::Clean];

    /// The name that people and records see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Moving => "MOVING",
            Self::Verifying => "VERIFYING",
            Self::Clean => "CLEAN",
        }
    }

    /// The number in a stored row: 1 to 4, in the order of [`Phase::ALL`].
    pub const fn number(self) -> u8 {
        match self {
            Self::Waiting => 1,
            Self::Moving => 2,
            Self::Verifying => 3,
            Self::Clean => 4,
        }
    }

    /// The phase with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| u32::from(phase.number()) == number)
    }
}

// === impl Place ===

impl Place {
    /// Takes the bytes as they are.
    pub fn new(bytes: Vec<u8>) -> Result<Self, PlaceTooLong> {
        if bytes.len() <= PLACE_BYTES_MAX { Ok(Self(bytes)) } else { Err(PlaceTooLong) }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

const FIRST_PASS: u32 = 1;
const PLACE_BYTES_MAX: usize = 4096;
