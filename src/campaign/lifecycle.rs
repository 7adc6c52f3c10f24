//! The states of a campaign and the table of legal steps.

use std::fmt;

/// Where a campaign stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CampaignState {
    /// Agents move blobs.
    Running,
    /// Agents wait.
    Paused,
    /// Every store has been gone through; scans must prove it.
    Verifying,
    /// Scans proved that nothing is left.
    Done,
    /// It was given up.
    Failed,
}

/// What can happen to a campaign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CampaignStep {
    /// Somebody stops it for a while.
    Pause,
    /// Somebody lets it go on.
    Resume,
    /// Every store has been gone through.
    Verify,
    /// A store must be gone through again.
    MoveAgain,
    /// Every store is clean.
    Finish,
    /// Somebody decides about a problem.
    Decide,
    /// Somebody gives it up.
    Abandon,
}

/// The step is not legal from where the campaign stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the campaign is {state} and cannot be {}", step.name())]
pub struct IllegalCampaignStep {
    /// Where it stands.
    pub state: CampaignState,
    /// What was wanted.
    pub step: CampaignStep,
}

// === impl CampaignState ===

impl CampaignState {
    /// Every state, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Paused, Self::Verifying, Self::Done, Self::Failed];

    /// Whether it never changes again.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Done | Self::Failed => true,
            Self::Running | Self::Paused | Self::Verifying => false,
        }
    }

    /// The name that people and records see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Verifying => "VERIFYING",
            Self::Done => "DONE",
            Self::Failed => "FAILED",
        }
    }

    /// The number in a stored row: 1 to 5, in the order of [`CampaignState::ALL`].
    pub const fn number(self) -> u8 {
        match self {
            Self::Running => 1,
            Self::Paused => 2,
            Self::Verifying => 3,
            Self::Done => 4,
            Self::Failed => 5,
        }
    }

    /// The state with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| u32::from(state.number()) == number)
    }
}

impl fmt::Display for CampaignState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

// === impl CampaignStep ===

impl CampaignStep {
    /// Every step.
    pub const ALL: [Self; 7] = [
        Self::Pause,
        Self::Resume,
        Self::Verify,
        Self::MoveAgain,
        Self::Finish,
        Self::Decide,
        Self::Abandon,
    ];

    /// Where this step leads from `state`.
    pub(super) fn from(self, state: CampaignState) -> Result<CampaignState, IllegalCampaignStep> {
        LEGAL_STEPS
            .iter()
            .find(|(from, step, _)| *from == state && *step == self)
            .map(|(_, _, becomes)| *becomes)
            .ok_or(IllegalCampaignStep { state, step: self })
    }

    /// Why a campaign that took this step by itself stands where it stands.
    pub(super) const fn note(self) -> &'static str {
        match self {
            Self::Verify => "every store has been gone through; a scan of each must prove it",
            Self::MoveAgain => "a store must be gone through again",
            Self::Finish => "a scan of every store found nothing left",
            Self::Pause | Self::Resume | Self::Decide | Self::Abandon => "",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Verify => "verified",
            Self::MoveAgain => "gone through again",
            Self::Finish => "finished",
            Self::Decide => "decided about",
            Self::Abandon => "abandoned",
        }
    }
}

/// The whole life of a campaign. What is not here is refused.
#[rustfmt::skip]
const LEGAL_STEPS: &[(CampaignState, CampaignStep, CampaignState)] = {
    use CampaignState::{Done, Failed, Paused, Running, Verifying};
    use CampaignStep::{Abandon, Decide, Finish, MoveAgain, Pause, Resume, Verify};
    &[
        (Running,   Pause,     Paused),
        (Running,   Verify,    Verifying),
        (Running,   Decide,    Running),
        (Running,   Abandon,   Failed),

        (Verifying, Pause,     Paused),
        (Verifying, MoveAgain, Running),
        (Verifying, Finish,    Done),
        (Verifying, Decide,    Verifying),
        (Verifying, Abandon,   Failed),

        // Where it goes from there is what its stores make of it.
        (Paused,    Resume,    Running),
        (Paused,    Decide,    Paused),
        (Paused,    Abandon,   Failed),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_never_goes_on() {
        for state in CampaignState::ALL.into_iter().filter(|state| state.is_final()) {
            for step in CampaignStep::ALL {
                assert_eq!(step.from(state), Err(IllegalCampaignStep { state, step }));
            }
        }
    }

    #[test]
    fn a_campaign_is_done_only_after_it_was_verified() {
        for state in CampaignState::ALL {
            for step in CampaignStep::ALL {
                let done = step.from(state) == Ok(CampaignState::Done);
                assert_eq!(done, (state, step) == (CampaignState::Verifying, CampaignStep::Finish));
            }
        }
    }

    #[test]
    fn every_state_has_a_number_of_its_own() {
        for (at, state) in (1..).zip(CampaignState::ALL) {
            assert_eq!(CampaignState::from_number(at), Some(state));
        }
        assert_eq!(CampaignState::from_number(0), None);
        assert_eq!(CampaignState::from_number(6), None);
    }
}
