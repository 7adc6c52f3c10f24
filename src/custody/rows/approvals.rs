//! Rows of approvals: the rules, and what was proposed and how people voted.

use bulla_proto::stored;
use prost::Message;

use crate::approval::{Draft, Electorate, Proposal, ProposalState, Rule, Vote};
use crate::keys::{ProposalId, Reason, Timestamp};
use crate::policy::{Action, GroupName, PrincipalId, SubjectRef};

use super::{Malformed, Record, array};

/// How long a proposal is kept after it has ended: 30 days.
const PROPOSAL_KEPT_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

/// A proposal and its votes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct ProposalRecord(pub(in crate::custody) Proposal);

/// Which action needs whose approval.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct RuleRecord(pub(in crate::custody) Rule);

// === impl ProposalRecord ===

impl Record for ProposalRecord {
    const KIND: u8 = 26;

    fn row_id(&self) -> Vec<u8> {
        self.0.draft().id.as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        Some(self.0.draft().expire_time.plus_ms(PROPOSAL_KEPT_MS))
    }

    fn encode(&self) -> Vec<u8> {
        let draft = self.0.draft();
        let (group, break_glass) = match &draft.electorate {
            Electorate::Group(group) => (group.to_string(), false),
            Electorate::BreakGlass => (String::new(), true),
        };
        let vote = |vote: &Vote| stored::VoteBody {
            principal: vote.principal.to_string(),
            approves: vote.approves,
            reason: vote.reason.as_str().to_owned(),
            time_ms: vote.time.unix_ms(),
            asserted: vote.asserted,
        };
        stored::ProposalBody {
            method: draft.method.clone(),
            action: draft.action.name().to_owned(),
            digest: draft.digest.to_vec(),
            summary: draft.summary.clone(),
            reason: draft.reason.as_str().to_owned(),
            proposer: draft.proposer.to_string(),
            group,
            needed: draft.needed,
            votes: self.0.votes().iter().map(vote).collect(),
            state: self.0.stored_state().number(),
            create_time_ms: draft.create_time.unix_ms(),
            expire_time_ms: draft.expire_time.unix_ms(),
            break_glass,
            whom: draft.whom.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::ProposalBody::decode(body)?;
        let electorate = match (body.break_glass, body.group.as_str()) {
            (true, "") => Electorate::BreakGlass,
            (true, _) => return Err(Malformed),
            (false, group) => Electorate::Group(GroupName::parse(group)?),
        };
        let whom = match body.whom.as_str() {
            "" => None,
            whom => Some(SubjectRef::parse(whom)?),
        };
        // Nobody's approval would be enough.
        if body.needed == 0 {
            return Err(Malformed);
        }
        let draft = Draft {
            id: ProposalId::from_slice(id)?,
            method: body.method,
            action: Action::named(&body.action).ok_or(Malformed)?,
            digest: array(&body.digest)?,
            summary: body.summary,
            reason: Reason::parse(&body.reason)?,
            proposer: PrincipalId::parse(&body.proposer)?,
            whom,
            electorate,
            needed: body.needed,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
            expire_time: Timestamp::from_unix_ms(body.expire_time_ms),
        };
        let vote = |vote: &stored::VoteBody| {
            Ok(Vote {
                principal: PrincipalId::parse(&vote.principal)?,
                approves: vote.approves,
                reason: Reason::parse(&vote.reason)?,
                time: Timestamp::from_unix_ms(vote.time_ms),
                asserted: vote.asserted,
            })
        };
        let votes = body.votes.iter().map(vote).collect::<Result<_, Malformed>>()?;
        let state = ProposalState::from_number(body.state).ok_or(Malformed)?;
        Ok(Self(Proposal::from_parts(draft, votes, state)))
    }
}

// === impl RuleRecord ===

impl Record for RuleRecord {
    const KIND: u8 = 27;

    fn row_id(&self) -> Vec<u8> {
        self.0.action().name().as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::ApprovalRuleBody {
            group: self.0.group().to_string(),
            needed: self.0.needed(),
            lifetime_ms: self.0.lifetime_ms(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::ApprovalRuleBody::decode(body)?;
        let action = std::str::from_utf8(id).ok().and_then(Action::named).ok_or(Malformed)?;
        let group = GroupName::parse(&body.group)?;
        Ok(Self(Rule::new(action, group, body.needed, body.lifetime_ms)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn survives<R: Record + PartialEq + std::fmt::Debug>(record: &R) {
        assert_eq!(&R::decode(&record.row_id(), &record.encode()).unwrap(), record);
    }

    fn person(name: &str) -> PrincipalId {
        PrincipalId::parse(&format!("spiffe://demo.bulla/{name}")).unwrap()
    }

    fn draft(electorate: Electorate, whom: Option<SubjectRef>, needed: u32) -> Draft {
        Draft {
            id: ProposalId::from_bytes([9; 16]),
            method: "/bulla.kms.v1.Access/BindRole".to_owned(),
            action: Action::BindRole,
            digest: [8; 32],
            summary: "role: \"key-user\"".to_owned(),
            reason: Reason::parse("on call").unwrap(),
            proposer: person("operator"),
            whom,
            electorate,
            needed,
            create_time: Timestamp::from_unix_ms(1),
            expire_time: Timestamp::from_unix_ms(2),
        }
    }

    proptest! {
        #[test]
        fn a_proposal_survives_being_stored(
            votes in prop::collection::vec(("[a-z]{1,9}", any::<bool>(), "[ -~]{0,20}"), 0..5),
            break_glass: bool,
            of_group: Option<bool>,
            needed in 1..9_u32,
            state in prop::sample::select(vec![
                ProposalState::Pending,
                ProposalState::Approved,
                ProposalState::Rejected,
                ProposalState::Executed,
            ]),
        ) {
            let group = GroupName::parse("board").unwrap();
            let whom = of_group.map(|of_group| match of_group {
                true => SubjectRef::Members(group.clone()),
                false => SubjectRef::Principal(person("bob")),
            });
            let electorate = if break_glass {
                Electorate::BreakGlass
            } else {
                Electorate::Group(group)
            };
            let votes = votes.into_iter().map(|(name, approves, reason)| Vote {
                principal: person(&name),
                approves,
                reason: Reason::parse(&reason).unwrap(),
                time: Timestamp::from_unix_ms(3),
                asserted: approves,
            });
            let draft = draft(electorate, whom, needed);
            survives(&ProposalRecord(Proposal::from_parts(draft, votes.collect(), state)));
        }

        #[test]
        fn a_rule_survives_being_stored(needed in 1..20_u32, lifetime_ms in 60_000..600_000_000_u64) {
            let group = GroupName::parse("board").unwrap();
            survives(&RuleRecord(Rule::new(Action::PutPolicy, group, needed, lifetime_ms).unwrap()));
        }
    }

    #[test]
    fn d13_a_stored_proposal_that_nobody_need_approve_is_malformed() {
        let group = || Electorate::Group(GroupName::parse("board").unwrap());
        let encoded = |draft| ProposalRecord(Proposal::new(draft)).encode();
        let decode = |body: &[u8]| ProposalRecord::decode(&[9; 16], body).map(|_| ());
        assert_eq!(decode(&encoded(draft(group(), None, 1))), Ok(()));
        assert_eq!(decode(&encoded(draft(group(), None, 0))), Err(Malformed));
        let rule =
            stored::ApprovalRuleBody { group: "board".into(), needed: 0, lifetime_ms: 60_000 };
        let rule = RuleRecord::decode(b"access.bind_role", &rule.encode_to_vec());
        assert_eq!(rule, Err(Malformed));
        // EXPIRED is told by the time, and both ways of voting at once are none.
        let mut body = stored::ProposalBody::decode(&*encoded(draft(group(), None, 1))).unwrap();
        body.state = ProposalState::Expired.number();
        assert_eq!(decode(&body.encode_to_vec()), Err(Malformed));
        (body.state, body.break_glass) = (1, true);
        assert_eq!(decode(&body.encode_to_vec()), Err(Malformed));
    }
}
