//! Takes one legal step with one version: suspend, resume, restrict, unrestrict, cancel a destruction.

use std::sync::Arc;

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey, TrustedVersion};
use crate::keys::{KeyRef, Reason, Step};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::Act;
use super::read_keys::made;
use super::refusal::Refusal;

/// A step to take.
pub struct StepVersion {
    /// Of which key.
    pub key: KeyRef,
    /// Which version.
    pub version: u32,
    /// What happens to it.
    pub step: VersionStep,
    /// Why, for the record.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// The steps that touch one version and nothing else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VersionStep {
    /// Refuses everything until it is resumed.
    Suspend,
    /// Back to what it was.
    Resume,
    /// Deactivated to RewrapOnly.
    Restrict,
    /// RewrapOnly to Deactivated.
    Unrestrict,
    /// It will not be destroyed after all.
    CancelDestroy,
}

// === impl VersionStep ===

impl VersionStep {
    /// The right that it needs.
    pub const fn action(self) -> Action {
        match self {
            Self::Suspend => Action::SuspendVersion,
            Self::Resume => Action::ResumeVersion,
            Self::Restrict => Action::RestrictVersion,
            Self::Unrestrict => Action::UnrestrictVersion,
            Self::CancelDestroy => Action::CancelDestroy,
        }
    }

    const fn step(self) -> Step {
        match self {
            Self::Suspend => Step::Suspend,
            Self::Resume => Step::Resume,
            Self::Restrict => Step::Restrict,
            Self::Unrestrict => Step::Unrestrict,
            Self::CancelDestroy => Step::CancelDestroy,
        }
    }
}

// === impl StepVersion ===

impl Change for StepVersion {
    type Reply = Arc<TrustedVersion>;

    fn action(&self) -> Action {
        self.step.action()
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.version = self.version;
        record.detail = format!("key={} reason={}", self.key, self.reason.as_str()).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        let was = act.custody.version(act.permit, key.id(), self.version).await?;
        let after = was.version().step(self.step.step(), self.reason.clone(), act.custody.now())?;
        let mut changes = act.custody.change(act.permit)?;
        // What a version goes back to depends on which one is primary.
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
