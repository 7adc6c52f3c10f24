#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::keys::{ProposalId, Reason, Timestamp};
use crate::policy::{Action, GroupName, PrincipalId};

const NOW: Timestamp = Timestamp::from_unix_ms(1_790_000_000_000);
const MEMBER: Ground = Ground { is_member: true, asserted: false, is_whom: false };
const DIGEST: [u8; 32] = [7; 32];

fn person(name: &str) -> PrincipalId {
    PrincipalId::parse(&format!("spiffe://demo.bulla/{name}")).unwrap()
}

fn rule(needed: u32) -> Rule {
    let group = GroupName::parse("board").unwrap();
    Rule::new(Action::ScheduleDestroy, group, needed, LIFETIME_MS_DEFAULT).unwrap()
}

fn proposal(needed: u32) -> Proposal {
    Proposal::new(Draft {
        id: ProposalId::from_bytes([1; 16]),
        method: "/bulla.kms.v1.Keys/ScheduleDestroy".to_owned(),
        action: Action::ScheduleDestroy,
        digest: DIGEST,
        summary: String::new(),
        reason: Reason::none(),
        proposer: person("manager"),
        whom: None,
        electorate: Electorate::Group(GroupName::parse("board").unwrap()),
        needed,
        create_time: NOW,
        expire_time: NOW.plus_ms(1_000),
    })
}

fn yes(of: &Proposal, who: &str) -> Result<Proposal, VoteRefusal> {
    of.approve(&person(who), MEMBER, &DIGEST, Reason::none(), NOW)
}

fn no(of: &Proposal, who: &str) -> Result<Proposal, VoteRefusal> {
    of.reject(&person(who), MEMBER, Reason::none(), NOW)
}

fn made(of: &Proposal, at: Timestamp) -> Result<Proposal, ExecuteRefusal> {
    let request = (Action::ScheduleDestroy, &DIGEST);
    of.execute(&rule(of.draft().needed), &person("manager"), request, |_| true, at)
}

#[test]
fn g09_two_approvals_of_two_people_let_it_be_made_once() {
    let proposed = proposal(2);
    assert_eq!(made(&proposed, NOW), Err(ExecuteRefusal::State(ProposalState::Pending)));
    let once = yes(&proposed, "ann").unwrap();
    assert_eq!(once.state(NOW), ProposalState::Pending);
    assert_eq!(yes(&once, "ann"), Err(VoteRefusal::Twice), "one person is one vote");
    let twice = yes(&once, "bob").unwrap();
    assert_eq!(twice.state(NOW), ProposalState::Approved);
    let done = made(&twice, NOW).unwrap();
    assert_eq!(made(&done, NOW), Err(ExecuteRefusal::State(ProposalState::Executed)));
    assert_eq!(yes(&done, "eve"), Err(VoteRefusal::State(ProposalState::Executed)));
}

#[test]
fn d13_who_is_not_asked_neither_approves_nor_cancels() {
    let proposed = proposal(1);
    let stranger = Ground { is_member: false, asserted: false, is_whom: false };
    let (eve, reason) = (person("eve"), Reason::none);
    let approved = proposed.approve(&eve, stranger, &DIGEST, reason(), NOW);
    assert_eq!(approved, Err(VoteRefusal::NotMember));
    assert_eq!(proposed.reject(&eve, stranger, reason(), NOW), Err(VoteRefusal::NotMember));
    assert_eq!(yes(&proposed, "manager"), Err(VoteRefusal::Own));
    assert_eq!(no(&proposed, "manager"), Err(VoteRefusal::Own));
    let gains = Ground { is_member: true, asserted: false, is_whom: true };
    assert_eq!(proposed.approve(&eve, gains, &DIGEST, reason(), NOW), Err(VoteRefusal::Whom));
}

#[test]
fn a_no_ends_it_even_after_the_last_yes() {
    let approved = yes(&proposal(1), "ann").unwrap();
    for who in ["ann", "bob"] {
        let rejected = no(&approved, who).unwrap();
        assert_eq!(made(&rejected, NOW), Err(ExecuteRefusal::State(ProposalState::Rejected)));
        assert_eq!(yes(&rejected, "eve"), Err(VoteRefusal::State(ProposalState::Rejected)));
    }
}

#[test]
fn a_vote_is_for_what_was_read() {
    let read = proposal(1).approve(&person("ann"), MEMBER, &[8; 32], Reason::none(), NOW);
    assert_eq!(read, Err(VoteRefusal::Digest));
    let read = proposal(1).approve(&person("ann"), MEMBER, &[], Reason::none(), NOW);
    assert_eq!(read, Err(VoteRefusal::Digest));
}

#[test]
fn an_approval_is_of_one_request_of_one_proposer_until_it_expires() {
    let approved = yes(&proposal(1), "ann").unwrap();
    let execute = |who: &str, action, digest: &[u8; 32]| {
        approved.execute(&rule(1), &person(who), (action, digest), |_| true, NOW).map(|_| ())
    };
    let (this, other) = (Action::ScheduleDestroy, Action::CompromiseVersion);
    assert_eq!(execute("ann", this, &DIGEST), Err(ExecuteRefusal::Proposer));
    assert_eq!(execute("manager", other, &DIGEST), Err(ExecuteRefusal::Request));
    assert_eq!(execute("manager", this, &[8; 32]), Err(ExecuteRefusal::Request));
    assert_eq!(execute("manager", this, &DIGEST), Ok(()));
    let (before, after) = (NOW.plus_ms(999), NOW.plus_ms(1_000));
    assert!(made(&approved, before).is_ok());
    assert_eq!(made(&approved, after), Err(ExecuteRefusal::State(ProposalState::Expired)));
    let late = proposal(1).approve(&person("ann"), MEMBER, &DIGEST, Reason::none(), after);
    assert_eq!(late, Err(VoteRefusal::State(ProposalState::Expired)));
}

#[test]
fn d13_a_rule_that_became_stricter_and_a_member_who_left_count_at_once() {
    let approved = yes(&proposal(1), "ann").unwrap();
    let request = (Action::ScheduleDestroy, &DIGEST);
    let manager = person("manager");
    let stricter = approved.execute(&rule(2), &manager, request, |_| true, NOW);
    assert_eq!(stricter, Err(ExecuteRefusal::Rule));
    let others = GroupName::parse("others").unwrap();
    let others = Rule::new(Action::ScheduleDestroy, others, 1, LIFETIME_MS_DEFAULT).unwrap();
    let others = approved.execute(&others, &manager, request, |_| true, NOW);
    assert_eq!(others, Err(ExecuteRefusal::Rule));
    let left = approved.execute(&rule(1), &manager, request, |who| *who != person("ann"), NOW);
    assert_eq!(left, Err(ExecuteRefusal::Members));
}

#[test]
fn d13_a_rule_of_nobody_is_refused() {
    let make = |action, needed, lifetime_ms| {
        Rule::new(action, GroupName::parse("board").unwrap(), needed, lifetime_ms).map(|_| ())
    };
    let (action, day) = (Action::ScheduleDestroy, LIFETIME_MS_DEFAULT);
    assert_eq!(make(action, 0, day), Err(MalformedRule::Needed));
    assert_eq!(make(action, NEEDED_MAX + 1, day), Err(MalformedRule::Needed));
    assert_eq!(make(action, 1, 0), Err(MalformedRule::Lifetime));
    assert_eq!(make(action, 1, LIFETIME_MS_MAX + 1), Err(MalformedRule::Lifetime));
    for action in [
        Action::Decrypt,
        Action::GetKey,
        Action::RetireCheck,
        Action::Approve,
        Action::Propose,
        Action::DestroyVersion,
        Action::WhoAmI,
        Action::ReadAudit,
        Action::ExchangeToken,
    ] {
        assert_eq!(make(action, 1, day), Err(MalformedRule::Action), "{action:?}");
    }
    for action in [
        Action::CompromiseVersion,
        Action::ScheduleDestroyNotSafe,
        Action::BindRole,
        Action::WriteRelations,
        Action::PutPolicy,
        Action::PutApprovalRule,
        Action::SuspendTenant,
        Action::ReportRestore,
    ] {
        assert_eq!(make(action, 1, day), Ok(()), "{action:?}");
    }
}

#[derive(Clone, Debug)]
enum Move {
    Yes(usize, bool),
    No(usize, bool),
    Make,
    Wait,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..6_usize, any::<bool>()).prop_map(|(who, member)| Move::Yes(who, member)),
        1 => (0..6_usize, any::<bool>()).prop_map(|(who, member)| Move::No(who, member)),
        2 => Just(Move::Make),
        1 => Just(Move::Wait),
    ];
    prop::collection::vec(one, 0..40)
}

proptest! {
    #[test]
    fn g09_whatever_happens_it_is_made_at_most_once_and_only_after_enough_others_said_yes(
        needed in 1..4_u32,
        moves in moves(),
    ) {
        let people = ["manager", "ann", "bob", "cay", "dan", "eve"];
        let (mut it, mut now, mut made_times) = (proposal(needed), NOW, 0);
        let (mut yes, mut no) = (std::collections::BTreeSet::new(), false);
        for step in moves {
            let ground = |member| Ground { is_member: member, asserted: false, is_whom: false };
            match step {
                Move::Yes(who, member) => {
                    let voter = person(people[who]);
                    if let Ok(after) = it.approve(&voter, ground(member), &DIGEST, Reason::none(), now) {
                        prop_assert!(member && who != 0 && yes.insert(who));
                        it = after;
                    }
                }
                Move::No(who, member) => {
                    let voter = person(people[who]);
                    if let Ok(after) = it.reject(&voter, ground(member), Reason::none(), now) {
                        prop_assert!(member && who != 0);
                        (it, no) = (after, true);
                    }
                }
                Move::Make => {
                    if let Ok(after) = made(&it, now) {
                        made_times += 1;
                        prop_assert!(!no && yes.len() >= needed as usize);
                        prop_assert!(now < it.draft().expire_time);
                        it = after;
                    }
                }
                Move::Wait => now = now.plus_ms(150),
            }
        }
        prop_assert!(made_times <= 1);
    }
}
