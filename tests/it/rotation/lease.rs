//! One scheduler at a time: who lost the lease commits nothing, and who takes it goes on.

use bulla::custody::{Mandate, Witness};
use bulla::keys::{RotationPeriod, State};
use bulla::service::{Caller, Refusal};
use bulla::store::Store;

use super::{HOUR, SECOND, START, Site};

#[tokio::test]
async fn g05_a_program_that_lost_the_lease_commits_nothing() {
    let site = Site::new().await;
    let (stalled, mut other) = (site.program().await, site.program().await);
    let key = stalled.create_key(RotationPeriod::NEVER, Some(START)).await;
    let mut witness = Witness::new(stalled.custody().new_holder_id().unwrap(), None);
    let lease = stalled.custody().hold(&mut witness).await.unwrap().unwrap();
    assert_eq!(other.scheduler.look().await.unwrap().rotated, 0, "it is another's");

    site.pass(&[&stalled, &other], 31 * SECOND);
    let mandate = Mandate::Lease(lease);
    let scheduler = Caller::scheduler(site.tenant);
    let before = site.store.status().await.unwrap().head;
    let late = stalled.desk.rotate_due_key(&scheduler, key, mandate).await;
    assert!(matches!(late, Err(Refusal::Conflict)), "its time is over, whoever has it now");
    assert_eq!(site.store.status().await.unwrap().head, before);

    assert_eq!(other.scheduler.look().await.unwrap().rotated, 1);
    let late = stalled.desk.rotate_due_key(&scheduler, key, mandate).await;
    assert!(matches!(late, Err(Refusal::Conflict)));
    assert_eq!(stalled.custody().hold(&mut witness).await.unwrap(), None);
    assert_eq!(other.states(key).await, [State::Deactivated, State::Active]);
}

#[tokio::test]
async fn g05_a_change_that_was_begun_under_a_lost_lease_is_not_committed() {
    let site = Site::new().await;
    let (stalled, mut other) = (site.program().await, site.program().await);
    let mut witness = Witness::new(stalled.custody().new_holder_id().unwrap(), None);
    let lease = stalled.custody().hold(&mut witness).await.unwrap().unwrap();
    // It has read the row, and stands still before it commits.
    let turn = stalled.custody().turn(Mandate::Lease(lease)).await.unwrap();
    site.pass(&[&stalled, &other], 31 * SECOND);
    other.scheduler.look().await.unwrap();
    let permit =
        stalled.desk.still_may(&stalled.manager, bulla::policy::Action::CreateKey).await.unwrap();
    let mut changes = stalled.custody().change(&permit).unwrap();
    changes.under(&turn, bulla::custody::Spend::Nothing, &super::BUDGET).unwrap();
    let outcome = changes.commit().await;
    assert!(matches!(outcome, Err(bulla::custody::CustodyError::Conflict)));
}

#[tokio::test]
async fn a_lease_that_was_given_before_the_stores_clock_went_back_holds_nobody_up() {
    let site = Site::new().await;
    let mut first = site.program().await;
    site.jump(&[&first], 10 * HOUR);
    first.scheduler.look().await.unwrap();
    drop(first);
    site.clock.jump_ms(-10 * HOUR);
    let mut second = site.program().await;
    let key = second.create_key(RotationPeriod::NEVER, Some(START)).await;
    assert_eq!(second.settle().await.rotated, 1);
    assert_eq!(second.states(key).await.len(), 2);
}

#[tokio::test]
async fn a_version_is_made_active_only_when_every_program_can_load_it() {
    let site = Site::new().await;
    let (mut leader, mut follower) = (site.program().await, site.program().await);
    let key = leader.create_key(RotationPeriod::NEVER, Some(START)).await;
    leader.scheduler.look().await.unwrap();
    let late = leader.create_key(RotationPeriod::NEVER, Some(START + SECOND)).await;
    // It serves, and has not followed yet.
    follower.scheduler.look().await.unwrap();
    site.pass(&[&leader, &follower], SECOND);

    assert_eq!(leader.states(key).await, [State::Deactivated, State::Active]);
    assert_eq!(leader.settle().await.rotated, 0);
    assert_eq!(leader.states(late).await, [State::Active, State::PreActive]);

    // Killed between preparing and activating: whoever goes on uses what was prepared.
    drop(leader);
    site.pass(&[&follower], 31 * SECOND);
    assert_eq!(follower.settle().await.rotated, 1);
    assert_eq!(follower.states(late).await, [State::Deactivated, State::Active]);
}

#[tokio::test]
async fn a_program_that_is_silent_for_a_minute_is_not_waited_for() {
    let site = Site::new().await;
    let (mut leader, mut follower) = (site.program().await, site.program().await);
    leader.scheduler.look().await.unwrap();
    let key = leader.create_key(RotationPeriod::NEVER, Some(START)).await;
    follower.scheduler.look().await.unwrap();
    drop(follower);
    assert_eq!(leader.settle().await.rotated, 0);
    site.pass(&[&leader], 61 * SECOND);
    assert_eq!(leader.settle().await.rotated, 1);
    assert_eq!(leader.states(key).await, [State::Deactivated, State::Active]);
}
