//! Takes one step with a campaign that a person decides on: pause, resume, abandon.

use crate::audit::Record;
use crate::campaign::CampaignStep;
use crate::custody::{Custody, Past, RequestKey};
use crate::keys::{CampaignId, Reason};
use crate::policy::{Action, Permit};

use super::campaign_stores::check_movable;
use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::read_campaigns::CampaignView;
use super::refusal::Refusal;

/// A step to take.
pub struct StepCampaign {
    /// With which campaign.
    pub campaign: CampaignId,
    /// What happens to it.
    pub order: CampaignOrder,
    /// Why.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// What a person can have done with a campaign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CampaignOrder {
    /// Agents wait.
    Pause,
    /// They go on.
    Resume,
    /// It is given up; what was moved stays moved.
    Abandon,
}

// === impl CampaignOrder ===

impl CampaignOrder {
    /// The right that it needs.
    pub const fn action(self) -> Action {
        match self {
            Self::Pause => Action::PauseCampaign,
            Self::Resume => Action::ResumeCampaign,
            Self::Abandon => Action::AbandonCampaign,
        }
    }

    const fn step(self) -> CampaignStep {
        match self {
            Self::Pause => CampaignStep::Pause,
            Self::Resume => CampaignStep::Resume,
            Self::Abandon => CampaignStep::Abandon,
        }
    }
}

// === impl StepCampaign ===

impl Change for StepCampaign {
    type Reply = CampaignView;

    fn action(&self) -> Action {
        self.order.action()
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        let reason = self.reason.as_str();
        record.detail = format!("campaign={} reason={reason}", self.campaign).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let was = act.custody.campaign(act.permit, self.campaign).await?;
        let campaign = was.campaign();
        act.record.key = Some(campaign.key);
        let now = act.custody.now();
        let mut after = campaign.step(self.order.step(), self.reason.as_str().to_owned(), now)?;
        if self.order == CampaignOrder::Resume {
            let versions = &campaign.source_versions;
            check_movable(act.custody, act.permit, campaign.key, versions).await?;
            let stores = act.custody.campaign_progresses(act.permit, campaign.id).await?;
            let phases: Vec<_> = stores.iter().map(|store| store.progress().phase).collect();
            after = after.settle(&phases, now);
        }
        let mut changes = act.custody.change(act.permit)?;
        changes.put_campaign(&after, &was);
        Ok(Changed::of_campaign(changes, after.key, after.id))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<CampaignView, Refusal> {
        CampaignView::of_id(custody, permit, past.campaign).await
    }
}
