//! Changes what describes a key, or whether it works at all.

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey};
use crate::keys::{
    Description, Key, KeyRef, KeyRing, Reason, RotationLimit, RotationPeriod, Tags, Timestamp,
};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::read_keys::KeyView;
use super::refusal::Refusal;

/// What to change; what is absent stays.
pub struct UpdateKey {
    /// Which key.
    pub key: KeyRef,
    /// `Some(None)` takes it out of its ring.
    pub key_ring: Option<Option<KeyRing>>,
    /// What it is for.
    pub description: Option<Description>,
    /// Replaces all tags.
    pub tags: Option<Tags>,
    /// How often it rotates by itself.
    pub rotation_period: Option<RotationPeriod>,
    /// After how many wraps it rotates by itself.
    pub rotation_wraps: Option<RotationLimit>,
    /// After how many bytes that were wrapped.
    pub rotation_bytes: Option<RotationLimit>,
    /// When it rotates by itself, once; `Some(None)` for never.
    pub rotation_time: Option<Option<Timestamp>>,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Disables a key as a whole, or enables it again.
pub struct SetKeyEnabled {
    /// Which key.
    pub key: KeyRef,
    /// Whether it shall work.
    pub enabled: bool,
    /// Why, for the record.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl UpdateKey ===

impl Change for UpdateKey {
    type Reply = KeyView;

    fn action(&self) -> Action {
        Action::UpdateKey
    }

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={}", self.key).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        edit(act, &self.key, |key| self.apply(key)).await
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<KeyView, Refusal> {
        KeyView::of_id(custody, permit, past.key).await
    }
}

impl UpdateKey {
    fn apply(&self, key: &mut Key) {
        if let Some(ring) = &self.key_ring {
            key.key_ring.clone_from(ring);
        }
        if let Some(description) = &self.description {
            key.description.clone_from(description);
        }
        if let Some(tags) = &self.tags {
            key.tags.clone_from(tags);
        }
        if let Some(period) = self.rotation_period {
            key.rotation_period = period;
        }
        if let Some(wraps) = self.rotation_wraps {
            key.rotation_wraps = wraps;
        }
        if let Some(bytes) = self.rotation_bytes {
            key.rotation_bytes = bytes;
        }
        if let Some(time) = self.rotation_time {
            key.rotation_time = time;
        }
    }
}

// === impl SetKeyEnabled ===

impl Change for SetKeyEnabled {
    type Reply = KeyView;

    fn action(&self) -> Action {
        if self.enabled { Action::EnableKey } else { Action::DisableKey }
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
        edit(act, &self.key, |key| key.disabled = !self.enabled).await
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<KeyView, Refusal> {
        KeyView::of_id(custody, permit, past.key).await
    }
}

/// The key that `named` names, as `apply` leaves it.
async fn edit<'c>(
    act: &mut Act<'c>,
    named: &KeyRef,
    apply: impl FnOnce(&mut Key),
) -> Result<Changed<'c>, Refusal> {
    let was = act.custody.key(act.permit, named).await?;
    act.record.key = Some(was.id());
    let mut key = was.key().clone();
    apply(&mut key);
    let mut changes = act.custody.change(act.permit)?;
    changes.put_key(&key, &was);
    Ok(Changed::of_key(changes, key.id))
}
