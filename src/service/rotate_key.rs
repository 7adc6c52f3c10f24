//! Makes a new Active version; the former one is Deactivated in the same commit.

use std::sync::Arc;

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey, TrustedVersion};
use crate::keys::{KeyRef, Reason};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::Act;
use super::read_keys::{KeyView, made};
use super::refusal::Refusal;

/// A key to rotate.
pub struct RotateKey {
    /// Which.
    pub key: KeyRef,
    /// Why, for the record.
    pub reason: Reason,
    /// Only if its time has come: the scheduler's way of asking.
    pub only_if_due: bool,
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

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={} reason={}", self.key, self.reason.as_str()).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let was = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(was.id());
        let now = act.custody.now();
        if self.only_if_due && was.key().next_rotation_time().is_none_or(|due| due > now) {
            return Err(Refusal::Conflict);
        }
        let primary = act.custody.primary_version(act.permit, &was).await?;
        let after = was.key().rotate(primary.version(), self.reason.clone(), now)?;
        let number = after.active.number();
        let mut changes = act.custody.change(act.permit)?;
        changes.put_key(&after.key, &was);
        changes.put_version(after.former, &primary);
        changes.put_new_version(was.id(), after.active)?;
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
