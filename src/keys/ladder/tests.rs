//! Tests of [`Ladder`]: one version climbs, is held up, is hit.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use proptest::prelude::*;

use super::*;
use crate::keys::Version;

const START: Timestamp = Timestamp::from_unix_ms(1_790_000_000_000);
const HOUR_MS: u64 = 60 * 60 * 1_000;
const PARTS: LadderParts = LadderParts {
    restrict_after_ms: HOUR_MS,
    brownouts: 2,
    brownout_length_ms: HOUR_MS / 4,
    brownout_after_ms: 2 * HOUR_MS,
    suspend_after_ms: 3 * HOUR_MS,
    destroy_after_ms: 4 * HOUR_MS,
    destroy_wait: DestroyWait::DEFAULT,
};

fn ladder() -> Ladder {
    Ladder::from_parts(PARTS).unwrap()
}

/// A version on a ladder, and the clock.
struct Climber {
    ladder: Ladder,
    version: Version,
    place: Place,
    now: Timestamp,
}

impl Climber {
    fn new() -> Self {
        let active = Version::pre_active(1, Reason::none(), START)
            .step(Step::Activate, Reason::none(), START)
            .unwrap();
        let version = active.step(Step::Supersede, Reason::none(), START).unwrap();
        let place = Place::waiting(Present::of(START));
        Self { ladder: ladder(), version, place, now: START }
    }

    fn look(&mut self, is_safe: bool, hit: Option<&str>) -> Option<Step> {
        let hit = hit.map(|principal| Hit { principal: principal.to_owned(), time: self.now });
        let standing = Standing { state: self.version.state(), is_safe, hit, sequence: 7 };
        let climb = self.ladder.next(&self.place, &standing, Present::of(self.now))?;
        self.place = climb.place;
        let (step, reason) = climb.step?;
        self.version = self.version.step(step, reason, self.now).unwrap();
        Some(step)
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.plus_ms(millis);
    }
}

#[test]
fn a_version_that_nobody_needs_climbs_to_its_destruction_step_by_step() {
    let mut climber = Climber::new();
    assert_eq!(climber.look(false, None), None);
    assert_eq!(climber.place.step_time, None, "it holds something");
    assert_eq!(climber.look(true, None), None);
    assert_eq!(climber.place.step_time, Some(START), "seen to be empty");
    let expected = [
        (HOUR_MS, Step::Restrict, State::RewrapOnly, "brownout 1 of 2"),
        (2 * HOUR_MS, Step::Suspend, State::Suspended, "end of brownout 1 of 2"),
        (HOUR_MS / 4, Step::Resume, State::RewrapOnly, "brownout 2 of 2"),
        (2 * HOUR_MS, Step::Suspend, State::Suspended, "end of brownout 2 of 2"),
        (HOUR_MS / 4, Step::Resume, State::RewrapOnly, "suspend"),
        (3 * HOUR_MS, Step::Suspend, State::Suspended, "schedule destruction"),
        (4 * HOUR_MS, Step::ScheduleDestroy, State::DestroyScheduled, ""),
    ];
    for (wait_ms, step, state, next) in expected {
        climber.wait(wait_ms - 1);
        assert_eq!(climber.look(true, None), None, "too early for {step:?}");
        climber.wait(1);
        assert_eq!(climber.look(true, None), Some(step));
        assert_eq!(climber.version.state(), state);
        assert_eq!(climber.ladder.next_step(&climber.place), next);
    }
    climber.version = climber.version.step(Step::Destroy, Reason::none(), climber.now).unwrap();
    assert_eq!(climber.look(true, None), None);
    assert_eq!(climber.place.due_time(), None, "it is over");
}

#[test]
fn a_refusal_gives_the_last_step_back_and_names_who_was_refused() {
    // The looks until a rung, and what a hit there undoes.
    let undone = [
        (2, Some(Step::Unrestrict), State::Deactivated),
        (3, Some(Step::Resume), State::RewrapOnly),
        (4, Some(Step::Unrestrict), State::Deactivated),
        (7, Some(Step::Resume), State::RewrapOnly),
        (8, Some(Step::CancelDestroy), State::Suspended),
    ];
    for (looks, step, state) in undone {
        let mut climber = Climber::new();
        for _ in 0..looks {
            climber.look(true, None);
            climber.wait(5 * HOUR_MS);
        }
        assert_eq!(climber.look(true, Some("spiffe://demo.bulla/app")), step);
        assert_eq!(climber.version.state(), state);
        let reason = climber.place.pause_reason.as_str().to_owned();
        assert!(reason.starts_with("spiffe://demo.bulla/app was refused"), "{reason}");
        assert_eq!(climber.place.due_time(), None);
        climber.wait(100 * HOUR_MS);
        assert_eq!(climber.look(true, None), None, "until somebody lets it go on");

        let rung = Rung::of_state(climber.version.state(), climber.place.rung).unwrap();
        let place = Place { rung, ..climber.place.clone() };
        climber.place = climber.ladder.resume(&place, 9, Present::of(climber.now));
        for _ in 0..20 {
            climber.look(true, None);
            climber.wait(5 * HOUR_MS);
        }
        assert_eq!(climber.version.state(), State::DestroyScheduled);
    }
}

#[test]
fn a_version_that_is_not_safe_goes_no_further_but_a_brownout_ends() {
    let mut climber = Climber::new();
    for _ in 0..3 {
        climber.look(true, None);
        climber.wait(5 * HOUR_MS);
    }
    assert_eq!(climber.place.rung, Rung::Brownout);
    assert_eq!(climber.look(false, None), Some(Step::Resume));
    climber.wait(1_000 * HOUR_MS);
    assert_eq!(climber.look(false, None), None);
    assert_eq!(climber.version.state(), State::RewrapOnly);
}

#[test]
fn a_step_that_somebody_else_took_pauses_the_ladder() {
    let mut climber = Climber::new();
    climber.version = climber.version.step(Step::Compromise, Reason::none(), START).unwrap();
    assert_eq!(climber.look(true, None), None);
    assert!(climber.place.pause_reason.as_str().contains("COMPROMISED"));
    assert_eq!(Rung::of_state(State::Compromised, Rung::Waiting), None);
}

#[test]
fn the_waits_and_the_brownouts_have_limits() {
    let field = |parts| Ladder::from_parts(parts).map_err(|(field, _)| field);
    for (parts, expected) in [
        (LadderParts { restrict_after_ms: 0, ..PARTS }, "restrict_after"),
        (LadderParts { brownouts: 101, ..PARTS }, "brownouts"),
        (LadderParts { brownout_length_ms: DAY_MS + 1, ..PARTS }, "brownout_length"),
        (LadderParts { brownouts: 0, ..PARTS }, "brownout_after"),
        (LadderParts { suspend_after_ms: 366 * DAY_MS, ..PARTS }, "suspend_after"),
        (LadderParts { destroy_after_ms: 59_999, ..PARTS }, "destroy_after"),
    ] {
        assert_eq!(field(parts), Err(expected));
    }
    let none = LadderParts { brownouts: 0, brownout_after_ms: 0, brownout_length_ms: 0, ..PARTS };
    assert!(field(none).is_ok());
}

proptest! {
    /// Whatever is found at each look, every step is legal, and none that takes something away is
    /// taken while the version is not safe or before its wait is over.
    #[test]
    fn no_step_takes_anything_away_unless_it_is_safe(
        looks in prop::collection::vec((any::<bool>(), 0_u8..10, 0..8 * HOUR_MS), 1..80)
    ) {
        let mut climber = Climber::new();
        for (is_safe, hit, wait_ms) in looks {
            let next = climber.place.next_time;
            let hit = (hit == 0).then_some("spiffe://demo.bulla/app");
            let step = climber.look(is_safe, hit);
            if matches!(step, Some(Step::Restrict | Step::Suspend | Step::ScheduleDestroy)) {
                // Before the first step a refusal is no sign of anything but what RetireCheck knows.
                prop_assert!(is_safe && (hit.is_none() || step == Some(Step::Restrict)));
                prop_assert!(next.unwrap() <= climber.now);
            }
            prop_assert!(climber.place.is_paused() || climber.place.rung.fits(climber.version.state()));
            climber.wait(wait_ms);
        }
    }
}
