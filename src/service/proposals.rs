//! Proposing a change that needs the approval of others, and their votes. The change itself is made by its
//! proposer, through the one way of every change.

use crate::approval::{
    BREAK_GLASS_MS_MAX, BREAK_GLASS_NEEDED, Draft, Electorate, Ground, Proposal, ProposalState,
    Rule,
};
use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey, TrustedRule};
use crate::keys::{ProposalId, Reason, Timestamp};
use crate::policy::{Action, Permit, SubjectRef};

use super::change::{Change, Changed, Considered};
use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// Asks others to approve a change that was considered a moment ago.
pub struct Propose {
    /// What it would be.
    pub considered: Considered,
    /// The method's path.
    pub method: String,
    /// The request, a field a line.
    pub summary: String,
    /// Why.
    pub reason: Reason,
    /// In an emergency.
    pub break_glass: bool,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Says yes or no to a proposal.
pub struct CastVote {
    /// To which.
    pub proposal: ProposalId,
    /// Yes, to what has this digest; `None` for no.
    pub approves: Option<Vec<u8>>,
    /// Why.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// One proposal.
pub struct GetProposal {
    /// Which.
    pub proposal: ProposalId,
}

/// Proposals, by id.
pub struct ListProposals {
    /// Only those that can still be voted on or made.
    pub open: bool,
    /// After this one.
    pub after: Option<ProposalId>,
    /// 1 to 1000.
    pub page_size: usize,
}

/// A proposal, at the time of the call.
pub struct ProposalView {
    /// The proposal.
    pub proposal: Proposal,
    /// Where it stands.
    pub state: ProposalState,
}

// === impl Propose ===

impl Propose {
    /// Who votes, and until when.
    fn terms(&self, rule: &Rule, now: Timestamp) -> Result<(Electorate, u32, Timestamp), Refusal> {
        let end = now.plus_ms(rule.lifetime_ms());
        if !self.break_glass {
            return Ok((Electorate::Group(rule.group().clone()), rule.needed(), end));
        }
        let problem = "is for a role that is given with an expire_time at most 4 hours ahead";
        let until =
            self.considered.gives_until.filter(|_| self.considered.action == Action::BindRole);
        let until = until.ok_or_else(|| Refusal::invalid("break_glass", problem))?;
        if until > now.plus_ms(BREAK_GLASS_MS_MAX) || until <= now {
            return Err(Refusal::invalid("break_glass", problem));
        }
        Ok((Electorate::BreakGlass, BREAK_GLASS_NEEDED, until.min(end)))
    }

    async fn rule(&self, act: &Act<'_>) -> Result<TrustedRule, Refusal> {
        for action in &self.considered.covered_by {
            let rule = act.custody.rule_on(act.permit, *action).await?;
            if rule.rule().is_some() {
                return Ok(rule);
            }
        }
        Err(Refusal::invalid("method", "no rule asks for approval of this; call it itself"))
    }
}

impl Change for Propose {
    type Reply = ProposalView;

    fn action(&self) -> Action {
        Action::Propose
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        let (action, reason) = (self.considered.action.name(), self.reason.as_str());
        let digest = &self.considered.digest;
        let glass = if self.break_glass { "break_glass=true " } else { "" };
        record.detail =
            format!("{glass}action={action} digest={} reason={reason}", hex::encode(digest)).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let trusted = self.rule(act).await?;
        let Some(rule) = trusted.rule() else { return Err(Refusal::Conflict) };
        let now = act.custody.now();
        let (electorate, needed, expire_time) = self.terms(rule, now)?;
        let proposer = act.permit.principal().id().clone();
        let all = act.custody.proposals(act.permit, None, PROPOSALS_MAX).await?;
        let open = all.iter().filter(|one| one.draft().proposer == proposer && is_open(one, now));
        if all.len() >= PROPOSALS_MAX || open.count() >= OPEN_PROPOSALS_MAX {
            let problem = format!(
                "there are {PROPOSALS_MAX} proposals, or {OPEN_PROPOSALS_MAX} open ones of yours; wait \
                 until some have expired"
            );
            return Err(Refusal::TooLarge { field: "request", problem });
        }
        let id = act.custody.new_proposal_id()?;
        let mut changes = act.custody.change(act.permit)?;
        changes.expect_rule(&trusted);
        changes.put_new_proposal(Proposal::new(Draft {
            id,
            method: self.method.clone(),
            action: self.considered.action,
            digest: self.considered.digest,
            summary: self.summary.clone(),
            reason: self.reason.clone(),
            proposer,
            whom: self.considered.whom.clone(),
            electorate,
            needed,
            create_time: now,
            expire_time,
        }));
        act.record.approval = id.to_string().into();
        if self.break_glass {
            tracing::error!(proposal = %id, "the glass is being broken: an emergency is proposed");
            act.office.metrics.broke_glass();
        }
        Ok(Changed::of(changes, *id.as_bytes()))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<ProposalView, Refusal> {
        changed_proposal(custody, permit, past).await
    }
}

// === impl CastVote ===

impl CastVote {
    fn ground(act: &Act<'_>, proposal: &Proposal) -> Ground {
        let voter = act.permit.principal().id();
        let draft = proposal.draft();
        let is_whom = match &draft.whom {
            Some(SubjectRef::Principal(whom)) => whom == voter,
            Some(SubjectRef::Members(group)) => act.is_member(voter, group),
            None => false,
        };
        let (is_member, asserted) = match &draft.electorate {
            Electorate::Group(group) => {
                (act.is_member(voter, group), !act.is_related(voter, group))
            }
            Electorate::BreakGlass => (true, false),
        };
        Ground { is_member, asserted, is_whom }
    }
}

impl Change for CastVote {
    type Reply = ProposalView;

    fn action(&self) -> Action {
        if self.approves.is_some() { Action::Approve } else { Action::Reject }
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.approval = self.proposal.to_string().into();
        record.detail = format!("reason={}", self.reason.as_str()).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let was = act.custody.proposal(act.permit, self.proposal).await?;
        let voter = act.permit.principal().id();
        let ground = Self::ground(act, was.proposal());
        let (reason, now) = (self.reason.clone(), act.custody.now());
        let after = match &self.approves {
            Some(digest) => was.proposal().approve(voter, ground, digest, reason, now)?,
            None => was.proposal().reject(voter, ground, reason, now)?,
        };
        if after.draft().electorate == Electorate::BreakGlass {
            let (id, approves) = (self.proposal, self.approves.is_some());
            tracing::error!(proposal = %id, approves, "a vote on an emergency proposal");
        }
        let mut changes = act.custody.change(act.permit)?;
        changes.put_proposal(after, &was);
        Ok(Changed::of(changes, *self.proposal.as_bytes()))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<ProposalView, Refusal> {
        changed_proposal(custody, permit, past).await
    }
}

// === impl GetProposal ===

impl UseCase for GetProposal {
    type Reply = ProposalView;

    const ACTION: Action = Action::GetProposal;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.approval = self.proposal.to_string().into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<ProposalView, Refusal> {
        let found = act.custody.proposal(act.permit, self.proposal).await?;
        Ok(view(found.proposal().clone(), act.custody.now()))
    }
}

// === impl ListProposals ===

impl UseCase for ListProposals {
    type Reply = (Vec<ProposalView>, Option<ProposalId>);

    const ACTION: Action = Action::ListProposals;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let now = act.custody.now();
        let page = act.custody.proposals(act.permit, self.after, self.page_size).await?;
        let full = page.len() == self.page_size;
        let next = page.last().filter(|_| full).map(|last| last.draft().id);
        let shown = page.into_iter().filter(|one| !self.open || is_open(one, now));
        Ok((shown.map(|one| view(one, now)).collect(), next))
    }
}

fn view(proposal: Proposal, now: Timestamp) -> ProposalView {
    let state = proposal.state(now);
    ProposalView { proposal, state }
}

fn is_open(proposal: &Proposal, now: Timestamp) -> bool {
    matches!(proposal.state(now), ProposalState::Pending | ProposalState::Approved)
}

async fn changed_proposal(
    custody: &Custody,
    permit: &Permit,
    past: Past,
) -> Result<ProposalView, Refusal> {
    let id = ProposalId::from_bytes(past.made.unwrap_or_default());
    let found = custody.proposal(permit, id).await?;
    Ok(view(found.proposal().clone(), custody.now()))
}

/// In a tenant, those included that have ended in the last 30 days.
const PROPOSALS_MAX: usize = 1_000;
/// Of one principal.
const OPEN_PROPOSALS_MAX: usize = 50;
