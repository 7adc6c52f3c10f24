//! Ladders: how a key's old versions are retired by themselves, where they stand, and letting one go on
//! that was paused.

use std::sync::Arc;

use crate::audit::Record;
use crate::custody::{Changes, Custody, Past, RequestKey, TrustedKey, TrustedVersion};
use crate::keys::{KeyRef, Ladder, Place, Reason, Rung, State, Step};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act, UseCase};
use super::read_keys::made;
use super::refusal::Refusal;
use super::version_change::VersionChange;

/// Sets a key's ladder, or takes it away.
pub struct SetLadder {
    /// Which key.
    pub key: KeyRef,
    /// `None`: no version is retired by itself any more.
    pub ladder: Option<Ladder>,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Where the versions of a key stand.
pub struct GetLadder {
    /// Of which key.
    pub key: KeyRef,
}

/// Lets a version go on.
pub struct ResumeLadder(pub VersionChange);

/// A key's ladder and the versions on it.
pub struct LadderView {
    /// `None` where there is none.
    pub ladder: Option<Ladder>,
    /// In ascending order.
    pub versions: Vec<VersionOnLadder>,
}

/// A version and where it stands.
pub struct VersionOnLadder {
    /// The version.
    pub version: Arc<TrustedVersion>,
    /// Its place.
    pub place: Place,
}

// === impl SetLadder ===

impl Change for SetLadder {
    type Reply = Option<Ladder>;

    fn action(&self) -> Action {
        Action::SetLadder
    }

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={} ladder={}", self.key, self.ladder.is_some()).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let was = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(was.id());
        let mut key = was.key().clone();
        key.ladder = self.ladder;
        let mut changes = act.custody.change(act.permit)?;
        changes.put_key(&key, &was);
        if self.ladder.is_some() {
            put_on(act, &was, &mut changes).await?;
        } else {
            take_off(act, &was, &mut changes).await?;
        }
        Ok(Changed::of_key(changes, was.id()))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<Option<Ladder>, Refusal> {
        Ok(custody.key_by_id(permit, made(past.key)?).await?.key().ladder)
    }
}

// === impl GetLadder ===

impl UseCase for GetLadder {
    type Reply = LadderView;

    const ACTION: Action = Action::GetLadder;

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={}", self.key).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<LadderView, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        let mut versions = Vec::new();
        for (number, place) in act.custody.places(act.permit, &key, 0, VERSIONS_MAX).await? {
            let version = act.custody.version(act.permit, key.id(), number).await?;
            versions.push(VersionOnLadder { version, place });
        }
        Ok(LadderView { ladder: key.key().ladder, versions })
    }
}

// === impl ResumeLadder ===

impl Change for ResumeLadder {
    type Reply = (Option<Ladder>, VersionOnLadder);

    fn action(&self) -> Action {
        Action::ResumeLadder
    }

    fn about(&self) -> About<'_> {
        About::Key(self.0.key.clone())
    }

    fn request(&self) -> Option<&RequestKey> {
        self.0.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        self.0.describe(record);
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let (key, version) = self.0.find(act).await?;
        let was = act.custody.place(act.permit, key.id(), self.0.version).await?;
        let paused = was.record.as_ref().filter(|place| place.is_paused());
        let (Some(ladder), Some(place)) = (key.key().ladder, paused) else {
            return Err(Refusal::invalid("version", "is not paused on the ladder of its key"));
        };
        let state = version.version().state();
        let rung = Rung::of_state(state, place.rung).ok_or_else(|| {
            let problem = format!("is {state}, from where the ladder does not go on");
            Refusal::invalid("version", problem)
        })?;
        let place = Place { rung, ..place.clone() };
        let present = act.custody.present().await?;
        let place = ladder.resume(&place, act.durable_sequence(), present);
        let mut changes = act.custody.change(act.permit)?;
        changes.expect_key(&key);
        changes.put_place(key.id(), self.0.version, Some(place), &was);
        Ok(Changed::of_version(changes, key.id(), self.0.version))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<(Option<Ladder>, VersionOnLadder), Refusal> {
        let key = custody.key_by_id(permit, made(past.key)?).await?;
        let version = custody.version(permit, key.id(), past.version).await?;
        let place = custody.place(permit, key.id(), past.version).await?.record;
        // It may have been taken off since the same request was made before.
        let place = place.ok_or(Refusal::Conflict)?;
        Ok((key.key().ladder, VersionOnLadder { version, place }))
    }
}

/// Puts every version that is Deactivated at the foot of the ladder; those that are on it stay.
async fn put_on(act: &Act<'_>, key: &TrustedKey, changes: &mut Changes<'_>) -> Result<(), Refusal> {
    let present = act.custody.present().await?;
    let (mut after, mut count) = (0, 0_usize);
    loop {
        let page = act.custody.versions(act.permit, key, after, PAGE).await?;
        for version in page.iter().filter(|one| one.version().state() == State::Deactivated) {
            let number = version.number();
            if act.custody.place(act.permit, key.id(), number).await?.record.is_none() {
                changes.put_new_place(key.id(), number, Place::waiting(present));
                count = count.saturating_add(1);
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = last.number(),
            _ => break,
        }
    }
    if count > VERSIONS_MAX {
        let problem = format!(
            "takes at most {VERSIONS_MAX} versions at once, and {count} are to go on it; destroy some first"
        );
        return Err(Refusal::TooLarge { field: "ladder", problem });
    }
    Ok(())
}

/// Takes every version off, or as many as one commit has room for: then it is to be done again. What is
/// only suspended for a brownout goes back to what it was.
async fn take_off(
    act: &Act<'_>,
    key: &TrustedKey,
    changes: &mut Changes<'_>,
) -> Result<(), Refusal> {
    for (number, _) in act.custody.places(act.permit, key, 0, VERSIONS_MAX).await? {
        let was = act.custody.place(act.permit, key.id(), number).await?;
        let rung = was.record.as_ref().map(|place| place.rung);
        let version = act.custody.version(act.permit, key.id(), number).await?;
        if rung == Some(Rung::Brownout) && version.version().state() == State::Suspended {
            let reason = Reason::parse("its ladder was taken away").unwrap_or_default();
            let resumed = version.version().step(Step::Resume, reason, act.custody.now())?;
            changes.put_version(resumed, &version);
        }
        changes.put_place(key.id(), number, None, &was);
    }
    Ok(())
}

/// As many versions as one commit has room for, with a row each of their own.
const VERSIONS_MAX: usize = 450;
const PAGE: usize = 1000;
