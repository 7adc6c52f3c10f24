//! The tenants of the installation: making, changing, suspending them, and what every program knows of
//! them.
//!
//! Whoever manages them belongs to the tenant `installation`, and its permit opens rows of that tenant
//! only: of another tenant nothing is reached here but its own description.

use std::sync::Arc;

use crate::keys::{Description, Reason, TenantId, TenantLimits, TenantName, TenantRef, Timestamp};
use crate::policy::{HeldRole, Permit, Role, SubjectRef};
use crate::store::{Commit, Expect, PAGE_ROWS_MAX, RowKey};

use super::Custody;
use super::changes::Changes;
use super::error::CustodyError;
use super::read;
use super::rows::{BindingRecord, INSTALLATION_ROW, Installation, Record, TenantRecord};

/// A tenant, verified.
#[derive(Clone, Debug)]
pub struct TrustedTenant {
    record: Arc<TenantRecord>,
    revision: u64,
}

/// A tenant to be made.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Its name.
    pub name: TenantName,
    /// What it is for.
    pub description: Description,
    /// The most that it may use.
    pub limits: TenantLimits,
    /// Who gets the role operator in it.
    pub operator: Option<SubjectRef>,
}

// === impl TrustedTenant ===

impl TrustedTenant {
    /// Its id.
    pub fn id(&self) -> TenantId {
        self.record.id
    }

    /// Its name.
    pub fn name(&self) -> &TenantName {
        &self.record.name
    }

    /// What it is for.
    pub fn description(&self) -> &Description {
        &self.record.description
    }

    /// Why it is suspended, if it is.
    pub fn suspended(&self) -> Option<&Reason> {
        self.record.suspended.as_ref()
    }

    /// The most that it may use.
    pub fn limits(&self) -> TenantLimits {
        self.record.limits
    }

    /// The store's revision at which it last changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// When it was made.
    pub fn create_time(&self) -> Timestamp {
        self.record.create_time
    }
}

// === impl Custody ===

impl Custody {
    /// The most that a tenant may use, as last seen.
    pub fn tenant_limits(&self, tenant: TenantId) -> TenantLimits {
        self.tenant(tenant).map(|tenant| tenant.record.limits).unwrap_or_default()
    }

    /// Makes a tenant when the installation is made, before anybody could be permitted to.
    pub async fn add_tenant(&self, name: &str) -> Result<TenantId, CustodyError> {
        let name = TenantName::parse(name).map_err(|_| CustodyError::MalformedTenantName)?;
        let new = NewTenant {
            name,
            description: Description::default(),
            limits: TenantLimits::default(),
            operator: None,
        };
        let (id, commit) = self.new_tenant(new).await?;
        let touched: Vec<RowKey> = commit.puts.iter().map(|put| put.key.clone()).collect();
        self.store.commit(commit).await?;
        self.refresh_tenants(&touched).await?;
        Ok(id)
    }

    /// One tenant, as the store has it.
    pub async fn tenant_of(
        &self,
        permit: &Permit,
        named: &TenantRef,
    ) -> Result<TrustedTenant, CustodyError> {
        self.only_installation(permit)?;
        match named {
            TenantRef::Id(id) => self.stored_tenant(*id).await?.ok_or(CustodyError::NotFound),
            TenantRef::Name(name) => {
                let all = self.stored_tenants(None, usize::MAX).await?;
                let found = all.into_iter().find(|tenant| tenant.name() == name);
                found.ok_or(CustodyError::NotFound)
            }
        }
    }

    /// Tenants in the order of their ids, after `after`, at most `limit`.
    pub async fn tenants(
        &self,
        permit: &Permit,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TrustedTenant>, CustodyError> {
        self.only_installation(permit)?;
        self.stored_tenants(after, limit).await
    }

    /// Opens what is new among these rows' tenants, and takes in what changed about the others.
    pub(super) async fn refresh_tenants<'k>(
        &self,
        rows: impl IntoIterator<Item = &'k RowKey>,
    ) -> Result<(), CustodyError> {
        let no_tenant = *TenantId::INSTALLATION.as_bytes();
        let rows = rows.into_iter().filter(|row| row.tenant == no_tenant);
        for row in rows.filter(|row| row.kind == TenantRecord::KIND) {
            let found = self.load_of_installation::<TenantRecord>(&row.id).await?;
            if let Some((record, revision)) = found {
                self.admit(self.open_tenant(record, revision)?);
            }
        }
        Ok(())
    }

    pub(super) async fn stored_tenant(
        &self,
        id: TenantId,
    ) -> Result<Option<TrustedTenant>, CustodyError> {
        let found = self.load_of_installation::<TenantRecord>(id.as_bytes()).await?;
        Ok(found.map(|(record, revision)| TrustedTenant { record: Arc::new(record), revision }))
    }

    async fn stored_tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TrustedTenant>, CustodyError> {
        let mut all: Vec<TrustedTenant> = Vec::new();
        let mut after = after.map(|id| id.as_bytes().to_vec());
        loop {
            let wanted = limit.saturating_sub(all.len()).min(PAGE_ROWS_MAX);
            if wanted == 0 {
                return Ok(all);
            }
            let rows = read::page::<TenantRecord>(
                &*self.store,
                TenantId::INSTALLATION,
                Vec::new(),
                after,
                wanted,
            );
            let rows = rows.await?;
            for row in &rows {
                let record = Arc::new(read::trust(&self.root_row_mac, row)?);
                all.push(TrustedTenant { record, revision: row.revision });
            }
            if rows.len() < wanted {
                return Ok(all);
            }
            after = rows.last().map(|row| row.key.id.clone());
        }
    }

    /// The rows of a tenant that is new.
    async fn new_tenant(&self, new: NewTenant) -> Result<(TenantId, Commit), CustodyError> {
        // Read first and put again: of two that make a tenant at once, one has to begin again, and
        // then sees the other's name.
        let found = self.load_of_installation::<Installation>(INSTALLATION_ROW).await?;
        let (installation, revision) = found.ok_or(CustodyError::NotFound)?;
        let all = self.stored_tenants(None, usize::MAX).await?;
        if all.iter().any(|tenant| *tenant.name() == new.name) {
            return Err(CustodyError::TenantExists);
        }
        if all.len() >= TENANTS_MAX {
            return Err(CustodyError::TooManyTenants);
        }
        let (id, wrapped_key, key_generation) = self.make_tenant_key()?;
        let record = TenantRecord {
            id,
            name: new.name,
            wrapped_key,
            key_generation,
            create_time: self.now(),
            description: new.description,
            suspended: None,
            limits: new.limits,
        };
        // What is written under the new key must open with what was stored of it.
        let tenant = self.open_tenant(record.clone(), 0)?;
        let operator = new.operator.map(|subject| {
            let role = HeldRole { role: Role::Operator.into(), expire_time: None };
            tenant.seal(&BindingRecord { subject, roles: vec![role] })
        });
        let again = self.seal_of_installation(&installation);
        let made = [Some(self.seal_of_installation(&record)), operator].into_iter().flatten();
        let mut expect = vec![Expect { key: again.key.clone(), revision: Some(revision) }];
        let mut puts = vec![again];
        for put in made {
            expect.push(Expect { key: put.key.clone(), revision: None });
            puts.push(put);
        }
        Ok((id, Commit { expect, puts, tombstones: Vec::new() }))
    }

    /// Whether the permit is one of the installation's own tenant.
    pub fn is_of_the_installation(&self, permit: &Permit) -> Result<bool, CustodyError> {
        Ok(self.tenant(permit.tenant())?.record.name.is_installation())
    }

    /// Tenants are the installation's own business, whatever a policy says.
    pub(super) fn only_installation(&self, permit: &Permit) -> Result<(), CustodyError> {
        match self.is_of_the_installation(permit)? {
            true => Ok(()),
            false => Err(CustodyError::NotFound),
        }
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// A tenant that is new, with a key of its own and its first operator.
    pub async fn put_tenant(
        &mut self,
        permit: &Permit,
        new: NewTenant,
    ) -> Result<TenantId, CustodyError> {
        self.custody().only_installation(permit)?;
        let (id, commit) = self.custody().new_tenant(new).await?;
        self.join(commit);
        Ok(id)
    }

    /// A tenant that differs from `was`.
    pub fn put_changed_tenant(
        &mut self,
        permit: &Permit,
        was: &TrustedTenant,
        description: Description,
        limits: TenantLimits,
        suspended: Option<Reason>,
    ) -> Result<(), CustodyError> {
        self.custody().only_installation(permit)?;
        let record = TenantRecord { description, limits, suspended, ..(*was.record).clone() };
        self.put_of_installation(&record, Some(was.revision));
        Ok(())
    }
}

/// The world of each is loaded as a whole, and their names are looked through when one is made.
const TENANTS_MAX: usize = 10_000;
