//! Begins a campaign: the key's old versions, the stores to move them out of, and nobody at work yet.

use std::collections::BTreeSet;

use crate::audit::Record;
use crate::campaign::{Campaign, CampaignState, SOURCE_VERSIONS_MAX, STORES_MAX};
use crate::custody::{Custody, Past, RequestKey, TrustedClaim, TrustedKey};
use crate::keys::{KeyRef, Reason, State, StoreNumber, StoreRef};
use crate::policy::{Action, Permit};

use super::campaign_stores::{check_movable, known_stores, registered};
use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::read_campaigns::CampaignView;
use super::refusal::Refusal;

/// A campaign to begin.
pub struct CreateCampaign {
    /// Of which key.
    pub key: KeyRef,
    /// Which versions to move away from; none: every old one that is not about to be destroyed.
    pub source_versions: BTreeSet<u32>,
    /// Where from; none: every registered store that the census knows for one of the versions.
    pub stores: Vec<StoreRef>,
    /// Blobs a second, over all stores; 0: as fast as it goes.
    pub rate_per_second: u32,
    /// Whether it goes before others.
    pub urgent: bool,
    /// What it is for.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl CreateCampaign ===

impl Change for CreateCampaign {
    type Reply = CampaignView;

    fn action(&self) -> Action {
        Action::CreateCampaign
    }

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={} reason={}", self.key, self.reason.as_str()).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        let source_versions = self.source_versions(act, &key).await?;
        check_movable(act.custody, act.permit, key.id(), &source_versions).await?;
        let stores = self.stores(act, &key, &source_versions).await?;
        let claims = self.claims(act, &key, &stores).await?;
        let campaign = Campaign {
            id: act.custody.new_campaign_id()?,
            key: key.id(),
            source_versions,
            stores,
            state: CampaignState::Running,
            rate_per_second: self.rate_per_second,
            urgent: self.urgent,
            reason: self.reason.clone(),
            principal: act.permit.principal().id().to_string(),
            create_time: act.custody.now(),
            end_time: None,
            note: String::new(),
        };
        let mut changes = act.custody.change(act.permit)?;
        changes.expect_key(&key);
        changes.put_new_campaign(&campaign, &claims);
        Ok(Changed::of_campaign(changes, key.id(), campaign.id))
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

impl CreateCampaign {
    /// Ascending, and each one that the key has.
    async fn source_versions(&self, act: &Act<'_>, key: &TrustedKey) -> Result<Vec<u32>, Refusal> {
        const FIELD: &str = "source_versions";
        let mut chosen = Vec::new();
        let mut after = 0;
        loop {
            let page = act.custody.versions(act.permit, key, after, PAGE).await?;
            for version in &page {
                let (number, state) = (version.number(), version.version().state());
                match (self.source_versions.contains(&number), state) {
                    (true, State::Active) => {
                        let problem = format!("version {number} is Active; rotate the key first");
                        return Err(Refusal::invalid(FIELD, problem));
                    }
                    (true, _) => chosen.push(number),
                    (false, _) if !self.source_versions.is_empty() => {}
                    (false, state) if is_old(state) => chosen.push(number),
                    (false, _) => {}
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.number(),
                _ => break,
            }
        }
        if let Some(missing) = self.source_versions.iter().find(|one| !chosen.contains(one)) {
            return Err(Refusal::invalid(FIELD, format!("the key has no version {missing}")));
        }
        match chosen.len() {
            0 => Err(Refusal::invalid(FIELD, "the key has no old version; rotate it first")),
            1..=SOURCE_VERSIONS_MAX => Ok(chosen),
            _ => Err(Refusal::TooLarge {
                field: FIELD,
                problem: format!("name at most {SOURCE_VERSIONS_MAX} versions"),
            }),
        }
    }

    /// What the campaign takes over of each store, where no other is at work.
    async fn claims(
        &self,
        act: &Act<'_>,
        key: &TrustedKey,
        stores: &[StoreNumber],
    ) -> Result<Vec<TrustedClaim>, Refusal> {
        let (custody, permit) = (act.custody, act.permit);
        let claims = custody.campaign_claims(permit, key.id(), stores).await?;
        let mut ended = BTreeSet::new();
        for claim in &claims {
            let Some(id) = claim.campaign().filter(|id| !ended.contains(id)) else { continue };
            let other = custody.campaign(permit, id).await?;
            let (other, store) = (other.campaign(), claim.store());
            if other.is_at_work(key.id(), store) {
                let (campaign, state) = (other.id, other.state);
                return Err(Refusal::CampaignAtWork { campaign, state, store });
            }
            ended.insert(id);
        }
        Ok(claims)
    }

    /// Ascending, and each one registered.
    async fn stores(
        &self,
        act: &Act<'_>,
        key: &TrustedKey,
        versions: &[u32],
    ) -> Result<Vec<StoreNumber>, Refusal> {
        let (custody, permit) = (act.custody, act.permit);
        let mut stores = BTreeSet::new();
        for named in &self.stores {
            stores.insert(registered(custody, permit, FIELD, named).await?.number);
        }
        if self.stores.is_empty() {
            stores.extend(known_stores(act, key.id(), versions).await?);
        }
        return match stores.len() {
            0 => Err(Refusal::invalid(
                FIELD,
                "no registered store is known for these versions; register the stores, or name one",
            )),
            1..=STORES_MAX => Ok(stores.into_iter().collect()),
            _ => Err(Refusal::TooLarge {
                field: FIELD,
                problem: format!("name at most {STORES_MAX} stores"),
            }),
        };

        const FIELD: &str = "stores";
    }
}

/// Whether a campaign takes a version in this state when nobody names any. A Suspended one is taken,
/// and is then refused by its name: nobody should believe that it was emptied.
const fn is_old(state: State) -> bool {
    match state {
        State::Deactivated | State::RewrapOnly | State::Suspended | State::Compromised => true,
        State::PreActive | State::Active | State::DestroyScheduled | State::Destroyed => false,
    }
}

const PAGE: usize = 1000;
