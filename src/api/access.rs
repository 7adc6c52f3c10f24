//! The service `Access`.

use bulla_proto::kms::{self, access_server};
use tonic::{Request, Response, Status};

use super::{Api, parse, render};
use crate::keys::Timestamp;
use crate::policy::{Action, RoleName, SubjectRef};
use crate::service::{BindRole, ListRoleBindings, Refusal, RequestKey, RoleChange, WhoAmI};

#[tonic::async_trait]
impl access_server::Access for Api {
    async fn bind_role(
        &self,
        request: Request<kms::BindRoleRequest>,
    ) -> Result<Response<kms::BindRoleResponse>, Status> {
        let parse = |asked: kms::BindRoleRequest| {
            let request = parse::request(Action::BindRole, &asked.request_id, &asked)?;
            let expire_time = parse::optional_time("expire_time", asked.expire_time.as_ref())?;
            role_change(RoleChange::Bind, &asked.principal, &asked.role, expire_time, request)
        };
        self.change(Action::BindRole, request, parse, |binding| kms::BindRoleResponse {
            binding: Some(render::binding(&binding)),
        })
        .await
    }

    async fn unbind_role(
        &self,
        request: Request<kms::UnbindRoleRequest>,
    ) -> Result<Response<kms::UnbindRoleResponse>, Status> {
        let parse = |asked: kms::UnbindRoleRequest| {
            let request = parse::request(Action::UnbindRole, &asked.request_id, &asked)?;
            role_change(RoleChange::Unbind, &asked.principal, &asked.role, None, request)
        };
        self.change(Action::UnbindRole, request, parse, |binding| kms::UnbindRoleResponse {
            binding: Some(render::binding(&binding)),
        })
        .await
    }

    async fn list_role_bindings(
        &self,
        request: Request<kms::ListRoleBindingsRequest>,
    ) -> Result<Response<kms::ListRoleBindingsResponse>, Status> {
        let parse = |asked: kms::ListRoleBindingsRequest| {
            Ok(ListRoleBindings {
                after: parse::page_token(&asked.page_token)?,
                page_size: parse::page_size(asked.page_size)?,
            })
        };
        self.perform(request, parse, |(bindings, next)| kms::ListRoleBindingsResponse {
            bindings: bindings.iter().map(render::binding).collect(),
            next_page_token: render::page_token(next),
        })
        .await
    }

    async fn who_am_i(
        &self,
        request: Request<kms::WhoAmIRequest>,
    ) -> Result<Response<kms::WhoAmIResponse>, Status> {
        self.perform(
            request,
            |_| Ok(WhoAmI),
            |reply| kms::WhoAmIResponse {
                principal: reply.principal.to_string(),
                tenant: reply.tenant,
                roles: reply.roles.iter().map(ToString::to_string).collect(),
                ..Default::default()
            },
        )
        .await
    }

    async fn write_relations(
        &self,
        _request: Request<kms::WriteRelationsRequest>,
    ) -> Result<Response<kms::WriteRelationsResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn list_relations(
        &self,
        _request: Request<kms::ListRelationsRequest>,
    ) -> Result<Response<kms::ListRelationsResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn create_grant(
        &self,
        _request: Request<kms::CreateGrantRequest>,
    ) -> Result<Response<kms::CreateGrantResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn list_grants(
        &self,
        _request: Request<kms::ListGrantsRequest>,
    ) -> Result<Response<kms::ListGrantsResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn revoke_grant(
        &self,
        _request: Request<kms::RevokeGrantRequest>,
    ) -> Result<Response<kms::RevokeGrantResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn put_policy(
        &self,
        _request: Request<kms::PutPolicyRequest>,
    ) -> Result<Response<kms::PutPolicyResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn delete_policy(
        &self,
        _request: Request<kms::DeletePolicyRequest>,
    ) -> Result<Response<kms::DeletePolicyResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn get_policy(
        &self,
        _request: Request<kms::GetPolicyRequest>,
    ) -> Result<Response<kms::GetPolicyResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn list_policies(
        &self,
        _request: Request<kms::ListPoliciesRequest>,
    ) -> Result<Response<kms::ListPoliciesResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn get_policy_schema(
        &self,
        _request: Request<kms::GetPolicySchemaRequest>,
    ) -> Result<Response<kms::GetPolicySchemaResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn simulate_policies(
        &self,
        _request: Request<kms::SimulatePoliciesRequest>,
    ) -> Result<Response<kms::SimulatePoliciesResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn explain(
        &self,
        _request: Request<kms::ExplainRequest>,
    ) -> Result<Response<kms::ExplainResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn create_service_account(
        &self,
        _request: Request<kms::CreateServiceAccountRequest>,
    ) -> Result<Response<kms::CreateServiceAccountResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn list_service_accounts(
        &self,
        _request: Request<kms::ListServiceAccountsRequest>,
    ) -> Result<Response<kms::ListServiceAccountsResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn delete_service_account(
        &self,
        _request: Request<kms::DeleteServiceAccountRequest>,
    ) -> Result<Response<kms::DeleteServiceAccountResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn create_credential(
        &self,
        _request: Request<kms::CreateCredentialRequest>,
    ) -> Result<Response<kms::CreateCredentialResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn list_credentials(
        &self,
        _request: Request<kms::ListCredentialsRequest>,
    ) -> Result<Response<kms::ListCredentialsResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn revoke_credential(
        &self,
        _request: Request<kms::RevokeCredentialRequest>,
    ) -> Result<Response<kms::RevokeCredentialResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn exchange_token(
        &self,
        _request: Request<kms::ExchangeTokenRequest>,
    ) -> Result<Response<kms::ExchangeTokenResponse>, Status> {
        Err(super::errors::unknown_method())
    }
}

fn role_change(
    change: RoleChange,
    principal: &str,
    role: &str,
    expire_time: Option<Timestamp>,
    request: Option<RequestKey>,
) -> Result<BindRole, Refusal> {
    let subject =
        SubjectRef::parse(principal).map_err(|error| Refusal::invalid("principal", error))?;
    let role = RoleName::parse(role).map_err(|error| Refusal::invalid("role", error))?;
    Ok(BindRole { subject, role, expire_time, change, request })
}
