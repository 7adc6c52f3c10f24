//! A key as a whole: what describes it, and the steps that touch more than one of its versions.

use crate::keys::ladder::Ladder;
use crate::keys::name::{Alias, Description, KeyRing, Reason, Tags};
use crate::keys::present::Present;
use crate::keys::schedule::{RotationLimit, RotationPeriod, Trigger};
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
    /// The version that the next rotation makes Active, if it is still PreActive then.
    pub prepared_version: Option<u32>,
    /// How often it rotates by itself.
    pub rotation_period: RotationPeriod,
    /// After how many wraps of its Active version it rotates by itself.
    pub rotation_wraps: RotationLimit,
    /// After how many bytes that its Active version has wrapped.
    pub rotation_bytes: RotationLimit,
    /// A time at which it rotates by itself, once.
    pub rotation_time: Option<Timestamp>,
    /// How its old versions are retired by themselves, if they are.
    pub ladder: Option<Ladder>,
    /// When it was made.
    pub create_time: Timestamp,
    /// When the present period began: when it was last rotated, or made.
    pub rotate_time: Timestamp,
}

/// A new Active version and what became of the one before it: one commit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Succession {
    /// The key after it.
    pub key: Key,
    /// The new Active version.
    pub active: Version,
    /// Whether it was prepared before, and has its material already.
    pub was_prepared: bool,
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
        present: Present,
    ) -> Result<(Self, Version), IllegalStep> {
        let now = present.wall();
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
            prepared_version: None,
            rotation_period,
            rotation_wraps: RotationLimit::NEVER,
            rotation_bytes: RotationLimit::NEVER,
            rotation_time: None,
            ladder: None,
            create_time: now,
            rotate_time: present.period_start(),
        };
        Ok((key, active))
    }

    /// Makes the next version PreActive, for the next rotation to make Active. Nothing to do when
    /// `prepared`, which must be the key's prepared version, is PreActive still.
    pub fn prepare(
        &self,
        prepared: Option<&Version>,
        reason: Reason,
        present: Present,
    ) -> Result<Option<(Self, Version)>, KeyRefusal> {
        if self.disabled {
            return Err(KeyRefusal::Disabled);
        }
        if prepared.is_some_and(is_pre_active) {
            return Ok(None);
        }
        let number = self.next_number()?;
        let key = Self { latest_version: number, prepared_version: Some(number), ..self.clone() };
        Ok(Some((key, Version::pre_active(number, reason, present.wall()))))
    }

    /// Makes another version Active in place of `primary`, which must be the key's primary version:
    /// `prepared`, which must be its prepared one, if that is PreActive still; else a new one.
    pub fn rotate(
        &self,
        primary: &Version,
        prepared: Option<&Version>,
        reason: Reason,
        present: Present,
    ) -> Result<Succession, KeyRefusal> {
        if self.disabled {
            return Err(KeyRefusal::Disabled);
        }
        let former = match primary.state() {
            // It was already put out of use for good: there is nothing to supersede.
            State::Compromised | State::Destroyed => primary.clone(),
            _ => primary.step(Step::Supersede, reason.clone(), present.wall())?,
        };
        self.succeed(former, prepared.filter(|prepared| is_pre_active(prepared)), reason, present)
    }

    /// Marks `version` as compromised. If it was Active, another takes its place at once: a disabled
    /// key too gets its new version, since a leak does not wait. What was prepared before is not used:
    /// whoever saw the one may have seen the other.
    pub fn compromise(
        &self,
        version: &Version,
        reason: Reason,
        present: Present,
    ) -> Result<(Version, Option<Succession>), KeyRefusal> {
        let was_active = version.state() == State::Active;
        let compromised = version.step(Step::Compromise, reason.clone(), present.wall())?;
        let succession = if was_active {
            Some(self.succeed(compromised.clone(), None, reason, present)?)
        } else {
            None
        };
        Ok((compromised, succession))
    }

    /// When it has rotated by itself at the latest, whatever it wraps until then.
    pub fn next_rotation_time(&self) -> Option<Timestamp> {
        earlier(self.rotation_period.end(self.rotate_time), self.rotation_time)
    }

    /// When it is due for a rotation: at most a day before [`Key::next_rotation_time`].
    pub fn due_time(&self) -> Option<Timestamp> {
        earlier(self.rotation_period.due(self.rotate_time, self.id), self.rotation_time)
    }

    /// What makes it due for a rotation by time, if anything does: what came first.
    pub fn due_by_time(&self, present: Present) -> Option<Trigger> {
        let due = self.due_time().filter(|due| present.has_reached(*due))?;
        Some(if self.rotation_time == Some(due) { Trigger::Date } else { Trigger::Period })
    }

    /// Whether it is due because its Active version has wrapped so much.
    pub fn is_spent(&self, wraps: u64, wrapped_bytes: u64) -> bool {
        self.spent(wraps, wrapped_bytes).is_some()
    }

    /// What its Active version has used up, if it has wrapped so much.
    pub fn spent(&self, wraps: u64, wrapped_bytes: u64) -> Option<Trigger> {
        let wraps = self.rotation_wraps.is_reached(wraps).then_some(Trigger::Wraps);
        wraps.or_else(|| self.rotation_bytes.is_reached(wrapped_bytes).then_some(Trigger::Bytes))
    }

    fn next_number(&self) -> Result<u32, KeyRefusal> {
        self.latest_version.checked_add(1).ok_or(KeyRefusal::OutOfVersions)
    }

    fn succeed(
        &self,
        former: Version,
        prepared: Option<&Version>,
        reason: Reason,
        present: Present,
    ) -> Result<Succession, KeyRefusal> {
        let now = present.wall();
        let waiting = match prepared {
            Some(prepared) => prepared.clone(),
            None => Version::pre_active(self.next_number()?, reason.clone(), now),
        };
        let active = waiting.step(Step::Activate, reason, now)?;
        let key = Self {
            primary_version: active.number(),
            latest_version: self.latest_version.max(active.number()),
            prepared_version: None,
            rotate_time: present.period_start(),
            // It was for this rotation if its time had come; else it is for another.
            rotation_time: self.rotation_time.filter(|time| *time > present.period_start()),
            ..self.clone()
        };
        Ok(Succession { key, active, was_prepared: prepared.is_some(), former })
    }
}

fn is_pre_active(version: &Version) -> bool {
    version.state() == State::PreActive
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

const FIRST_VERSION: u32 = 1;

#[cfg(test)]
mod tests;
