//! Reading: every record is verified before anyone sees it, and only in the permit's tenant.

use std::sync::{Arc, OnceLock};

use crate::crypto::MacKey;
use crate::keys::{Alias, Key, KeyId, KeyRef, TenantId, Use};
use crate::policy::{KeyFacts, Permit, SubjectRef};
use crate::store::{FORMAT, PAGE_ROWS_MAX, Row, RowKey, Scan, Store};

use super::Custody;
use super::error::CustodyError;
use super::mac;
use super::records::{AliasEntry, RoleBinding, TrustedKey, TrustedVersion};
use super::rows::{AliasRecord, BindingRecord, Record, VersionRecord};
use super::tenant::Tenant;

// === impl Custody ===

impl Custody {
    /// What a decision may read of the key that `named` names, or of the one that there is not. Needs no
    /// permit: it is what the decision is made from.
    pub async fn key_facts(
        &self,
        tenant: TenantId,
        named: &KeyRef,
    ) -> Result<Arc<KeyFacts>, CustodyError> {
        let found = async {
            let id = match named {
                KeyRef::Id(id) => *id,
                KeyRef::Alias(alias) => self.key_of_alias(tenant, alias).await?,
            };
            self.trusted_key(tenant, id).await
        };
        match found.await {
            Ok(key) => Ok(Arc::clone(key.facts())),
            Err(CustodyError::NotFound) => Ok(Arc::new(KeyFacts::none())),
            Err(other) => Err(other),
        }
    }

    /// The key that `named` names.
    pub async fn key(
        &self,
        permit: &Permit,
        named: &KeyRef,
    ) -> Result<Arc<TrustedKey>, CustodyError> {
        let id = match named {
            KeyRef::Id(id) => *id,
            KeyRef::Alias(alias) => self.key_of_alias(permit.tenant(), alias).await?,
        };
        self.key_by_id(permit, id).await
    }

    /// The key with this id.
    pub async fn key_by_id(
        &self,
        permit: &Permit,
        id: KeyId,
    ) -> Result<Arc<TrustedKey>, CustodyError> {
        // A key that the permit is not for is as one that is not there.
        if !permit.opens(id) {
            return Err(CustodyError::NotFound);
        }
        self.trusted_key(permit.tenant(), id).await
    }

    async fn trusted_key(
        &self,
        tenant_id: TenantId,
        id: KeyId,
    ) -> Result<Arc<TrustedKey>, CustodyError> {
        let load = async {
            let tenant = self.tenant(tenant_id)?;
            let found = self.load::<Key>(&tenant, id.as_bytes().to_vec()).await?;
            let (key, revision) = found.ok_or(CustodyError::NotFound)?;
            Ok(Arc::new(TrustedKey::new(tenant_id, key, revision)))
        };
        self.caches.through(&self.caches.keys, (tenant_id, id), load).await
    }

    /// One version of a key.
    pub async fn version(
        &self,
        permit: &Permit,
        key: KeyId,
        number: u32,
    ) -> Result<Arc<TrustedVersion>, CustodyError> {
        if !permit.opens(key) {
            return Err(CustodyError::NotFound);
        }
        let tenant_id = permit.tenant();
        let load = async {
            let tenant = self.tenant(tenant_id)?;
            let row_id = VersionRecord::row_id_of(key, number);
            let found = self.load::<VersionRecord>(&tenant, row_id).await?;
            let (record, revision) = found.ok_or(CustodyError::NotFound)?;
            Ok(Arc::new(TrustedVersion {
                tenant: tenant_id,
                record,
                revision,
                kek: OnceLock::new(),
            }))
        };
        self.caches.through(&self.caches.versions, (tenant_id, key, number), load).await
    }

    /// The primary version of a key: the one that was last made Active.
    pub async fn primary_version(
        &self,
        permit: &Permit,
        key: &TrustedKey,
    ) -> Result<Arc<TrustedVersion>, CustodyError> {
        self.version(permit, key.id(), key.key.primary_version).await
    }

    /// The version that the key's next rotation makes Active, if one was prepared.
    pub async fn prepared_version(
        &self,
        permit: &Permit,
        key: &TrustedKey,
    ) -> Result<Option<Arc<TrustedVersion>>, CustodyError> {
        match key.key.prepared_version {
            Some(number) => Ok(Some(self.version(permit, key.id(), number).await?)),
            None => Ok(None),
        }
    }

    /// The primary version of a key, to wrap under. A rotation between the reading of both rows is no
    /// refusal: `key` is then read again.
    pub async fn wrapping_version(
        &self,
        permit: &Permit,
        key: &mut Arc<TrustedKey>,
    ) -> Result<Arc<TrustedVersion>, CustodyError> {
        loop {
            let version = self.primary_version(permit, key).await?;
            if version.version().allows(Use::Wrap) {
                return Ok(version);
            }
            let tenant = self.tenant(permit.tenant())?;
            let found = self.load::<Key>(&tenant, key.id().as_bytes().to_vec()).await?;
            let (now, revision) = found.ok_or(CustodyError::NotFound)?;
            if revision == key.revision {
                return Ok(version);
            }
            *key = Arc::new(TrustedKey::new(tenant.id, now, revision));
        }
    }

    /// Keys in the order of their ids, after `after`, at most `limit`.
    pub async fn keys(
        &self,
        permit: &Permit,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<Arc<TrustedKey>>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = after.map(|id| id.as_bytes().to_vec());
        let found = self.records::<Key>(&tenant, Vec::new(), after, limit).await?;
        let trusted = |(key, revision)| Arc::new(TrustedKey::new(tenant.id, key, revision));
        Ok(found.into_iter().map(trusted).collect())
    }

    /// Versions of a key in ascending order, after `after` (0: from the first), at most `limit`.
    pub async fn versions(
        &self,
        permit: &Permit,
        key: &TrustedKey,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Arc<TrustedVersion>>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let prefix = key.id().as_bytes().to_vec();
        let after = Some(VersionRecord::row_id_of(key.id(), after));
        let found = self.records::<VersionRecord>(&tenant, prefix, after, limit).await?;
        let trusted = |(record, revision)| {
            Arc::new(TrustedVersion { tenant: tenant.id, record, revision, kek: OnceLock::new() })
        };
        Ok(found.into_iter().map(trusted).collect())
    }

    /// Aliases in the order of their names, after `after`, at most `limit`.
    pub async fn aliases(
        &self,
        permit: &Permit,
        after: Option<&Alias>,
        limit: usize,
    ) -> Result<Vec<AliasEntry>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = after.map(|alias| alias.as_str().as_bytes().to_vec());
        let found = self.records::<AliasRecord>(&tenant, Vec::new(), after, limit).await?;
        let entry =
            |(record, _): (AliasRecord, u64)| AliasEntry { alias: record.alias, key: record.key };
        Ok(found.into_iter().map(entry).collect())
    }

    /// Role bindings in the order of the subjects' names, after `after`, at most `limit`.
    pub async fn role_bindings(
        &self,
        permit: &Permit,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RoleBinding>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = after.map(|subject| subject.as_bytes().to_vec());
        let found = self.records::<BindingRecord>(&tenant, Vec::new(), after, limit).await?;
        let binding = |(record, _): (BindingRecord, u64)| RoleBinding {
            subject: record.subject,
            roles: record.roles,
        };
        Ok(found.into_iter().map(binding).collect())
    }

    /// The roles that `subject` holds in its own name.
    pub async fn role_binding(
        &self,
        permit: &Permit,
        subject: &SubjectRef,
    ) -> Result<RoleBinding, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.load::<BindingRecord>(&tenant, subject.to_string().into_bytes()).await?;
        let roles = found.map(|(record, _)| record.roles).unwrap_or_default();
        Ok(RoleBinding { subject: subject.clone(), roles })
    }

    async fn key_of_alias(
        &self,
        tenant_id: TenantId,
        alias: &Alias,
    ) -> Result<KeyId, CustodyError> {
        let load = async {
            let tenant = self.tenant(tenant_id)?;
            let row_id = alias.as_str().as_bytes().to_vec();
            let found = self.load::<AliasRecord>(&tenant, row_id).await?;
            Ok(found.ok_or(CustodyError::NotFound)?.0.key)
        };
        self.caches.through(&self.caches.aliases, (tenant_id, alias.clone()), load).await
    }

    /// One verified record and its revision.
    pub(super) async fn load<R: Record>(
        &self,
        tenant: &Tenant,
        row_id: Vec<u8>,
    ) -> Result<Option<(R, u64)>, CustodyError> {
        let wanted = RowKey { tenant: *tenant.id.as_bytes(), kind: R::KIND, id: row_id };
        let Some(row) = self.row(wanted).await? else { return Ok(None) };
        Ok(Some((tenant.trust(&row)?, row.revision)))
    }

    /// The same, of a row that belongs to no tenant.
    pub(super) async fn load_of_installation<R: Record>(
        &self,
        row_id: &[u8],
    ) -> Result<Option<(R, u64)>, CustodyError> {
        let wanted = RowKey::new(*TenantId::INSTALLATION.as_bytes(), R::KIND, row_id);
        let Some(row) = self.row(wanted).await? else { return Ok(None) };
        Ok(Some((trust(&self.root_row_mac, &row)?, row.revision)))
    }

    /// One row, not yet verified.
    pub(super) async fn row(&self, wanted: RowKey) -> Result<Option<Row>, CustodyError> {
        let rows = self.rows(std::slice::from_ref(&wanted)).await?;
        Ok(rows.into_iter().next().flatten())
    }

    /// Rows in the order of their keys, not yet verified: each is the one that was asked for, or none,
    /// so that an authentic row of another key passes for nothing.
    pub(super) async fn rows(&self, wanted: &[RowKey]) -> Result<Vec<Option<Row>>, CustodyError> {
        let rows = self.store.load(wanted).await?;
        let other = wanted
            .iter()
            .zip(&rows)
            .find(|(key, row)| row.as_ref().is_some_and(|r| r.key != **key));
        match other {
            Some((key, _)) => {
                let (kind, problem) = (key.kind, "not the row asked for");
                Err(CustodyError::Tampered { kind, problem })
            }
            None => Ok(rows),
        }
    }

    /// Every verified record whose row begins with `prefix`, in the order of the rows. For what there is
    /// a bounded number of.
    pub(super) async fn all_records<R: Record>(
        &self,
        tenant: &Tenant,
        prefix: &[u8],
    ) -> Result<Vec<(R, u64)>, CustodyError> {
        let mut all: Vec<(R, u64)> = Vec::new();
        loop {
            let after = all.last().map(|(record, _)| record.row_id());
            let page = self.records(tenant, prefix.to_vec(), after, PAGE_ROWS_MAX).await?;
            let is_last = page.len() < PAGE_ROWS_MAX;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// One page of verified records and their revisions.
    pub(super) async fn records<R: Record>(
        &self,
        tenant: &Tenant,
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<(R, u64)>, CustodyError> {
        let rows = page::<R>(&*self.store, tenant.id, prefix, after, limit).await?;
        rows.iter().map(|row| Ok((tenant.trust(row)?, row.revision))).collect()
    }
}

/// One page of rows, not yet verified, but each with the prefix that was asked for.
pub(super) async fn page<R: Record>(
    store: &dyn Store,
    tenant: TenantId,
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<Row>, CustodyError> {
    let scan = Scan { tenant: *tenant.as_bytes(), kind: R::KIND, prefix, after, limit };
    let rows = store.scan(&scan).await?;
    // An authentic row of another key, version or store would pass for one of these.
    let other = |row: &Row| !row.key.id.starts_with(&scan.prefix);
    if rows.iter().any(other) {
        return Err(CustodyError::Tampered { kind: R::KIND, problem: "not a row asked for" });
    }
    Ok(rows)
}

/// The record that `row` holds, if it is just as this program wrote it.
pub(super) fn trust<R: Record>(mac_key: &MacKey, row: &Row) -> Result<R, CustodyError> {
    if row.format > FORMAT {
        return Err(CustodyError::NewerFormat { kind: R::KIND });
    }
    if row.key.kind != R::KIND || !mac::is_authentic(mac_key, row) {
        return Err(CustodyError::Tampered { kind: R::KIND, problem: "its MAC is wrong" });
    }
    R::decode(&row.key.id, &row.body)
        .map_err(|_| CustodyError::Tampered { kind: R::KIND, problem: "its body is malformed" })
}
