//! One generation of a key's material, without the material: its number, state and times.

use crate::keys::Timestamp;
use crate::keys::name::Reason;
use crate::keys::schedule::DestroyWait;
use crate::keys::state::{Becomes, State, Step, Use};

/// A version. Its state changes only through [`Version::step`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    parts: VersionParts,
}

/// What a version is made of, for storing it and for reading it back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VersionParts {
    /// Dense from 1, never reused.
    pub number: u32,
    /// Where it stands.
    pub state: State,
    /// What it goes back to, while it is Suspended or DestroyScheduled.
    pub former_state: Option<State>,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it became Active, if it did.
    pub activate_time: Option<Timestamp>,
    /// When another became Active in its place, if one did.
    pub deactivate_time: Option<Timestamp>,
    /// When its material will be destroyed, or was.
    pub destroy_time: Option<Timestamp>,
    /// When its state last changed.
    pub state_time: Timestamp,
    /// What was given as the reason then.
    pub reason: Reason,
}

/// The table of legal steps has no such step from there.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot {} version {version}, which is {state}", .step.name())]
pub struct IllegalStep {
    /// The version.
    pub version: u32,
    /// Where it stands.
    pub state: State,
    /// What was asked.
    pub step: Step,
}

/// The parts do not fit each other: they were never written by this program.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the parts of the version contradict each other")]
pub struct Inconsistent;

// === impl Version ===

impl Version {
    /// A new version that nobody uses yet.
    pub fn pre_active(number: u32, reason: Reason, now: Timestamp) -> Self {
        Self {
            parts: VersionParts {
                number,
                state: State::PreActive,
                former_state: None,
                create_time: now,
                activate_time: None,
                deactivate_time: None,
                destroy_time: None,
                state_time: now,
                reason,
            },
        }
    }

    /// A version as it was stored.
    pub fn from_parts(parts: VersionParts) -> Result<Self, Inconsistent> {
        let former_fits = match (parts.state, parts.former_state) {
            (State::Suspended, Some(former)) => former.can_be_former(),
            (State::DestroyScheduled, Some(former)) => {
                former.can_be_former() || former == State::Compromised
            }
            (State::Suspended | State::DestroyScheduled, None) => false,
            (_, former) => former.is_none(),
        };
        let doomed = matches!(parts.state, State::DestroyScheduled | State::Destroyed);
        if parts.number > 0 && former_fits && doomed == parts.destroy_time.is_some() {
            Ok(Self { parts })
        } else {
            Err(Inconsistent)
        }
    }

    /// Takes a step at `now`, if it is legal. The only way in which a state changes.
    ///
    /// Destruction that is scheduled here waits for [`DestroyWait::DEFAULT`]; see
    /// [`Version::schedule_destroy`] for another wait.
    pub fn step(&self, step: Step, reason: Reason, now: Timestamp) -> Result<Self, IllegalStep> {
        let from = self.parts.state;
        let refused = IllegalStep { version: self.parts.number, state: from, step };
        let becomes = step.from(from).ok_or(refused)?;
        let mut parts = self.parts.clone();
        (parts.state, parts.former_state) = match becomes {
            Becomes::SupersededWhileAside => {
                if parts.former_state == Some(State::Active) {
                    parts.former_state = Some(State::Deactivated);
                    parts.deactivate_time = Some(now);
                }
                return Ok(Self { parts });
            }
            Becomes::Former => (parts.former_state.ok_or(refused)?, None),
            Becomes::SuspendedUnlessCompromised => match parts.former_state {
                Some(State::Compromised) => (State::Compromised, None),
                former => (State::Suspended, former),
            },
            Becomes::Now(state @ (State::Suspended | State::DestroyScheduled)) => {
                // What was already set aside keeps what it goes back to.
                (state, Some(parts.former_state.unwrap_or(from)))
            }
            Becomes::Now(state) => (state, None),
        };
        match step {
            Step::Activate => parts.activate_time = Some(now),
            Step::Supersede => parts.deactivate_time = Some(now),
            Step::ScheduleDestroy => parts.destroy_time = Some(DestroyWait::DEFAULT.after(now)),
            Step::CancelDestroy => parts.destroy_time = None,
            Step::Destroy => parts.destroy_time = Some(now),
            Step::Restrict | Step::Unrestrict | Step::Suspend | Step::Resume => {}
            Step::Compromise => {}
        }
        parts.state_time = now;
        parts.reason = reason;
        Ok(Self { parts })
    }

    /// Takes [`Step::ScheduleDestroy`], due after `wait`.
    pub fn schedule_destroy(
        &self,
        wait: DestroyWait,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Self, IllegalStep> {
        let mut scheduled = self.step(Step::ScheduleDestroy, reason, now)?;
        scheduled.parts.destroy_time = Some(wait.after(now));
        Ok(scheduled)
    }

    /// Whether its state allows this use, its key being enabled.
    pub fn allows(&self, wanted: Use) -> bool {
        self.parts.state.allows(wanted)
    }

    /// Whether its destruction is scheduled and due.
    pub fn destroy_is_due(&self, now: Timestamp) -> bool {
        self.parts.state == State::DestroyScheduled
            && self.parts.destroy_time.is_some_and(|due| due <= now)
    }

    /// The number.
    pub fn number(&self) -> u32 {
        self.parts.number
    }

    /// The state.
    pub fn state(&self) -> State {
        self.parts.state
    }

    /// Everything, for storing and for showing it.
    pub fn parts(&self) -> &VersionParts {
        &self.parts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used)]
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);

    /// DESIGN section 2's table, written out a second time: every pair that is not here must be refused.
    fn legal(from: State, step: Step) -> Option<State> {
        use State::*;
        match (from, step) {
            (PreActive, Step::Activate) => Some(Active),
            (Active, Step::Supersede) => Some(Deactivated),
            (Deactivated, Step::Restrict) => Some(RewrapOnly),
            (RewrapOnly, Step::Unrestrict) => Some(Deactivated),
            (PreActive | Active | Deactivated | RewrapOnly, Step::Suspend) => Some(Suspended),
            (PreActive | Active | Deactivated | RewrapOnly | Suspended, Step::Compromise) => {
                Some(Compromised)
            }
            (
                PreActive | Deactivated | RewrapOnly | Suspended | Compromised,
                Step::ScheduleDestroy,
            ) => Some(DestroyScheduled),
            (Suspended, Step::Resume) => Some(Deactivated),
            (Suspended, Step::Supersede) => Some(Suspended),
            (DestroyScheduled, Step::CancelDestroy) => Some(Suspended),
            (DestroyScheduled, Step::Supersede) => Some(DestroyScheduled),
            (DestroyScheduled, Step::Destroy) => Some(Destroyed),
            _ => None,
        }
    }

    fn standing_at(state: State) -> Version {
        let aside = matches!(state, State::Suspended | State::DestroyScheduled);
        let doomed = matches!(state, State::DestroyScheduled | State::Destroyed);
        Version::from_parts(VersionParts {
            state,
            former_state: aside.then_some(State::Deactivated),
            destroy_time: doomed.then_some(NOW),
            ..Version::pre_active(3, Reason::none(), NOW).parts
        })
        .unwrap()
    }

    #[test]
    fn every_step_from_every_state_is_allowed_or_refused_as_the_design_says() {
        let mut allowed = 0;
        for from in State::ALL {
            for step in Step::ALL {
                let after = standing_at(from).step(step, Reason::none(), NOW.plus_ms(1));
                match (legal(from, step), after) {
                    (Some(to), Ok(version)) => {
                        allowed += 1;
                        assert_eq!(version.state(), to, "{from} {step:?}");
                        Version::from_parts(version.parts).unwrap();
                    }
                    (None, Err(refused)) => {
                        assert_eq!((refused.state, refused.step), (from, step));
                    }
                    (expected, got) => panic!("{from} {step:?}: {expected:?} {got:?}"),
                }
            }
        }
        assert_eq!(allowed, 23);
    }

    #[test]
    fn each_state_allows_what_the_design_says_and_no_more() {
        let table = [
            (State::PreActive, [false, false, false]),
            (State::Active, [true, true, true]),
            (State::Deactivated, [false, true, true]),
            (State::RewrapOnly, [false, false, true]),
            (State::Suspended, [false, false, false]),
            (State::Compromised, [false, false, true]),
            (State::DestroyScheduled, [false, false, false]),
            (State::Destroyed, [false, false, false]),
        ];
        for (state, expected) in table {
            let uses = [Use::Wrap, Use::Decrypt, Use::ReEncryptFrom];
            assert_eq!(uses.map(|wanted| state.allows(wanted)), expected, "{state}");
        }
    }

    #[test]
    fn a_suspended_version_goes_back_to_what_it_was() {
        for former in [State::PreActive, State::Active, State::Deactivated, State::RewrapOnly] {
            let version = standing_at(former);
            let suspended = version.step(Step::Suspend, Reason::none(), NOW).unwrap();
            let resumed = suspended.step(Step::Resume, Reason::none(), NOW).unwrap();
            assert_eq!(resumed.state(), former);
        }
    }

    #[test]
    fn a_cancelled_destruction_leaves_the_version_suspended_and_it_can_go_back() {
        let version = standing_at(State::RewrapOnly);
        let scheduled = version.step(Step::ScheduleDestroy, Reason::none(), NOW).unwrap();
        let cancelled = scheduled.step(Step::CancelDestroy, Reason::none(), NOW).unwrap();
        assert_eq!(cancelled.state(), State::Suspended);
        assert_eq!(cancelled.parts().destroy_time, None);
        let resumed = cancelled.step(Step::Resume, Reason::none(), NOW).unwrap();
        assert_eq!(resumed.state(), State::RewrapOnly);
    }

    #[test]
    fn a_compromised_version_stays_compromised_when_its_destruction_is_cancelled() {
        let scheduled = standing_at(State::Compromised)
            .step(Step::ScheduleDestroy, Reason::none(), NOW)
            .unwrap();
        let cancelled = scheduled.step(Step::CancelDestroy, Reason::none(), NOW).unwrap();
        assert_eq!(cancelled.state(), State::Compromised);
    }

    #[test]
    fn a_version_suspended_while_active_comes_back_deactivated_once_another_is_active() {
        let suspended =
            standing_at(State::Active).step(Step::Suspend, Reason::none(), NOW).unwrap();
        let superseded = suspended.step(Step::Supersede, Reason::none(), NOW).unwrap();
        let resumed = superseded.step(Step::Resume, Reason::none(), NOW).unwrap();
        assert_eq!(resumed.state(), State::Deactivated);
    }

    #[test]
    fn destruction_is_due_at_its_time_and_not_a_millisecond_before() {
        let wait = DestroyWait::from_ms(DestroyWait::MIN_MS).unwrap();
        let version =
            standing_at(State::Deactivated).schedule_destroy(wait, Reason::none(), NOW).unwrap();
        assert!(!version.destroy_is_due(NOW.plus_ms(DestroyWait::MIN_MS - 1)));
        assert!(version.destroy_is_due(NOW.plus_ms(DestroyWait::MIN_MS)));
        assert!(!standing_at(State::Destroyed).destroy_is_due(NOW.plus_ms(u64::MAX)));
    }

    #[test]
    fn parts_that_contradict_each_other_are_refused() {
        let good = standing_at(State::Suspended).parts;
        for parts in [
            VersionParts { number: 0, ..good.clone() },
            VersionParts { former_state: None, ..good.clone() },
            VersionParts { former_state: Some(State::Compromised), ..good.clone() },
            VersionParts { former_state: Some(State::Destroyed), ..good.clone() },
            VersionParts { state: State::Active, ..good.clone() },
            VersionParts { destroy_time: Some(NOW), ..good.clone() },
            VersionParts { state: State::DestroyScheduled, ..good },
        ] {
            assert_eq!(Version::from_parts(parts), Err(Inconsistent));
        }
    }
}
