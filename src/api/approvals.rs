//! The service `Approvals`.

use bulla_proto::kms::{self, approvals_server};
use tonic::{Request, Response, Status};

use super::Api;

#[tonic::async_trait]
impl approvals_server::Approvals for Api {
    async fn propose(
        &self,
        _request: Request<kms::ProposeRequest>,
    ) -> Result<Response<kms::ProposeResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn approve(
        &self,
        _request: Request<kms::ApproveRequest>,
    ) -> Result<Response<kms::ApproveResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn reject(
        &self,
        _request: Request<kms::RejectRequest>,
    ) -> Result<Response<kms::RejectResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn get_proposal(
        &self,
        _request: Request<kms::GetProposalRequest>,
    ) -> Result<Response<kms::GetProposalResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn list_proposals(
        &self,
        _request: Request<kms::ListProposalsRequest>,
    ) -> Result<Response<kms::ListProposalsResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn put_approval_rule(
        &self,
        _request: Request<kms::PutApprovalRuleRequest>,
    ) -> Result<Response<kms::PutApprovalRuleResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn delete_approval_rule(
        &self,
        _request: Request<kms::DeleteApprovalRuleRequest>,
    ) -> Result<Response<kms::DeleteApprovalRuleResponse>, Status> {
        Err(super::errors::unknown_method())
    }

    async fn list_approval_rules(
        &self,
        _request: Request<kms::ListApprovalRulesRequest>,
    ) -> Result<Response<kms::ListApprovalRulesResponse>, Status> {
        Err(super::errors::unknown_method())
    }
}
