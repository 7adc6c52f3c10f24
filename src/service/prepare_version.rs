//! Makes the version that a key's next rotation makes Active, so that every server can load it before
//! anything is wrapped under it. Part of what is done when a key is due, and never asked for alone.

use crate::audit::Record;
use crate::custody::{Custody, Mandate, Past, RequestKey, Spend};
use crate::keys::{KeyId, KeyRef, Reason};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::refusal::Refusal;

/// A key to prepare.
pub(super) struct PrepareVersion {
    /// Which.
    pub(super) key: KeyId,
    /// Why, for the record.
    pub(super) reason: Reason,
    /// In whose name.
    pub(super) mandate: Mandate,
}

// === impl PrepareVersion ===

impl Change for PrepareVersion {
    type Reply = ();

    fn action(&self) -> Action {
        Action::PrepareVersion
    }

    fn about(&self) -> About<'_> {
        About::Key(KeyRef::Id(self.key))
    }

    fn request(&self) -> Option<&RequestKey> {
        None
    }

    fn describe(&self, record: &mut Record) {
        record.key = Some(self.key);
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let turn = act.custody.turn(self.mandate).await?;
        let was = act.custody.key_by_id(act.permit, self.key).await?;
        let prepared = act.custody.prepared_version(act.permit, &was).await?;
        let prepared = prepared.as_deref().map(|prepared| prepared.version());
        let made = was.key().prepare(prepared, self.reason.clone(), turn.present())?;
        let (key, version) = made.ok_or(Refusal::Conflict)?;
        let live = act.custody.prove_versions(act.permit, &was).await?;
        act.custody.hold_to_version_quota(act.permit, live)?;
        let number = version.number();
        act.happened.prepared = true;
        let mut changes = act.custody.change(act.permit)?;
        changes.put_key(&key, &was);
        changes.put_new_version(self.key, version)?;
        changes.under(&turn, Spend::Nothing, &act.office.budget)?;
        Ok(Changed::of_version(changes, self.key, number))
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<(), Refusal> {
        Ok(())
    }
}
