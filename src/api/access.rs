//! The service `Access`.

use bulla_proto::kms::{self, access_server};
use tonic::{Request, Response, Status};

use super::{Api, access_parse, access_render, accounts, parse, render};
use crate::policy::Action;
use crate::service::{Explain, GetPolicy, GetPolicySchema, ListRoleBindings, WhoAmI};

#[tonic::async_trait]
impl access_server::Access for Api {
    async fn bind_role(
        &self,
        request: Request<kms::BindRoleRequest>,
    ) -> Result<Response<kms::BindRoleResponse>, Status> {
        self.change(Action::BindRole, request, access_parse::bind_role, |binding| {
            kms::BindRoleResponse { binding: Some(render::binding(&binding)) }
        })
        .await
    }

    async fn unbind_role(
        &self,
        request: Request<kms::UnbindRoleRequest>,
    ) -> Result<Response<kms::UnbindRoleResponse>, Status> {
        self.change(Action::UnbindRole, request, access_parse::unbind_role, |binding| {
            kms::UnbindRoleResponse { binding: Some(render::binding(&binding)) }
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
        self.perform(request, |_| Ok(WhoAmI), access_render::who_am_i).await
    }

    async fn write_relations(
        &self,
        request: Request<kms::WriteRelationsRequest>,
    ) -> Result<Response<kms::WriteRelationsResponse>, Status> {
        self.change(Action::WriteRelations, request, access_parse::write_relations, |revision| {
            kms::WriteRelationsResponse { revision }
        })
        .await
    }

    async fn list_relations(
        &self,
        request: Request<kms::ListRelationsRequest>,
    ) -> Result<Response<kms::ListRelationsResponse>, Status> {
        self.perform(request, access_parse::list_relations, access_render::relations).await
    }

    async fn create_grant(
        &self,
        request: Request<kms::CreateGrantRequest>,
    ) -> Result<Response<kms::CreateGrantResponse>, Status> {
        self.change(Action::CreateGrant, request, access_parse::create_grant, |entry| {
            kms::CreateGrantResponse { grant: Some(access_render::grant(&entry)) }
        })
        .await
    }

    async fn list_grants(
        &self,
        request: Request<kms::ListGrantsRequest>,
    ) -> Result<Response<kms::ListGrantsResponse>, Status> {
        self.perform(request, access_parse::list_grants, |(entries, next)| {
            kms::ListGrantsResponse {
                grants: entries.iter().map(access_render::grant).collect(),
                next_page_token: render::page_token(next),
            }
        })
        .await
    }

    async fn revoke_grant(
        &self,
        request: Request<kms::RevokeGrantRequest>,
    ) -> Result<Response<kms::RevokeGrantResponse>, Status> {
        self.change(Action::RevokeGrant, request, access_parse::revoke_grant, |()| {
            kms::RevokeGrantResponse {}
        })
        .await
    }

    async fn put_policy(
        &self,
        request: Request<kms::PutPolicyRequest>,
    ) -> Result<Response<kms::PutPolicyResponse>, Status> {
        self.change(Action::PutPolicy, request, access_parse::put_policy, |view| {
            kms::PutPolicyResponse { policy: Some(access_render::policy(view)) }
        })
        .await
    }

    async fn delete_policy(
        &self,
        request: Request<kms::DeletePolicyRequest>,
    ) -> Result<Response<kms::DeletePolicyResponse>, Status> {
        self.change(Action::DeletePolicy, request, access_parse::delete_policy, |()| {
            kms::DeletePolicyResponse {}
        })
        .await
    }

    async fn get_policy(
        &self,
        request: Request<kms::GetPolicyRequest>,
    ) -> Result<Response<kms::GetPolicyResponse>, Status> {
        self.perform(
            request,
            |asked: kms::GetPolicyRequest| {
                Ok(GetPolicy { id: access_parse::policy_id(&asked.policy_id)? })
            },
            |view| kms::GetPolicyResponse { policy: Some(access_render::policy(view)) },
        )
        .await
    }

    async fn list_policies(
        &self,
        request: Request<kms::ListPoliciesRequest>,
    ) -> Result<Response<kms::ListPoliciesResponse>, Status> {
        self.perform(request, access_parse::list_policies, |(views, next)| {
            kms::ListPoliciesResponse {
                policies: views.into_iter().map(access_render::policy).collect(),
                next_page_token: render::page_token(next),
            }
        })
        .await
    }

    async fn get_policy_schema(
        &self,
        request: Request<kms::GetPolicySchemaRequest>,
    ) -> Result<Response<kms::GetPolicySchemaResponse>, Status> {
        self.perform(
            request,
            |_| Ok(GetPolicySchema),
            |schema| kms::GetPolicySchemaResponse { schema: schema.to_owned() },
        )
        .await
    }

    async fn simulate_policies(
        &self,
        request: Request<kms::SimulatePoliciesRequest>,
    ) -> Result<Response<kms::SimulatePoliciesResponse>, Status> {
        self.perform(request, access_parse::simulate, access_render::simulated).await
    }

    async fn explain(
        &self,
        request: Request<kms::ExplainRequest>,
    ) -> Result<Response<kms::ExplainResponse>, Status> {
        let parse = |asked: kms::ExplainRequest| {
            access_parse::question(asked.question.unwrap_or_default()).map(Explain)
        };
        self.perform(request, parse, access_render::explained).await
    }

    async fn create_service_account(
        &self,
        request: Request<kms::CreateServiceAccountRequest>,
    ) -> Result<Response<kms::CreateServiceAccountResponse>, Status> {
        self.create_account(request).await
    }

    async fn list_service_accounts(
        &self,
        request: Request<kms::ListServiceAccountsRequest>,
    ) -> Result<Response<kms::ListServiceAccountsResponse>, Status> {
        self.list_accounts(request).await
    }

    async fn delete_service_account(
        &self,
        request: Request<kms::DeleteServiceAccountRequest>,
    ) -> Result<Response<kms::DeleteServiceAccountResponse>, Status> {
        self.delete_account(request).await
    }

    async fn create_credential(
        &self,
        request: Request<kms::CreateCredentialRequest>,
    ) -> Result<Response<kms::CreateCredentialResponse>, Status> {
        self.make_credential(request).await
    }

    async fn list_credentials(
        &self,
        request: Request<kms::ListCredentialsRequest>,
    ) -> Result<Response<kms::ListCredentialsResponse>, Status> {
        self.show_credentials(request).await
    }

    async fn revoke_credential(
        &self,
        request: Request<kms::RevokeCredentialRequest>,
    ) -> Result<Response<kms::RevokeCredentialResponse>, Status> {
        self.end_credential(request).await
    }

    async fn exchange_token(
        &self,
        request: Request<kms::ExchangeTokenRequest>,
    ) -> Result<Response<kms::ExchangeTokenResponse>, Status> {
        self.perform(request, accounts::exchange_token, |exchanged| kms::ExchangeTokenResponse {
            access_token: exchanged.access_token,
            expire_time: Some(render::timestamp(exchanged.expire_time)),
        })
        .await
    }
}
