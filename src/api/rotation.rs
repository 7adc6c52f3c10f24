//! The service `Rotation`.

use bulla_proto::kms::{self, rotation_server};
use tonic::{Request, Response, Status};

use super::{Api, campaigns, census, parse, render};
use crate::census::RunningScan;
use crate::policy::Action;
use crate::service::{CampaignOrder, GetCampaign, GetCensus, ListStores, RetireCheck};

/// The steps of a campaign: each method differs in its messages' names only.
macro_rules! step_campaign {
    ($self:ident, $request:ident: $asked:ident, $order:expr, $response:ident) => {{
        let order = $order;
        let parse = move |asked: kms::$asked| {
            let fields = (&*asked.campaign_id, &*asked.reason, &*asked.request_id);
            campaigns::step(order, fields, &asked)
        };
        let render = |view| kms::$response { campaign: Some(campaigns::campaign(&view)) };
        $self.change(order.action(), $request, parse, render).await
    }};
}

#[tonic::async_trait]
impl rotation_server::Rotation for Api {
    async fn register_store(
        &self,
        request: Request<kms::RegisterStoreRequest>,
    ) -> Result<Response<kms::RegisterStoreResponse>, Status> {
        let render = |store| kms::RegisterStoreResponse { store: Some(census::registered(&store)) };
        self.change(Action::RegisterStore, request, census::register_store, render).await
    }

    async fn list_stores(
        &self,
        request: Request<kms::ListStoresRequest>,
    ) -> Result<Response<kms::ListStoresResponse>, Status> {
        let parse = |asked: kms::ListStoresRequest| {
            Ok(ListStores {
                after: census::store_page_token(&asked.page_token)?,
                page_size: parse::page_size(asked.page_size)?,
            })
        };
        self.perform(request, parse, |page| census::stores(&page)).await
    }

    async fn report_restore(
        &self,
        request: Request<kms::ReportRestoreRequest>,
    ) -> Result<Response<kms::ReportRestoreResponse>, Status> {
        let render = |store| kms::ReportRestoreResponse { store: Some(census::registered(&store)) };
        self.change(Action::ReportRestore, request, census::report_restore, render).await
    }

    async fn get_census(
        &self,
        request: Request<kms::GetCensusRequest>,
    ) -> Result<Response<kms::GetCensusResponse>, Status> {
        let parse = |asked: kms::GetCensusRequest| Ok(GetCensus { key: parse::key(&asked.key)? });
        self.perform(request, parse, |view| census::census(&view)).await
    }

    async fn retire_check(
        &self,
        request: Request<kms::RetireCheckRequest>,
    ) -> Result<Response<kms::RetireCheckResponse>, Status> {
        let parse = |asked: kms::RetireCheckRequest| {
            let (key, version) = (parse::key(&asked.key)?, parse::version(asked.version)?);
            Ok(RetireCheck { key, version })
        };
        self.perform(request, parse, |judged| census::judged(&judged)).await
    }

    async fn waive_unnamed_store(
        &self,
        request: Request<kms::WaiveUnnamedStoreRequest>,
    ) -> Result<Response<kms::WaiveUnnamedStoreResponse>, Status> {
        let render = |()| kms::WaiveUnnamedStoreResponse {};
        self.change(Action::WaiveUnnamedStore, request, census::waive_unnamed_store, render).await
    }

    async fn begin_scan(
        &self,
        request: Request<kms::BeginScanRequest>,
    ) -> Result<Response<kms::BeginScanResponse>, Status> {
        let render = |begun: RunningScan| kms::BeginScanResponse {
            scan_id: begun.id.to_string(),
            begin_time: Some(render::timestamp(begun.begin_time)),
        };
        self.change(Action::BeginScan, request, census::begin_scan, render).await
    }

    async fn report_scan(
        &self,
        request: Request<kms::ReportScanRequest>,
    ) -> Result<Response<kms::ReportScanResponse>, Status> {
        let render = |scan| kms::ReportScanResponse { scan: Some(census::scan(&scan)) };
        self.change(Action::ReportScan, request, census::report_scan, render).await
    }

    async fn create_campaign(
        &self,
        request: Request<kms::CreateCampaignRequest>,
    ) -> Result<Response<kms::CreateCampaignResponse>, Status> {
        let render =
            |view| kms::CreateCampaignResponse { campaign: Some(campaigns::campaign(&view)) };
        self.change(Action::CreateCampaign, request, campaigns::create, render).await
    }

    async fn get_campaign(
        &self,
        request: Request<kms::GetCampaignRequest>,
    ) -> Result<Response<kms::GetCampaignResponse>, Status> {
        let parse = |asked: kms::GetCampaignRequest| {
            Ok(GetCampaign { campaign: campaigns::campaign_id(&asked.campaign_id)? })
        };
        let render = |view| kms::GetCampaignResponse { campaign: Some(campaigns::campaign(&view)) };
        self.perform(request, parse, render).await
    }

    async fn list_campaigns(
        &self,
        request: Request<kms::ListCampaignsRequest>,
    ) -> Result<Response<kms::ListCampaignsResponse>, Status> {
        self.perform(request, campaigns::list, |page| campaigns::campaigns(&page)).await
    }

    async fn pause_campaign(
        &self,
        request: Request<kms::PauseCampaignRequest>,
    ) -> Result<Response<kms::PauseCampaignResponse>, Status> {
        step_campaign!(self, request: PauseCampaignRequest, CampaignOrder::Pause, PauseCampaignResponse)
    }

    async fn resume_campaign(
        &self,
        request: Request<kms::ResumeCampaignRequest>,
    ) -> Result<Response<kms::ResumeCampaignResponse>, Status> {
        step_campaign!(self, request: ResumeCampaignRequest, CampaignOrder::Resume, ResumeCampaignResponse)
    }

    async fn abandon_campaign(
        &self,
        request: Request<kms::AbandonCampaignRequest>,
    ) -> Result<Response<kms::AbandonCampaignResponse>, Status> {
        step_campaign!(self, request: AbandonCampaignRequest, CampaignOrder::Abandon, AbandonCampaignResponse)
    }

    async fn report_progress(
        &self,
        request: Request<kms::ReportProgressRequest>,
    ) -> Result<Response<kms::ReportProgressResponse>, Status> {
        let render = |progressed| campaigns::progressed(&progressed);
        self.perform(request, campaigns::progress, render).await
    }

    async fn list_problems(
        &self,
        request: Request<kms::ListProblemsRequest>,
    ) -> Result<Response<kms::ListProblemsResponse>, Status> {
        self.perform(request, campaigns::list_problems, |page| campaigns::problems(&page)).await
    }

    async fn decide_problem(
        &self,
        request: Request<kms::DecideProblemRequest>,
    ) -> Result<Response<kms::DecideProblemResponse>, Status> {
        let render =
            |problem| kms::DecideProblemResponse { problem: Some(campaigns::problem(&problem)) };
        self.change(Action::DecideProblem, request, campaigns::decide, render).await
    }

    async fn rotate_due(
        &self,
        request: Request<kms::RotateDueRequest>,
    ) -> Result<Response<kms::RotateDueResponse>, Status> {
        self.rotate_what_is_due(request).await
    }

    async fn set_ladder(
        &self,
        request: Request<kms::SetLadderRequest>,
    ) -> Result<Response<kms::SetLadderResponse>, Status> {
        self.set_the_ladder(request).await
    }

    async fn get_ladder(
        &self,
        request: Request<kms::GetLadderRequest>,
    ) -> Result<Response<kms::GetLadderResponse>, Status> {
        self.get_the_ladder(request).await
    }

    async fn resume_ladder(
        &self,
        request: Request<kms::ResumeLadderRequest>,
    ) -> Result<Response<kms::ResumeLadderResponse>, Status> {
        self.resume_on_the_ladder(request).await
    }

    async fn get_exposure(
        &self,
        request: Request<kms::GetExposureRequest>,
    ) -> Result<Response<kms::GetExposureResponse>, Status> {
        self.perform(request, census::get_exposure, |view| census::exposure(&view)).await
    }
}
