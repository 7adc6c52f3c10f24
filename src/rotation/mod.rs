//! What happens by itself: keys rotate when they are due, versions are destroyed when they are due.
//!
//! Everything goes through the desk like any caller's request, and is recorded like one. Of several
//! servers on one store one at a time does it, the one that holds the lease; everything is committed
//! together with a check that it still does, and within an hour's budget. What fails, and what the
//! budget has no room for, is tried again later and keeps nothing else waiting.

use std::collections::HashMap;
use std::time::Duration;

use crate::custody::{DuePlace, Lease, Mandate, REPORT_MS, Spend, Witness};
use crate::keys::{KeyId, Present, TenantId};
use crate::metrics::{self, Deferral, Round, Turn};
use crate::policy::Action;
use crate::service::{Caller, Desk, DestroyVersion, Due, Refusal};

/// Looks for what is due.
pub struct Scheduler {
    desk: Desk,
    witness: Witness,
    /// Where the next look goes on among what is due.
    place: Option<DuePlace>,
    /// What was found since the first of what is due.
    round: Round,
    /// What failed, and when to try it again.
    put_off: HashMap<Due, PutOff>,
    /// When this program last said how far it has followed, likewise.
    reported_ms: Option<u64>,
    /// Whether the operator was told that the clocks are apart.
    clock_told: bool,
}

/// Something that is not tried for a while.
#[derive(Clone, Copy)]
struct PutOff {
    /// In milliseconds of this program's run.
    until_ms: u64,
    /// What it counts as meanwhile, where it is no failure.
    deferral: Option<Deferral>,
}

/// What one look led to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Done {
    /// Keys that were rotated.
    pub rotated: u32,
    /// Versions that were destroyed.
    pub destroyed: u32,
    /// Steps that versions took on their ladders.
    pub climbed: u32,
    /// What was due and failed.
    pub failed: u32,
    /// What was due and is left for later: the budget is used up, a server has yet to follow, or the
    /// key has as many versions as it may have.
    pub deferred: u32,
}

// === impl Scheduler ===

impl Scheduler {
    /// A scheduler at this desk; `witness` is of this program.
    pub fn new(desk: Desk, witness: Witness) -> Self {
        Self {
            desk,
            witness,
            place: None,
            round: Round::default(),
            put_off: HashMap::new(),
            reported_ms: None,
            clock_told: false,
        }
    }

    /// Looks again and again, for as long as the future is polled.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            match self.look().await {
                Ok(Done { rotated: 0, destroyed: 0, climbed: 0, failed: 0, .. }) => {}
                Ok(done) => tracing::info!(?done, "did what was due"),
                Err(error) => tracing::warn!(%error, "cannot look for what is due"),
            }
        }
    }

    /// Does what is due now, a bounded number of things, if this program holds the lease.
    ///
    /// # Errors
    /// The lease or what is due cannot be read. One thing's failure is counted and is no error.
    pub async fn look(&mut self) -> Result<Done, Refusal> {
        let looked = self.look_once().await;
        let office = self.desk.office();
        let turn = match &looked {
            Ok(Some(_)) => Turn::Held,
            Ok(None) => Turn::NotHeld,
            Err(_) => Turn::Failed,
        };
        let now_unix_ms = u64::try_from(office.clock.unix_ms()).unwrap_or(0);
        office.metrics.turned(turn, now_unix_ms);
        Ok(looked?.unwrap_or_default())
    }

    /// `None` if another program holds the lease.
    async fn look_once(&mut self) -> Result<Option<Done>, Refusal> {
        let running_ms = self.desk.office().clock.running_ms();
        let custody = &self.desk.office().custody;
        let Some(lease) = custody.hold(&mut self.witness).await? else {
            self.round = Round::default();
            self.desk.office().metrics.found(self.round);
            self.report(running_ms).await?;
            return Ok(None);
        };
        let present = custody.turn(Mandate::Lease(lease)).await?.present();
        let page = custody.due(present.reached(), self.place.as_ref(), DUE_MAX).await?;
        self.tell_clock(present);
        self.put_off.retain(|_, put_off| put_off.until_ms > running_ms);
        self.place = page.next;
        let mut done = Done::default();
        for due in page.due {
            self.round.add_due(counted(due));
            match self.put_off.get(&due) {
                None => self.act(due, lease, &mut done).await?,
                Some(put_off) => {
                    put_off.deferral.into_iter().for_each(|why| self.round.add_deferred(why));
                }
            }
        }
        if self.place.is_none() {
            self.desk.office().metrics.found(std::mem::take(&mut self.round));
        }
        Ok(Some(done))
    }

    async fn act(&mut self, due: Due, lease: Lease, done: &mut Done) -> Result<(), Refusal> {
        let spend = match due {
            Due::Rotate(..) => Spend::Rotation,
            Due::Destroy(..) => Spend::Destruction,
            Due::Climb(..) => Spend::Nothing,
        };
        let office = self.desk.office();
        let turn = office.custody.turn(Mandate::Lease(lease)).await?;
        if !turn.affords(spend, &office.budget) {
            done.deferred = done.deferred.saturating_add(1);
            self.round.add_deferred(Deferral::Budget);
            return Ok(());
        }
        let (result, count) = match due {
            Due::Climb(tenant, key, version) => {
                let stepped = self.climb(tenant, key, version, lease).await;
                // Looked at again and again for as long as it stands there, but not every second.
                self.put_off(due, PUT_OFF_MS, None);
                (stepped, &mut done.climbed)
            }
            Due::Rotate(tenant, key) => (self.rotate(tenant, key, lease).await, &mut done.rotated),
            Due::Destroy(tenant, key, version) => {
                (self.destroy(tenant, key, version, lease).await, &mut done.destroyed)
            }
        };
        match result {
            Ok(true) => *count = count.saturating_add(1),
            Ok(false) if spend == Spend::Nothing => {}
            Ok(false) => {
                done.deferred = done.deferred.saturating_add(1);
                self.round.add_deferred(Deferral::ServerBehind);
            }
            // Never dropped: the record says why, and it is counted as left for later until a version
            // is destroyed or the limit raised.
            Err(refusal @ Refusal::QuotaExceeded(_)) => {
                tracing::warn!(?due, %refusal, "a key that is due cannot rotate");
                done.deferred = done.deferred.saturating_add(1);
                self.round.add_deferred(Deferral::Quota);
                self.put_off(due, QUOTA_PUT_OFF_MS, Some(Deferral::Quota));
            }
            Err(error) => {
                tracing::warn!(?due, %error, "what was due could not be done");
                self.desk.office().metrics.due_failed(counted(due));
                self.put_off(due, PUT_OFF_MS, None);
                done.failed = done.failed.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Whether the key is rotated; not yet if a server has yet to follow.
    async fn rotate(&self, tenant: TenantId, key: KeyId, lease: Lease) -> Result<bool, Refusal> {
        let caller = Caller::scheduler(tenant);
        let rotated = self.desk.rotate_due_key(&caller, key, Mandate::Lease(lease)).await?;
        Ok(rotated.is_some())
    }

    async fn destroy(
        &self,
        tenant: TenantId,
        key: KeyId,
        version: u32,
        lease: Lease,
    ) -> Result<bool, Refusal> {
        let destroy = DestroyVersion { key, version, mandate: Mandate::Lease(lease) };
        let caller = Caller::scheduler(tenant);
        self.desk.perform_change(&caller, Action::DestroyVersion, Ok(destroy)).await?;
        Ok(true)
    }

    /// Whether the version took a step on its ladder.
    async fn climb(
        &self,
        tenant: TenantId,
        key: KeyId,
        version: u32,
        lease: Lease,
    ) -> Result<bool, Refusal> {
        let caller = Caller::scheduler(tenant);
        self.desk.step_ladder(&caller, key, version, Mandate::Lease(lease)).await
    }

    fn put_off(&mut self, due: Due, for_ms: u64, deferral: Option<Deferral>) {
        let until_ms = self.desk.office().clock.running_ms().saturating_add(for_ms);
        self.put_off.insert(due, PutOff { until_ms, deferral });
    }

    /// Says how far this program has followed, so that the one with the lease can wait for it.
    async fn report(&mut self, running_ms: u64) -> Result<(), Refusal> {
        let is_recent = |at: u64| running_ms.saturating_sub(at) < REPORT_MS;
        if !self.reported_ms.is_some_and(is_recent) {
            self.desk.office().custody.report_replica(self.witness.holder()).await?;
            self.reported_ms = Some(running_ms);
        }
        Ok(())
    }

    fn tell_clock(&mut self, present: Present) {
        let ahead_ms = present.unwitnessed_ms();
        let is_far = ahead_ms > CLOCK_AHEAD_MS;
        if is_far && !self.clock_told {
            tracing::warn!(
                ahead_seconds = ahead_ms.div_euclid(1_000),
                "the clock is ahead of the time that this installation has seen pass; until that \
                 catches up, nothing rotates or is destroyed by itself that is due in between; \
                 check the clock, and if it is right set rotation.clock_checked to the time now and \
                 start the server again; rotate what cannot wait with: bulla key rotate"
            );
        }
        self.clock_told = is_far;
    }
}

fn counted(due: Due) -> metrics::Due {
    match due {
        Due::Rotate(..) => metrics::Due::Rotation,
        Due::Destroy(..) => metrics::Due::Destruction,
        Due::Climb(..) => metrics::Due::LadderStep,
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many rows one look goes through.
const DUE_MAX: usize = 200;
const PUT_OFF_MS: u64 = 60_000;
/// Each try is recorded, and what is wanted is a person.
const QUOTA_PUT_OFF_MS: u64 = 10 * 60_000;
const CLOCK_AHEAD_MS: u64 = 10 * 60 * 1_000;
