//! What changed: for the cache, for callers who watch keys, and for the scheduler.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::keys::{Alias, Key, KeyId, Quota, TenantId, Timestamp};
use crate::policy::Permit;
use crate::store::{Change, Commit, DueAfter, Expect, Row, StoreError};

use super::Custody;
use super::error::CustodyError;
use super::records::{AliasEntry, GrantEntry, TrustedKey, TrustedVersion};
use super::rows::{
    AliasRecord, CensusRecord, CredentialRecord, OutboxRecord, PlaceRecord, ProposalRecord, Record,
    RequestRecord, VersionRecord,
};
use super::tenant::Tenant;

/// Something that changed about the keys of a tenant.
pub enum KeyChange {
    /// A key was made or changed.
    Key(TrustedKey),
    /// A version was made or changed.
    Version(TrustedVersion),
    /// An alias was pointed at a key.
    Alias(AliasEntry),
    /// An alias was removed.
    AliasRemoved(Alias),
}

/// Changes up to a revision.
pub struct Watched {
    /// In order.
    pub changes: Vec<(u64, KeyChange)>,
    /// Where to go on.
    pub revision: u64,
}

/// Some of what is due, and where to go on.
pub struct DuePage {
    /// The longest due first.
    pub due: Vec<Due>,
    /// `None` on the last page.
    pub next: Option<DuePlace>,
}

/// A place among what is due.
#[derive(Clone, Debug)]
pub struct DuePlace(DueAfter);

/// Something whose time has come.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Due {
    /// The key is to be rotated.
    Rotate(TenantId, KeyId),
    /// The version is to be destroyed.
    Destroy(TenantId, KeyId, u32),
    /// The version is to be looked at for its next step on the ladder.
    Climb(TenantId, KeyId, u32),
}

// === impl Custody ===

impl Custody {
    /// Forgets what changed, as the store tells it, for as long as the future is polled.
    ///
    /// When the store does not answer, what is kept stays in use; a later release bounds for how long.
    pub async fn follow(&self) {
        let mut position = None;
        loop {
            match self.follow_once(position).await {
                Ok(next) => {
                    if position.is_some() && position == Some(next) {
                        self.store.wait_hint(next).await;
                    }
                    position = Some(next);
                    self.followed.send_replace(next);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot read changes from the store");
                    self.store.wait_hint(u64::MAX).await;
                }
            }
        }
    }

    async fn follow_once(&self, position: Option<u64>) -> Result<u64, StoreError> {
        let Some(after) = position else {
            // Whatever was read before the head was known may be old.
            let head = self.store.status().await?.head;
            self.look_again().await;
            return Ok(head);
        };
        match self.store.changes(after, PAGE).await {
            Ok(page) => {
                // A tenant is known before what refers to it is read again.
                let rows = page.changes.iter().map(Change::key);
                if let Err(error) = self.refresh_tenants(rows).await {
                    tracing::error!(%error, "a tenant that changed cannot be read");
                }
                self.caches.forget(page.changes.iter().map(Change::key));
                Ok(page.cursor)
            }
            Err(StoreError::Expired { .. }) => {
                let head = self.store.status().await?.head;
                self.look_again().await;
                Ok(head)
            }
            Err(other) => Err(other),
        }
    }

    /// Forgets everything, and takes in what tenants there are.
    async fn look_again(&self) {
        self.caches.clear();
        if let Err(error) = self.open_tenants().await {
            tracing::error!(%error, "the tenants cannot be read");
        }
    }

    /// The revision that watching from now starts after.
    pub async fn revision(&self) -> Result<u64, CustodyError> {
        Ok(self.store.status().await?.head)
    }

    /// What changed about the keys of the permit's tenant after `after`. May be nothing, with a
    /// revision that still moved on.
    pub async fn watch(&self, permit: &Permit, after: u64) -> Result<Watched, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let page = self.store.changes(after, PAGE).await?;
        let mut changes = Vec::new();
        for change in &page.changes {
            let key = change.key();
            if key.tenant != *tenant.id.as_bytes() {
                continue;
            }
            let shown = match (key.kind, change) {
                (Key::KIND, Change::Put(row)) => {
                    let key = TrustedKey::new(tenant.id, tenant.trust(row)?, row.revision);
                    KeyChange::Key(key)
                }
                (VersionRecord::KIND, Change::Put(row)) => KeyChange::Version(TrustedVersion {
                    tenant: tenant.id,
                    record: tenant.trust(row)?,
                    revision: row.revision,
                    kek: OnceLock::new(),
                }),
                (AliasRecord::KIND, Change::Put(row)) => {
                    let AliasRecord { alias, key } = tenant.trust(row)?;
                    KeyChange::Alias(AliasEntry { alias, key })
                }
                (AliasRecord::KIND, Change::Gone { key, .. }) => {
                    let name = std::str::from_utf8(&key.id).ok();
                    match name.and_then(|name| Alias::parse(name).ok()) {
                        Some(alias) => KeyChange::AliasRemoved(alias),
                        None => continue,
                    }
                }
                _ => continue,
            };
            changes.push((change.revision(), shown));
        }
        Ok(Watched { changes, revision: page.cursor })
    }

    /// Returns when something after `after` may be there, or after a quarter of a second.
    pub async fn wait(&self, after: u64) {
        self.store.wait_hint(after).await;
    }

    /// What is due at `reached`, of at most `limit` rows after `after`, the longest due first.
    ///
    /// Outcomes of requests, proposals and credentials that are no longer kept, and grants that have
    /// ended, are removed on the way, and a page of nothing else keeps nobody waiting. A row that was
    /// changed from outside is told to the operator and keeps nothing else waiting.
    pub async fn due(
        &self,
        reached: Timestamp,
        after: Option<&DuePlace>,
        limit: usize,
    ) -> Result<DuePage, CustodyError> {
        let mut page = self.due_page(reached, after, limit).await?;
        for _ in 1..PAGES_MAX {
            if !page.due.is_empty() || page.next.is_none() {
                break;
            }
            page = self.due_page(reached, page.next.as_ref(), limit).await?;
        }
        Ok(page)
    }

    async fn due_page(
        &self,
        reached: Timestamp,
        after: Option<&DuePlace>,
        limit: usize,
    ) -> Result<DuePage, CustodyError> {
        let after = after.map(|place| &place.0);
        let rows = self.store.due(reached.unix_ms(), after, limit).await?;
        let mut due = Vec::new();
        let mut expired = Vec::new();
        let mut ended: HashMap<TenantId, Vec<&Row>> = HashMap::new();
        for row in &rows {
            let tenant_id = TenantId::from_bytes(row.key.tenant);
            let Ok(tenant) = self.tenant(tenant_id) else { continue };
            // Nothing of a suspended tenant happens by itself either.
            if tenant.is_suspended() {
                continue;
            }
            if IS_KEPT_UNTIL_DUE.contains(&row.key.kind) {
                expired.push(row);
                continue;
            }
            if row.key.kind == GrantEntry::KIND {
                match has_ended(&tenant, row, reached) {
                    Ok(true) => ended.entry(tenant_id).or_default().push(row),
                    Ok(false) => {}
                    Err(error) => tracing::error!(%error, "a grant that ends cannot be trusted"),
                }
                continue;
            }
            match self.due_of(&tenant, row).await {
                Ok(Some(what)) => due.push(what),
                Ok(None) => {}
                Err(error @ (CustodyError::Tampered { .. } | CustodyError::NewerFormat { .. })) => {
                    tracing::error!(%error, "a row that is due cannot be trusted");
                }
                Err(other) => return Err(other),
            }
        }
        self.remove_expired(&expired).await?;
        self.remove_ended(&ended).await?;
        let full = rows.len() == limit;
        let next = rows.last().filter(|_| full).and_then(Row::due_after).map(DuePlace);
        Ok(DuePage { due, next })
    }

    async fn due_of(&self, tenant: &Tenant, row: &Row) -> Result<Option<Due>, CustodyError> {
        match row.key.kind {
            Key::KIND => {
                let key: Key = tenant.trust(row)?;
                Ok(Some(Due::Rotate(tenant.id, key.id)))
            }
            VersionRecord::KIND => {
                let record: VersionRecord = tenant.trust(row)?;
                Ok(Some(Due::Destroy(tenant.id, record.key, record.version.number())))
            }
            PlaceRecord::KIND => {
                let record: PlaceRecord = tenant.trust(row)?;
                Ok(Some(Due::Climb(tenant.id, record.key, record.version)))
            }
            CensusRecord::KIND => self.due_of_census(tenant, row).await,
            _ => Ok(None),
        }
    }

    async fn remove_expired(&self, rows: &[&Row]) -> Result<(), CustodyError> {
        if rows.is_empty() {
            return Ok(());
        }
        let expect = rows
            .iter()
            .map(|row| Expect { key: row.key.clone(), revision: Some(row.revision) })
            .collect();
        let tombstones = rows.iter().map(|row| row.key.clone()).collect();
        let commit = Commit { expect, puts: Vec::new(), tombstones };
        let committed = self.store.commit(commit).await;
        self.caches.forget(rows.iter().map(|row| &row.key));
        committed?;
        Ok(())
    }

    /// Removes grants that have ended, which then no longer count. One tenant's cannot keep another's.
    async fn remove_ended(&self, ended: &HashMap<TenantId, Vec<&Row>>) -> Result<(), CustodyError> {
        for (tenant_id, rows) in ended {
            let mut changes = self.change_in(&self.tenant(*tenant_id)?);
            for row in rows {
                changes.counted.remove(Quota::Grants);
                changes.remove(row.key.clone(), Some(row.revision));
            }
            match changes.commit().await {
                Ok(_) => {}
                // The next look finds what is still there.
                Err(CustodyError::Conflict) => {}
                Err(error @ (CustodyError::Tampered { .. } | CustodyError::NewerFormat { .. })) => {
                    tracing::error!(%error, "grants that have ended cannot be removed");
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }
}

/// Whether the grant of this row, which says that it is due, says so too.
fn has_ended(tenant: &Tenant, row: &Row, reached: Timestamp) -> Result<bool, CustodyError> {
    let entry: GrantEntry = tenant.trust(row)?;
    Ok(entry.grant.expire_time.is_some_and(|end| end <= reached))
}

/// Rows that are removed when they are due.
const IS_KEPT_UNTIL_DUE: [u8; 4] =
    [RequestRecord::KIND, ProposalRecord::KIND, CredentialRecord::KIND, OutboxRecord::KIND];
const PAGE: usize = 500;
/// How many pages without anything to do are passed over in one walk.
const PAGES_MAX: usize = 20;
