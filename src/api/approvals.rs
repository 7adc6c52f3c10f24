//! The service `Approvals`.

use bulla_proto::kms::{self, approvals_server};
use tonic::{Request, Response, Status};

use super::rehearsal::Ended;
use super::{Api, parse, render};
use crate::approval::{Electorate, LIFETIME_MS_DEFAULT, MalformedRule, ProposalState, Rule, Vote};
use crate::keys::ProposalId;
use crate::policy::{Action, GroupName};
use crate::service::{
    CastVote, DeleteApprovalRule, GetProposal, ListApprovalRules, ListProposals, ProposalView,
    Propose, PutApprovalRule, Refusal,
};

#[tonic::async_trait]
impl approvals_server::Approvals for Api {
    async fn propose(
        &self,
        request: Request<kms::ProposeRequest>,
    ) -> Result<Response<kms::ProposeResponse>, Status> {
        let rehearsed = match self.rehearse(&request).await {
            Ended::Refused(status) => return Err(status),
            Ended::Understood(considered, summary) => Ok((considered, summary)),
            Ended::Nowhere => Err(Refusal::invalid(
                "request",
                "must be a message of at most 16384 bytes of a method that changes something",
            )),
        };
        let parse = |asked: kms::ProposeRequest| {
            let (considered, summary) = rehearsed?;
            Ok(Propose {
                considered,
                summary,
                request: parse::request(Action::Propose, &asked.request_id, &asked)?,
                reason: parse::reason(&asked.reason)?,
                method: asked.method,
                break_glass: asked.break_glass,
            })
        };
        let render = |view| kms::ProposeResponse { proposal: Some(proposal(&view)) };
        self.change(Action::Propose, request, parse, render).await
    }

    async fn approve(
        &self,
        request: Request<kms::ApproveRequest>,
    ) -> Result<Response<kms::ApproveResponse>, Status> {
        let parse = |asked: kms::ApproveRequest| {
            Ok(CastVote {
                request: parse::request(Action::Approve, &asked.request_id, &asked)?,
                proposal: proposal_id(&asked.proposal_id)?,
                approves: Some(asked.digest),
                reason: parse::reason(&asked.reason)?,
            })
        };
        let render = |view| kms::ApproveResponse { proposal: Some(proposal(&view)) };
        self.change(Action::Approve, request, parse, render).await
    }

    async fn reject(
        &self,
        request: Request<kms::RejectRequest>,
    ) -> Result<Response<kms::RejectResponse>, Status> {
        let parse = |asked: kms::RejectRequest| {
            Ok(CastVote {
                request: parse::request(Action::Reject, &asked.request_id, &asked)?,
                proposal: proposal_id(&asked.proposal_id)?,
                approves: None,
                reason: parse::reason(&asked.reason)?,
            })
        };
        let render = |view| kms::RejectResponse { proposal: Some(proposal(&view)) };
        self.change(Action::Reject, request, parse, render).await
    }

    async fn get_proposal(
        &self,
        request: Request<kms::GetProposalRequest>,
    ) -> Result<Response<kms::GetProposalResponse>, Status> {
        let parse = |asked: kms::GetProposalRequest| {
            Ok(GetProposal { proposal: proposal_id(&asked.proposal_id)? })
        };
        let render = |view| kms::GetProposalResponse { proposal: Some(proposal(&view)) };
        self.perform(request, parse, render).await
    }

    async fn list_proposals(
        &self,
        request: Request<kms::ListProposalsRequest>,
    ) -> Result<Response<kms::ListProposalsResponse>, Status> {
        let parse = |asked: kms::ListProposalsRequest| {
            let after = parse::page_token(&asked.page_token)?.map(|text| ProposalId::parse(&text));
            Ok(ListProposals {
                open: asked.open,
                after: after.transpose().map_err(|_| parse::bad_page_token())?,
                page_size: parse::page_size(asked.page_size)?,
            })
        };
        self.perform(request, parse, |(proposals, next)| kms::ListProposalsResponse {
            proposals: proposals.iter().map(proposal).collect(),
            next_page_token: render::page_token(next),
        })
        .await
    }

    async fn put_approval_rule(
        &self,
        request: Request<kms::PutApprovalRuleRequest>,
    ) -> Result<Response<kms::PutApprovalRuleResponse>, Status> {
        let parse = |asked: kms::PutApprovalRuleRequest| {
            let request = parse::request(Action::PutApprovalRule, &asked.request_id, &asked)?;
            Ok(PutApprovalRule { rule: rule(&asked.rule.unwrap_or_default())?, request })
        };
        let render = |rule| kms::PutApprovalRuleResponse { rule: Some(shown_rule(&rule)) };
        self.change(Action::PutApprovalRule, request, parse, render).await
    }

    async fn delete_approval_rule(
        &self,
        request: Request<kms::DeleteApprovalRuleRequest>,
    ) -> Result<Response<kms::DeleteApprovalRuleResponse>, Status> {
        let parse = |asked: kms::DeleteApprovalRuleRequest| {
            let request = parse::request(Action::DeleteApprovalRule, &asked.request_id, &asked)?;
            Ok(DeleteApprovalRule { action: action(&asked.action)?, request })
        };
        let render = |()| kms::DeleteApprovalRuleResponse {};
        self.change(Action::DeleteApprovalRule, request, parse, render).await
    }

    async fn list_approval_rules(
        &self,
        request: Request<kms::ListApprovalRulesRequest>,
    ) -> Result<Response<kms::ListApprovalRulesResponse>, Status> {
        self.perform(
            request,
            |_| Ok(ListApprovalRules),
            |rules| kms::ListApprovalRulesResponse {
                rules: rules.iter().map(shown_rule).collect(),
            },
        )
        .await
    }
}

fn proposal_id(text: &str) -> Result<ProposalId, Refusal> {
    ProposalId::parse(text).map_err(|error| Refusal::invalid("proposal_id", error))
}

fn action(text: &str) -> Result<Action, Refusal> {
    Action::named(text).ok_or_else(|| Refusal::invalid("action", "is not the name of an action"))
}

fn rule(asked: &kms::ApprovalRule) -> Result<Rule, Refusal> {
    let group = GroupName::parse(&asked.group).map_err(|e| Refusal::invalid("rule.group", e))?;
    let lifetime_ms = match &asked.lifetime {
        None => LIFETIME_MS_DEFAULT,
        Some(lifetime) => parse::millis(lifetime)
            .ok_or_else(|| Refusal::invalid("rule.lifetime", "must not be negative"))?,
    };
    Rule::new(action(&asked.action)?, group, asked.needed, lifetime_ms).map_err(|error| {
        let field = match error {
            MalformedRule::Needed => "rule.needed",
            MalformedRule::Lifetime => "rule.lifetime",
            MalformedRule::Action => "rule.action",
        };
        Refusal::invalid(field, error)
    })
}

fn shown_rule(rule: &Rule) -> kms::ApprovalRule {
    kms::ApprovalRule {
        action: rule.action().name().to_owned(),
        group: rule.group().to_string(),
        needed: rule.needed(),
        lifetime: Some(render::duration(rule.lifetime_ms())),
    }
}

fn proposal(view: &ProposalView) -> kms::Proposal {
    let draft = view.proposal.draft();
    let (group, break_glass) = match &draft.electorate {
        Electorate::Group(group) => (group.to_string(), false),
        Electorate::BreakGlass => (String::new(), true),
    };
    kms::Proposal {
        proposal_id: draft.id.to_string(),
        method: draft.method.clone(),
        action: draft.action.name().to_owned(),
        digest: draft.digest.to_vec(),
        summary: draft.summary.clone(),
        reason: draft.reason.as_str().to_owned(),
        proposer: draft.proposer.to_string(),
        group,
        needed: draft.needed,
        votes: view.proposal.votes().iter().map(vote).collect(),
        state: state(view.state).into(),
        create_time: Some(render::timestamp(draft.create_time)),
        expire_time: Some(render::timestamp(draft.expire_time)),
        break_glass,
    }
}

fn vote(vote: &Vote) -> kms::Vote {
    kms::Vote {
        principal: vote.principal.to_string(),
        approves: vote.approves,
        reason: vote.reason.as_str().to_owned(),
        time: Some(render::timestamp(vote.time)),
    }
}

const fn state(state: ProposalState) -> kms::ProposalState {
    match state {
        ProposalState::Pending => kms::ProposalState::Pending,
        ProposalState::Approved => kms::ProposalState::Approved,
        ProposalState::Rejected => kms::ProposalState::Rejected,
        ProposalState::Expired => kms::ProposalState::Expired,
        ProposalState::Executed => kms::ProposalState::Executed,
    }
}
