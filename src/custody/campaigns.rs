//! Campaigns: reading them, their stores and their problems, and putting what became of them.
//!
//! Never kept in a cache: what an agent reports rests on what stands in the store now.

use crate::campaign::{Campaign, Problem, ProblemPlace, StoreProgress};
use crate::keys::{CampaignId, KeyId, StoreNumber};
use crate::policy::Permit;
use crate::store::{Row, RowKey};

use super::Custody;
use super::changes::Changes;
use super::error::CustodyError;
use super::rows::{ClaimRecord, ProblemRecord, ProgressRecord, Record};

/// A campaign, verified.
pub struct TrustedCampaign {
    campaign: Campaign,
    revision: u64,
}

/// How far one store of a campaign has come, verified.
pub struct TrustedProgress {
    record: ProgressRecord,
    revision: u64,
}

/// A problem of a campaign's store, verified.
pub struct TrustedProblem {
    record: ProblemRecord,
    revision: u64,
}

/// Which campaign was the last to move a key's blobs out of a store, verified.
pub struct TrustedClaim {
    key: KeyId,
    store: StoreNumber,
    campaign: Option<CampaignId>,
    revision: Option<u64>,
}

// === impl Custody ===

impl Custody {
    /// A new campaign's id.
    pub fn new_campaign_id(&self) -> Result<CampaignId, CustodyError> {
        Ok(CampaignId::from_bytes(self.draw_id()?))
    }

    /// The campaign with this id.
    pub async fn campaign(
        &self,
        permit: &Permit,
        id: CampaignId,
    ) -> Result<TrustedCampaign, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.load::<Campaign>(&tenant, id.as_bytes().to_vec()).await?;
        let (campaign, revision) = found.ok_or(CustodyError::NotFound)?;
        Ok(TrustedCampaign { campaign, revision })
    }

    /// Campaigns in the order of their ids, after `after`, at most `limit`.
    pub async fn campaigns(
        &self,
        permit: &Permit,
        after: Option<CampaignId>,
        limit: usize,
    ) -> Result<Vec<TrustedCampaign>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = after.map(|id| id.as_bytes().to_vec());
        let found = self.records::<Campaign>(&tenant, Vec::new(), after, limit).await?;
        let trusted = |(campaign, revision)| TrustedCampaign { campaign, revision };
        Ok(found.into_iter().map(trusted).collect())
    }

    /// Which campaigns were the last to move the key's blobs out of these stores, each in its place.
    pub async fn campaign_claims(
        &self,
        permit: &Permit,
        key: KeyId,
        stores: &[StoreNumber],
    ) -> Result<Vec<TrustedClaim>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let row_key = |store: &StoreNumber| {
            let id = ClaimRecord::row_id_of(key, *store);
            RowKey::new(*tenant.id.as_bytes(), ClaimRecord::KIND, id)
        };
        let wanted: Vec<_> = stores.iter().map(row_key).collect();
        let rows = self.rows(&wanted).await?;
        let trusted = |(store, row): (&StoreNumber, Option<Row>)| {
            let revision = row.as_ref().map(|row| row.revision);
            let record = row.map(|row| tenant.trust::<ClaimRecord>(&row)).transpose()?;
            let campaign = record.map(|record| record.campaign);
            Ok(TrustedClaim { key, store: *store, campaign, revision })
        };
        stores.iter().zip(rows).map(trusted).collect()
    }

    /// How far one store of a campaign has come.
    pub async fn campaign_progress(
        &self,
        permit: &Permit,
        campaign: CampaignId,
        store: StoreNumber,
    ) -> Result<TrustedProgress, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let row_id = ProgressRecord::row_id_of(campaign, store);
        let found = self.load::<ProgressRecord>(&tenant, row_id).await?;
        let (record, revision) = found.ok_or(CustodyError::NotFound)?;
        Ok(TrustedProgress { record, revision })
    }

    /// How far each store of a campaign has come, in the order of the stores' numbers.
    pub async fn campaign_progresses(
        &self,
        permit: &Permit,
        campaign: CampaignId,
    ) -> Result<Vec<TrustedProgress>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let prefix = campaign.as_bytes().to_vec();
        let limit = crate::campaign::STORES_MAX;
        let found = self.records::<ProgressRecord>(&tenant, prefix, None, limit).await?;
        let trusted = |(record, revision)| TrustedProgress { record, revision };
        Ok(found.into_iter().map(trusted).collect())
    }

    /// Every problem of one store of a campaign, of which there are a bounded number, in no order that
    /// means anything.
    pub async fn campaign_problems(
        &self,
        permit: &Permit,
        campaign: CampaignId,
        store: StoreNumber,
    ) -> Result<Vec<Problem>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let prefix = ProgressRecord::row_id_of(campaign, store);
        let found = self.all_records::<ProblemRecord>(&tenant, &prefix).await?;
        Ok(found.into_iter().map(|(record, _)| record.problem).collect())
    }

    /// What is known of these places, in their order.
    pub async fn known_problems(
        &self,
        permit: &Permit,
        campaign: CampaignId,
        store: StoreNumber,
        places: &[ProblemPlace],
    ) -> Result<Vec<Option<TrustedProblem>>, CustodyError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let tenant = self.tenant(permit.tenant())?;
        let row_key = |place: &ProblemPlace| RowKey {
            tenant: *tenant.id.as_bytes(),
            kind: ProblemRecord::KIND,
            id: ProblemRecord::row_id_of(campaign, store, place),
        };
        let wanted: Vec<_> = places.iter().map(row_key).collect();
        let rows = self.rows(&wanted).await?;
        let trusted =
            |row: Row| Ok(TrustedProblem { record: tenant.trust(&row)?, revision: row.revision });
        rows.into_iter().map(|row| row.map(trusted).transpose()).collect()
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// A campaign that is new, and its stores, in which nobody has begun. It takes over the `claims` on
    /// these stores: of two campaigns that do so at once, one is made.
    pub fn put_new_campaign(&mut self, campaign: &Campaign, claims: &[TrustedClaim]) {
        self.put(campaign, None);
        for TrustedClaim { key, store, revision, .. } in claims {
            let record = ClaimRecord { key: *key, store: *store, campaign: campaign.id };
            self.put(&record, *revision);
        }
        for store in &campaign.stores {
            let progress = StoreProgress::default();
            let record = ProgressRecord { campaign: campaign.id, store: *store, progress };
            self.put(&record, None);
        }
    }

    /// A campaign that differs from `was`, or of which something else is about to change that whoever
    /// read `was` must hear of.
    pub fn put_campaign(&mut self, campaign: &Campaign, was: &TrustedCampaign) {
        self.put(campaign, Some(was.revision));
    }

    /// Nothing may have changed about this campaign.
    pub fn expect_campaign(&mut self, campaign: &TrustedCampaign) {
        let row_key = self.row_key::<Campaign>(campaign.campaign.row_id());
        self.expect(row_key, Some(campaign.revision));
    }

    /// A store's progress that differs from `was`.
    pub fn put_progress(&mut self, progress: &StoreProgress, was: &TrustedProgress) {
        let record = ProgressRecord { progress: progress.clone(), ..was.record };
        self.put(&record, Some(was.revision));
    }

    /// A problem of the store of `progress`: new, or another than `was`.
    pub fn put_problem(
        &mut self,
        problem: Problem,
        progress: &TrustedProgress,
        was: Option<&TrustedProblem>,
    ) {
        let ProgressRecord { campaign, store, .. } = progress.record;
        let record = ProblemRecord { campaign, store, problem };
        self.put(&record, was.map(|was| was.revision));
    }
}

// === impl TrustedCampaign ===

impl TrustedCampaign {
    /// The campaign.
    pub fn campaign(&self) -> &Campaign {
        &self.campaign
    }
}

// === impl TrustedClaim ===

impl TrustedClaim {
    /// On which store.
    pub fn store(&self) -> StoreNumber {
        self.store
    }

    /// The last campaign there, which may have ended; `None` when there was none.
    pub fn campaign(&self) -> Option<CampaignId> {
        self.campaign
    }
}

// === impl TrustedProgress ===

impl TrustedProgress {
    /// Of which store.
    pub fn store(&self) -> StoreNumber {
        self.record.store
    }

    /// How far it has come.
    pub fn progress(&self) -> &StoreProgress {
        &self.record.progress
    }
}

// === impl TrustedProblem ===

impl TrustedProblem {
    /// The problem.
    pub fn problem(&self) -> &Problem {
        &self.record.problem
    }
}
