//! What a person has decided about a blob that does not open.

use std::fmt;

use crate::audit::Record;
use crate::campaign::{BlobDigest, CampaignStep, Decision, Problem, ProblemPlace};
use crate::custody::{Custody, CustodyError, Past, RequestKey, TrustedProblem, TrustedProgress};
use crate::keys::{CampaignId, Reason, StoreRef};
use crate::policy::{Action, Permit};

use super::campaign_stores::registered;
use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::refusal::Refusal;

/// A decision.
pub struct DecideProblem {
    /// In which campaign.
    pub campaign: CampaignId,
    /// In which of its stores.
    pub store: StoreRef,
    /// About which blob.
    pub about: Which,
    /// What was decided.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Which of a store's problems a decision is about.
pub enum Which {
    /// What stands in this place, if it still is what was decided about.
    Place(ProblemPlace, Option<BlobDigest>),
    /// This content, which stands in one place only.
    Content(BlobDigest),
}

// === impl DecideProblem ===

impl Change for DecideProblem {
    type Reply = Problem;

    fn action(&self) -> Action {
        Action::DecideProblem
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        let (decision, reason) = (self.decision.name(), self.reason.as_str());
        record.detail = format!(
            "campaign={} store={} {} decision={decision} reason={reason}",
            self.campaign, self.store, self.about
        )
        .into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let (custody, permit) = (act.custody, act.permit);
        let was = custody.campaign(permit, self.campaign).await?;
        let campaign = was.campaign();
        act.record.key = Some(campaign.key);
        campaign.check(CampaignStep::Decide)?;
        let before = progress_of(custody, permit, campaign.id, &self.store).await?;
        act.record.store = before.store().as_u32();
        let problem = self.problem(custody, permit, &before).await?;
        let mut progress = before.progress().clone();
        let who = permit.principal().id().to_string();
        let decided = progress.decide(problem.problem(), self.decision, who, self.reason.clone());
        let mut changes = custody.change(permit)?;
        if progress.phase == before.progress().phase {
            changes.expect_campaign(&was);
        } else {
            let stores = custody.campaign_progresses(permit, campaign.id).await?;
            let phase_of = |store: &TrustedProgress| match store.store() == before.store() {
                true => progress.phase,
                false => store.progress().phase,
            };
            let phases: Vec<_> = stores.iter().map(phase_of).collect();
            changes.put_campaign(&campaign.settle(&phases, custody.now()), &was);
        }
        changes.put_progress(&progress, &before);
        changes.put_problem(decided, &before, Some(&problem));
        Ok(Changed::of_campaign(changes, campaign.key, campaign.id))
    }

    async fn reply(&self, custody: &Custody, permit: &Permit, _: Past) -> Result<Problem, Refusal> {
        let before = progress_of(custody, permit, self.campaign, &self.store).await?;
        Ok(self.problem(custody, permit, &before).await?.problem().clone())
    }
}

impl DecideProblem {
    async fn problem(
        &self,
        custody: &Custody,
        permit: &Permit,
        progress: &TrustedProgress,
    ) -> Result<TrustedProblem, Refusal> {
        let (campaign, store) = (self.campaign, progress.store());
        let (place, digest) = match &self.about {
            Which::Place(place, digest) => (place.clone(), *digest),
            Which::Content(digest) => {
                let mut problems = custody.campaign_problems(permit, campaign, store).await?;
                problems.retain(|problem| problem.digest == *digest);
                match <[Problem; 1]>::try_from(problems) {
                    Ok([problem]) => (problem.place, Some(*digest)),
                    Err(problems) if problems.is_empty() => return Err(unknown("digest")),
                    Err(problems) => {
                        let count = problems.len();
                        let problem = format!("the same stands in {count} places; give the place");
                        return Err(Refusal::invalid("place", problem));
                    }
                }
            }
        };
        let known = custody.known_problems(permit, campaign, store, &[place]).await?;
        let problem = known.into_iter().next().flatten().ok_or_else(|| unknown("place"))?;
        if digest.is_some_and(|digest| digest != problem.problem().digest) {
            return Err(unknown("digest"));
        }
        Ok(problem)
    }
}

// === impl Which ===

impl fmt::Display for Which {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(place, None) => write!(formatter, "place={:?}", place.as_str()),
            Self::Place(place, Some(digest)) => {
                write!(formatter, "digest={digest} place={:?}", place.as_str())
            }
            Self::Content(digest) => write!(formatter, "digest={digest}"),
        }
    }
}

/// How far the store that `named` names has come in the campaign.
pub(super) async fn progress_of(
    custody: &Custody,
    permit: &Permit,
    campaign: CampaignId,
    named: &StoreRef,
) -> Result<TrustedProgress, Refusal> {
    let store = registered(custody, permit, "store", named).await?;
    custody.campaign_progress(permit, campaign, store.number).await.map_err(|error| match error {
        CustodyError::NotFound => {
            Refusal::invalid("store", "is not one of the campaign's; name one that it has")
        }
        other => other.into(),
    })
}

fn unknown(field: &'static str) -> Refusal {
    Refusal::invalid(field, "is no problem of this store now; list the problems")
}
