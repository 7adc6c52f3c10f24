//! What a lease, a scan, a problem and a budget lead to, case by case.

#![allow(clippy::unwrap_used)]

use super::properties::{campaign, problem};
use super::*;
use crate::keys::HolderId;

fn agent(id: u8) -> Agent {
    Agent { id: HolderId::from_bytes([id; 16]), principal: format!("spiffe://demo.bulla/{id}") }
}

fn at_ms(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

#[test]
fn a_store_is_free_after_thirty_seconds_of_silence_and_not_before() {
    let mine = StoreProgress::default().claim(&agent(1), at_ms(0)).unwrap();
    let held = mine.claim(&agent(2), at_ms(29_999)).unwrap_err();
    assert_eq!(held, Held { principal: agent(1).principal, free_in_ms: 1 });
    assert!(held.to_string().contains("spiffe://demo.bulla/1 has the store"));
    let theirs = mine.claim(&agent(2), at_ms(30_000)).unwrap();
    assert_eq!(theirs.holder, Some(agent(2)));
    let report = Report { pass: 1, seen: 5, ..Report::default() };
    let refused = theirs.report(&agent(1), &report, at_ms(30_001), 9);
    assert!(matches!(refused, Err(ReportRefusal::Held(_))));
    // The same id with another principal's certificate is another agent.
    let thief = Agent { principal: "spiffe://demo.bulla/thief".into(), ..agent(2) };
    assert!(theirs.claim(&thief, at_ms(30_001)).is_err());
    // Let go, it is free at once; and nobody lets go what another has.
    assert_eq!(theirs.release(&agent(1)), theirs);
    assert!(theirs.release(&agent(2)).claim(&agent(1), at_ms(30_001)).is_ok());
    // A clock that was set back ten years keeps nothing from anybody.
    assert!(mine.claim(&agent(2), at_ms(-315_360_000_000)).is_ok());
}

#[test]
fn a_scan_that_began_before_the_pass_ended_proves_nothing() {
    let claimed = StoreProgress::default().claim(&agent(1), at_ms(0)).unwrap();
    let report = Report { pass: 1, seen: 5, moved: 5, pass_ended: true, ..Report::default() };
    let ended = claimed.report(&agent(1), &report, at_ms(1), 40).unwrap();
    assert_eq!((ended.phase, ended.pass_end_sequence), (Phase::Verifying, 40));
    let judged = |begin_sequence, remaining| {
        let after = ended.judge(ScanSummary { begin_sequence, remaining });
        (after.phase, after.pass)
    };
    assert_eq!(judged(39, 0), (Phase::Verifying, 1));
    assert_eq!(judged(40, 0), (Phase::Clean, 1));
    assert_eq!(judged(41, 1), (Phase::Moving, 2));
    // A store that is still being gone through is never judged.
    let scan = ScanSummary { begin_sequence: 99, remaining: 0 };
    assert_eq!(claimed.judge(scan), claimed);
}

#[test]
fn problems_that_nobody_has_decided_hold_the_end_up_and_are_bounded() {
    let mut progress = StoreProgress::default().claim(&agent(1), at_ms(0)).unwrap();
    let noted = progress.note(problem(3, at_ms(1)), None).unwrap().unwrap();
    assert_eq!(progress.note(problem(3, at_ms(2)), Some(&noted)), Ok(None), "said again");
    let report = Report { pass: 1, seen: 5, pass_ended: true, ..Report::default() };
    let mut ended = progress.report(&agent(1), &report, at_ms(1), 40).unwrap();
    let scan = ScanSummary { begin_sequence: 40, remaining: 1 };
    assert_eq!(ended.judge(scan).phase, Phase::Verifying, "another pass would find the same");
    let who = || "spiffe://demo.bulla/operator".to_owned();
    let lost = ended.clone().decide(&noted, Decision::Abandoned, who(), Reason::none());
    assert!(lost.is(Decision::Abandoned));
    let retried = ended.decide(&noted, Decision::Retry, who(), Reason::none());
    assert_eq!((ended.phase, ended.pass, ended.undecided), (Phase::Moving, 2, 0));
    // It does not open again: somebody must decide again.
    let again = |told_by| Problem { told_by: [told_by; 32], ..problem(3, at_ms(9)) };
    assert_eq!(ended.note(again(0), Some(&retried)), Ok(None), "the report from before");
    assert!(ended.note(again(1), Some(&retried)).unwrap().unwrap().is_undecided());
    assert_eq!((ended.problems, ended.undecided), (1, 1));
    // What was abandoned are the bytes that stood there: others are nobody's decision yet.
    assert_eq!(ended.clone().note(again(1), Some(&lost)), Ok(None));
    ended.undecided = 0;
    let other = Problem { digest: BlobDigest::from_slice(&[9; 32]).unwrap(), ..again(1) };
    assert!(ended.note(other, Some(&lost)).unwrap().unwrap().is_undecided());
    assert_eq!((ended.problems, ended.undecided), (1, 1));
    ended.problems = PROBLEMS_MAX;
    assert_eq!(ended.note(problem(4, at_ms(9)), None), Err(TooManyProblems));
}

#[test]
fn the_budget_is_shared_by_those_who_work() {
    let with = |rate_per_second| Campaign { rate_per_second, ..campaign() };
    assert_eq!(with(0).rate_of_each(3), 0);
    assert_eq!(with(1_000).rate_of_each(1), 1_000);
    assert_eq!(with(1_000).rate_of_each(3), 333);
    assert_eq!(with(2).rate_of_each(3), 1, "never nothing, which would mean no limit");
}

#[test]
fn a_campaign_is_at_work_in_its_own_stores_until_it_has_ended() {
    let (key, other) = (campaign().key, KeyId::from_bytes([9; 16]));
    let store = |number| StoreNumber::new(number).unwrap();
    for state in CampaignState::ALL {
        let stands = Campaign { state, ..campaign() };
        assert_eq!(stands.is_at_work(key, store(2)), !state.is_final(), "{state}");
        assert!(!stands.is_at_work(key, store(3)), "a store that is not its own");
        assert!(!stands.is_at_work(other, store(2)), "a key that is not its own");
    }
}
