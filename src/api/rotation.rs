//! The service `Rotation`.

use bulla_proto::kms::{self, rotation_server};
use tonic::{Request, Response, Status};

use super::Api;

#[tonic::async_trait]
impl rotation_server::Rotation for Api {
    async fn register_store(
        &self,
        _: Request<kms::RegisterStoreRequest>,
    ) -> Result<Response<kms::RegisterStoreResponse>, Status> {
        Err(Status::unimplemented("register_store"))
    }

    async fn list_stores(
        &self,
        _: Request<kms::ListStoresRequest>,
    ) -> Result<Response<kms::ListStoresResponse>, Status> {
        Err(Status::unimplemented("list_stores"))
    }

    async fn report_restore(
        &self,
        _: Request<kms::ReportRestoreRequest>,
    ) -> Result<Response<kms::ReportRestoreResponse>, Status> {
        Err(Status::unimplemented("report_restore"))
    }

    async fn get_census(
        &self,
        _: Request<kms::GetCensusRequest>,
    ) -> Result<Response<kms::GetCensusResponse>, Status> {
        Err(Status::unimplemented("get_census"))
    }

    async fn retire_check(
        &self,
        _: Request<kms::RetireCheckRequest>,
    ) -> Result<Response<kms::RetireCheckResponse>, Status> {
        Err(Status::unimplemented("retire_check"))
    }

    async fn waive_unnamed_store(
        &self,
        _: Request<kms::WaiveUnnamedStoreRequest>,
    ) -> Result<Response<kms::WaiveUnnamedStoreResponse>, Status> {
        Err(Status::unimplemented("waive_unnamed_store"))
    }

    async fn begin_scan(
        &self,
        _: Request<kms::BeginScanRequest>,
    ) -> Result<Response<kms::BeginScanResponse>, Status> {
        Err(Status::unimplemented("begin_scan"))
    }

    async fn report_scan(
        &self,
        _: Request<kms::ReportScanRequest>,
    ) -> Result<Response<kms::ReportScanResponse>, Status> {
        Err(Status::unimplemented("report_scan"))
    }

    async fn create_campaign(
        &self,
        _: Request<kms::CreateCampaignRequest>,
    ) -> Result<Response<kms::CreateCampaignResponse>, Status> {
        Err(Status::unimplemented("create_campaign"))
    }

    async fn get_campaign(
        &self,
        _: Request<kms::GetCampaignRequest>,
    ) -> Result<Response<kms::GetCampaignResponse>, Status> {
        Err(Status::unimplemented("get_campaign"))
    }

    async fn list_campaigns(
        &self,
        _: Request<kms::ListCampaignsRequest>,
    ) -> Result<Response<kms::ListCampaignsResponse>, Status> {
        Err(Status::unimplemented("list_campaigns"))
    }

    async fn pause_campaign(
        &self,
        _: Request<kms::PauseCampaignRequest>,
    ) -> Result<Response<kms::PauseCampaignResponse>, Status> {
        Err(Status::unimplemented("pause_campaign"))
    }

    async fn resume_campaign(
        &self,
        _: Request<kms::ResumeCampaignRequest>,
    ) -> Result<Response<kms::ResumeCampaignResponse>, Status> {
        Err(Status::unimplemented("resume_campaign"))
    }

    async fn abandon_campaign(
        &self,
        _: Request<kms::AbandonCampaignRequest>,
    ) -> Result<Response<kms::AbandonCampaignResponse>, Status> {
        Err(Status::unimplemented("abandon_campaign"))
    }

    async fn report_progress(
        &self,
        _: Request<kms::ReportProgressRequest>,
    ) -> Result<Response<kms::ReportProgressResponse>, Status> {
        Err(Status::unimplemented("report_progress"))
    }

    async fn list_problems(
        &self,
        _: Request<kms::ListProblemsRequest>,
    ) -> Result<Response<kms::ListProblemsResponse>, Status> {
        Err(Status::unimplemented("list_problems"))
    }

    async fn decide_problem(
        &self,
        _: Request<kms::DecideProblemRequest>,
    ) -> Result<Response<kms::DecideProblemResponse>, Status> {
        Err(Status::unimplemented("decide_problem"))
    }

    async fn rotate_due(
        &self,
        _: Request<kms::RotateDueRequest>,
    ) -> Result<Response<kms::RotateDueResponse>, Status> {
        Err(Status::unimplemented("rotate_due"))
    }

    async fn set_ladder(
        &self,
        _: Request<kms::SetLadderRequest>,
    ) -> Result<Response<kms::SetLadderResponse>, Status> {
        Err(Status::unimplemented("set_ladder"))
    }

    async fn get_ladder(
        &self,
        _: Request<kms::GetLadderRequest>,
    ) -> Result<Response<kms::GetLadderResponse>, Status> {
        Err(Status::unimplemented("get_ladder"))
    }

    async fn resume_ladder(
        &self,
        _: Request<kms::ResumeLadderRequest>,
    ) -> Result<Response<kms::ResumeLadderResponse>, Status> {
        Err(Status::unimplemented("resume_ladder"))
    }

    async fn get_exposure(
        &self,
        _: Request<kms::GetExposureRequest>,
    ) -> Result<Response<kms::GetExposureResponse>, Status> {
        Err(Status::unimplemented("get_exposure"))
    }
}
