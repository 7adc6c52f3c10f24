//! Which actions need whose approval. A rule on `approvals.put_approval_rule` covers every change of any
//! rule, its own and deleting included.

use crate::approval::Rule;
use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey};
use crate::policy::{Action, Permit};

use super::access::unconfined;
use super::change::{Change, Changed};
use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// Makes or replaces the rule on an action.
pub struct PutApprovalRule {
    /// The rule.
    pub rule: Rule,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Lets an action go without approval again.
pub struct DeleteApprovalRule {
    /// Which.
    pub action: Action,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Every rule.
pub struct ListApprovalRules;

// === impl PutApprovalRule ===

impl Change for PutApprovalRule {
    type Reply = Rule;

    fn action(&self) -> Action {
        Action::PutApprovalRule
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        let (action, group) = (self.rule.action().name(), self.rule.group());
        let needed = self.rule.needed();
        record.detail = format!("action={action} group={group} needed={needed}").into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        unconfined(act)?;
        let was = act.custody.rule_on(act.permit, self.rule.action()).await?;
        let mut changes = act.custody.change(act.permit)?;
        changes.put_rule(self.rule.clone(), &was);
        Ok(Changed { changes, past: Past::default() })
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<Rule, Refusal> {
        Ok(self.rule.clone())
    }
}

// === impl DeleteApprovalRule ===

impl Change for DeleteApprovalRule {
    type Reply = ();

    fn action(&self) -> Action {
        Action::DeleteApprovalRule
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn covered_by(&self) -> Vec<Action> {
        vec![Action::DeleteApprovalRule, Action::PutApprovalRule]
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("action={}", self.action.name()).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        unconfined(act)?;
        let was = act.custody.rule_on(act.permit, self.action).await?;
        if was.rule().is_none() {
            return Err(Refusal::invalid("action", "has no rule; see: bulla approval-rule list"));
        }
        let mut changes = act.custody.change(act.permit)?;
        changes.remove_rule(&was);
        Ok(Changed { changes, past: Past::default() })
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<(), Refusal> {
        Ok(())
    }
}

// === impl ListApprovalRules ===

impl UseCase for ListApprovalRules {
    type Reply = Vec<Rule>;

    const ACTION: Action = Action::ListApprovalRules;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<Vec<Rule>, Refusal> {
        Ok(act.custody.rules(act.permit).await?)
    }
}
