//! Takes one legal step with one version: suspend, resume, restrict, unrestrict, cancel a destruction.

use std::sync::Arc;

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey, TrustedVersion};
use crate::keys::Step;
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::refusal::Refusal;
use super::version_change::{VersionChange, changed_version};

/// A step to take.
pub struct StepVersion {
    /// With which version.
    pub of: VersionChange,
    /// What happens to it.
    pub step: VersionStep,
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

    fn about(&self) -> About<'_> {
        About::Key(self.of.key.clone())
    }

    fn request(&self) -> Option<&RequestKey> {
        self.of.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        self.of.describe(record);
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let (key, was) = self.of.find(act).await?;
        let after =
            was.version().step(self.step.step(), self.of.reason.clone(), act.custody.now())?;
        let mut changes = act.custody.change(act.permit)?;
        // What a version goes back to depends on which one is primary.
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
