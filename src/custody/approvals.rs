//! Rules and proposals: reading them, and changing them in the same commit as what they are about.

use crate::approval::{Proposal, Rule};
use crate::keys::ProposalId;
use crate::policy::{Action, Permit};

use super::Custody;
use super::changes::Changes;
use super::error::CustodyError;
use super::rows::{ProposalRecord, RuleRecord};

/// A proposal, verified.
#[derive(Clone, Debug)]
pub struct TrustedProposal {
    proposal: Proposal,
    revision: u64,
}

/// What the rules say about an action: a rule or that there is none, verified.
#[derive(Clone, Debug)]
pub struct TrustedRule {
    action: Action,
    rule: Option<Rule>,
    revision: Option<u64>,
}

// === impl TrustedProposal ===

impl TrustedProposal {
    /// The proposal.
    pub fn proposal(&self) -> &Proposal {
        &self.proposal
    }
}

// === impl TrustedRule ===

impl TrustedRule {
    /// The rule, if there is one.
    pub fn rule(&self) -> Option<&Rule> {
        self.rule.as_ref()
    }
}

// === impl Custody ===

impl Custody {
    /// A new proposal's id.
    pub fn new_proposal_id(&self) -> Result<ProposalId, CustodyError> {
        Ok(ProposalId::from_bytes(self.draw_id()?))
    }

    /// One proposal.
    pub async fn proposal(
        &self,
        permit: &Permit,
        id: ProposalId,
    ) -> Result<TrustedProposal, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.load::<ProposalRecord>(&tenant, id.as_bytes().to_vec()).await?;
        let (ProposalRecord(proposal), revision) = found.ok_or(CustodyError::NotFound)?;
        Ok(TrustedProposal { proposal, revision })
    }

    /// Proposals in the order of their ids, after `after`, at most `limit`.
    pub async fn proposals(
        &self,
        permit: &Permit,
        after: Option<ProposalId>,
        limit: usize,
    ) -> Result<Vec<Proposal>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = after.map(|id| id.as_bytes().to_vec());
        let found = self.records::<ProposalRecord>(&tenant, Vec::new(), after, limit).await?;
        Ok(found.into_iter().map(|(ProposalRecord(proposal), _)| proposal).collect())
    }

    /// What the rules say about an action, as the store has it.
    pub async fn rule_on(
        &self,
        permit: &Permit,
        action: Action,
    ) -> Result<TrustedRule, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let row_id = action.name().as_bytes().to_vec();
        let found = self.load::<RuleRecord>(&tenant, row_id).await?;
        let (rule, revision) = found.map(|(RuleRecord(rule), revision)| (rule, revision)).unzip();
        Ok(TrustedRule { action, rule, revision })
    }

    /// Every rule, by the action's name.
    pub async fn rules(&self, permit: &Permit) -> Result<Vec<Rule>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.all_records::<RuleRecord>(&tenant, &[]).await?;
        Ok(found.into_iter().map(|(RuleRecord(rule), _)| rule).collect())
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// A proposal that is new.
    pub fn put_new_proposal(&mut self, proposal: Proposal) {
        self.put(&ProposalRecord(proposal), None);
    }

    /// A proposal that differs from `was`.
    pub fn put_proposal(&mut self, proposal: Proposal, was: &TrustedProposal) {
        self.put(&ProposalRecord(proposal), Some(was.revision));
    }

    /// The rules must still say the same about an action.
    pub fn expect_rule(&mut self, was: &TrustedRule) {
        let row = self.row_key::<RuleRecord>(was.action.name().as_bytes().to_vec());
        // One that this very change replaces is held to the same already.
        if !self.touches(&row) {
            self.expect(row, was.revision);
        }
    }

    /// A rule in place of what was there.
    pub fn put_rule(&mut self, rule: Rule, was: &TrustedRule) {
        self.put(&RuleRecord(rule), was.revision);
    }

    /// No rule in place of what was there.
    pub fn remove_rule(&mut self, was: &TrustedRule) {
        let row = self.row_key::<RuleRecord>(was.action.name().as_bytes().to_vec());
        self.remove(row, was.revision);
    }
}
