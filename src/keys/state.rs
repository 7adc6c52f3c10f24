//! The states of a version, what each allows, and the table of legal steps.
//!
//! NIST SP 800-57 part 1 rev. 5, section 7, with `RewrapOnly` and `DestroyScheduled` added so that a
//! rotation can be finished. Nothing else in the program decides what a state allows.

use std::fmt;

/// Where a version stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// Made, and not yet used.
    PreActive,
    /// The one version that wraps.
    Active,
    /// Opens what it wrapped.
    Deactivated,
    /// Gives up what it wrapped to a newer version, and opens nothing.
    RewrapOnly,
    /// Refuses everything until it is resumed.
    Suspended,
    /// Known or feared to have leaked. Never undone.
    Compromised,
    /// Its material will be destroyed at a stated time.
    DestroyScheduled,
    /// The material is gone. The record stays.
    Destroyed,
}

/// What a version can be asked to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// Wrap something new.
    Wrap,
    /// Open a blob and give its plaintext to the caller.
    Decrypt,
    /// Open a blob only to wrap it again under an Active version.
    ReEncryptFrom,
}

/// What can happen to a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Becomes the version that wraps.
    Activate,
    /// Another version became Active in the same commit.
    Supersede,
    /// Deactivated to RewrapOnly.
    Restrict,
    /// RewrapOnly to Deactivated.
    Unrestrict,
    /// Refuses everything for now.
    Suspend,
    /// Goes back to what it was.
    Resume,
    /// Known or feared to have leaked.
    Compromise,
    /// Will be destroyed.
    ScheduleDestroy,
    /// Will not be destroyed after all.
    CancelDestroy,
    /// Its time has come.
    Destroy,
}

/// Where a legal step leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Becomes {
    /// This state.
    Now(State),
    /// What it was before it was suspended.
    Former,
    /// Suspended, or Compromised if it was that before.
    SuspendedUnlessCompromised,
    /// The same state; what it goes back to is no longer Active but Deactivated.
    SupersededWhileAside,
}

// === impl State ===

impl State {
    /// Every state, in the order of a version's life.
    pub const ALL: [Self; 8] = [
        Self::PreActive,
        Self::Active,
        Self::Deactivated,
        Self::RewrapOnly,
        Self::Suspended,
        Self::Compromised,
        Self::DestroyScheduled,
        Self::Destroyed,
    ];

    /// Whether a version in this state may be used so (its key being enabled).
    pub const fn allows(self, wanted: Use) -> bool {
        match self {
            Self::Active => true,
            Self::Deactivated => matches!(wanted, Use::Decrypt | Use::ReEncryptFrom),
            Self::RewrapOnly | Self::Compromised => matches!(wanted, Use::ReEncryptFrom),
            Self::PreActive | Self::Suspended | Self::DestroyScheduled | Self::Destroyed => false,
        }
    }

    /// The name that people and records see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreActive => "PRE_ACTIVE",
            Self::Active => "ACTIVE",
            Self::Deactivated => "DEACTIVATED",
            Self::RewrapOnly => "REWRAP_ONLY",
            Self::Suspended => "SUSPENDED",
            Self::Compromised => "COMPROMISED",
            Self::DestroyScheduled => "DESTROY_SCHEDULED",
            Self::Destroyed => "DESTROYED",
        }
    }

    /// The number in a stored row and on the wire: 1 to 8, in the order of [`State::ALL`].
    pub const fn number(self) -> u8 {
        match self {
            Self::PreActive => 1,
            Self::Active => 2,
            Self::Deactivated => 3,
            Self::RewrapOnly => 4,
            Self::Suspended => 5,
            Self::Compromised => 6,
            Self::DestroyScheduled => 7,
            Self::Destroyed => 8,
        }
    }

    /// The state with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| u32::from(state.number()) == number)
    }

    /// Whether a version can be set aside (suspended, scheduled) from this state and come back to it.
    pub(super) const fn can_be_former(self) -> bool {
        match self {
            Self::PreActive | Self::Active | Self::Deactivated | Self::RewrapOnly => true,
            Self::Compromised | Self::Suspended | Self::DestroyScheduled | Self::Destroyed => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

// === impl Step ===

impl Step {
    /// Every step.
    pub const ALL: [Self; 10] = [
        Self::Activate,
        Self::Supersede,
        Self::Restrict,
        Self::Unrestrict,
        Self::Suspend,
        Self::Resume,
        Self::Compromise,
        Self::ScheduleDestroy,
        Self::CancelDestroy,
        Self::Destroy,
    ];

    /// The name that people and records see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Supersede => "supersede",
            Self::Restrict => "restrict",
            Self::Unrestrict => "unrestrict",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Compromise => "compromise",
            Self::ScheduleDestroy => "schedule the destruction of",
            Self::CancelDestroy => "cancel the destruction of",
            Self::Destroy => "destroy",
        }
    }

    /// Where this step leads from `state`, if it is legal there.
    pub(super) fn from(self, state: State) -> Option<Becomes> {
        LEGAL_STEPS
            .iter()
            .find(|(from, step, _)| *from == state && *step == self)
            .map(|(_, _, becomes)| *becomes)
    }
}

/// The whole life of a version. What is not here is refused.
#[rustfmt::skip]
const LEGAL_STEPS: &[(State, Step, Becomes)] = {
    use Becomes::{Former, Now, SupersededWhileAside, SuspendedUnlessCompromised};
    use State::{
        Active, Compromised, Deactivated, DestroyScheduled, Destroyed, PreActive, RewrapOnly,
        Suspended,
    };
    &[
        (PreActive,        Step::Activate,        Now(Active)),
        (PreActive,        Step::Suspend,         Now(Suspended)),
        (PreActive,        Step::Compromise,      Now(Compromised)),
        (PreActive,        Step::ScheduleDestroy, Now(DestroyScheduled)),

        (Active,           Step::Supersede,       Now(Deactivated)),
        (Active,           Step::Suspend,         Now(Suspended)),
        (Active,           Step::Compromise,      Now(Compromised)),

        (Deactivated,      Step::Restrict,        Now(RewrapOnly)),
        (Deactivated,      Step::Suspend,         Now(Suspended)),
        (Deactivated,      Step::Compromise,      Now(Compromised)),
        (Deactivated,      Step::ScheduleDestroy, Now(DestroyScheduled)),

        (RewrapOnly,       Step::Unrestrict,      Now(Deactivated)),
        (RewrapOnly,       Step::Suspend,         Now(Suspended)),
        (RewrapOnly,       Step::Compromise,      Now(Compromised)),
        (RewrapOnly,       Step::ScheduleDestroy, Now(DestroyScheduled)),

        (Suspended,        Step::Resume,          Former),
        (Suspended,        Step::Supersede,       SupersededWhileAside),
        (Suspended,        Step::Compromise,      Now(Compromised)),
        (Suspended,        Step::ScheduleDestroy, Now(DestroyScheduled)),

        (Compromised,      Step::ScheduleDestroy, Now(DestroyScheduled)),

        (DestroyScheduled, Step::CancelDestroy,   SuspendedUnlessCompromised),
        (DestroyScheduled, Step::Supersede,       SupersededWhileAside),
        (DestroyScheduled, Step::Destroy,         Now(Destroyed)),
    ]
};
