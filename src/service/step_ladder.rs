//! Takes the next step of a version on its key's ladder. The scheduler's alone.

use crate::audit::Record;
use crate::census::VersionCensus;
use crate::custody::{Custody, Mandate, Past, Read, RequestKey, Spend, TrustedVersion, Turn};
use crate::keys::{Climb, Hit, KeyId, KeyRef, Ladder, Place, Standing, Step, Version};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act, Caller, Desk};
use super::refusal::Refusal;
use super::retire_check::{Judged, judge};

/// A version to take further, or to give back.
struct StepLadder {
    key: KeyId,
    version: u32,
    mandate: Mandate,
}

/// A step that is due, and everything that it was decided by.
struct Decided {
    turn: Turn,
    ladder: Ladder,
    judged: Judged,
    was: Read<Option<Place>>,
    climb: Climb,
}

// === impl Desk ===

impl Desk {
    /// Takes the version's next step, if it is time for one and nothing speaks against it. Whether it
    /// did. That there was nothing to do is not worth a record.
    pub async fn step_ladder(
        &self,
        caller: &Caller,
        key: KeyId,
        version: u32,
        mandate: Mandate,
    ) -> Result<bool, Refusal> {
        let step = StepLadder { key, version, mandate };
        self.can_record(Action::StepLadder)?;
        let mut unwritten = self.draft(caller, Action::StepLadder.name());
        let asker = self.asker(caller).await?;
        let about = Some(step.about());
        let decided = self.decide(&asker, Action::StepLadder, about, None, &mut unwritten).await?;
        if step.decide(&self.act(&asker, &decided, &mut unwritten)?).await?.is_none() {
            return Ok(false);
        }
        self.perform_change(caller, Action::StepLadder, Ok(step)).await?;
        Ok(true)
    }
}

// === impl StepLadder ===

impl StepLadder {
    async fn decide(&self, act: &Act<'_>) -> Result<Option<Decided>, Refusal> {
        let turn = act.custody.turn(self.mandate).await?;
        let key = act.custody.key_by_id(act.permit, self.key).await?;
        let was = act.custody.place(act.permit, self.key, self.version).await?;
        let (Some(ladder), Some(place)) = (key.key().ladder, &was.record) else { return Ok(None) };
        let judged = judge(act, self.key, self.version).await?;
        let standing = Standing {
            state: judged.version.version().state(),
            is_safe: judged.verdict.is_safe(),
            hit: hit_since(judged.census(), place.step_sequence),
            sequence: act.durable_sequence(),
        };
        let climb = ladder.next(place, &standing, turn.present());
        Ok(climb.map(|climb| Decided { turn, ladder, judged, was, climb }))
    }
}

impl Change for StepLadder {
    type Reply = ();

    fn action(&self) -> Action {
        Action::StepLadder
    }

    fn about(&self) -> About<'_> {
        About::Key(KeyRef::Id(self.key))
    }

    fn request(&self) -> Option<&RequestKey> {
        None
    }

    fn describe(&self, record: &mut Record) {
        record.key = Some(self.key);
        record.version = self.version;
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let decided = self.decide(act).await?.ok_or(Refusal::Conflict)?;
        let key = act.custody.key_by_id(act.permit, self.key).await?;
        let mut changes = act.custody.change(act.permit)?;
        changes.expect_key(&key);
        if let Some(version) = decided.stepped()? {
            changes.put_version(version, &decided.judged.version);
        }
        if decided.rests_on_safety() {
            decided.judged.bind(&mut changes);
        }
        act.record.detail = decided.in_words().into();
        let place = decided.climb.place;
        changes.put_place(self.key, self.version, Some(place), &decided.was);
        changes.under(&decided.turn, Spend::Nothing, &act.office.budget)?;
        Ok(Changed::of_version(changes, self.key, self.version))
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<(), Refusal> {
        Ok(())
    }
}

// === impl Decided ===

impl Decided {
    /// The version after its step, if it takes one.
    fn stepped(&self) -> Result<Option<Version>, Refusal> {
        let Some((step, reason)) = self.climb.step.clone() else { return Ok(None) };
        let (version, present) = (self.version().version(), self.turn.present());
        let stepped = match step {
            Step::ScheduleDestroy => {
                let wait = self.ladder.parts().destroy_wait;
                version.schedule_destroy(wait, reason, present.wait_start())?
            }
            step => version.step(step, reason, present.wall())?,
        };
        Ok(Some(stepped))
    }

    /// Whether the step may be taken only because nothing depends on the version.
    fn rests_on_safety(&self) -> bool {
        let step = self.climb.step.as_ref().map(|(step, _)| *step);
        matches!(step, Some(Step::Restrict | Step::Suspend | Step::ScheduleDestroy))
    }

    fn in_words(&self) -> String {
        let place = &self.climb.place;
        let step = self.climb.step.as_ref().map_or("wait", |(step, _)| step.name());
        format!("step={step} rung={} reason={}", place.rung.name(), place.pause_reason.as_str())
    }

    fn version(&self) -> &TrustedVersion {
        &self.judged.version
    }
}

/// The last refusal after the record `sequence`, and who of those that were refused came last.
fn hit_since(census: &VersionCensus, sequence: u64) -> Option<Hit> {
    let refused = census.stores.values().filter(|store| store.refused.sequence > sequence);
    let last = refused.max_by_key(|store| store.refused.sequence)?;
    let principals = last.principals.iter().filter(|principal| principal.refused > 0);
    let who = principals.max_by_key(|principal| principal.last_time);
    let principal = who.map(|who| who.principal.clone()).unwrap_or_default();
    Some(Hit { principal, time: last.refused.time })
}
