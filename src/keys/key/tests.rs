//! Tests of [`Key`]: single steps, then whole histories.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::keys::Use;

const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);

fn key() -> (Key, Version) {
    Key::create(KeyId::from_bytes([7; 16]), RotationPeriod::DEFAULT, at(0)).unwrap()
}

fn at(after_ms: u64) -> Present {
    Present::of(NOW.plus_ms(after_ms))
}

#[test]
fn a_rotation_makes_the_next_number_active_and_deactivates_the_former() {
    let (key, first) = key();
    let Succession { key, active, was_prepared, former } =
        key.rotate(&first, None, Reason::none(), at(5)).unwrap();
    assert_eq!((active.number(), active.state(), was_prepared), (2, State::Active, false));
    assert_eq!((former.number(), former.state()), (1, State::Deactivated));
    assert_eq!((key.primary_version, key.latest_version), (2, 2));
    assert_eq!(key.rotate_time, NOW.plus_ms(5));
}

#[test]
fn a_disabled_key_does_not_rotate_but_a_compromise_still_replaces_its_version() {
    let (mut key, first) = key();
    key.disabled = true;
    assert_eq!(key.rotate(&first, None, Reason::none(), at(0)), Err(KeyRefusal::Disabled));
    let (compromised, succession) = key.compromise(&first, Reason::none(), at(0)).unwrap();
    assert_eq!(compromised.state(), State::Compromised);
    assert_eq!(succession.unwrap().active.number(), 2);
}

#[test]
fn a_rotation_makes_the_prepared_version_active_while_it_is_pre_active() {
    let (key, first) = key();
    let (key, second) = key.prepare(None, Reason::none(), at(1)).unwrap().unwrap();
    assert_eq!((second.number(), second.state()), (2, State::PreActive));
    assert_eq!((key.primary_version, key.latest_version), (1, 2));
    assert_eq!(key.prepare(Some(&second), Reason::none(), at(2)), Ok(None));

    let after = key.rotate(&first, Some(&second), Reason::none(), at(3)).unwrap();
    assert_eq!((after.active.number(), after.was_prepared), (2, true));
    assert_eq!(after.active.parts().create_time, NOW.plus_ms(1));
    assert_eq!((after.key.latest_version, after.key.prepared_version), (2, None));

    let aside = second.step(Step::Suspend, Reason::none(), NOW).unwrap();
    let after = key.rotate(&first, Some(&aside), Reason::none(), at(3)).unwrap();
    assert_eq!((after.active.number(), after.was_prepared), (3, false));
    let (_, third) = key.prepare(Some(&aside), Reason::none(), at(3)).unwrap().unwrap();
    assert_eq!(third.number(), 3);

    let (_, succession) = key.compromise(&first, Reason::none(), at(3)).unwrap();
    assert_eq!(succession.unwrap().active.number(), 3, "nobody trusts what was prepared");
}

#[test]
fn g03_a_manual_rotation_begins_the_period_anew_and_clears_only_a_date_that_has_come() {
    let (mut key, first) = key();
    key.rotation_time = Some(NOW.plus_ms(10));
    assert_eq!(key.due_time(), Some(NOW.plus_ms(10)));
    assert_eq!(key.next_rotation_time(), Some(NOW.plus_ms(10)));
    let before = key.rotate(&first, None, Reason::none(), at(9)).unwrap().key;
    assert_eq!(before.rotation_time, Some(NOW.plus_ms(10)));
    let after = key.rotate(&first, None, Reason::none(), at(10)).unwrap().key;
    assert_eq!(after.rotation_time, None);
    let end = RotationPeriod::DEFAULT.end(NOW.plus_ms(10)).unwrap();
    assert_eq!(after.next_rotation_time(), Some(end));
    let early_ms = after.due_time().unwrap().until_ms(end);
    assert!(early_ms <= 24 * 60 * 60 * 1_000, "{early_ms}");
}

#[test]
fn g06_a_wall_clock_that_is_ahead_does_not_put_the_next_rotation_off() {
    let (key, first) = key();
    let ahead = NOW.plus_ms(10 * 365 * 24 * 60 * 60 * 1_000);
    let present = Present::new(ahead, ahead, NOW.plus_ms(5));
    let after = key.rotate(&first, None, Reason::none(), present).unwrap();
    assert_eq!(after.key.rotate_time, NOW.plus_ms(5));
    assert_eq!(after.active.parts().activate_time, Some(ahead), "as the audit log has it");
}

#[test]
fn a_key_is_spent_after_so_many_wraps_or_so_many_bytes() {
    let (mut key, _) = key();
    assert!(!key.is_spent(u64::MAX, u64::MAX));
    key.rotation_wraps = RotationLimit::wraps(100).unwrap();
    key.rotation_bytes = RotationLimit::bytes(10_000).unwrap();
    assert!(!key.is_spent(99, 9_999));
    assert!(key.is_spent(100, 0) && key.is_spent(0, 10_000));
    assert_eq!(
        (key.spent(100, 0), key.spent(0, 10_000)),
        (Some(Trigger::Wraps), Some(Trigger::Bytes))
    );
}

#[test]
fn a_key_is_due_by_its_period_or_by_its_date_whichever_came_first() {
    let (mut key, _) = key();
    let period = key.due_time().unwrap();
    let due = |key: &Key, time: Timestamp| key.due_by_time(Present::of(time));
    assert_eq!(due(&key, period.minus_ms(1)), None);
    assert_eq!(due(&key, period), Some(Trigger::Period));
    key.rotation_time = Some(period.minus_ms(5));
    assert_eq!(due(&key, period.minus_ms(6)), None);
    assert_eq!(due(&key, period.minus_ms(5)), Some(Trigger::Date));
    assert_eq!(due(&key, period), Some(Trigger::Date));
    key.rotation_time = Some(period.plus_ms(5));
    assert_eq!(due(&key, period.plus_ms(9)), Some(Trigger::Period));
}

#[test]
fn version_numbers_end_and_never_wrap_around() {
    let (mut key, first) = key();
    key.latest_version = u32::MAX;
    assert_eq!(key.rotate(&first, None, Reason::none(), at(0)), Err(KeyRefusal::OutOfVersions));
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Prepare,
    Rotate,
    Step(Step, usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let step = prop::sample::select(Step::ALL.to_vec());
    let act = prop_oneof![
        1 => Just(Act::Prepare),
        2 => Just(Act::Rotate),
        5 => (step, any::<prop::sample::Index>())
            .prop_map(|(step, at)| Act::Step(step, at.index(1 << 16))),
    ];
    prop::collection::vec(act, 0..60)
}

proptest! {
    #[test]
    fn whatever_is_done_a_key_keeps_its_invariants(acts in acts()) {
        let (mut key, first) = key();
        let mut versions = BTreeMap::from([(1, first)]);
        let mut destroyed = Vec::new();
        let mut compromised = Vec::new();
        for (at, act) in acts.into_iter().enumerate() {
            let now = NOW.plus_ms(at as u64);
            let present = Present::of(now);
            let prepared = key.prepared_version.map(|number| versions[&number].clone());
            match act {
                Act::Prepare => {
                    let made = key.prepare(prepared.as_ref(), Reason::none(), present);
                    if let Ok(Some((after, version))) = made {
                        prop_assert!(!versions.contains_key(&version.number()));
                        key = after;
                        versions.insert(version.number(), version);
                    }
                }
                Act::Rotate => {
                    let primary = versions[&key.primary_version].clone();
                    let rotated =
                        key.rotate(&primary, prepared.as_ref(), Reason::none(), present);
                    if let Ok(after) = rotated {
                        let number = after.active.number();
                        prop_assert_eq!(versions.contains_key(&number), after.was_prepared);
                        prop_assert_eq!(after.key.prepared_version, None);
                        key = after.key;
                        versions.insert(after.former.number(), after.former);
                        versions.insert(after.active.number(), after.active);
                    }
                }
                // Only a rotation activates or supersedes.
                Act::Step(Step::Activate | Step::Supersede, _) => {}
                Act::Step(Step::Compromise, which) => {
                    let number = 1 + (which % versions.len()) as u32;
                    let done = key.compromise(&versions[&number], Reason::none(), present);
                    if let Ok((version, succession)) = done {
                        versions.insert(number, version);
                        if let Some(after) = succession {
                            key = after.key;
                            versions.insert(after.active.number(), after.active);
                        }
                    }
                }
                Act::Step(step, which) => {
                    let number = 1 + (which % versions.len()) as u32;
                    if let Ok(after) = versions[&number].step(step, Reason::none(), now) {
                        versions.insert(number, after);
                    }
                }
            }
            let active: Vec<_> =
                versions.values().filter(|v| v.allows(Use::Wrap)).map(Version::number).collect();
            prop_assert!(active.len() <= 1, "two versions wrap: {active:?}");
            prop_assert!(active.iter().all(|number| *number == key.primary_version));
            let numbers: Vec<_> = versions.keys().copied().collect();
            prop_assert_eq!(numbers, (1..=key.latest_version).collect::<Vec<_>>());
            for number in &destroyed {
                let state = versions[number].state();
                prop_assert_eq!(state, State::Destroyed, "destroyed stays destroyed");
            }
            for number in &compromised {
                let version: &Version = &versions[number];
                prop_assert!(
                    version.state() == State::Compromised
                        || version.state() == State::Destroyed
                        || version.parts().former_state == Some(State::Compromised),
                    "compromised is never undone"
                );
            }
            for (number, version) in &versions {
                Version::from_parts(version.parts().clone()).unwrap();
                match version.state() {
                    State::Destroyed => destroyed.push(*number),
                    State::Compromised => compromised.push(*number),
                    _ => {}
                }
            }
        }
    }
}
