//! Keys that are due because their Active version has wrapped as much as it may. The census makes its
//! row of such a version due; what the row says besides is read only to tell wraps from bytes.

use crate::keys::{Key, KeyId, Present, Trigger};
use crate::policy::Permit;
use crate::store::{Commit, Expect, Put, Row, RowKey, StoreError};

use super::Custody;
use super::error::CustodyError;
use super::records::TrustedKey;
use super::rows::{CensusRecord, Record, VersionRecord};
use super::tenant::Tenant;
use super::watch::Due;

// === impl Custody ===

impl Custody {
    /// What makes the key due of what its primary version has wrapped, if anything does.
    pub async fn spent(
        &self,
        permit: &Permit,
        key: &TrustedKey,
        present: Present,
    ) -> Result<Option<Trigger>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let id = VersionRecord::row_id_of(key.id(), key.key().primary_version);
        let wanted = RowKey::new(*tenant.id.as_bytes(), CensusRecord::KIND, id);
        let Some(row) = self.row(wanted).await? else { return Ok(None) };
        let counted: CensusRecord = tenant.trust(&row)?;
        let is_due = row.due_at.is_some_and(|due_at| due_at <= present.reached().unix_ms());
        let (wraps, bytes) = (counted.census.wraps, counted.census.wrapped_bytes);
        // A limit that was raised since still counts: the row became due under the one before it.
        Ok(is_due.then(|| key.key().spent(wraps, bytes).unwrap_or(Trigger::Wraps)))
    }

    /// The key of a census row that is due, if the row's version is the one that wraps.
    pub(super) async fn due_of_census(
        &self,
        tenant: &Tenant,
        row: &Row,
    ) -> Result<Option<Due>, CustodyError> {
        tenant.verify(row)?;
        let (key, number) = VersionRecord::parse_row_id(&row.key.id)
            .map_err(|_| CustodyError::Tampered { kind: CensusRecord::KIND, problem: "its id" })?;
        if self.primary_of(tenant, key).await? == Some(number) {
            return Ok(Some(Due::Rotate(tenant.id, key)));
        }
        // The rotation that it asked for has been made.
        self.settle(tenant, row).await?;
        Ok(None)
    }

    /// Writes the row again as it is, due no more. Whoever changed it meanwhile is right.
    async fn settle(&self, tenant: &Tenant, row: &Row) -> Result<(), CustodyError> {
        let put: Put = tenant.sealed_again(row, None);
        let expect = vec![Expect { key: row.key.clone(), revision: Some(row.revision) }];
        let commit = Commit { expect, puts: vec![put], tombstones: Vec::new() };
        match self.store.commit(commit).await {
            Ok(_) | Err(StoreError::Conflict) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    async fn primary_of(&self, tenant: &Tenant, key: KeyId) -> Result<Option<u32>, CustodyError> {
        let found = self.load::<Key>(tenant, key.as_bytes().to_vec()).await?;
        Ok(found.map(|(key, _)| key.primary_version))
    }
}
