//! Marks a version as compromised. An Active one is replaced in the same commit, so that nothing more
//! is wrapped under it and nobody has to wait.

use std::sync::Arc;

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey, TrustedVersion};
use crate::keys::Trigger;
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::read_keys::made;
use super::refusal::Refusal;
use super::version_change::VersionChange;

/// A version that leaked, or may have.
pub struct CompromiseVersion(pub VersionChange);

/// The version, and the one that took its place if it was Active.
pub struct Compromised {
    /// The compromised version.
    pub version: Arc<TrustedVersion>,
    /// The new Active one.
    pub replacement: Option<Arc<TrustedVersion>>,
}

// === impl CompromiseVersion ===

impl Change for CompromiseVersion {
    type Reply = Compromised;

    fn action(&self) -> Action {
        Action::CompromiseVersion
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
        let (key, was) = self.0.find(act).await?;
        let present = act.custody.present().await?;
        let (version, succession) =
            key.key().compromise(was.version(), self.0.reason.clone(), present)?;
        let mut changes = act.custody.change(act.permit)?;
        changes.put_version(version, &was);
        let mut replacement_version = 0;
        match succession {
            Some(after) => {
                replacement_version = after.active.number();
                act.happened.rotation = Some(Trigger::Compromise);
                act.happened.activated = true;
                // No quota stands in the way of this: what leaked must stop wrapping now.
                changes.put_key(&after.key, &key);
                changes.put_new_version(key.id(), after.active)?;
            }
            None => changes.expect_key(&key),
        }
        let past = Past {
            key: Some(key.id()),
            version: self.0.version,
            replacement_version,
            ..Past::default()
        };
        Ok(Changed { changes, past })
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<Compromised, Refusal> {
        let id = made(past.key)?;
        let replacement = match past.replacement_version {
            0 => None,
            number => Some(custody.version(permit, id, number).await?),
        };
        Ok(Compromised { version: custody.version(permit, id, past.version).await?, replacement })
    }
}
