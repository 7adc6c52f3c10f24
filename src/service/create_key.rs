//! Makes a key, its first version and its first name, in one commit.

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey};
use crate::keys::{
    Alias, Description, Key, KeyRing, RotationLimit, RotationPeriod, Tags, Timestamp,
};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::read_keys::KeyView;
use super::refusal::Refusal;

/// A key to make.
pub struct CreateKey {
    /// Its first name.
    pub alias: Option<Alias>,
    /// The ring it lives in.
    pub key_ring: Option<KeyRing>,
    /// What it is for.
    pub description: Description,
    /// Tags.
    pub tags: Tags,
    /// How often it rotates by itself.
    pub rotation_period: RotationPeriod,
    /// After how many wraps it rotates by itself.
    pub rotation_wraps: RotationLimit,
    /// After how many bytes that were wrapped.
    pub rotation_bytes: RotationLimit,
    /// A time at which it rotates by itself, once.
    pub rotation_time: Option<Timestamp>,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl CreateKey ===

impl Change for CreateKey {
    type Reply = KeyView;

    fn action(&self) -> Action {
        Action::CreateKey
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        if let Some(alias) = &self.alias {
            record.detail = format!("alias={alias}").into();
        }
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let id = act.custody.new_key_id()?;
        let present = act.custody.present().await?;
        let (mut key, version) = Key::create(id, self.rotation_period, present)?;
        key.rotation_wraps = self.rotation_wraps;
        key.rotation_bytes = self.rotation_bytes;
        key.rotation_time = self.rotation_time;
        key.key_ring.clone_from(&self.key_ring);
        key.description.clone_from(&self.description);
        key.tags.clone_from(&self.tags);
        key.aliases.extend(self.alias.clone());
        let number = version.number();
        act.happened.activated = true;
        let mut changes = act.custody.change(act.permit)?;
        if let Some(alias) = &self.alias {
            changes.put_alias(alias, id, true).await?;
        }
        changes.put_new_key(&key);
        changes.put_new_version(id, version)?;
        Ok(Changed::of_version(changes, id, number))
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
