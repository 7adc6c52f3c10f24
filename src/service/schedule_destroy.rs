//! Schedules the destruction of a version's material, after a wait in which it can be cancelled.
//!
//! Only of a version that RetireCheck calls SAFE, or for a stated reason and with a right of its
//! own.

use std::sync::Arc;

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey, TrustedVersion};
use crate::keys::{DestroyWait, KeyRef, Reason};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::Act;
use super::read_keys::made;
use super::refusal::Refusal;
use super::retire_check::judge;

/// A version to destroy, later.
pub struct ScheduleDestroy {
    /// Of which key.
    pub key: KeyRef,
    /// Which version.
    pub version: u32,
    /// How long to wait.
    pub wait: DestroyWait,
    /// Why, for the record.
    pub reason: Reason,
    /// Even though RetireCheck does not say SAFE.
    pub not_safe: bool,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl ScheduleDestroy ===

impl Change for ScheduleDestroy {
    type Reply = Arc<TrustedVersion>;

    fn action(&self) -> Action {
        Action::ScheduleDestroy
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.version = self.version;
        let not_safe = if self.not_safe { " not_safe=true" } else { "" };
        let reason = self.reason.as_str();
        record.detail = format!("key={}{not_safe} reason={reason}", self.key).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        let was = act.custody.version(act.permit, key.id(), self.version).await?;
        // A clock that is behind must not cut the wait short (attack G09).
        let now = act.custody.present().await?.wait_start();
        let after = was.version().schedule_destroy(self.wait, self.reason.clone(), now)?;
        let mut changes = act.custody.change(act.permit)?;
        if self.not_safe {
            act.also(Action::ScheduleDestroyNotSafe)?;
            if self.reason.as_str().is_empty() {
                return Err(Refusal::invalid("reason", "must be given with not_safe"));
            }
        } else {
            let judged = judge(act, key.id(), self.version).await?;
            if !judged.verdict.is_safe() {
                return Err(Refusal::retire_not_safe(&judged));
            }
            judged.bind(&mut changes);
        }
        changes.expect_key(&key);
        changes.put_version(after, &was);
        Ok(Changed::of_version(changes, key.id(), self.version))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<Arc<TrustedVersion>, Refusal> {
        Ok(custody.version(permit, made(past.key)?, past.version).await?)
    }
}
