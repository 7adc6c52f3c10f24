//! Shows campaigns, how far their stores have come, and the blobs that did not open.

use std::collections::BTreeMap;

use crate::audit::Record;
use crate::campaign::{Campaign, Problem, ProblemPlace, StoreProgress};
use crate::census::Scan;
use crate::custody::{Custody, CustodyError};
use crate::keys::{CampaignId, KeyRef, StoreName, StoreNumber, StoreRef, Timestamp};
use crate::policy::{Action, Permit};

use super::campaign_stores::scan_since_pass;
use super::decide_problem::progress_of;
use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// One campaign.
pub struct GetCampaign {
    /// Which.
    pub campaign: CampaignId,
}

/// Campaigns, by id.
pub struct ListCampaigns {
    /// Only those of this key.
    pub key: Option<KeyRef>,
    /// After this one.
    pub after: Option<CampaignId>,
    /// 1 to 1000.
    pub page_size: usize,
}

/// The blobs of a campaign that did not open: store by store, the oldest of each first.
pub struct ListProblems {
    /// Of which campaign.
    pub campaign: CampaignId,
    /// Only those of this store.
    pub store: Option<StoreRef>,
    /// After this one.
    pub after: Option<ProblemKey>,
    /// 1 to 1000.
    pub page_size: usize,
}

/// What orders problems.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ProblemKey {
    /// In which store.
    pub store: StoreNumber,
    /// When it was reported.
    pub report_time: Timestamp,
    /// Where it stands.
    pub place: ProblemPlace,
}

/// A campaign as a caller sees it.
pub struct CampaignView {
    /// The campaign.
    pub campaign: Campaign,
    /// Its stores, by number.
    pub stores: Vec<CampaignStore>,
}

/// A store of a campaign as a caller sees it.
pub struct CampaignStore {
    /// Its number.
    pub number: StoreNumber,
    /// Its name.
    pub name: Option<StoreName>,
    /// How far it has come.
    pub progress: StoreProgress,
    /// The last scan since its pass ended; none in lists.
    pub scan: Option<Scan>,
}

/// Some campaigns, and where the next page begins.
pub struct CampaignPage {
    /// The campaigns.
    pub campaigns: Vec<CampaignView>,
    /// `None` on the last page.
    pub next: Option<CampaignId>,
}

/// A problem and its store.
pub struct StoreProblem {
    /// The store's number.
    pub store: StoreNumber,
    /// The store's name.
    pub name: Option<StoreName>,
    /// The problem.
    pub problem: Problem,
}

/// Some problems, and where the next page begins.
pub struct ProblemPage {
    /// The problems.
    pub problems: Vec<StoreProblem>,
    /// `None` on the last page.
    pub next: Option<ProblemKey>,
}

/// The names of stores, each looked up once.
#[derive(Default)]
struct Names(BTreeMap<StoreNumber, Option<StoreName>>);

// === impl CampaignView ===

impl CampaignView {
    /// The campaign that a mutation was about, with all that is known of its stores.
    pub(super) async fn of_id(
        custody: &Custody,
        permit: &Permit,
        id: Option<CampaignId>,
    ) -> Result<Self, Refusal> {
        let id = id.ok_or(Refusal::Internal {
            class: "outcome",
            problem: "an outcome names no campaign".into(),
        })?;
        let campaign = custody.campaign(permit, id).await?.campaign().clone();
        let key = campaign.key;
        let mut view = Self::listed(custody, permit, campaign, &mut Names::default()).await?;
        for store in &mut view.stores {
            let (number, progress) = (store.number, &store.progress);
            store.scan = scan_since_pass(custody, permit, key, number, progress).await?;
        }
        Ok(view)
    }

    /// The campaign without the scans of its stores.
    async fn listed(
        custody: &Custody,
        permit: &Permit,
        campaign: Campaign,
        names: &mut Names,
    ) -> Result<Self, Refusal> {
        let mut stores = Vec::new();
        for found in custody.campaign_progresses(permit, campaign.id).await? {
            stores.push(CampaignStore {
                number: found.store(),
                name: names.of(custody, permit, found.store()).await?,
                progress: found.progress().clone(),
                scan: None,
            });
        }
        Ok(Self { campaign, stores })
    }
}

// === impl GetCampaign ===

impl UseCase for GetCampaign {
    type Reply = CampaignView;

    const ACTION: Action = Action::GetCampaign;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("campaign={}", self.campaign).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<CampaignView, Refusal> {
        let view = CampaignView::of_id(act.custody, act.permit, Some(self.campaign)).await?;
        act.record.key = Some(view.campaign.key);
        Ok(view)
    }
}

// === impl ListCampaigns ===

impl UseCase for ListCampaigns {
    type Reply = CampaignPage;

    const ACTION: Action = Action::ListCampaigns;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        if let Some(key) = &self.key {
            record.detail = format!("key={key}").into();
        }
    }

    async fn act(self, act: &mut Act<'_>) -> Result<CampaignPage, Refusal> {
        let (custody, permit) = (act.custody, act.permit);
        let key = match &self.key {
            Some(named) => Some(custody.key(permit, named).await?.id()),
            None => None,
        };
        act.record.key = key;
        let mut page = CampaignPage { campaigns: Vec::new(), next: None };
        let (mut after, mut stores) = (self.after, 0_usize);
        let mut names = Names::default();
        // A key's campaigns are looked for one by one, a bounded number of them in one call.
        for _ in 0..SCANS_MAX {
            let found = custody.campaigns(permit, after, self.page_size).await?;
            let at_end = found.len() < self.page_size;
            for campaign in found.iter().map(|found| found.campaign()) {
                after = Some(campaign.id);
                if key.is_some_and(|key| key != campaign.key) {
                    continue;
                }
                let view =
                    CampaignView::listed(custody, permit, campaign.clone(), &mut names).await?;
                stores = stores.saturating_add(view.stores.len());
                page.campaigns.push(view);
                if page.campaigns.len() == self.page_size || stores >= STORES_LISTED_MAX {
                    page.next = after;
                    return Ok(page);
                }
            }
            if at_end {
                return Ok(page);
            }
        }
        page.next = after;
        Ok(page)
    }
}

// === impl ListProblems ===

impl UseCase for ListProblems {
    type Reply = ProblemPage;

    const ACTION: Action = Action::GetCampaign;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("campaign={} problems", self.campaign).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<ProblemPage, Refusal> {
        let (custody, permit) = (act.custody, act.permit);
        let campaign = custody.campaign(permit, self.campaign).await?;
        act.record.key = Some(campaign.campaign().key);
        let progresses = match &self.store {
            Some(named) => vec![progress_of(custody, permit, self.campaign, named).await?],
            None => custody.campaign_progresses(permit, self.campaign).await?,
        };
        let has_any = progresses.iter().filter(|found| found.progress().problems > 0);
        let mut page = ProblemPage { problems: Vec::new(), next: None };
        let mut names = Names::default();
        for store in has_any.map(|found| found.store()) {
            if self.after.as_ref().is_some_and(|after| after.store > store) {
                continue;
            }
            let mut problems = custody.campaign_problems(permit, self.campaign, store).await?;
            problems.retain(|problem| self.after.as_ref() < Some(&key_of(store, problem)));
            problems.sort_by_cached_key(|problem| key_of(store, problem));
            let name = names.of(custody, permit, store).await?;
            for problem in problems {
                let key = key_of(store, &problem);
                page.problems.push(StoreProblem { store, name: name.clone(), problem });
                if page.problems.len() == self.page_size {
                    page.next = Some(key);
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }
}

// === impl Names ===

impl Names {
    async fn of(
        &mut self,
        custody: &Custody,
        permit: &Permit,
        store: StoreNumber,
    ) -> Result<Option<StoreName>, Refusal> {
        if let Some(known) = self.0.get(&store) {
            return Ok(known.clone());
        }
        let name = match custody.store(permit, &StoreRef::Number(store)).await {
            Ok(found) => Some(found.record.name),
            Err(CustodyError::NotFound) => None,
            Err(other) => return Err(other.into()),
        };
        self.0.insert(store, name.clone());
        Ok(name)
    }
}

fn key_of(store: StoreNumber, problem: &Problem) -> ProblemKey {
    ProblemKey { store, report_time: problem.report_time, place: problem.place.clone() }
}

const SCANS_MAX: usize = 10;
/// A page of campaigns ends early when it has shown so many stores.
const STORES_LISTED_MAX: usize = 1000;
