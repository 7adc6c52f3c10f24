//! Makes a new Active version; the former one is Deactivated in the same commit.

use std::sync::Arc;

use crate::audit::Record;
use crate::custody::{Custody, Mandate, Past, RequestKey, Spend, TrustedKey, TrustedVersion, Turn};
use crate::keys::{KeyRef, KeyRefusal, Place, Reason, State, Trigger};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::read_keys::{KeyView, made};
use super::refusal::Refusal;

/// A key to rotate.
pub struct RotateKey {
    /// Which.
    pub key: KeyRef,
    /// Why, for the record.
    pub reason: Reason,
    /// In whose name it is rotated because it is due, and only if it is. `None`: a caller asks.
    pub mandate: Option<Mandate>,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// A key and the version that the rotation made.
pub struct Rotated {
    /// The key.
    pub key: KeyView,
    /// The version.
    pub version: Arc<TrustedVersion>,
}

// === impl RotateKey ===

impl Change for RotateKey {
    type Reply = Rotated;

    fn action(&self) -> Action {
        Action::RotateKey
    }

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={} reason={}", self.key, self.reason.as_str()).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let was = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(was.id());
        let turn = match self.mandate {
            Some(mandate) => Some(due_turn(act, &was, mandate).await?),
            None => {
                act.happened.rotation = Some(Trigger::Manual);
                None
            }
        };
        let present = match &turn {
            Some(turn) => turn.present(),
            None => act.custody.present().await?,
        };
        let live = act.custody.prove_versions(act.permit, &was).await?;
        let primary = act.custody.primary_version(act.permit, &was).await?;
        let prepared = act.custody.prepared_version(act.permit, &was).await?;
        let ready = prepared.as_deref().map(|prepared| prepared.version());
        let rotated = was.key().rotate(primary.version(), ready, self.reason.clone(), present);
        let after = match rotated {
            Ok(after) => after,
            Err(refusal) => return Err(unless_changed(act, &was, refusal).await?),
        };
        let number = after.active.number();
        act.happened.activated = true;
        let mut changes = act.custody.change(act.permit)?;
        changes.put_key(&after.key, &was);
        if was.key().ladder.is_some() && after.former.state() == State::Deactivated {
            changes.put_new_place(was.id(), primary.number(), Place::waiting(present));
        }
        changes.put_version(after.former, &primary);
        match prepared.filter(|_| after.was_prepared) {
            Some(prepared) => changes.put_version(after.active, &prepared),
            None => {
                act.custody.hold_to_version_quota(act.permit, live)?;
                changes.put_new_version(was.id(), after.active)?;
            }
        }
        if let Some(turn) = &turn {
            changes.under(turn, Spend::Rotation, &act.office.budget)?;
        }
        Ok(Changed::of_version(changes, was.id(), number))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<Rotated, Refusal> {
        let id = made(past.key)?;
        Ok(Rotated {
            key: KeyView::of_id(custody, permit, past.key).await?,
            version: custody.version(permit, id, past.version).await?,
        })
    }
}

/// The turn to rotate `key` because it is due; a conflict if it is not, or not any more.
async fn due_turn(act: &mut Act<'_>, key: &TrustedKey, mandate: Mandate) -> Result<Turn, Refusal> {
    let turn = act.custody.turn(mandate).await?;
    let present = turn.present();
    let trigger = match key.key().due_by_time(present) {
        Some(trigger) => Some(trigger),
        None => act.custody.spent(act.permit, key, present).await?,
    };
    act.happened.rotation = trigger;
    if trigger.is_some() { Ok(turn) } else { Err(Refusal::Conflict) }
}

/// A rotation between the reading of the key and of its version is a lost race and no illegal step.
async fn unless_changed(
    act: &Act<'_>,
    key: &TrustedKey,
    refusal: KeyRefusal,
) -> Result<Refusal, Refusal> {
    let now = act.custody.key_by_id(act.permit, key.id()).await?;
    let is_same = now.revision() == key.revision();
    Ok(if is_same { refusal.into() } else { Refusal::Conflict })
}
