//! Messages about campaigns: from them to what the service takes, and back.

use std::collections::{BTreeMap, BTreeSet};

use bulla_proto::kms;
use prost::Message;
use sha2::{Digest, Sha256};

use super::{census, parse, render};
use crate::campaign::{
    BlobDigest, CampaignState, Decision, Phase, Place, Problem, ProblemPlace, ProblemReason,
    Report, SOURCE_VERSIONS_MAX, STORES_MAX,
};
use crate::keys::{CampaignId, HolderId, Reason, StoreNumber, StoreRef, Timestamp};
use crate::policy::Action;
use crate::service::{
    CampaignOrder, CampaignPage, CampaignStore, CampaignView, CreateCampaign, DecideProblem,
    FoundProblem, ListCampaigns, ListProblems, ProblemKey, ProblemPage, Progressed, Refusal,
    ReportProgress, Said, StepCampaign, Which,
};

// === requests ===

pub(super) fn campaign_id(text: &str) -> Result<CampaignId, Refusal> {
    CampaignId::parse(text).map_err(|error| Refusal::invalid("campaign_id", error))
}

pub(super) fn create(asked: kms::CreateCampaignRequest) -> Result<CreateCampaign, Refusal> {
    let request = parse::request(Action::CreateCampaign, &asked.request_id, &asked)?;
    bounded("source_versions", asked.source_versions.len(), SOURCE_VERSIONS_MAX)?;
    bounded("stores", asked.stores.len(), STORES_MAX)?;
    let source_versions: BTreeSet<u32> = asked.source_versions.iter().copied().collect();
    if source_versions.contains(&0) {
        return Err(Refusal::invalid("source_versions", "must each be 1 or more"));
    }
    let store = |named: &String| store("stores", named);
    Ok(CreateCampaign {
        key: parse::key(&asked.key)?,
        source_versions,
        stores: asked.stores.iter().map(store).collect::<Result<_, _>>()?,
        rate_per_second: asked.rate_per_second,
        urgent: asked.urgent,
        reason: parse::reason(&asked.reason)?,
        request,
    })
}

/// A step with a campaign: each method's message has the same three fields.
pub(super) fn step(
    order: CampaignOrder,
    (campaign, reason, request_id): (&str, &str, &str),
    message: &impl Message,
) -> Result<StepCampaign, Refusal> {
    let request = parse::request(order.action(), request_id, message)?;
    let reason = match order {
        CampaignOrder::Pause | CampaignOrder::Resume => parse::reason(reason)?,
        CampaignOrder::Abandon => required_reason(reason)?,
    };
    Ok(StepCampaign { campaign: campaign_id(campaign)?, order, reason, request })
}

pub(super) fn list(asked: kms::ListCampaignsRequest) -> Result<ListCampaigns, Refusal> {
    let after = parse::page_token(&asked.page_token)?;
    Ok(ListCampaigns {
        key: parse::optional_key(&asked.key)?,
        after: after
            .map(|text| CampaignId::parse(&text).map_err(|_| parse::bad_page_token()))
            .transpose()?,
        page_size: parse::page_size(asked.page_size)?,
    })
}

pub(super) fn progress(asked: kms::ReportProgressRequest) -> Result<ReportProgress, Refusal> {
    let campaign = campaign_id(&asked.campaign_id)?;
    let agent_id =
        HolderId::parse(&asked.agent_id).map_err(|error| Refusal::invalid("agent_id", error))?;
    bounded("problems", asked.problems.len(), PROBLEMS_REPORTED_MAX)?;
    if asked.pass == 0 && (asked.pass_ended || !asked.problems.is_empty()) {
        let problem = "must be the pass that this is about; 0 only asks where the store stands";
        return Err(Refusal::invalid("pass", problem));
    }
    let digest = Sha256::digest(asked.encode_to_vec()).into();
    let place = Place::new(asked.place).map_err(|error| Refusal::invalid("place", error))?;
    let mut problems = BTreeMap::new();
    for problem in &asked.problems {
        let (place, found) = found(problem)?;
        problems.insert(place, found);
    }
    let report = Report {
        pass: asked.pass,
        place,
        seen: asked.seen,
        total: asked.total,
        moved: asked.moved,
        changed: asked.changed,
        pass_ended: asked.pass_ended,
    };
    Ok(ReportProgress {
        campaign,
        store: store("store", &asked.store)?,
        agent_id,
        said: if asked.pass == 0 { Said::Begun } else { Said::Pass(report) },
        digest,
        problems,
        release: asked.release,
    })
}

pub(super) fn list_problems(asked: kms::ListProblemsRequest) -> Result<ListProblems, Refusal> {
    let named = Some(&asked.store).filter(|named| !named.is_empty());
    let after = parse::page_token(&asked.page_token)?;
    Ok(ListProblems {
        campaign: campaign_id(&asked.campaign_id)?,
        store: named.map(|named| store("store", named)).transpose()?,
        after: after
            .map(|text| problem_key(&text).ok_or_else(parse::bad_page_token))
            .transpose()?,
        page_size: parse::page_size(asked.page_size)?,
    })
}

pub(super) fn decide(asked: kms::DecideProblemRequest) -> Result<DecideProblem, Refusal> {
    let request = parse::request(Action::DecideProblem, &asked.request_id, &asked)?;
    let decision = match asked.decision() {
        kms::ProblemDecision::Abandoned => Decision::Abandoned,
        kms::ProblemDecision::Retry => Decision::Retry,
        kms::ProblemDecision::Unspecified => {
            return Err(Refusal::invalid("decision", "must be ABANDONED or RETRY"));
        }
    };
    let about = match (asked.place.as_str(), asked.digest.as_slice()) {
        ("", content) => Which::Content(digest(content)?),
        (named, []) => Which::Place(place(named)?, None),
        (named, content) => Which::Place(place(named)?, Some(digest(content)?)),
    };
    Ok(DecideProblem {
        campaign: campaign_id(&asked.campaign_id)?,
        store: store("store", &asked.store)?,
        about,
        decision,
        reason: required_reason(&asked.reason)?,
        request,
    })
}

fn found(problem: &kms::Problem) -> Result<(ProblemPlace, FoundProblem), Refusal> {
    let place = ProblemPlace::parse(&problem.place)
        .map_err(|error| Refusal::invalid("problems.place", error))?;
    let reason = ProblemReason::parse(&problem.reason)
        .map_err(|error| Refusal::invalid("problems.reason", error))?;
    let digest = BlobDigest::from_slice(&problem.digest)
        .map_err(|error| Refusal::invalid("problems.digest", error))?;
    Ok((place, FoundProblem { digest, version: problem.version, reason }))
}

fn digest(bytes: &[u8]) -> Result<BlobDigest, Refusal> {
    BlobDigest::from_slice(bytes).map_err(|error| Refusal::invalid("digest", error))
}

fn place(text: &str) -> Result<ProblemPlace, Refusal> {
    ProblemPlace::parse(text).map_err(|error| Refusal::invalid("place", error))
}

fn store(field: &'static str, named: &str) -> Result<StoreRef, Refusal> {
    StoreRef::parse(named).map_err(|error| Refusal::invalid(field, error))
}

fn required_reason(text: &str) -> Result<Reason, Refusal> {
    if text.is_empty() {
        return Err(Refusal::invalid("reason", "must say why"));
    }
    parse::reason(text)
}

fn bounded(field: &'static str, count: usize, max: usize) -> Result<(), Refusal> {
    if count <= max {
        return Ok(());
    }
    Err(Refusal::TooLarge { field, problem: format!("must be at most {max}") })
}

/// What [`problem_token`] makes.
fn problem_key(text: &str) -> Option<ProblemKey> {
    let (store, rest) = text.split_once(' ')?;
    let (time, place) = rest.split_once(' ')?;
    Some(ProblemKey {
        store: StoreNumber::new(store.parse().ok()?)?,
        report_time: Timestamp::from_unix_ms(time.parse().ok()?),
        place: ProblemPlace::parse(place).ok()?,
    })
}

fn problem_token(key: &ProblemKey) -> String {
    format!("{} {} {}", key.store, key.report_time.unix_ms(), key.place.as_str())
}

// === replies ===

pub(super) fn campaign(view: &CampaignView) -> kms::Campaign {
    let campaign = &view.campaign;
    kms::Campaign {
        campaign_id: campaign.id.to_string(),
        key_id: campaign.key.to_string(),
        source_versions: campaign.source_versions.clone(),
        state: state(campaign.state).into(),
        stores: view.stores.iter().map(store_progress).collect(),
        rate_per_second: campaign.rate_per_second,
        urgent: campaign.urgent,
        reason: campaign.reason.as_str().to_owned(),
        principal: campaign.principal.clone(),
        create_time: Some(render::timestamp(campaign.create_time)),
        end_time: campaign.end_time.map(render::timestamp),
        note: campaign.note.clone(),
    }
}

/// Places are for the agents, and too much of a list.
pub(super) fn campaigns(page: &CampaignPage) -> kms::ListCampaignsResponse {
    let mut campaigns: Vec<_> = page.campaigns.iter().map(campaign).collect();
    for store in campaigns.iter_mut().flat_map(|campaign| &mut campaign.stores) {
        store.place.clear();
    }
    kms::ListCampaignsResponse { campaigns, next_page_token: render::page_token(page.next) }
}

pub(super) fn progressed(progressed: &Progressed) -> kms::ReportProgressResponse {
    let campaign = &progressed.campaign;
    kms::ReportProgressResponse {
        state: state(campaign.state).into(),
        progress: Some(store_progress(&progressed.store)),
        rate_per_second: progressed.rate_per_second,
        key_id: campaign.key.to_string(),
        source_versions: campaign.source_versions.clone(),
        abandoned: progressed.abandoned.iter().map(abandoned).collect(),
    }
}

/// What an agent knows it by, which has the place and what stands there, and no list of names.
fn abandoned(problem: &Problem) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(problem.digest.as_bytes());
    hash.update(problem.place.as_str());
    hash.finalize().to_vec()
}

pub(super) fn problems(page: &ProblemPage) -> kms::ListProblemsResponse {
    let problem = |found: &crate::service::StoreProblem| kms::StoreProblem {
        store: found.store.as_u32(),
        store_name: found.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        problem: Some(problem(&found.problem)),
    };
    kms::ListProblemsResponse {
        problems: page.problems.iter().map(problem).collect(),
        next_page_token: render::page_token(page.next.as_ref().map(problem_token)),
    }
}

pub(super) fn problem(problem: &Problem) -> kms::Problem {
    let decided = problem.decided.as_ref();
    let decision = match decided.map(|decided| decided.decision) {
        None => kms::ProblemDecision::Unspecified,
        Some(Decision::Abandoned) => kms::ProblemDecision::Abandoned,
        Some(Decision::Retry) => kms::ProblemDecision::Retry,
    };
    kms::Problem {
        place: problem.place.as_str().to_owned(),
        digest: problem.digest.as_bytes().to_vec(),
        version: problem.version,
        reason: problem.reason.as_str().to_owned(),
        decision: decision.into(),
        report_time: Some(render::timestamp(problem.report_time)),
        decision_principal: decided.map(|by| by.principal.clone()).unwrap_or_default(),
        decision_reason: decided.map(|by| by.reason.as_str().to_owned()).unwrap_or_default(),
    }
}

fn store_progress(store: &CampaignStore) -> kms::StoreProgress {
    let progress = &store.progress;
    kms::StoreProgress {
        store: store.number.as_u32(),
        name: store.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        phase: phase(progress.phase).into(),
        agent: progress.holder.as_ref().map(|agent| agent.principal.clone()).unwrap_or_default(),
        report_time: progress.report_time.map(render::timestamp),
        place: progress.place.as_bytes().to_vec(),
        pass: progress.pass,
        seen: progress.seen,
        total: progress.total,
        moved: progress.moved,
        changed: progress.changed,
        problems: progress.problems,
        undecided: progress.undecided,
        scan: store.scan.as_ref().map(census::scan),
    }
}

const fn state(state: CampaignState) -> kms::CampaignState {
    match state {
        CampaignState::Running => kms::CampaignState::Running,
        CampaignState::Paused => kms::CampaignState::Paused,
        CampaignState::Verifying => kms::CampaignState::Verifying,
        CampaignState::Done => kms::CampaignState::Done,
        CampaignState::Failed => kms::CampaignState::Failed,
    }
}

const fn phase(phase: Phase) -> kms::StorePhase {
    match phase {
        Phase::Waiting => kms::StorePhase::Waiting,
        Phase::Moving => kms::StorePhase::Moving,
        Phase::Verifying => kms::StorePhase::Verifying,
        Phase::Clean => kms::StorePhase::Clean,
    }
}

const PROBLEMS_REPORTED_MAX: usize = 100;
