//! Tenants and what their keys open: the wrapped material of versions, and the MACs of rows.

use std::collections::HashMap;
use std::sync::Arc;

use crate::crypto::{
    Binding, BlobKind, ContextError, EncryptionContext, Header, Kek, KeyMaterial, MacKey, Random,
};

use crate::keys::{KeyId, TenantId, Timestamp, Version};
use crate::store::{FORMAT, Put, Row, Store};

use super::Custody;
use super::error::CustodyError;
use super::mac::{self, AUDIT_VALUE_LABEL, ROW_MAC_LABEL};
use super::rows::{Record, TenantRecord, VersionRecord};
use super::usage::Turns;

/// Every tenant, by id and by name.
#[derive(Clone, Default)]
pub(super) struct Tenants {
    by_id: HashMap<TenantId, Arc<Tenant>>,
    by_name: HashMap<String, TenantId>,
}

/// A tenant whose key is open, at one revision of its row.
#[derive(Clone)]
pub(super) struct Tenant {
    pub(super) id: TenantId,
    pub(super) record: Arc<TenantRecord>,
    pub(super) revision: u64,
    keys: Arc<TenantKeys>,
    pub(super) turns: Arc<Turns>,
}

/// What a tenant's key gives.
struct TenantKeys {
    generation: u32,
    kek: Kek,
    row_mac: MacKey,
    audit_value: MacKey,
}

// === impl Tenants ===

impl Tenants {
    /// Adds it, unless what is there is as new.
    fn insert(&mut self, tenant: Tenant) {
        if self.by_id.get(&tenant.id).is_some_and(|known| known.revision >= tenant.revision) {
            return;
        }
        self.by_name.insert(tenant.record.name.to_string(), tenant.id);
        self.by_id.insert(tenant.id, Arc::new(tenant));
    }
}

// === impl Custody ===

impl Custody {
    /// The tenant of this name.
    pub fn tenant_named(&self, name: &str) -> Option<TenantId> {
        self.tenants.load().by_name.get(name).copied()
    }

    /// The name of this tenant.
    pub fn tenant_name(&self, id: TenantId) -> Option<String> {
        self.tenants.load().by_id.get(&id).map(|tenant| tenant.record.name.to_string())
    }

    /// HMAC-SHA-256 of a pair of an encryption context, under a key of the tenant's own.
    pub fn hash_of_pair(
        &self,
        tenant: TenantId,
        key: &str,
        value: &str,
    ) -> Result<[u8; 32], CustodyError> {
        let key_bytes = u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes();
        let parts = [&key_bytes, key.as_bytes(), value.as_bytes()];
        Ok(self.tenant(tenant)?.keys.audit_value.tag(&parts))
    }

    pub(super) fn tenant(&self, id: TenantId) -> Result<Arc<Tenant>, CustodyError> {
        self.tenants.load().by_id.get(&id).cloned().ok_or(CustodyError::NotFound)
    }

    /// Opens every tenant's key: each must verify and open, or nothing starts.
    pub(super) async fn open_tenants(&self) -> Result<(), CustodyError> {
        let mut after = None;
        loop {
            let rows = super::read::page::<TenantRecord>(
                &*self.store,
                TenantId::INSTALLATION,
                Vec::new(),
                after,
                PAGE,
            )
            .await?;
            for row in &rows {
                let record: TenantRecord = super::read::trust(&self.root_row_mac, row)?;
                self.admit(self.open_tenant(record, row.revision)?);
            }
            match rows.last() {
                Some(last) if rows.len() == PAGE => after = Some(last.key.id.clone()),
                _ => return Ok(()),
            }
        }
    }

    /// Opens the key of a tenant, unless it is open already.
    pub(super) fn open_tenant(
        &self,
        record: TenantRecord,
        revision: u64,
    ) -> Result<Tenant, CustodyError> {
        let known = self.tenants.load().by_id.get(&record.id).cloned();
        let turns = known.as_ref().map(|known| Arc::clone(&known.turns)).unwrap_or_default();
        let known = known.filter(|known| known.record.wrapped_key == record.wrapped_key);
        let keys = match known {
            Some(known) => Arc::clone(&known.keys),
            None => {
                let binding =
                    tenant_binding(&self.installation.id, record.id, record.key_generation)?;
                let material = self
                    .root
                    .open_key(&binding, &record.wrapped_key)
                    .map_err(|failure| CustodyError::unopened(TenantRecord::KIND, failure))?;
                Arc::new(TenantKeys::new(record.key_generation, &material))
            }
        };
        Ok(Tenant { id: record.id, record: Arc::new(record), revision, keys, turns })
    }

    /// A new tenant's id and wrapped key.
    pub(super) fn make_tenant_key(&self) -> Result<(TenantId, Vec<u8>, u32), CustodyError> {
        let id = TenantId::from_bytes(self.draw_id()?);
        let material = KeyMaterial::generate(&*self.random)?;
        let binding = tenant_binding(&self.installation.id, id, FIRST_GENERATION)?;
        let wrapped = self.root.wrap_key(&*self.random, &binding, &material)?;
        Ok((id, wrapped, FIRST_GENERATION))
    }

    /// Every tenant, in no order.
    pub(super) fn all_tenants(&self) -> Vec<Arc<Tenant>> {
        self.tenants.load().by_id.values().cloned().collect()
    }

    /// The row of a record that belongs to no tenant.
    pub(super) fn seal_of_installation<R: Record>(&self, record: &R) -> Put {
        mac::seal(&self.root_row_mac, TenantId::INSTALLATION, record)
    }

    pub(super) fn admit(&self, tenant: Tenant) {
        self.tenants.rcu(|tenants| {
            let mut tenants = Tenants::clone(tenants);
            tenants.insert(tenant.clone());
            tenants
        });
    }
}

// === impl TenantKeys ===

impl TenantKeys {
    fn new(generation: u32, material: &KeyMaterial) -> Self {
        Self {
            generation,
            kek: material.kek(),
            row_mac: material.mac_key(ROW_MAC_LABEL),
            audit_value: material.mac_key(AUDIT_VALUE_LABEL),
        }
    }
}

// === impl Tenant ===

impl Tenant {
    /// Whether nothing of it works.
    pub(super) fn is_suspended(&self) -> bool {
        self.record.suspended.is_some()
    }

    /// The record of a new version, with fresh material that nobody has seen.
    pub(super) fn make_version(
        &self,
        random: &dyn Random,
        key: KeyId,
        version: Version,
    ) -> Result<VersionRecord, CustodyError> {
        let material = KeyMaterial::generate(random)?;
        let binding = self.version_binding(key, version.number(), self.keys.generation)?;
        Ok(VersionRecord {
            key,
            wrapped_material: self.keys.kek.wrap_key(random, &binding, &material)?,
            tenant_key_generation: self.keys.generation,
            version,
        })
    }

    /// Opens a version's material.
    pub(super) fn open_version(&self, record: &VersionRecord) -> Result<Kek, CustodyError> {
        let number = record.version.number();
        let binding = self.version_binding(record.key, number, record.tenant_key_generation)?;
        let material = self
            .keys
            .kek
            .open_key(&binding, &record.wrapped_material)
            .map_err(|failure| CustodyError::unopened(VersionRecord::KIND, failure))?;
        Ok(material.kek())
    }

    pub(super) fn seal<R: Record>(&self, record: &R) -> Put {
        mac::seal(&self.keys.row_mac, self.id, record)
    }

    pub(super) fn trust<R: Record>(&self, row: &Row) -> Result<R, CustodyError> {
        if row.key.tenant != *self.id.as_bytes() {
            return Err(CustodyError::Tampered { kind: R::KIND, problem: "another tenant's" });
        }
        super::read::trust(&self.keys.row_mac, row)
    }

    /// Whether `row` is this tenant's and as this program wrote it, whatever it holds.
    pub(super) fn verify(&self, row: &Row) -> Result<(), CustodyError> {
        if row.format > FORMAT {
            return Err(CustodyError::NewerFormat { kind: row.key.kind });
        }
        if row.key.tenant != *self.id.as_bytes() || !mac::is_authentic(&self.keys.row_mac, row) {
            let problem = "its MAC is wrong";
            return Err(CustodyError::Tampered { kind: row.key.kind, problem });
        }
        Ok(())
    }

    /// A row that was verified, as it is but for when it is due.
    pub(super) fn sealed_again(&self, row: &Row, due_at: Option<Timestamp>) -> Put {
        mac::seal_body(&self.keys.row_mac, row.key.clone(), row.body.clone(), due_at)
    }

    fn version_binding(
        &self,
        key: KeyId,
        number: u32,
        generation: u32,
    ) -> Result<Binding, CustodyError> {
        let context = context([("tenant_key_generation", generation.to_string())])?;
        let header = Header::new(BlobKind::Kek, *key.as_bytes(), number, 0)?;
        Ok(Binding::new(&header, self.id.as_bytes(), &context))
    }
}

/// What a tenant's wrapped key is bound to, besides its tenant and generation: the installation.
fn tenant_binding(
    installation_id: &[u8; 16],
    tenant: TenantId,
    generation: u32,
) -> Result<Binding, CustodyError> {
    let context = context([("installation_id", hex::encode(installation_id))])?;
    let header = Header::new(BlobKind::Tenant, *tenant.as_bytes(), generation, 0)?;
    Ok(Binding::new(&header, tenant.as_bytes(), &context))
}

pub(super) fn context<const N: usize>(
    pairs: [(&str, String); N],
) -> Result<EncryptionContext, ContextError> {
    EncryptionContext::new(pairs.map(|(key, value)| (key.to_owned(), value)))
}

const FIRST_GENERATION: u32 = 1;
const PAGE: usize = 500;

impl Custody {
    pub(super) async fn put_new(&self, puts: Vec<Put>) -> Result<u64, CustodyError> {
        let expect =
            puts.iter().map(|put| crate::store::Expect { key: put.key.clone(), revision: None });
        let commit =
            crate::store::Commit { expect: expect.collect(), puts, tombstones: Vec::new() };
        let store: &dyn Store = &*self.store;
        Ok(store.commit(commit).await?)
    }
}
