//! Makes, replaces and deletes policies.

use crate::audit::Record;
use crate::custody::{Custody, Past, PolicyEntry, RequestKey};
use crate::keys::Description;
use crate::policy::{Action, Permit, PolicyId, PolicySource, built_in_policies, validate_policy};
use crate::service::change::{Change, Changed};
use crate::service::perform::{About, Act};
use crate::service::refusal::Refusal;

use super::own;
use super::read_policies::PolicyView;

/// A policy to be made, or to take the place of the one with its id.
pub struct PutPolicy {
    /// Its id and its text.
    pub source: PolicySource,
    /// What it is for.
    pub description: Description,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Deletes a policy of the tenant's own. A built-in one that it had replaced stands again.
pub struct DeletePolicy {
    /// Which.
    pub id: PolicyId,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl PutPolicy ===

impl Change for PutPolicy {
    type Reply = PolicyView;

    fn action(&self) -> Action {
        Action::PutPolicy
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("policy={}", self.source.id).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        own::unconfined(act)?;
        let parsed = validate_policy(&self.source.id, &self.source.text)
            .map_err(|problem| Refusal::invalid("text", problem))?;
        own::not_ones_own(act, &parsed).await?;
        refuse_if_in_place(act, &self.source.id).await?;
        let was = act.custody.policy(act.permit, &self.source.id).await?;
        let mut changes = act.custody.change(act.permit)?;
        let entry = PolicyEntry {
            source: self.source.clone(),
            description: self.description.clone(),
            principal: act.permit.principal().id().clone(),
            update_time: act.custody.now(),
        };
        changes.put_policy(&entry, &was);
        Ok(Changed { changes, past: Past::default() })
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        _: Past,
    ) -> Result<PolicyView, Refusal> {
        PolicyView::find(custody, permit, &self.source.id).await
    }
}

// === impl DeletePolicy ===

impl Change for DeletePolicy {
    type Reply = ();

    fn action(&self) -> Action {
        Action::DeletePolicy
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("policy={}", self.id).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        own::unconfined(act)?;
        let was = act.custody.policy(act.permit, &self.id).await?;
        let built_in = built_in_policies().iter().find(|policy| *policy.id() == self.id);
        if was.record.is_none() {
            return Err(match built_in {
                Some(_) => Refusal::invalid("policy_id", "comes with the program; replace it"),
                None => crate::custody::CustodyError::NotFound.into(),
            });
        }
        refuse_if_in_place(act, &self.id).await?;
        if let Some(again) = built_in {
            own::not_ones_own(act, again).await?;
        }
        let mut changes = act.custody.change(act.permit)?;
        changes.remove_policy(&self.id, &was);
        Ok(Changed { changes, past: Past::default() })
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<(), Refusal> {
        Ok(())
    }
}

/// Refuses to put something else in the place of a policy that is about the caller itself.
async fn refuse_if_in_place(act: &Act<'_>, id: &PolicyId) -> Result<(), Refusal> {
    match act.world().await?.policy(id) {
        Some(policy) => own::not_ones_own(act, policy).await,
        None => Ok(()),
    }
}
