//! Where on the ladder a version stands.

use crate::keys::present::Present;
use crate::keys::state::State;
use crate::keys::{Reason, Timestamp};

/// Where on the ladder a version stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rung {
    /// Deactivated; not seen to be empty, or waiting since it was.
    Waiting,
    /// RewrapOnly, before the first brownout.
    Restricted,
    /// Suspended for a while.
    Brownout,
    /// RewrapOnly, after a brownout.
    Between,
    /// Suspended for good.
    Suspended,
    /// To be destroyed.
    Doomed,
}

/// A version's place on the ladder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// Where.
    pub rung: Rung,
    /// Brownouts that are over.
    pub brownouts_done: u32,
    /// When it came there; for [`Rung::Waiting`], when it was seen to be empty, if it was.
    pub step_time: Option<Timestamp>,
    /// The last audit record before it came there: a refusal after it is a hit.
    pub step_sequence: u64,
    /// When the next step may be taken, or the version be looked at again. `None` at the end.
    pub next_time: Option<Timestamp>,
    /// Why it goes no further; empty while it does.
    pub pause_reason: Reason,
}

// === impl Place ===

impl Place {
    /// A version that stands before the ladder, to be looked at now.
    pub fn waiting(present: Present) -> Self {
        Self {
            rung: Rung::Waiting,
            brownouts_done: 0,
            step_time: None,
            step_sequence: 0,
            next_time: Some(present.wait_start()),
            pause_reason: Reason::none(),
        }
    }

    /// Whether it goes no further until somebody says so.
    pub fn is_paused(&self) -> bool {
        !self.pause_reason.as_str().is_empty()
    }

    /// When the scheduler must look at it: at any time while the version refuses something, so that
    /// a hit is answered soon.
    pub fn due_time(&self) -> Option<Timestamp> {
        match self.rung {
            _ if self.is_paused() || self.next_time.is_none() => None,
            Rung::Waiting => self.next_time,
            _ => self.step_time,
        }
    }
}

// === impl Rung ===

impl Rung {
    /// Every rung, from the bottom.
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Restricted,
        Self::Brownout,
        Self::Between,
        Self::Suspended,
        Self::Doomed,
    ];

    /// The number in a stored row: 0 to 5, in the order of [`Rung::ALL`].
    pub const fn number(self) -> u8 {
        match self {
            Self::Waiting => 0,
            Self::Restricted => 1,
            Self::Brownout => 2,
            Self::Between => 3,
            Self::Suspended => 4,
            Self::Doomed => 5,
        }
    }

    /// The rung with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|rung| u32::from(rung.number()) == number)
    }

    /// What was done last, in words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Restricted => "rewrap only",
            Self::Brownout => "brownout",
            Self::Between => "between brownouts",
            Self::Suspended => "suspended",
            Self::Doomed => "destruction scheduled",
        }
    }

    /// Where a version in this state goes on that stood here when it was paused: whoever looked at it
    /// meanwhile may have taken a step with it.
    pub fn of_state(state: State, paused: Self) -> Option<Self> {
        match state {
            State::Deactivated => Some(Self::Waiting),
            State::RewrapOnly if paused == Self::Between => Some(Self::Between),
            State::RewrapOnly => Some(Self::Restricted),
            State::Suspended => Some(Self::Suspended),
            State::DestroyScheduled | State::Destroyed => Some(Self::Doomed),
            State::PreActive | State::Active | State::Compromised => None,
        }
    }

    /// Whether the ladder left a version in this state here.
    pub(super) fn fits(self, state: State) -> bool {
        match self {
            Self::Waiting => state == State::Deactivated,
            Self::Restricted | Self::Between => state == State::RewrapOnly,
            Self::Brownout | Self::Suspended => state == State::Suspended,
            Self::Doomed => matches!(state, State::DestroyScheduled | State::Destroyed),
        }
    }
}
