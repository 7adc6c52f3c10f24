//! The service `Access`.

use bulla_proto::kms::{self, access_server};
use tonic::{Request, Response, Status};

use super::{Api, parse, render};
use crate::policy::{Action, PrincipalId, Role};
use crate::service::{BindRole, ListRoleBindings, Refusal, RequestKey, RoleChange, WhoAmI};

#[tonic::async_trait]
impl access_server::Access for Api {
    async fn bind_role(
        &self,
        request: Request<kms::BindRoleRequest>,
    ) -> Result<Response<kms::BindRoleResponse>, Status> {
        let parse = |asked: kms::BindRoleRequest| {
            let request = parse::request(Action::BindRole, &asked.request_id, &asked)?;
            role_change(RoleChange::Bind, &asked.principal, &asked.role, request)
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
            role_change(RoleChange::Unbind, &asked.principal, &asked.role, request)
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
            },
        )
        .await
    }
}

fn role_change(
    change: RoleChange,
    principal: &str,
    role: &str,
    request: Option<RequestKey>,
) -> Result<BindRole, Refusal> {
    let principal =
        PrincipalId::parse(principal).map_err(|error| Refusal::invalid("principal", error))?;
    let role = Role::parse(role).map_err(|error| Refusal::invalid("role", error))?;
    Ok(BindRole { principal, role, change, request })
}
