//! How far a run is, and what of it the server does not know yet.

use std::collections::VecDeque;

use bulla_client::kms::{Problem, StoreProgress};
use tokio::time::Instant;

use crate::agent::store::Place;
use crate::agent::watcher::Standing;

/// The state of a run. What is in here was written to the store before.
pub(super) struct Tally {
    pass: u32,
    /// Everything up to here has been dealt with, of so many entries.
    place: Place,
    seen: u64,
    total: u64,
    /// As the server has it.
    reported_place: Place,
    reported_seen: u64,
    /// In this run; and what of it the server does not know.
    moved: u64,
    moved_unreported: u64,
    changed_unreported: u64,
    problems: u64,
    problems_unreported: VecDeque<Problem>,
    /// The pass has come to the end of the store.
    ended: bool,
    pass_began: Instant,
    moved_before_pass: u64,
}

/// What happened with a piece of the store.
#[derive(Default)]
pub(super) struct Dealt {
    pub(super) place: Place,
    pub(super) seen: u64,
    pub(super) moved: u64,
    pub(super) changed: u64,
    pub(super) problems: Vec<Problem>,
}

/// What the server is told next.
pub(super) struct News {
    pub(super) pass: u32,
    pub(super) place: Place,
    pub(super) seen: u64,
    pub(super) total: u64,
    pub(super) moved: u64,
    pub(super) changed: u64,
    pub(super) problems: Vec<Problem>,
    /// The pass has ended, and with this the server knows all of it.
    pub(super) pass_ended: bool,
    /// There is more than one report can hold.
    pub(super) more: bool,
}

// === impl Tally ===

impl Tally {
    pub(super) fn new(total: u64) -> Self {
        Self {
            pass: 0,
            place: Place::default(),
            seen: 0,
            total,
            reported_place: Place::default(),
            reported_seen: 0,
            moved: 0,
            moved_unreported: 0,
            changed_unreported: 0,
            problems: 0,
            problems_unreported: VecDeque::new(),
            ended: false,
            pass_began: Instant::now(),
            moved_before_pass: 0,
        }
    }

    /// A pass goes on at a place, where so many have been seen.
    pub(super) fn begin_pass(&mut self, pass: u32, place: Place, seen: u64) {
        self.pass = pass;
        self.reported_place = place.clone();
        self.place = place;
        self.reported_seen = seen;
        self.seen = seen;
        self.ended = false;
        self.pass_began = Instant::now();
        self.moved_before_pass = self.moved;
    }

    /// A pass goes on over a stream, which has no place but its start.
    pub(super) fn begin_stream(&mut self, pass: u32, seen_before: u64) {
        self.begin_pass(pass, Place::default(), seen_before);
        self.seen = 0;
    }

    /// A pass has ended and is being verified, by this run or one before.
    pub(super) fn begin_verify(&mut self, pass: u32, progress: &StoreProgress) {
        self.pass = pass;
        self.seen = self.seen.max(progress.seen);
        self.reported_seen = self.seen;
        self.ended = true;
    }

    pub(super) fn deal(&mut self, dealt: Dealt) {
        self.place = dealt.place;
        self.seen = self.seen.saturating_add(dealt.seen);
        self.moved = self.moved.saturating_add(dealt.moved);
        self.moved_unreported = self.moved_unreported.saturating_add(dealt.moved);
        self.changed_unreported = self.changed_unreported.saturating_add(dealt.changed);
        let problems = u64::try_from(dealt.problems.len()).unwrap_or(u64::MAX);
        self.problems = self.problems.saturating_add(problems);
        self.problems_unreported.extend(dealt.problems);
    }

    pub(super) fn end_pass(&mut self) {
        self.ended = true;
    }

    /// What to say next. A place is told together with the last problem before it, or later.
    pub(super) fn news(&self) -> News {
        let more = self.problems_unreported.len() > PROBLEMS_A_REPORT_MAX;
        let (place, seen) = match more {
            true => (self.reported_place.clone(), self.reported_seen),
            // A stream that is gone through from its start again has seen less than it said before.
            false => (self.place.clone(), self.seen.max(self.reported_seen)),
        };
        let problems = self.problems_unreported.iter().take(PROBLEMS_A_REPORT_MAX);
        News {
            pass: self.pass,
            place,
            seen,
            // An estimate that was too low is not shown as more than all.
            total: if self.total == 0 { 0 } else { self.total.max(self.seen) },
            // They are counted with the place, and so they are told with it.
            moved: if more { 0 } else { self.moved_unreported },
            changed: if more { 0 } else { self.changed_unreported },
            problems: problems.cloned().collect(),
            pass_ended: self.ended && !more,
            more,
        }
    }

    /// The server knows this.
    pub(super) fn told(&mut self, news: &News) {
        self.reported_place = news.place.clone();
        self.reported_seen = news.seen;
        self.moved_unreported = self.moved_unreported.saturating_sub(news.moved);
        self.changed_unreported = self.changed_unreported.saturating_sub(news.changed);
        let told = news.problems.len().min(self.problems_unreported.len());
        self.problems_unreported.drain(..told);
    }

    /// Whether more problems wait than one report holds.
    pub(super) fn is_behind(&self) -> bool {
        self.problems_unreported.len() > PROBLEMS_A_REPORT_MAX
    }

    pub(super) fn pass(&self) -> u32 {
        self.pass
    }

    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    pub(super) fn standing(&self) -> Standing {
        let moved = self.moved.saturating_sub(self.moved_before_pass);
        let millis = u64::try_from(self.pass_began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Standing {
            seen: self.seen,
            total: if self.total == 0 { 0 } else { self.total.max(self.seen) },
            moved: self.moved,
            per_second: moved.saturating_mul(1_000).checked_div(millis).unwrap_or(0),
            problems: self.problems,
        }
    }
}

const PROBLEMS_A_REPORT_MAX: usize = 100;
