//! What a tenant's rows say about who may do what, as the one value that decisions are made from.

use std::sync::Arc;

use crate::keys::TenantId;
use crate::policy::{Material, World};

use super::Custody;
use super::error::CustodyError;
use super::records::{GrantEntry, PolicyEntry};
use super::rows::{BindingRecord, RelationRecord};

// === impl Custody ===

impl Custody {
    /// The world of `tenant`, as the store stands or stood a moment ago. Needs no permit: it is what the
    /// decision is made from.
    pub async fn world(&self, tenant: TenantId) -> Result<Arc<World>, CustodyError> {
        self.caches.through(&self.caches.worlds, tenant, self.load_world(tenant)).await
    }

    async fn load_world(&self, tenant_id: TenantId) -> Result<Arc<World>, CustodyError> {
        let tenant = self.tenant(tenant_id)?;
        // Read first: what is read after it is at least as new.
        let revision = self.store.status().await?.head;
        // Asked of the store, not of what was last seen of it: a tenant is suspended for a reason.
        let stored = self.stored_tenant(tenant_id).await?.ok_or(CustodyError::NotFound)?;
        let bindings = self.all_records::<BindingRecord>(&tenant, &[]).await?;
        let relations = self.all_records::<RelationRecord>(&tenant, &[]).await?;
        let grants = self.all_records::<GrantEntry>(&tenant, &[]).await?;
        let policies = self.all_records::<PolicyEntry>(&tenant, &[]).await?;
        let material = Material {
            revision,
            suspended: stored.suspended().is_some(),
            is_installation: stored.name().is_installation(),
            bindings: bindings.into_iter().map(|(row, _)| (row.subject, row.roles)).collect(),
            relations: relations.into_iter().map(|(row, _)| row.0).collect(),
            grants: grants.into_iter().map(|(row, _)| row.grant).collect(),
            policies: policies.into_iter().map(|(row, _)| row.source).collect(),
        };
        // What did not change since is not parsed again.
        let world = Arc::new(match self.caches.last_worlds.get(&tenant_id) {
            Some(last) => last.next(material),
            None => World::new(tenant_id, material),
        });
        self.caches.last_worlds.insert(tenant_id, Arc::clone(&world));
        Ok(world)
    }
}
