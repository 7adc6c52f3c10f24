//! The service `Tenants`.

use bulla_proto::kms::{self, tenants_server};
use tonic::{Request, Response, Status};

use super::Api;

#[tonic::async_trait]
impl tenants_server::Tenants for Api {
    async fn create_tenant(
        &self,
        _request: Request<kms::CreateTenantRequest>,
    ) -> Result<Response<kms::CreateTenantResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn get_tenant(
        &self,
        _request: Request<kms::GetTenantRequest>,
    ) -> Result<Response<kms::GetTenantResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn list_tenants(
        &self,
        _request: Request<kms::ListTenantsRequest>,
    ) -> Result<Response<kms::ListTenantsResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn update_tenant(
        &self,
        _request: Request<kms::UpdateTenantRequest>,
    ) -> Result<Response<kms::UpdateTenantResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn suspend_tenant(
        &self,
        _request: Request<kms::SuspendTenantRequest>,
    ) -> Result<Response<kms::SuspendTenantResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn resume_tenant(
        &self,
        _request: Request<kms::ResumeTenantRequest>,
    ) -> Result<Response<kms::ResumeTenantResponse>, Status> {
        Err(super::errors::unknown_method())
    }
}
