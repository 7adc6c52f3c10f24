//! Moving every blob off some versions of a key, out of some stores, to a proven end.
//!
//! A [`Campaign`] and how far each of its stores has come ([`StoreProgress`]), and what an agent's
//! report, a scan and a person's decision make of them. Pure: it moves nothing itself, and no agent's
//! word that a store is clean is ever enough; only a scan that began after the pass ended is.

mod lifecycle;
mod problem;
mod progress;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::keys::{CampaignId, KeyId, Reason, StoreNumber, Timestamp};

pub use lifecycle::{CampaignState, CampaignStep, IllegalCampaignStep};
pub use problem::{
    BlobDigest, Decided, Decision, MalformedProblem, Problem, ProblemPlace, ProblemReason,
    ReportDigest,
};
pub use progress::{
    Agent, Held, Phase, Place, PlaceTooLong, Report, ReportRefusal, ScanSummary, StoreProgress,
    TooManyProblems,
};

/// The work of moving every blob of some versions of a key out of some stores.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Campaign {
    /// Immutable.
    pub id: CampaignId,
    /// Whose versions.
    pub key: KeyId,
    /// Which versions to move away from: ascending, at least one.
    pub source_versions: Vec<u32>,
    /// Where from: ascending, at least one.
    pub stores: Vec<StoreNumber>,
    /// Where it stands.
    pub state: CampaignState,
    /// Blobs a second, over all stores; 0: as fast as it goes.
    pub rate_per_second: u32,
    /// Whether it goes before others.
    pub urgent: bool,
    /// What it is for.
    pub reason: Reason,
    /// Who began it.
    pub principal: String,
    /// When.
    pub create_time: Timestamp,
    /// When it was Done or Failed.
    pub end_time: Option<Timestamp>,
    /// Why it stands where it stands, in words.
    pub note: String,
}

/// The most stores of one campaign.
pub const STORES_MAX: usize = 400;
/// The most source versions of one campaign.
pub const SOURCE_VERSIONS_MAX: usize = 100;
/// The most problems of one store: more than that, and something else is wrong.
pub const PROBLEMS_MAX: u64 = 10_000;
/// The longest that an agent may be silent and keep its store.
pub const LEASE_MS: u64 = 30_000;

// === impl Campaign ===

impl Campaign {
    /// Whether `step` can be taken.
    ///
    /// # Errors
    /// It is not legal from where the campaign stands.
    pub fn check(&self, step: CampaignStep) -> Result<(), IllegalCampaignStep> {
        step.from(self.state).map(|_| ())
    }

    /// What `step` makes of it, and why it was taken.
    ///
    /// # Errors
    /// The step is not legal from where the campaign stands.
    pub fn step(
        &self,
        step: CampaignStep,
        note: String,
        now: Timestamp,
    ) -> Result<Self, IllegalCampaignStep> {
        let state = step.from(self.state)?;
        let end_time = state.is_final().then_some(now);
        Ok(Self { state, note, end_time, ..self.clone() })
    }

    /// What its stores make of it, given the phase of each. A campaign that is paused or has ended
    /// stands where it stands.
    pub fn settle(&self, phases: &[Phase], now: Timestamp) -> Self {
        let mut settled = self.clone();
        while let Some(step) = settled.step_towards(phases) {
            match settled.step(step, step.note().to_owned(), now) {
                Ok(after) => settled = after,
                Err(_) => break,
            }
        }
        settled
    }

    /// Whether it still moves blobs of `key` out of `store`: another campaign there would mistake what
    /// this one does for its own, and each would give up the scans of the other.
    pub fn is_at_work(&self, key: KeyId, store: StoreNumber) -> bool {
        !self.state.is_final() && self.key == key && self.stores.contains(&store)
    }

    /// What an agent may do in a second so that all who work keep to the budget; 0: as much as it can.
    pub fn rate_of_each(&self, agents: usize) -> u32 {
        let agents = u32::try_from(agents).unwrap_or(u32::MAX).max(1);
        match self.rate_per_second {
            0 => 0,
            rate => rate.div_euclid(agents).max(1),
        }
    }

    fn step_towards(&self, phases: &[Phase]) -> Option<CampaignStep> {
        let all = |least: Phase| !phases.is_empty() && phases.iter().all(|phase| *phase >= least);
        match self.state {
            CampaignState::Running if all(Phase::Verifying) => Some(CampaignStep::Verify),
            CampaignState::Verifying if all(Phase::Clean) => Some(CampaignStep::Finish),
            CampaignState::Verifying if !all(Phase::Verifying) => Some(CampaignStep::MoveAgain),
            _ => None,
        }
    }
}
