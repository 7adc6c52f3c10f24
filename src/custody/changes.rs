//! Changing: what a use case wants to be different, gathered and committed all or nothing.
//!
//! Every row that the change rests on is compared with what was read; a change made in between is
//! [`CustodyError::Conflict`] and nothing happened.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::keys::{Alias, CampaignId, Key, KeyId, Quota, RequestId, State, Version};
use crate::policy::{HeldRole, Permit, SubjectRef};
use crate::store::{Commit, Expect, RowKey};

use super::Custody;
use super::error::CustodyError;
use super::records::{TrustedKey, TrustedVersion};
use super::rows::{
    AliasRecord, BindingRecord, REQUEST_KEPT_MS, Record, RequestRecord, VersionRecord,
};
use super::tenant::Tenant;
use super::usage::Counted;

/// A change that is being put together. Dropped without [`Changes::commit`], nothing happened.
pub struct Changes<'c> {
    custody: &'c Custody,
    tenant: Arc<Tenant>,
    commit: Commit,
    pub(super) counted: Counted,
}

/// A mutation's request id and what was asked with it.
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// As the caller gave it.
    pub id: RequestId,
    /// SHA-256 of the action and the request as it was understood.
    pub digest: [u8; 32],
}

/// What a mutation led to: enough to answer the same request again.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Past {
    /// The key that it made or changed.
    pub key: Option<KeyId>,
    /// The version that it made or changed; 0 for none.
    pub version: u32,
    /// The version that took that one's place; 0 for none.
    pub replacement_version: u32,
    /// The campaign that it made or changed.
    pub campaign: Option<CampaignId>,
    /// The store's revision that has it. Not kept: an outcome's own row has it.
    pub revision: u64,
    /// The tenant, proposal, credential or grant that it made or changed.
    pub made: Option<[u8; 16]>,
}

// === impl Custody ===

impl Custody {
    /// Begins a change in the permit's tenant.
    pub fn change(&self, permit: &Permit) -> Result<Changes<'_>, CustodyError> {
        Ok(self.change_in(&self.tenant(permit.tenant())?))
    }

    /// Begins a change of this program's own in a tenant.
    pub(super) fn change_in(&self, tenant: &Arc<Tenant>) -> Changes<'_> {
        let commit = Commit { expect: Vec::new(), puts: Vec::new(), tombstones: Vec::new() };
        Changes { custody: self, tenant: Arc::clone(tenant), commit, counted: Counted::default() }
    }

    /// What the same principal's same request led to in the last 24 hours, if it was made.
    pub async fn recall(
        &self,
        permit: &Permit,
        request: &RequestKey,
    ) -> Result<Option<Past>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let row_id = request_row_id(permit, &request.id).to_vec();
        match self.load::<RequestRecord>(&tenant, row_id).await? {
            Some((record, revision)) if self.is_kept(&record) => {
                if record.digest != request.digest {
                    return Err(CustodyError::RequestIdReused);
                }
                Ok(Some(Past {
                    key: record.key,
                    version: record.version,
                    replacement_version: record.replacement_version,
                    campaign: record.campaign,
                    revision,
                    made: record.made,
                }))
            }
            _ => Ok(None),
        }
    }

    fn is_kept(&self, record: &RequestRecord) -> bool {
        self.now() < record.create_time.plus_ms(REQUEST_KEPT_MS)
    }
}

// === impl Changes ===

impl<'c> Changes<'c> {
    /// A key that is new.
    pub fn put_new_key(&mut self, key: &Key) {
        self.counted.add(Quota::Keys);
        self.put(key, None);
    }

    /// A key that differs from `was`.
    pub fn put_key(&mut self, key: &Key, was: &TrustedKey) {
        self.put(key, Some(was.revision));
    }

    /// Nothing may have changed about this key.
    pub fn expect_key(&mut self, key: &TrustedKey) {
        let key_row = self.row_key::<Key>(key.key.row_id());
        self.expect(key_row, Some(key.revision));
    }

    /// A version that is new, with fresh material.
    pub fn put_new_version(&mut self, key: KeyId, version: Version) -> Result<(), CustodyError> {
        let record = self.tenant.make_version(self.custody.random(), key, version)?;
        // The material that will wrap is opened once before anything rests on it.
        self.tenant.open_version(&record)?;
        self.put(&record, None);
        Ok(())
    }

    /// A version that differs from `was`. Destroyed, it loses its material.
    pub fn put_version(&mut self, version: Version, was: &TrustedVersion) {
        let wrapped_material = match version.state() {
            State::Destroyed => Vec::new(),
            _ => was.record.wrapped_material.clone(),
        };
        let record = VersionRecord { version, wrapped_material, ..was.record.clone() };
        self.put(&record, Some(was.revision));
    }

    /// Points `alias` at `key`. Where it must be new, an alias that is there is
    /// [`CustodyError::AlreadyExists`]. Gives the key that it pointed at.
    pub async fn put_alias(
        &mut self,
        alias: &Alias,
        key: KeyId,
        must_be_new: bool,
    ) -> Result<Option<KeyId>, CustodyError> {
        let record = AliasRecord { alias: alias.clone(), key };
        match self.custody.load::<AliasRecord>(&self.tenant, record.row_id()).await? {
            Some(_) if must_be_new => Err(CustodyError::AlreadyExists),
            Some((was, revision)) => {
                self.put(&record, Some(revision));
                Ok(Some(was.key))
            }
            None => {
                self.put(&record, None);
                Ok(None)
            }
        }
    }

    /// Removes `alias`. Gives the key that it pointed at.
    pub async fn remove_alias(&mut self, alias: &Alias) -> Result<KeyId, CustodyError> {
        let row_id = alias.as_str().as_bytes().to_vec();
        let found = self.custody.load::<AliasRecord>(&self.tenant, row_id.clone()).await?;
        let (was, revision) = found.ok_or(CustodyError::NotFound)?;
        let row = self.row_key::<AliasRecord>(row_id);
        self.remove(row, Some(revision));
        Ok(was.key)
    }

    /// Replaces the roles of `subject` by what `edit` makes of them. Gives the result, sorted.
    pub async fn edit_roles(
        &mut self,
        subject: &SubjectRef,
        edit: impl FnOnce(&mut Vec<HeldRole>),
    ) -> Result<Vec<HeldRole>, CustodyError> {
        let row_id = subject.to_string().into_bytes();
        let found = self.custody.load::<BindingRecord>(&self.tenant, row_id.clone()).await?;
        let revision = found.as_ref().map(|(_, revision)| *revision);
        let mut roles = found.map(|(record, _)| record.roles).unwrap_or_default();
        edit(&mut roles);
        roles.sort_unstable_by(|one, other| one.role.cmp(&other.role));
        if roles.is_empty() {
            if revision.is_some() {
                let row = self.row_key::<BindingRecord>(row_id);
                self.counted.remove(Quota::RoleBindings);
                self.remove(row, revision);
            }
        } else {
            let record = BindingRecord { subject: subject.clone(), roles: roles.clone() };
            if revision.is_none() {
                self.counted.add(Quota::RoleBindings);
            }
            self.put(&record, revision);
        }
        Ok(roles)
    }

    /// Keeps the outcome for 24 hours, in the same commit.
    pub async fn remember(
        &mut self,
        permit: &Permit,
        request: &RequestKey,
        past: Past,
    ) -> Result<(), CustodyError> {
        let record = RequestRecord {
            id: request_row_id(permit, &request.id),
            digest: request.digest,
            key: past.key,
            version: past.version,
            replacement_version: past.replacement_version,
            campaign: past.campaign,
            made: past.made,
            create_time: self.custody.now(),
        };
        // One that is no longer kept may still stand there, and is replaced.
        let found = self.custody.load::<RequestRecord>(&self.tenant, record.row_id()).await?;
        let revision = match found {
            Some((was, _)) if self.custody.is_kept(&was) => return Err(CustodyError::Conflict),
            Some((_, revision)) => Some(revision),
            None => None,
        };
        self.put(&record, revision);
        Ok(())
    }

    /// Commits all of it or nothing. Gives the store's new revision.
    pub async fn commit(mut self) -> Result<u64, CustodyError> {
        self.hold_to_quotas().await?;
        let touched: Vec<RowKey> = self
            .commit
            .puts
            .iter()
            .map(|put| put.key.clone())
            .chain(self.commit.tombstones.iter().cloned())
            .collect();
        if touched.is_empty() {
            return Ok(self.custody.store.status().await?.head);
        }
        let committed = self.custody.store.commit(self.commit).await;
        // After a failure too: whether it took effect may be unknown, and a lost race means that
        // what was read is old.
        self.custody.caches.forget(&touched);
        let revision = committed?;
        self.custody.refresh_tenants(&touched).await?;
        Ok(revision)
    }

    pub(super) fn custody(&self) -> &'c Custody {
        self.custody
    }

    pub(super) fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// Whether this change puts or removes the row.
    pub(super) fn touches(&self, row: &RowKey) -> bool {
        self.commit.puts.iter().any(|put| put.key == *row) || self.commit.tombstones.contains(row)
    }

    /// Takes in what was gathered elsewhere.
    pub(super) fn join(&mut self, other: Commit) {
        self.commit.expect.extend(other.expect);
        self.commit.puts.extend(other.puts);
        self.commit.tombstones.extend(other.tombstones);
    }

    pub(super) fn put<R: Record>(&mut self, record: &R, revision: Option<u64>) {
        let put = self.tenant.seal(record);
        self.expect(put.key.clone(), revision);
        self.commit.puts.push(put);
    }

    /// A row that goes with the others, whatever stood in its place.
    pub(super) fn put_beside<R: Record>(&mut self, record: &R) {
        if !self.commit.puts.is_empty() || !self.commit.tombstones.is_empty() {
            self.commit.puts.push(self.tenant.seal(record));
        }
    }

    /// Removes a row that was read at `revision`.
    pub(super) fn remove(&mut self, row: RowKey, revision: Option<u64>) {
        self.expect(row.clone(), revision);
        self.commit.tombstones.push(row);
    }

    /// A row of no tenant, in the same commit.
    pub(super) fn put_of_installation<R: Record>(&mut self, record: &R, revision: Option<u64>) {
        let put = self.custody.seal_of_installation(record);
        self.expect(put.key.clone(), revision);
        self.commit.puts.push(put);
    }

    /// The revision of a verified record, if it is there.
    pub(super) async fn revision_of<R: Record>(
        &self,
        row_id: Vec<u8>,
    ) -> Result<Option<u64>, CustodyError> {
        let found = self.custody.load::<R>(&self.tenant, row_id).await?;
        Ok(found.map(|(_, revision)| revision))
    }

    pub(super) fn expect(&mut self, key: RowKey, revision: Option<u64>) {
        self.commit.expect.push(Expect { key, revision });
    }

    pub(super) fn row_key<R: Record>(&self, id: Vec<u8>) -> RowKey {
        RowKey { tenant: *self.tenant.id.as_bytes(), kind: R::KIND, id }
    }
}

fn request_row_id(permit: &Permit, request: &RequestId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(permit.principal().id().as_str());
    hash.update([0]);
    hash.update(request.as_str());
    hash.finalize().into()
}
