//! Quotas: how many of something a tenant has, counted in the very commit that makes or removes one.
//!
//! One row for each tenant and quota. Every change that adds or removes writes it, on the condition that
//! nobody else has since it was read, so that two that are made at once can never pass together, and
//! whichever server makes them. Changes of one server take turns at it instead of failing.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::keys::{Key, Quota, QuotaExceeded, TenantUsage};
use crate::policy::Permit;
use crate::store::PAGE_ROWS_MAX;

use super::Custody;
use super::changes::Changes;
use super::error::CustodyError;
use super::read;
use super::records::{GrantEntry, PolicyEntry};
use super::rows::{AccountRecord, BindingRecord, Record, RelationRecord, UsageRecord};
use super::tenant::Tenant;
use super::tenants::TrustedTenant;

/// The turns of this server's changes at a tenant's rows that count.
#[derive(Default)]
pub(super) struct Turns([Arc<Mutex<()>>; Quota::ALL.len()]);

/// What a change adds and removes of what is counted.
#[derive(Default)]
pub(super) struct Counted {
    changed: BTreeMap<Quota, (u64, u64)>,
    /// Held from when the rows that count are read until the change is committed or given up.
    turns: Vec<OwnedMutexGuard<()>>,
}

// === impl Turns ===

impl Turns {
    async fn take(&self, quota: Quota) -> Option<OwnedMutexGuard<()>> {
        match self.0.get(quota as usize) {
            Some(turn) => Some(Arc::clone(turn).lock_owned().await),
            None => None,
        }
    }
}

// === impl Counted ===

impl Counted {
    pub(super) fn add(&mut self, quota: Quota) {
        let (added, _) = self.changed.entry(quota).or_default();
        *added = added.saturating_add(1);
    }

    pub(super) fn remove(&mut self, quota: Quota) {
        let (_, removed) = self.changed.entry(quota).or_default();
        *removed = removed.saturating_add(1);
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// Counts what was gathered and holds it to the tenant's quotas. Done once: what is gathered after
    /// it is counted when it is done again or committed.
    ///
    /// # Errors
    /// [`CustodyError::QuotaExceeded`].
    pub async fn hold_to_quotas(&mut self) -> Result<(), CustodyError> {
        let tenant = Arc::clone(self.tenant());
        let custody = self.custody();
        for (quota, (added, removed)) in std::mem::take(&mut self.counted.changed) {
            self.counted.turns.extend(tenant.turns.take(quota).await);
            let (used, revision) = custody.counted(&tenant, quota).await?;
            let limits = custody.tenant_limits(tenant.id);
            let count = quota.admit(&limits, used, added, removed)?;
            self.put(&UsageRecord { quota, count }, revision);
        }
        Ok(())
    }
}

// === impl Custody ===

impl Custody {
    /// Refuses another version of a key that has so many which are not destroyed.
    ///
    /// # Errors
    /// [`CustodyError::QuotaExceeded`].
    pub fn hold_to_version_quota(&self, permit: &Permit, live: u32) -> Result<(), CustodyError> {
        let limits = self.tenant_limits(permit.tenant());
        Quota::VersionsPerKey.admit(&limits, u64::from(live), 1, 0)?;
        Ok(())
    }

    /// How many there are in a tenant of what is limited. Numbers, and nothing of what is counted.
    pub async fn usage_of(
        &self,
        permit: &Permit,
        tenant: &TrustedTenant,
    ) -> Result<TenantUsage, CustodyError> {
        self.only_installation(permit)?;
        let tenant = self.tenant(tenant.id())?;
        let mut usage = TenantUsage::default();
        for quota in Quota::ALL.into_iter().filter(|quota| *quota != Quota::VersionsPerKey) {
            usage.set(quota, self.counted(&tenant, quota).await?.0);
        }
        Ok(usage)
    }

    /// How many there are, and the revision of the row that says so. A tenant that is older than such
    /// rows is counted once: the first change after it writes what was found, and whatever changes
    /// meanwhile lets that one begin again.
    async fn counted(
        &self,
        tenant: &Tenant,
        quota: Quota,
    ) -> Result<(u64, Option<u64>), CustodyError> {
        match self.load::<UsageRecord>(tenant, UsageRecord::row_id_of(quota)).await? {
            Some((record, revision)) => Ok((record.count, Some(revision))),
            None => {
                let count = match quota {
                    Quota::Keys => self.count_rows::<Key>(tenant).await,
                    Quota::Policies => self.count_rows::<PolicyEntry>(tenant).await,
                    Quota::Grants => self.count_rows::<GrantEntry>(tenant).await,
                    Quota::RoleBindings => self.count_rows::<BindingRecord>(tenant).await,
                    Quota::Relations => self.count_rows::<RelationRecord>(tenant).await,
                    Quota::ServiceAccounts => self.count_rows::<AccountRecord>(tenant).await,
                    Quota::VersionsPerKey => Ok(0),
                };
                Ok((count?, None))
            }
        }
    }

    async fn count_rows<R: Record>(&self, tenant: &Tenant) -> Result<u64, CustodyError> {
        let (mut count, mut after) = (0_u64, None);
        loop {
            let rows =
                read::page::<R>(&*self.store, tenant.id, Vec::new(), after, PAGE_ROWS_MAX).await?;
            for row in &rows {
                tenant.verify(row)?;
                count = count.saturating_add(1);
            }
            match rows.last() {
                Some(last) if rows.len() == PAGE_ROWS_MAX => after = Some(last.key.id.clone()),
                _ => return Ok(count),
            }
        }
    }
}

impl From<QuotaExceeded> for CustodyError {
    fn from(exceeded: QuotaExceeded) -> Self {
        Self::QuotaExceeded(exceeded)
    }
}
