//! Schedules the destruction of a version's material, after a wait in which it can be cancelled.
//!
//! Only of a version that RetireCheck calls SAFE, or for a stated reason and with a right of its
//! own.

use std::sync::Arc;

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey, TrustedVersion};
use crate::keys::DestroyWait;
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::refusal::Refusal;
use super::retire_check::judge;
use super::version_change::{VersionChange, changed_version};

/// A version to destroy, later.
pub struct ScheduleDestroy {
    /// Which.
    pub of: VersionChange,
    /// How long to wait.
    pub wait: DestroyWait,
    /// Even though RetireCheck does not say SAFE.
    pub not_safe: bool,
}

// === impl ScheduleDestroy ===

impl Change for ScheduleDestroy {
    type Reply = Arc<TrustedVersion>;

    fn action(&self) -> Action {
        Action::ScheduleDestroy
    }

    fn about(&self) -> About<'_> {
        About::Key(self.of.key.clone())
    }

    fn covered_by(&self) -> Vec<Action> {
        let not_safe = self.not_safe.then_some(Action::ScheduleDestroyNotSafe);
        not_safe.into_iter().chain([Action::ScheduleDestroy]).collect()
    }

    fn request(&self) -> Option<&RequestKey> {
        self.of.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        self.of.describe(record);
        if self.not_safe {
            let (key, reason) = (&self.of.key, self.of.reason.as_str());
            record.detail = format!("key={key} not_safe=true reason={reason}").into();
        }
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let (key, was) = self.of.find(act).await?;
        // A clock that is behind must not cut the wait short (attack G09).
        let now = act.custody.present().await?.wait_start();
        let after = was.version().schedule_destroy(self.wait, self.of.reason.clone(), now)?;
        let mut changes = act.custody.change(act.permit)?;
        if self.not_safe {
            act.also(Action::ScheduleDestroyNotSafe)?;
            if self.of.reason.as_str().is_empty() {
                return Err(Refusal::invalid("reason", "must be given with not_safe"));
            }
        } else {
            let judged = judge(act, key.id(), self.of.version).await?;
            if !judged.verdict.is_safe() {
                return Err(Refusal::retire_not_safe(&judged));
            }
            judged.bind(&mut changes);
        }
        changes.expect_key(&key);
        changes.put_version(after, &was);
        Ok(Changed::of_version(changes, key.id(), self.of.version))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<Arc<TrustedVersion>, Refusal> {
        changed_version(custody, permit, past).await
    }
}
