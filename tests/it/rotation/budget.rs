//! What happens by itself happens a bounded number of times in an hour, and nothing waits for ever.

use bulla::custody::{Budget, Witness};
use bulla::keys::{KeyRef, RotationLimit, RotationPeriod, State};
use bulla::policy::Action;
use bulla::service::{Due, UpdateKey};

use super::ladder::{data_key, service};
use super::{DAY, HOUR, SECOND, START, Site};

#[tokio::test]
async fn ten_thousand_keys_that_are_due_at_once_rotate_within_the_budget_and_none_twice() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let mut keys = Vec::new();
    for _ in 0..10_000 {
        keys.push(program.create_key(RotationPeriod::NEVER, Some(START + DAY)).await);
    }
    program.scheduler.look().await.unwrap();
    site.pass(&[&program], DAY);
    let mut hours = 0;
    let mut rotated = 0;
    while rotated < 10_000 {
        let this_hour = program.settle().await;
        assert_eq!(this_hour.failed, 0);
        assert!(this_hour.rotated <= 600, "{} in hour {hours}", this_hour.rotated);
        rotated += this_hour.rotated;
        hours += 1;
        assert!(hours < 20, "{rotated} after {hours} hours");
        site.pass(&[&program], HOUR);
    }
    assert_eq!((rotated, hours), (10_000, 17));
    assert_eq!(program.settle().await.rotated, 0);
    for key in keys {
        assert_eq!(program.states(key).await, [State::Deactivated, State::Active]);
    }
}

#[tokio::test]
async fn a_clock_that_jumps_does_not_begin_a_new_hour_of_the_budget() {
    let site = Site::new().await;
    let few = Budget { rotations_per_hour_max: 3, destructions_per_hour_max: 1 };
    let mut program = site.program_with(few).await;
    for _ in 0..10 {
        program.create_key(RotationPeriod::NEVER, Some(START + SECOND)).await;
    }
    program.scheduler.look().await.unwrap();
    site.pass(&[&program], SECOND);
    assert_eq!(program.settle().await.rotated, 3);
    for _ in 0..24 {
        site.jump(&[&program], HOUR);
        assert_eq!(program.settle().await.rotated, 0);
    }
    drop(program);
    // Nor does another program, or a caller who asks.
    site.clock.advance_ms(60 * SECOND);
    let mut other = site.program_with(few).await;
    assert_eq!(other.settle().await.rotated, 0);
    let asked = other.desk.rotate_due(&other.manager).await.unwrap();
    assert_eq!((asked.rotated.len(), asked.deferred), (0, 7));
    assert!(!asked.more && !asked.deferred_at_least, "asking again at once would do nothing");
}

#[tokio::test]
async fn what_the_budget_puts_off_keeps_a_destruction_waiting_no_longer() {
    let site = Site::new().await;
    let few = Budget { rotations_per_hour_max: 1, destructions_per_hour_max: 1 };
    let mut program = site.program_with(few).await;
    let doomed = program.create_key(RotationPeriod::NEVER, None).await;
    program.rotate(doomed).await.unwrap();
    program.schedule_destroy(doomed, 1).await;
    for _ in 0..500 {
        program.create_key(RotationPeriod::NEVER, Some(START + SECOND)).await;
    }
    program.scheduler.look().await.unwrap();
    site.pass(&[&program], 7 * DAY);
    let mut looks = 0;
    while program.states(doomed).await[0] != State::Destroyed {
        program.scheduler.look().await.unwrap();
        looks += 1;
        assert!(looks < 5, "a destruction waits behind rotations");
    }
}

#[tokio::test]
async fn what_one_call_has_no_time_for_is_counted_and_the_next_goes_on() {
    let site = Site::new().await;
    let program = site.program().await;
    for _ in 0..40 {
        program.create_key(RotationPeriod::NEVER, Some(START)).await;
    }
    // The clock runs on while the call is at work, from one key to the next.
    let call = program.desk.rotate_due(&program.manager);
    tokio::pin!(call);
    let first = futures_util::future::poll_fn(|context| {
        site.pass(&[&program], SECOND);
        call.as_mut().poll(context)
    });
    let first = first.await.unwrap();
    assert!(first.more && !first.rotated.is_empty() && first.deferred > 0, "{}", first.deferred);
    assert_eq!(first.rotated.len() + first.deferred as usize, 40);
    let next = program.desk.rotate_due(&program.manager).await.unwrap();
    assert_eq!((next.rotated.len(), next.deferred, next.more), (first.deferred as usize, 0, false));
}

#[tokio::test]
async fn rotate_due_rotates_what_is_due_in_the_callers_tenant_and_nothing_else() {
    let site = Site::new().await;
    let program = site.program().await;
    let due = program.create_key(RotationPeriod::NEVER, Some(START)).await;
    let later = program.create_key(RotationPeriod::NEVER, Some(START + SECOND)).await;
    let asked = program.desk.rotate_due(&program.manager).await.unwrap();
    assert_eq!(asked.rotated.len(), 1);
    assert_eq!((asked.deferred, asked.failed.len()), (0, 0));
    assert_eq!(program.states(due).await, [State::Deactivated, State::Active]);
    assert_eq!(program.states(later).await, [State::Active]);

    let other = program.custody().add_tenant("other").await.unwrap();
    let foreign = Due::Rotate(other, due);
    assert_ne!(foreign, Due::Rotate(site.tenant, due));
    // A scheduler elsewhere witnesses the time.
    let mut witness = Witness::new(program.custody().new_holder_id().unwrap(), None);
    program.custody().hold(&mut witness).await.unwrap();
    site.pass(&[&program], 60 * SECOND);
    program.custody().hold(&mut witness).await.unwrap();
    let asked = program.desk.rotate_due(&program.manager).await.unwrap();
    assert_eq!(asked.rotated.len(), 1);
    assert!(program.desk.rotate_due(&program.manager).await.unwrap().rotated.is_empty());
}

#[tokio::test]
async fn a_key_that_has_wrapped_as_much_as_it_may_rotates_once() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let app = service(&site, &program).await;
    let key = program.create_key(RotationPeriod::NEVER, None).await;
    let update = UpdateKey {
        key: KeyRef::Id(key),
        key_ring: None,
        description: None,
        tags: None,
        rotation_period: None,
        rotation_wraps: Some(RotationLimit::wraps(100).unwrap()),
        rotation_bytes: None,
        rotation_time: None,
        request: None,
    };
    program.desk.perform_change(&program.manager, Action::UpdateKey, Ok(update)).await.unwrap();
    for wraps in 1..=100 {
        assert_eq!(program.settle().await.rotated, 0, "after {} wraps", wraps - 1);
        data_key(&program, &app, key).await;
        program.custody().fold_census(&program.desk.office().trail).await.unwrap();
    }
    assert_eq!(program.settle().await.rotated, 1);
    assert_eq!(program.states(key).await, [State::Deactivated, State::Active]);
    data_key(&program, &app, key).await;
    program.custody().fold_census(&program.desk.office().trail).await.unwrap();
    assert_eq!(program.settle().await.rotated, 0);
}
