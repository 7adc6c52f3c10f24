//! Clocks that jump, stand still, drift and disagree: nothing is destroyed early, nothing rotates
//! twice, and a fleet does not rotate because a clock says so.

use bulla::custody::Witness;
use bulla::keys::{DestroyWait, RotationPeriod, State, Timestamp};
use bulla::rotation::Scheduler;

use super::{DAY, HOUR, Program, SECOND, START, Site, YEARS_10};

const NONE: super::Done =
    super::Done { rotated: 0, destroyed: 0, climbed: 0, failed: 0, deferred: 0 };
const WAIT: i64 = DestroyWait::MIN_MS as i64;

/// 20 keys that rotate every 90 days, and one whose first version is to be destroyed in 7 days.
async fn fleet(program: &Program) -> (Vec<bulla::keys::KeyId>, bulla::keys::KeyId) {
    let mut keys = Vec::new();
    for _ in 0..20 {
        keys.push(program.create_key(RotationPeriod::DEFAULT, None).await);
    }
    let doomed = program.create_key(RotationPeriod::NEVER, None).await;
    program.rotate(doomed).await.unwrap();
    program.schedule_destroy(doomed, 1).await;
    (keys, doomed)
}

#[tokio::test]
async fn keys_rotate_once_a_period_and_versions_are_destroyed_when_their_wait_is_over() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let (keys, doomed) = fleet(&program).await;
    assert_eq!(program.settle().await, NONE);

    site.pass(&[&program], WAIT - HOUR);
    assert_eq!(program.settle().await, NONE);
    site.pass(&[&program], HOUR);
    assert_eq!(program.settle().await.destroyed, 1);
    assert_eq!(program.states(doomed).await, [State::Destroyed, State::Active]);

    // Not all in the same second, and all of them within the last day.
    site.pass(&[&program], 82 * DAY);
    let mut by_hour = Vec::new();
    for _ in 0..25 {
        by_hour.push(program.settle().await.rotated);
        site.pass(&[&program], HOUR);
    }
    assert_eq!(by_hour.iter().sum::<u32>(), 20, "{by_hour:?}");
    assert!(by_hour.iter().all(|rotated| *rotated < 20), "{by_hour:?}");
    for key in &keys {
        assert_eq!(program.states(*key).await, [State::Deactivated, State::Active]);
    }
    assert_eq!(program.settle().await, NONE);
}

#[tokio::test]
async fn g06_a_clock_ten_years_ahead_rotates_and_destroys_nothing() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let (keys, doomed) = fleet(&program).await;
    program.settle().await;
    site.jump(&[&program], YEARS_10);
    for _ in 0..48 {
        assert_eq!(program.settle().await, NONE);
        site.pass(&[&program], HOUR);
    }
    // What is asked for meanwhile does not lose its schedule.
    program.rotate(keys[0]).await.unwrap();
    let next = program.next_rotation_time(keys[0]).await.unwrap();
    assert!(next < START + 93 * DAY, "{next}");

    // The same while the clock stays wrong: by the time that passes, but for what a clock is slewed.
    site.pass(&[&program], WAIT - 48 * HOUR - 400 * SECOND);
    assert_eq!(program.settle().await, NONE);
    site.pass(&[&program], HOUR);
    assert_eq!(program.settle().await.destroyed, 1);
    site.jump(&[&program], -YEARS_10);
    assert_eq!(program.settle().await, NONE);
    assert_eq!(program.states(doomed).await, [State::Destroyed, State::Active]);
}

#[tokio::test]
async fn g09_a_wait_that_begins_while_the_clock_is_behind_is_not_cut_short() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let doomed = program.create_key(RotationPeriod::NEVER, None).await;
    program.settle().await;
    site.jump(&[&program], -YEARS_10);
    program.settle().await;
    program.rotate(doomed).await.unwrap();
    program.schedule_destroy(doomed, 1).await;
    site.jump(&[&program], YEARS_10);
    site.pass(&[&program], WAIT - HOUR);
    assert_eq!(program.settle().await, NONE);
    site.pass(&[&program], 2 * HOUR);
    assert_eq!(program.settle().await.destroyed, 1);
}

#[tokio::test]
async fn j09_a_clock_ten_years_behind_does_nothing_and_then_everything_once() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let (keys, _) = fleet(&program).await;
    program.settle().await;
    site.jump(&[&program], -YEARS_10);
    site.pass(&[&program], 100 * DAY);
    assert_eq!(program.settle().await, NONE);
    site.jump(&[&program], YEARS_10);
    let done = program.settle().await;
    assert_eq!((done.rotated, done.destroyed), (20, 1));
    assert_eq!(program.settle().await, NONE);
    assert_eq!(program.states(keys[0]).await.len(), 2);
}

#[tokio::test]
async fn j09_a_clock_that_stands_still_does_nothing_until_it_goes_again() {
    let site = Site::new().await;
    let mut program = site.program().await;
    fleet(&program).await;
    program.settle().await;
    for _ in 0..100 {
        site.pass(&[&program], DAY);
        site.jump(&[&program], -DAY);
        assert_eq!(program.scheduler.look().await.unwrap(), NONE);
    }
    site.jump(&[&program], 100 * DAY);
    let done = program.settle().await;
    assert_eq!((done.rotated, done.destroyed), (20, 1));
}

#[tokio::test]
async fn j09_a_clock_that_drifts_changes_nothing_by_more_than_its_drift() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let (_, doomed) = fleet(&program).await;
    // An hour a day too fast: after 7 days of running the clock says 7 hours more.
    for _ in 0..6 {
        program.settle().await;
        site.pass(&[&program], DAY);
        site.jump(&[&program], HOUR);
    }
    site.pass(&[&program], 18 * HOUR);
    assert_eq!(program.settle().await, NONE, "the clock says that it is time");
    assert_eq!(program.states(doomed).await[0], State::DestroyScheduled);
    site.pass(&[&program], 6 * HOUR);
    assert_eq!(program.settle().await.destroyed, 1);
}

#[tokio::test]
async fn g06_two_programs_whose_clocks_disagree_do_nothing_before_both_clocks_would() {
    let site = Site::new().await;
    let mut right = site.program().await;
    fleet(&right).await;
    let mut wrong = site.program().await;
    wrong.clock.jump_ms(YEARS_10);
    for _ in 0..6 * 24 {
        assert_eq!(right.settle().await, NONE);
        assert_eq!(wrong.settle().await, NONE);
        site.pass(&[&right, &wrong], HOUR);
        // The lease goes back and forth: each is silent for an hour in turn.
        assert_eq!(wrong.settle().await, NONE);
    }
    site.pass(&[&right, &wrong], 2 * DAY);
    let done = (right.settle().await.destroyed, wrong.settle().await.destroyed);
    assert!(done == (1, 0) || done == (0, 1), "{done:?}");
}

#[tokio::test]
async fn j09_starting_again_and_again_after_a_jump_gains_a_day_once() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let (_, doomed) = fleet(&program).await;
    program.settle().await;
    drop(program);
    site.clock.jump_ms(YEARS_10);
    for _ in 0..200 {
        // Long enough that the lease of the one before is over.
        site.clock.advance_ms(60 * SECOND);
        let mut again = site.program().await;
        assert_eq!(again.settle().await, NONE);
    }
    // 200 minutes went by, and the day that a clock is believed after a silence.
    let mut program = site.program().await;
    site.clock.advance_ms(60 * SECOND);
    assert_eq!(program.settle().await, NONE);
    site.pass(&[&program], WAIT - DAY - 4 * HOUR);
    assert_eq!(program.settle().await, NONE);
    site.pass(&[&program], 4 * HOUR);
    assert_eq!(program.settle().await.destroyed, 1);
    assert_eq!(program.states(doomed).await, [State::Destroyed, State::Active]);
}

#[tokio::test]
async fn a_program_that_was_down_for_an_hour_does_what_was_due_meanwhile() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let due = program.create_key(RotationPeriod::NEVER, Some(START + HOUR / 2)).await;
    program.settle().await;
    drop(program);
    site.clock.advance_ms(HOUR);
    let mut program = site.program().await;
    assert_eq!(program.settle().await.rotated, 1);
    assert_eq!(program.states(due).await, [State::Deactivated, State::Active]);
}

#[tokio::test]
async fn a_clock_that_somebody_answers_for_is_believed_up_to_then_and_no_further() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let (_, doomed) = fleet(&program).await;
    program.settle().await;
    drop(program);
    // Switched off for a month: a program that starts again has seen a day of it at most.
    site.clock.advance_ms(30 * DAY);
    let mut unsure = site.program().await;
    assert_eq!(unsure.settle().await, NONE);
    drop(unsure);
    site.clock.advance_ms(60 * SECOND);
    let mut program = site.program().await;
    let holder = program.custody().new_holder_id().unwrap();
    let now = Timestamp::from_unix_ms(START + 30 * DAY);
    program.scheduler = Scheduler::new(program.desk.clone(), Witness::new(holder, Some(now)));
    assert_eq!(program.settle().await.destroyed, 1);
    assert_eq!(program.states(doomed).await, [State::Destroyed, State::Active]);
    site.jump(&[&program], YEARS_10);
    assert_eq!(program.settle().await, NONE);
}
