//! Destroys the material of a version whose time has come. The scheduler's alone; the record stays.

use crate::audit::Record;
use crate::custody::{Custody, Mandate, Past, RequestKey, Spend};
use crate::keys::{KeyId, KeyRef, Step};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::refusal::Refusal;

/// A version to destroy now.
pub struct DestroyVersion {
    /// Of which key.
    pub key: KeyId,
    /// Which version.
    pub version: u32,
    /// In whose name.
    pub mandate: Mandate,
}

// === impl DestroyVersion ===

impl Change for DestroyVersion {
    type Reply = ();

    fn action(&self) -> Action {
        Action::DestroyVersion
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
        let key = act.custody.key_by_id(act.permit, self.key).await?;
        let was = act.custody.version(act.permit, self.key, self.version).await?;
        let turn = act.custody.turn(self.mandate).await?;
        if !was.version().destroy_is_due(turn.present().reached()) {
            return Err(Refusal::Conflict);
        }
        let reason = was.version().parts().reason.clone();
        let after = was.version().step(Step::Destroy, reason, turn.present().wait_start())?;
        act.happened.destroyed = true;
        let mut changes = act.custody.change(act.permit)?;
        changes.expect_key(&key);
        changes.put_version(after, &was);
        changes.under(&turn, Spend::Destruction, &act.office.budget)?;
        Ok(Changed::of_version(changes, self.key, self.version))
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<(), Refusal> {
        Ok(())
    }
}
