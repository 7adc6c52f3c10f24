//! Who may do what is due, on whose clock, and how much of it in an hour: one row, which everything
//! that happens by itself expects and rewrites in its own commit.
//!
//! The lease is taken against the store's clock, and each taking has a fencing number. A program that
//! lost it, or that stood still and does not know, commits nothing more: the row is no longer what it
//! read. The lease makes sure that one program works; the fence, that no harm is done when two
//! believe that they do. Nobody takes a lease from a holder whose time is not over.

use crate::keys::{HolderId, Present, Timestamp};
use crate::store::{Commit, Expect};

use super::Custody;
use super::changes::Changes;
use super::error::CustodyError;
use super::rows::{SCHEDULER_ROW, SchedulerRecord};

/// What a program remembers of its own run between two looks at the lease.
#[derive(Clone, Copy, Debug)]
pub struct Witness {
    holder: HolderId,
    /// Up to when somebody answers for the clock.
    checked: Option<Timestamp>,
    /// The fencing number it holds, and the witnessed time when it last wrote it down.
    seen: Option<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    fence: u64,
    witnessed: Timestamp,
    running_ms: u64,
}

/// A lease as a program holds it: who, under which fencing number, and what time it has witnessed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    holder: HolderId,
    fence: u64,
    witnessed: Timestamp,
}

/// In whose name something due is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mandate {
    /// The scheduler's, as long as it holds this lease.
    Lease(Lease),
    /// A caller's who asked for it. The lease stays with whom it is; the budget is the same one.
    Asked,
}

/// How much may happen by itself in an hour of witnessed time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// Keys that are rotated.
    pub rotations_per_hour_max: u32,
    /// Versions that are destroyed.
    pub destructions_per_hour_max: u32,
}

/// What a scheduled change takes from the budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spend {
    /// It is free.
    Nothing,
    /// One rotation.
    Rotation,
    /// One destruction.
    Destruction,
}

/// The scheduler row as it was read a moment ago, for one change.
#[derive(Debug)]
pub struct Turn {
    record: SchedulerRecord,
    /// `None` where there is no row yet.
    revision: Option<u64>,
    present: Present,
}

// === impl Witness ===

impl Witness {
    /// A program that holds nothing yet. Up to `checked`, if somebody looked at the clock then, the
    /// clock is believed.
    pub fn new(holder: HolderId, checked: Option<Timestamp>) -> Self {
        Self { holder, checked, seen: None }
    }

    /// The program.
    pub fn holder(&self) -> HolderId {
        self.holder
    }
}

// === impl Mandate ===

impl Mandate {
    /// The program that holds the lease, where it acts for itself.
    pub fn holder(&self) -> Option<HolderId> {
        match self {
            Self::Lease(lease) => Some(lease.holder),
            Self::Asked => None,
        }
    }
}

// === impl Lease ===

impl Lease {
    /// The time that its holder has witnessed.
    pub fn witnessed(&self) -> Timestamp {
        self.witnessed
    }
}

// === impl Turn ===

impl Turn {
    /// What time it is.
    pub fn present(&self) -> Present {
        self.present
    }

    /// Whether this hour's budget has room for `spend`.
    pub fn affords(&self, spend: Spend, budget: &Budget) -> bool {
        let record = self.of_this_hour();
        match spend {
            Spend::Nothing => true,
            Spend::Rotation => record.rotations < budget.rotations_per_hour_max,
            Spend::Destruction => record.destructions < budget.destructions_per_hour_max,
        }
    }

    fn of_this_hour(&self) -> SchedulerRecord {
        let witnessed_time = self.present.witnessed();
        let hour = witnessed_time.hour();
        let mut record = SchedulerRecord { witnessed_time, hour, ..self.record.clone() };
        if self.record.hour != hour {
            (record.rotations, record.destructions) = (0, 0);
        }
        record
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// Makes this change one that happens by itself: only while `turn` holds, and out of `budget`.
    ///
    /// # Errors
    /// [`CustodyError::Conflict`]: another has spent the rest of the budget.
    pub fn under(
        &mut self,
        turn: &Turn,
        spend: Spend,
        budget: &Budget,
    ) -> Result<(), CustodyError> {
        if !turn.affords(spend, budget) {
            return Err(CustodyError::Conflict);
        }
        let mut record = turn.of_this_hour();
        match spend {
            Spend::Nothing => {}
            Spend::Rotation => record.rotations = record.rotations.saturating_add(1),
            Spend::Destruction => record.destructions = record.destructions.saturating_add(1),
        }
        self.put_of_installation(&record, turn.revision);
        Ok(())
    }
}

// === impl Custody ===

impl Custody {
    /// A new program's id.
    pub fn new_holder_id(&self) -> Result<HolderId, CustodyError> {
        Ok(HolderId::from_bytes(self.draw_id()?))
    }

    /// What time it is, for a change that somebody asked for.
    pub async fn present(&self) -> Result<Present, CustodyError> {
        let wall = self.now();
        let found = self.scheduler().await?;
        let witnessed = found.map_or(wall, |(record, _)| record.witnessed_time);
        Ok(Present::new(wall, wall, witnessed))
    }

    /// Takes the lease, keeps it, or finds that another has it: then there is none.
    ///
    /// The holder's own running is what it witnesses. Whoever takes the lease over is credited with
    /// the silence before, as the store's clock has it, up to a day: a program that is started again
    /// and again is credited with no more than went by.
    pub async fn hold(&self, witness: &mut Witness) -> Result<Option<Lease>, CustodyError> {
        let running_ms = self.clock.running_ms();
        let store_now = self.store_now().await?;
        let wall = self.now().min(store_now);
        let found = self.scheduler().await?;
        let revision = found.as_ref().map(|(_, revision)| *revision);
        let was = found.map_or_else(|| SchedulerRecord::first(wall), |(record, _)| record);
        let mine = was.holder == Some(witness.holder);
        let (fence, witnessed) = match witness.seen.filter(|seen| mine && seen.fence == was.fence) {
            Some(seen) => {
                let passed_ms = running_ms.saturating_sub(seen.running_ms);
                (was.fence, seen.witnessed.witness(passed_ms, wall))
            }
            None if was.is_held(store_now) && !mine => {
                witness.seen = None;
                return Ok(None);
            }
            None => {
                let silent_ms = was.renew_time().until_ms(store_now);
                (was.fence.saturating_add(1), was.witnessed_time.credit(silent_ms, wall))
            }
        };
        let checked = witness.checked.map_or(witnessed, |checked| checked.min(wall));
        let witnessed = witnessed.max(was.witnessed_time).max(checked);
        let lease = Lease { holder: witness.holder, fence, witnessed };
        let is_kept = fence == was.fence && was.is_held(store_now) && !was.is_ending(store_now);
        if is_kept {
            return Ok(Some(lease));
        }
        let record = SchedulerRecord {
            holder: Some(witness.holder),
            fence,
            expire_time: store_now.plus_ms(LEASE_MS),
            witnessed_time: witnessed,
            ..was
        };
        match self.put_scheduler(&record, revision).await {
            Ok(()) => {
                witness.seen = Some(Seen { fence, witnessed, running_ms });
                Ok(Some(lease))
            }
            // Another came first, or a caller had something rotated: the next look tells.
            Err(CustodyError::Conflict) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// The scheduler row, for one change in the name of `mandate`.
    ///
    /// # Errors
    /// [`CustodyError::Conflict`]: the lease is another's, or its time is over.
    pub async fn turn(&self, mandate: Mandate) -> Result<Turn, CustodyError> {
        let (wall, store_now) = (self.now(), self.store_now().await?);
        let found = self.scheduler().await?;
        let revision = found.as_ref().map(|(_, revision)| *revision);
        let first = || SchedulerRecord::first(wall.min(store_now));
        let record = found.map_or_else(first, |(record, _)| record);
        let witnessed = match mandate {
            Mandate::Asked => record.witnessed_time,
            Mandate::Lease(lease) => {
                let holds = record.holder == Some(lease.holder) && record.fence == lease.fence;
                if !holds || !record.is_held(store_now) {
                    return Err(CustodyError::Conflict);
                }
                record.witnessed_time.max(lease.witnessed)
            }
        };
        Ok(Turn { record, revision, present: Present::new(wall, store_now, witnessed) })
    }

    pub(super) async fn store_now(&self) -> Result<Timestamp, CustodyError> {
        Ok(Timestamp::from_unix_ms(self.store.clock().await?))
    }

    async fn scheduler(&self) -> Result<Option<(SchedulerRecord, u64)>, CustodyError> {
        self.load_of_installation(SCHEDULER_ROW).await
    }

    async fn put_scheduler(
        &self,
        record: &SchedulerRecord,
        revision: Option<u64>,
    ) -> Result<(), CustodyError> {
        let put = self.seal_of_installation(record);
        let expect = vec![Expect { key: put.key.clone(), revision }];
        self.store.commit(Commit { expect, puts: vec![put], tombstones: Vec::new() }).await?;
        Ok(())
    }
}

// === impl SchedulerRecord ===

impl SchedulerRecord {
    /// What stands for the row before there is one. Nothing was witnessed, so the clock is believed.
    fn first(now: Timestamp) -> Self {
        Self {
            holder: None,
            fence: 0,
            expire_time: now,
            witnessed_time: now,
            hour: now.hour(),
            rotations: 0,
            destructions: 0,
        }
    }

    /// Whether the lease is somebody's. One that runs longer than a lease can was given before the
    /// store's clock went back, and holds nobody up.
    fn is_held(&self, store_now: Timestamp) -> bool {
        store_now < self.expire_time && self.expire_time <= store_now.plus_ms(LEASE_MS)
    }

    fn is_ending(&self, store_now: Timestamp) -> bool {
        store_now.until_ms(self.expire_time) < RENEW_MS
    }

    /// When the holder last said that it was there.
    fn renew_time(&self) -> Timestamp {
        self.expire_time.minus_ms(LEASE_MS)
    }
}

impl Timestamp {
    fn hour(self) -> Self {
        let millis = self.unix_ms();
        Self::from_unix_ms(millis.saturating_sub(millis.rem_euclid(HOUR_MS)))
    }
}

/// How long a lease holds.
pub const LEASE_MS: u64 = 30_000;
/// How long before its end it is renewed.
const RENEW_MS: u64 = 20_000;
const HOUR_MS: i64 = 60 * 60 * 1_000;

const _: () = assert!(RENEW_MS < LEASE_MS);
