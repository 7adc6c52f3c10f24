//! The service `Tenants`.

use bulla_proto::kms::{self, tenants_server};
use tonic::{Request, Response, Status};

use super::{Api, parse, render};
use crate::keys::{Description, Quota, TenantId, TenantLimits, TenantName, TenantRef, TenantUsage};
use crate::policy::{Action, SubjectRef};
use crate::service::{
    ChangeTenant, CreateTenant, GetTenant, ListTenants, NewTenant, Refusal, RequestKey,
    TenantChange, TrustedTenant,
};

#[tonic::async_trait]
impl tenants_server::Tenants for Api {
    async fn create_tenant(
        &self,
        request: Request<kms::CreateTenantRequest>,
    ) -> Result<Response<kms::CreateTenantResponse>, Status> {
        let parse = |asked: kms::CreateTenantRequest| {
            let request = parse::request(Action::CreateTenant, &asked.request_id, &asked)?;
            let name = TenantName::parse(&asked.name);
            let operator = match asked.operator.as_str() {
                "" => None,
                text => Some(SubjectRef::parse(text).map_err(|e| Refusal::invalid("operator", e))?),
            };
            let new = NewTenant {
                name: name.map_err(|error| Refusal::invalid("name", error))?,
                description: description(&asked.description)?,
                limits: asked.limits.as_ref().map(limits).transpose()?.unwrap_or_default(),
                operator,
            };
            Ok(CreateTenant { new, request })
        };
        let render = |made| kms::CreateTenantResponse { tenant: Some(tenant(&made)) };
        self.change(Action::CreateTenant, request, parse, render).await
    }

    async fn get_tenant(
        &self,
        request: Request<kms::GetTenantRequest>,
    ) -> Result<Response<kms::GetTenantResponse>, Status> {
        let parse = |asked: kms::GetTenantRequest| Ok(GetTenant { tenant: named(&asked.tenant)? });
        let render = |(found, used): (TrustedTenant, TenantUsage)| {
            let usage = Some(usage(&used, found.limits()));
            kms::GetTenantResponse { tenant: Some(kms::Tenant { usage, ..tenant(&found) }) }
        };
        self.perform(request, parse, render).await
    }

    async fn list_tenants(
        &self,
        request: Request<kms::ListTenantsRequest>,
    ) -> Result<Response<kms::ListTenantsResponse>, Status> {
        let parse = |asked: kms::ListTenantsRequest| {
            let after = parse::page_token(&asked.page_token)?.map(|text| TenantId::parse(&text));
            Ok(ListTenants {
                after: after.transpose().map_err(|_| parse::bad_page_token())?,
                page_size: parse::page_size(asked.page_size)?,
            })
        };
        self.perform(request, parse, |(tenants, next)| kms::ListTenantsResponse {
            tenants: tenants.iter().map(tenant).collect(),
            next_page_token: render::page_token(next),
        })
        .await
    }

    async fn update_tenant(
        &self,
        request: Request<kms::UpdateTenantRequest>,
    ) -> Result<Response<kms::UpdateTenantResponse>, Status> {
        let parse = |asked: kms::UpdateTenantRequest| {
            let request = parse::request(Action::UpdateTenant, &asked.request_id, &asked)?;
            let change = TenantChange::Update {
                description: asked.description.as_deref().map(description).transpose()?,
                limits: asked.limits.as_ref().map(limits).transpose()?,
            };
            changed(&asked.tenant, change, request)
        };
        let render = |after| kms::UpdateTenantResponse { tenant: Some(tenant(&after)) };
        self.change(Action::UpdateTenant, request, parse, render).await
    }

    async fn suspend_tenant(
        &self,
        request: Request<kms::SuspendTenantRequest>,
    ) -> Result<Response<kms::SuspendTenantResponse>, Status> {
        let parse = |asked: kms::SuspendTenantRequest| {
            let request = parse::request(Action::SuspendTenant, &asked.request_id, &asked)?;
            changed(&asked.tenant, TenantChange::Suspend(parse::reason(&asked.reason)?), request)
        };
        let render = |after| kms::SuspendTenantResponse { tenant: Some(tenant(&after)) };
        self.change(Action::SuspendTenant, request, parse, render).await
    }

    async fn resume_tenant(
        &self,
        request: Request<kms::ResumeTenantRequest>,
    ) -> Result<Response<kms::ResumeTenantResponse>, Status> {
        let parse = |asked: kms::ResumeTenantRequest| {
            let request = parse::request(Action::ResumeTenant, &asked.request_id, &asked)?;
            changed(&asked.tenant, TenantChange::Resume(parse::reason(&asked.reason)?), request)
        };
        let render = |after| kms::ResumeTenantResponse { tenant: Some(tenant(&after)) };
        self.change(Action::ResumeTenant, request, parse, render).await
    }
}

fn named(text: &str) -> Result<TenantRef, Refusal> {
    TenantRef::parse(text).map_err(|error| Refusal::invalid("tenant", error))
}

fn changed(
    tenant: &str,
    change: TenantChange,
    request: Option<RequestKey>,
) -> Result<ChangeTenant, Refusal> {
    Ok(ChangeTenant { tenant: named(tenant)?, change, request })
}

fn description(text: &str) -> Result<Description, Refusal> {
    Description::parse(text).map_err(|error| Refusal::invalid("description", error))
}

fn limits(asked: &kms::TenantLimits) -> Result<TenantLimits, Refusal> {
    let asked = TenantLimits {
        uses_per_second: asked.uses_per_second,
        principal_uses_per_second: asked.principal_uses_per_second,
        management_per_second: asked.management_per_second,
        keys: asked.keys,
        versions_per_key: asked.versions_per_key,
        policies: asked.policies,
        grants: asked.grants,
        role_bindings: asked.role_bindings,
        relations: asked.relations,
        service_accounts: asked.service_accounts,
    };
    asked.checked().map_err(|high| Refusal::invalid(high.field, high))
}

fn tenant(tenant: &TrustedTenant) -> kms::Tenant {
    let limits = tenant.limits();
    let reason = tenant.suspended();
    kms::Tenant {
        tenant_id: tenant.id().to_string(),
        name: tenant.name().to_string(),
        description: tenant.description().as_str().to_owned(),
        suspended: reason.is_some(),
        suspend_reason: reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        create_time: Some(render::timestamp(tenant.create_time())),
        limits: Some(kms::TenantLimits {
            uses_per_second: limits.uses_per_second,
            principal_uses_per_second: limits.principal_uses_per_second,
            management_per_second: limits.management_per_second,
            keys: limits.keys,
            versions_per_key: limits.versions_per_key,
            policies: limits.policies,
            grants: limits.grants,
            role_bindings: limits.role_bindings,
            relations: limits.relations,
            service_accounts: limits.service_accounts,
        }),
        usage: None,
    }
}

fn usage(usage: &TenantUsage, limits: TenantLimits) -> kms::TenantUsage {
    let of = |quota: Quota, used| Some(kms::Used { used, limit: quota.limit(&limits) });
    kms::TenantUsage {
        keys: of(Quota::Keys, usage.keys),
        policies: of(Quota::Policies, usage.policies),
        grants: of(Quota::Grants, usage.grants),
        role_bindings: of(Quota::RoleBindings, usage.role_bindings),
        relations: of(Quota::Relations, usage.relations),
        service_accounts: of(Quota::ServiceAccounts, usage.service_accounts),
        versions_per_key_limit: Quota::VersionsPerKey.limit(&limits),
    }
}
