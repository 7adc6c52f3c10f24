//! What a tenant's rows say about who may do what, as the one value that decisions are made from.

use std::sync::Arc;

use crate::keys::TenantId;
use crate::policy::{Material, World};

use super::Custody;
use super::error::CustodyError;
use super::rows::BindingRecord;

// === impl Custody ===

impl Custody {
    /// The world of `tenant`, as the store stands or stood a moment ago. Needs no permit: it is what the
    /// decision is made from.
    pub async fn world(&self, tenant: TenantId) -> Result<Arc<World>, CustodyError> {
        self.caches.through(&self.caches.worlds, tenant, self.load_world(tenant)).await
    }

    async fn load_world(&self, tenant_id: TenantId) -> Result<Arc<World>, CustodyError> {
        let tenant = self.tenant(tenant_id)?;
        let mut material = Material::default();
        for (record, revision) in self.all_records::<BindingRecord>(&tenant, &[]).await? {
            material.revision = material.revision.max(revision);
            material.bindings.push((record.subject, record.roles));
        }
        Ok(Arc::new(World::new(tenant_id, material)))
    }
}
