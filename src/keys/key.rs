//! A key as a whole: what describes it, and the steps that touch more than one of its versions.

use crate::keys::name::{Alias, Description, KeyRing, Reason, Tags};
use crate::keys::schedule::RotationPeriod;
use crate::keys::state::{State, Step};
use crate::keys::version::{IllegalStep, Version};
use crate::keys::{KeyId, Timestamp};

/// A key without its versions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// Immutable.
    pub id: KeyId,
    /// The ring it lives in, if any.
    pub key_ring: Option<KeyRing>,
    /// What it is for.
    pub description: Description,
    /// Tags.
    pub tags: Tags,
    /// The names that point at it, in the order they were given.
    pub aliases: Vec<Alias>,
    /// Whether it was disabled as a whole.
    pub disabled: bool,
    /// The version that was last made Active, wherever it stands now.
    pub primary_version: u32,
    /// The highest number ever used.
    pub latest_version: u32,
    /// How often it rotates by itself.
    pub rotation_period: RotationPeriod,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last rotated, or made.
    pub rotate_time: Timestamp,
}

/// A new Active version and what became of the one before it: one commit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Succession {
    /// The key after it.
    pub key: Key,
    /// The new Active version.
    pub active: Version,
    /// The former primary version as it now stands.
    pub former: Version,
}

/// Why a step that touches a whole key is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyRefusal {
    /// The key is disabled.
    #[error("the key is disabled")]
    Disabled,
    /// All 4,294,967,295 version numbers are used.
    #[error("the key has used every version number")]
    OutOfVersions,
    /// One of its versions cannot take the step.
    #[error(transparent)]
    Illegal(#[from] IllegalStep),
}

// === impl Key ===

impl Key {
    /// A new key and its version 1, which is Active.
    pub fn create(
        id: KeyId,
        rotation_period: RotationPeriod,
        now: Timestamp,
    ) -> Result<(Self, Version), IllegalStep> {
        let first = Version::pre_active(FIRST_VERSION, Reason::none(), now);
        let active = first.step(Step::Activate, Reason::none(), now)?;
        let key = Self {
            id,
            key_ring: None,
            description: Description::default(),
            tags: Tags::default(),
            aliases: Vec::new(),
            disabled: false,
            primary_version: FIRST_VERSION,
            latest_version: FIRST_VERSION,
            rotation_period,
            create_time: now,
            rotate_time: now,
        };
        Ok((key, active))
    }

    /// Makes a new Active version in place of `primary`, which must be the key's primary version.
    pub fn rotate(
        &self,
        primary: &Version,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Succession, KeyRefusal> {
        if self.disabled {
            return Err(KeyRefusal::Disabled);
        }
        let former = match primary.state() {
            // It was already put out of use for good: there is nothing to supersede.
            State::Compromised | State::Destroyed => primary.clone(),
            _ => primary.step(Step::Supersede, reason.clone(), now)?,
        };
        self.succeed(former, reason, now)
    }

    /// Marks `version` as compromised. If it was Active, another takes its place at once: a disabled
    /// key too gets its new version, since a leak does not wait.
    pub fn compromise(
        &self,
        version: &Version,
        reason: Reason,
        now: Timestamp,
    ) -> Result<(Version, Option<Succession>), KeyRefusal> {
        let was_active = version.state() == State::Active;
        let compromised = version.step(Step::Compromise, reason.clone(), now)?;
        let succession =
            if was_active { Some(self.succeed(compromised.clone(), reason, now)?) } else { None };
        Ok((compromised, succession))
    }

    /// When it rotates by itself next.
    pub fn next_rotation_time(&self) -> Option<Timestamp> {
        self.rotation_period.next(self.rotate_time)
    }

    fn succeed(
        &self,
        former: Version,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Succession, KeyRefusal> {
        let number = self.latest_version.checked_add(1).ok_or(KeyRefusal::OutOfVersions)?;
        let made = Version::pre_active(number, reason.clone(), now);
        let active = made.step(Step::Activate, reason, now)?;
        let key = Self {
            primary_version: number,
            latest_version: number,
            rotate_time: now,
            ..self.clone()
        };
        Ok(Succession { key, active, former })
    }
}

const FIRST_VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::Use;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_000_000);

    fn key() -> (Key, Version) {
        Key::create(KeyId::from_bytes([7; 16]), RotationPeriod::DEFAULT, NOW).unwrap()
    }

    #[test]
    fn a_rotation_makes_the_next_number_active_and_deactivates_the_former() {
        let (key, first) = key();
        let Succession { key, active, former } =
            key.rotate(&first, Reason::none(), NOW.plus_ms(5)).unwrap();
        assert_eq!((active.number(), active.state()), (2, State::Active));
        assert_eq!((former.number(), former.state()), (1, State::Deactivated));
        assert_eq!((key.primary_version, key.latest_version), (2, 2));
        assert_eq!(key.rotate_time, NOW.plus_ms(5));
    }

    #[test]
    fn a_disabled_key_does_not_rotate_but_a_compromise_still_replaces_its_version() {
        let (mut key, first) = key();
        key.disabled = true;
        assert_eq!(key.rotate(&first, Reason::none(), NOW), Err(KeyRefusal::Disabled));
        let (compromised, succession) = key.compromise(&first, Reason::none(), NOW).unwrap();
        assert_eq!(compromised.state(), State::Compromised);
        assert_eq!(succession.unwrap().active.number(), 2);
    }

    #[test]
    fn version_numbers_end_and_never_wrap_around() {
        let (mut key, first) = key();
        key.latest_version = u32::MAX;
        assert_eq!(key.rotate(&first, Reason::none(), NOW), Err(KeyRefusal::OutOfVersions));
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Rotate,
        Step(Step, usize),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let step = prop::sample::select(Step::ALL.to_vec());
        let act = prop_oneof![
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
                match act {
                    Act::Rotate => {
                        let primary = versions[&key.primary_version].clone();
                        if let Ok(after) = key.rotate(&primary, Reason::none(), now) {
                            prop_assert!(!versions.contains_key(&after.active.number()));
                            key = after.key;
                            versions.insert(after.former.number(), after.former);
                            versions.insert(after.active.number(), after.active);
                        }
                    }
                    // Only a rotation activates or supersedes.
                    Act::Step(Step::Activate | Step::Supersede, _) => {}
                    Act::Step(Step::Compromise, which) => {
                        let number = 1 + (which % versions.len()) as u32;
                        let done = key.compromise(&versions[&number], Reason::none(), now);
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
}
