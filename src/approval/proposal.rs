//! A proposal and its life: `PENDING → APPROVED → EXECUTED`, or `REJECTED`, or `EXPIRED` by the time.

use std::collections::BTreeSet;

use crate::keys::{ProposalId, Reason, Timestamp};
use crate::policy::{Action, GroupName, PrincipalId, SubjectRef};

use super::rule::Rule;

/// Where a proposal stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProposalState {
    /// It waits for votes.
    Pending,
    /// It may be made, once, by its proposer.
    Approved,
    /// Somebody said no.
    Rejected,
    /// It was not made in time.
    Expired,
    /// It was made.
    Executed,
}

/// Who votes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Electorate {
    /// The members of this group.
    Group(GroupName),
    /// Everybody who may approve at all: in an emergency.
    BreakGlass,
}

/// A request that others are asked to approve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proposal {
    draft: Draft,
    votes: Vec<Vote>,
    state: ProposalState,
}

/// What of a proposal never changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Draft {
    /// Its id.
    pub id: ProposalId,
    /// The method's path.
    pub method: String,
    /// What would be done.
    pub action: Action,
    /// SHA-256 of the action and the request as it was understood.
    pub digest: [u8; 32],
    /// The request, a field a line.
    pub summary: String,
    /// Why, for those who vote.
    pub reason: Reason,
    /// Who wants it, and may make it.
    pub proposer: PrincipalId,
    /// Whose rights it would change.
    pub whom: Option<SubjectRef>,
    /// Who votes.
    pub electorate: Electorate,
    /// How many must approve.
    pub needed: u32,
    /// When it was proposed.
    pub create_time: Timestamp,
    /// When it ends.
    pub expire_time: Timestamp,
}

/// One person's word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Vote {
    /// Whose.
    pub principal: PrincipalId,
    /// Yes or no.
    pub approves: bool,
    /// Why.
    pub reason: Reason,
    /// When.
    pub time: Timestamp,
    /// In the group by what the voter's proof asserted, which cannot be asked again without it.
    pub asserted: bool,
}

/// What is known of a voter besides the name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ground {
    /// Whether it is a member of the group that votes.
    pub is_member: bool,
    /// Whether it is one by what its proof asserts alone.
    pub asserted: bool,
    /// Whether the request would change its own rights.
    pub is_whom: bool,
}

/// Why a vote does not count.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VoteRefusal {
    /// It does not wait for votes.
    #[error("the proposal is {} already", .0.name())]
    State(ProposalState),
    /// Of the proposer.
    #[error("a proposer does not vote on its own proposal")]
    Own,
    /// Of whoever would gain.
    #[error("who gets the rights does not vote on them")]
    Whom,
    /// Of nobody who is asked.
    #[error("only members of the group that the rule names vote")]
    NotMember,
    /// The second of one person.
    #[error("each person votes once")]
    Twice,
    /// What was read is not what is proposed.
    #[error("the digest is another proposal's; read the proposal again")]
    Digest,
}

/// Why a request is not made on this proposal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ExecuteRefusal {
    /// It is not approved, or no longer.
    #[error("the proposal is {}", .0.name())]
    State(ProposalState),
    /// Somebody else's.
    #[error("the proposal is another principal's")]
    Proposer,
    /// Another request.
    #[error("the proposal is of another request")]
    Request,
    /// The rule asks for more than it did, or for others.
    #[error("the rule has changed since; propose it again")]
    Rule,
    /// Who approved is no longer asked.
    #[error("too few of those who approved are still members of the group")]
    Members,
}

// === impl ProposalState ===

impl ProposalState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Approved, Self::Rejected, Self::Expired, Self::Executed];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::Executed => "executed",
        }
    }

    /// As it is stored. EXPIRED is told by the time and stands in no row.
    pub const fn number(self) -> u32 {
        match self {
            Self::Pending => 1,
            Self::Approved => 2,
            Self::Rejected => 3,
            Self::Expired => 4,
            Self::Executed => 5,
        }
    }

    /// The state that a row holds.
    pub fn from_number(number: u32) -> Option<Self> {
        let stored = Self::ALL.into_iter().find(|state| state.number() == number);
        stored.filter(|state| *state != Self::Expired)
    }
}

// === impl Proposal ===

impl Proposal {
    /// A new one, without votes.
    pub fn new(draft: Draft) -> Self {
        Self { draft, votes: Vec::new(), state: ProposalState::Pending }
    }

    /// As it was stored.
    pub fn from_parts(draft: Draft, votes: Vec<Vote>, state: ProposalState) -> Self {
        Self { draft, votes, state }
    }

    /// What of it never changes.
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// The votes, in order.
    pub fn votes(&self) -> &[Vote] {
        &self.votes
    }

    /// Where it stands, but for the time.
    pub fn stored_state(&self) -> ProposalState {
        self.state
    }

    /// Where it stands at `now`.
    pub fn state(&self, now: Timestamp) -> ProposalState {
        match self.state {
            ProposalState::Pending | ProposalState::Approved if now >= self.draft.expire_time => {
                ProposalState::Expired
            }
            state => state,
        }
    }

    /// With one more approval. `digest` is of what the voter has read.
    pub fn approve(
        &self,
        voter: &PrincipalId,
        ground: Ground,
        digest: &[u8],
        reason: Reason,
        now: Timestamp,
    ) -> Result<Self, VoteRefusal> {
        self.may_vote(voter, ground)?;
        match self.state(now) {
            ProposalState::Pending => {}
            other => return Err(VoteRefusal::State(other)),
        }
        if self.votes.iter().any(|vote| vote.principal == *voter) {
            return Err(VoteRefusal::Twice);
        }
        if digest != self.draft.digest {
            return Err(VoteRefusal::Digest);
        }
        let mut after = self.with_vote(voter, (true, ground.asserted), reason, now);
        if after.approvals(|_| true) >= self.draft.needed {
            after.state = ProposalState::Approved;
        }
        Ok(after)
    }

    /// With a no, which ends it: also one that was approved and not made yet, and also of somebody who has
    /// approved and thinks again.
    pub fn reject(
        &self,
        voter: &PrincipalId,
        ground: Ground,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Self, VoteRefusal> {
        self.may_vote(voter, ground)?;
        match self.state(now) {
            ProposalState::Pending | ProposalState::Approved => {}
            other => return Err(VoteRefusal::State(other)),
        }
        let mut after = self.with_vote(voter, (false, ground.asserted), reason, now);
        after.state = ProposalState::Rejected;
        Ok(after)
    }

    /// Used: for this very request of its own proposer, under the rule as it is now, once.
    pub fn execute(
        &self,
        rule: &Rule,
        proposer: &PrincipalId,
        request: (Action, &[u8; 32]),
        is_still_member: impl Fn(&PrincipalId) -> bool,
        now: Timestamp,
    ) -> Result<Self, ExecuteRefusal> {
        if *proposer != self.draft.proposer {
            return Err(ExecuteRefusal::Proposer);
        }
        if request != (self.draft.action, &self.draft.digest) {
            return Err(ExecuteRefusal::Request);
        }
        match self.state(now) {
            ProposalState::Approved => {}
            other => return Err(ExecuteRefusal::State(other)),
        }
        if let Electorate::Group(group) = &self.draft.electorate {
            if group != rule.group() || self.draft.needed < rule.needed() {
                return Err(ExecuteRefusal::Rule);
            }
            if self.approvals(is_still_member) < self.draft.needed {
                return Err(ExecuteRefusal::Members);
            }
        }
        Ok(Self { state: ProposalState::Executed, ..self.clone() })
    }

    /// How many people have approved, of those that count.
    fn approvals(&self, counts: impl Fn(&PrincipalId) -> bool) -> u32 {
        let approving = self.votes.iter().filter(|vote| vote.approves);
        let counting = approving.filter(|vote| vote.asserted || counts(&vote.principal));
        let people: BTreeSet<_> = counting.map(|vote| &vote.principal).collect();
        u32::try_from(people.len()).unwrap_or(u32::MAX)
    }

    /// What does not depend on where it stands, so that who is not asked learns nothing of that.
    fn may_vote(&self, voter: &PrincipalId, ground: Ground) -> Result<(), VoteRefusal> {
        let is_group = matches!(self.draft.electorate, Electorate::Group(_));
        if is_group && !ground.is_member {
            return Err(VoteRefusal::NotMember);
        }
        if *voter == self.draft.proposer {
            return Err(VoteRefusal::Own);
        }
        if ground.is_whom {
            return Err(VoteRefusal::Whom);
        }
        Ok(())
    }

    fn with_vote(
        &self,
        voter: &PrincipalId,
        (approves, asserted): (bool, bool),
        reason: Reason,
        time: Timestamp,
    ) -> Self {
        let mut after = self.clone();
        after.votes.push(Vote { principal: voter.clone(), approves, reason, time, asserted });
        after
    }
}

/// The longest that a role is given for in an emergency: 4 hours.
pub const BREAK_GLASS_MS_MAX: u64 = 4 * 60 * 60 * 1_000;
/// How many others approve in an emergency.
pub const BREAK_GLASS_NEEDED: u32 = 2;
