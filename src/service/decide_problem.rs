//! What a person has decided about a blob that does not open.

use crate::audit::Record;
use crate::campaign::{BlobDigest, CampaignStep, Decision, Problem};
use crate::custody::{Custody, CustodyError, Past, RequestKey, TrustedProgress};
use crate::keys::{CampaignId, Reason, StoreRef};
use crate::policy::{Action, Permit};

use super::campaign_stores::registered;
use super::change::{Change, Changed};
use super::perform::Act;
use super::refusal::Refusal;

/// A decision.
pub struct DecideProblem {
    /// In which campaign.
    pub campaign: CampaignId,
    /// In which of its stores.
    pub store: StoreRef,
    /// About which blob.
    pub digest: BlobDigest,
    /// What was decided.
    pub decision: Decision,
    /// Why.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl DecideProblem ===

impl Change for DecideProblem {
    type Reply = Problem;

    fn action(&self) -> Action {
        Action::DecideProblem
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        let (decision, reason) = (self.decision.name(), self.reason.as_str());
        record.detail = format!(
            "campaign={} store={} digest={} decision={decision} reason={reason}",
            self.campaign, self.store, self.digest
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
        let digests = [self.digest];
        let known = custody.known_problems(permit, campaign.id, before.store(), &digests).await?;
        let problem = known.into_iter().next().flatten().ok_or_else(unknown_problem)?;

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
        let digests = [self.digest];
        let known = custody.known_problems(permit, self.campaign, before.store(), &digests).await?;
        let problem = known.into_iter().next().flatten().ok_or_else(unknown_problem)?;
        Ok(problem.problem().clone())
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

fn unknown_problem() -> Refusal {
    Refusal::invalid("digest", "is no problem of this store; list the problems")
}
