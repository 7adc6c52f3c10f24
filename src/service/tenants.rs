//! The tenants of the installation. Whoever manages them sees what describes them, and nothing of theirs.

use crate::audit::Record;
use crate::custody::{Custody, NewTenant, Past, RequestKey, TrustedTenant};
use crate::keys::{Description, Reason, TenantId, TenantLimits, TenantRef, TenantUsage};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// Makes a tenant, with a key of its own and its first operator.
pub struct CreateTenant {
    /// What it is.
    pub new: NewTenant,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Changes a tenant.
pub struct ChangeTenant {
    /// Which.
    pub tenant: TenantRef,
    /// How.
    pub change: TenantChange,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// What changes about a tenant.
#[derive(Clone, Debug)]
pub enum TenantChange {
    /// What describes and limits it.
    Update {
        /// What it is for, where that changes.
        description: Option<Description>,
        /// The most that it may use, where that changes.
        limits: Option<TenantLimits>,
    },
    /// Nothing of it works from now on.
    Suspend(Reason),
    /// It works again.
    Resume(Reason),
}

/// One tenant, and how much there is of what is limited.
pub struct GetTenant {
    /// Which.
    pub tenant: TenantRef,
}

/// Tenants, by id.
pub struct ListTenants {
    /// After this one.
    pub after: Option<TenantId>,
    /// 1 to 1000.
    pub page_size: usize,
}

// === impl CreateTenant ===

impl Change for CreateTenant {
    type Reply = TrustedTenant;

    fn action(&self) -> Action {
        Action::CreateTenant
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        let operator = self.new.operator.as_ref().map(ToString::to_string).unwrap_or_default();
        record.detail = format!("tenant={} operator={operator}", self.new.name).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        // The one tenant that stands above the others is configured, never asked for.
        if self.new.name.is_installation() {
            return Err(Refusal::AlreadyExists { field: "name" });
        }
        let mut changes = act.custody.change(act.permit)?;
        let id = changes.put_tenant(act.permit, self.new.clone()).await?;
        Ok(Changed::of(changes, *id.as_bytes()))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<TrustedTenant, Refusal> {
        changed_tenant(custody, permit, past).await
    }
}

// === impl ChangeTenant ===

impl Change for ChangeTenant {
    type Reply = TrustedTenant;

    fn action(&self) -> Action {
        match self.change {
            TenantChange::Update { .. } => Action::UpdateTenant,
            TenantChange::Suspend(_) => Action::SuspendTenant,
            TenantChange::Resume(_) => Action::ResumeTenant,
        }
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        let tenant = &self.tenant;
        record.detail = match &self.change {
            TenantChange::Update { .. } => format!("tenant={tenant}"),
            TenantChange::Suspend(reason) | TenantChange::Resume(reason) => {
                format!("tenant={tenant} reason={}", reason.as_str())
            }
        }
        .into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let was = act.custody.tenant_of(act.permit, &self.tenant).await?;
        let mut changes = act.custody.change(act.permit)?;
        let mut description = was.description().clone();
        let mut limits = was.limits();
        let mut suspended = was.suspended().cloned();
        match &self.change {
            TenantChange::Update { description: new, limits: most } => {
                description = new.clone().unwrap_or(description);
                limits = most.unwrap_or(limits);
            }
            // Nobody would be left who could resume it.
            TenantChange::Suspend(_) if was.name().is_installation() => {
                return Err(Refusal::invalid("tenant", "the installation's own is not suspended"));
            }
            TenantChange::Suspend(reason) => suspended = Some(reason.clone()),
            TenantChange::Resume(_) => suspended = None,
        }
        changes.put_changed_tenant(act.permit, &was, description, limits, suspended)?;
        Ok(Changed::of(changes, *was.id().as_bytes()))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<TrustedTenant, Refusal> {
        changed_tenant(custody, permit, past).await
    }
}

// === impl GetTenant ===

impl UseCase for GetTenant {
    type Reply = (TrustedTenant, TenantUsage);

    const ACTION: Action = Action::GetTenant;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("tenant={}", self.tenant).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let found = act.custody.tenant_of(act.permit, &self.tenant).await?;
        let usage = act.custody.usage_of(act.permit, &found).await?;
        Ok((found, usage))
    }
}

// === impl ListTenants ===

impl UseCase for ListTenants {
    type Reply = (Vec<TrustedTenant>, Option<TenantId>);

    const ACTION: Action = Action::ListTenants;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let tenants = act.custody.tenants(act.permit, self.after, self.page_size).await?;
        let full = tenants.len() == self.page_size;
        let next = tenants.last().filter(|_| full).map(TrustedTenant::id);
        Ok((tenants, next))
    }
}

async fn changed_tenant(
    custody: &Custody,
    permit: &Permit,
    past: Past,
) -> Result<TrustedTenant, Refusal> {
    let id = TenantId::from_bytes(past.made.unwrap_or_default());
    Ok(custody.tenant_of(permit, &TenantRef::Id(id)).await?)
}
