//! Shows policies, those that come with the program included, and what they may speak of.

use crate::audit::Record;
use crate::custody::{Custody, CustodyError, PolicyEntry};
use crate::keys::{Description, Timestamp};
use crate::policy::{
    Action, ParsedPolicy, Permit, PolicyId, PolicySource, PrincipalId, SCHEMA, built_in_policies,
};
use crate::service::perform::{About, Act, UseCase};
use crate::service::refusal::Refusal;

/// One policy.
pub struct GetPolicy {
    /// Which.
    pub id: PolicyId,
}

/// Policies, by id.
pub struct ListPolicies {
    /// After this one.
    pub after: Option<PolicyId>,
    /// 1 to 1000.
    pub page_size: usize,
}

/// What policies may speak of.
pub struct GetPolicySchema;

/// A policy as a caller sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyView {
    /// Its id and its text.
    pub source: PolicySource,
    /// What it is for.
    pub description: Description,
    /// Who wrote it when; `None` for one that comes with the program.
    pub written: Option<(PrincipalId, Timestamp)>,
}

// === impl PolicyView ===

impl PolicyView {
    pub(super) async fn find(
        custody: &Custody,
        permit: &Permit,
        id: &PolicyId,
    ) -> Result<Self, Refusal> {
        if let Some(entry) = custody.policy(permit, id).await?.record {
            return Ok(Self::of(entry));
        }
        let built_in = built_in_policies().iter().find(|policy| policy.id() == id);
        built_in.map(|policy| Self::built_in(policy)).ok_or_else(|| CustodyError::NotFound.into())
    }

    fn of(entry: PolicyEntry) -> Self {
        Self {
            source: entry.source,
            description: entry.description,
            written: Some((entry.principal, entry.update_time)),
        }
    }

    fn built_in(policy: &ParsedPolicy) -> Self {
        Self {
            source: PolicySource { id: policy.id().clone(), text: policy.text().clone() },
            description: Description::default(),
            written: None,
        }
    }
}

// === impl GetPolicy ===

impl UseCase for GetPolicy {
    type Reply = PolicyView;

    const ACTION: Action = Action::GetPolicy;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("policy={}", self.id).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<PolicyView, Refusal> {
        PolicyView::find(act.custody, act.permit, &self.id).await
    }
}

// === impl ListPolicies ===

impl UseCase for ListPolicies {
    type Reply = (Vec<PolicyView>, Option<PolicyId>);

    const ACTION: Action = Action::ListPolicies;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let after = self.after.as_ref();
        let own = act.custody.policies(act.permit, after, self.page_size).await?;
        let replaced = |id: &PolicyId| own.iter().any(|entry| entry.source.id == *id);
        let built_in = built_in_policies().iter().filter(|policy| {
            after.is_none_or(|after| policy.id() > after) && !replaced(policy.id())
        });
        let mut views: Vec<_> = built_in.map(|policy| PolicyView::built_in(policy)).collect();
        let more = own.len() == self.page_size;
        views.extend(own.into_iter().map(PolicyView::of));
        views.sort_by(|one, other| one.source.id.cmp(&other.source.id));
        let more = more || views.len() > self.page_size;
        views.truncate(self.page_size);
        let next = views.last().filter(|_| more).map(|last| last.source.id.clone());
        Ok((views, next))
    }
}

// === impl GetPolicySchema ===

impl UseCase for GetPolicySchema {
    type Reply = &'static str;

    const ACTION: Action = Action::GetPolicySchema;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, _: &mut Act<'_>) -> Result<&'static str, Refusal> {
        Ok(SCHEMA)
    }
}
