//! Changes whose end is not in the audit log: the program was stopped between the commit and the record
//! of it, or the log took no record at that moment.
//!
//! Each is found by the record that announced it and ended by one more record, which says what the store
//! says: a row of the change's own commit is there, or it is not. So there is no change without a record of
//! it, and no record of a change that there was not, whatever was stopped in between (attack H01).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::audit::{Outcome, Record};
use crate::trail::{Entry, Lane};

use super::perform::Desk;
use super::refusal::Refusal;

/// Ends of changes that could not be recorded when they were known.
#[derive(Default)]
pub struct Unended {
    records: Mutex<Vec<Record<'static>>>,
    any: AtomicBool,
}

/// What the log says of one change, in whatever order it was read.
#[derive(Default)]
struct Seen {
    announced: Option<Record<'static>>,
    ended: Option<Outcome>,
}

// === impl Desk ===

impl Desk {
    /// Ends every change that the log says was begun and not how it ended. To be called before anybody is
    /// served. Gives how many there were.
    ///
    /// # Errors
    /// The log or the store cannot be read, or the log takes no record: then nobody can be served.
    pub async fn end_what_was_begun(&self) -> Result<u64, Refusal> {
        let mut count = 0_u64;
        for (sequence, Seen { announced, ended }) in self.seen_last().await? {
            // An end whose beginning was not reached is of no change that is open.
            let Some(record) = announced else { continue };
            let Some(tenant) = record.tenant else { continue };
            let custody = &self.office().custody;
            let committed = custody.was_committed(tenant, sequence, record.time_us).await?;
            let (outcome, [reason, class], detail) = match (ended, committed) {
                (None, true) => (Outcome::Succeeded, ["", ""], "found committed after a restart"),
                (None, false) => {
                    let why = ["INTERNAL", "interrupted"];
                    (Outcome::Failed, why, "found not committed after a restart")
                }
                (Some(Outcome::Failed), true) => {
                    let detail = "reported as failed; found committed after a restart";
                    (Outcome::Succeeded, ["", ""], detail)
                }
                (Some(_), _) => continue,
            };
            let end = Record {
                time_us: self.office().clock.unix_us(),
                outcome,
                reason: reason.into(),
                class: class.into(),
                detail: detail.into(),
                started_sequence: sequence,
                ..record
            };
            self.lane().append(&end).await?;
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    /// What the log says near its end of each change, by the sequence that announced it.
    async fn seen_last(&self) -> Result<BTreeMap<u64, Seen>, Refusal> {
        let trail = &self.office().trail;
        let end = *trail.durable().borrow();
        let mut found = BTreeMap::new();
        let mut from = end;
        let mut last_time_us = None;
        // Backwards, until the records are older than any change takes.
        while from > 0 && end.saturating_sub(from) < MAX_RECORDS {
            let before = from.saturating_sub(PAGE);
            let mut after = before;
            let mut oldest_us = i64::MAX;
            while after < from {
                let wanted = usize::try_from(from.saturating_sub(after)).unwrap_or(usize::MAX);
                let page = trail.read(after, wanted).await?;
                let Some(newest) = page.last() else { break };
                after = newest.sequence;
                last_time_us.get_or_insert(newest.record.time_us);
                oldest_us = page.iter().fold(oldest_us, |us, entry| us.min(entry.record.time_us));
                page.into_iter().for_each(|entry| sort_in(&mut found, entry));
            }
            from = before;
            if last_time_us.is_some_and(|last| last.saturating_sub(oldest_us) > LONGEST_CHANGE_US) {
                break;
            }
        }
        Ok(found)
    }
}

fn sort_in(found: &mut BTreeMap<u64, Seen>, entry: Entry) {
    let Entry { sequence, record, .. } = entry;
    if record.outcome == Outcome::Started {
        found.entry(sequence).or_default().announced = Some(record);
    } else if record.started_sequence != 0 {
        // The latest end counts.
        let seen = found.entry(record.started_sequence).or_default();
        seen.ended = match seen.ended {
            Some(Outcome::Succeeded) => Some(Outcome::Succeeded),
            _ => Some(record.outcome),
        };
    }
}

// === impl Unended ===

impl Unended {
    /// Keeps the end of a change that could not be recorded, until it can be.
    pub(super) fn keep(&self, record: Record<'static>) {
        let mut records = self.records.lock();
        if records.len() < MAX_UNENDED {
            records.push(record);
        }
        self.any.store(true, Ordering::Release);
    }

    /// Hands those over that were kept, now that the log takes records again.
    pub(super) async fn hand_over(&self, lane: &Lane) {
        if !self.any.swap(false, Ordering::AcqRel) {
            return;
        }
        let kept = std::mem::take(&mut *self.records.lock());
        for record in kept {
            if lane.append(&record).await.is_err() {
                self.keep(record);
            }
        }
    }
}

/// How many records are read at once.
const PAGE: u64 = 1_000;

/// How far back from the end of the log a change can have been announced and still be open.
const MAX_RECORDS: u64 = 1_000_000;

/// And how long before its last record: a change takes seconds.
const LONGEST_CHANGE_US: i64 = 10 * 60 * 1_000_000;

/// More changes than this cannot be under way in the moment in which a log stops taking records. What is
/// over it is found by the next start.
const MAX_UNENDED: usize = 10_000;
