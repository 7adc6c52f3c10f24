//! What campaigns refuse, and how they say so.

use bulla_proto::kms::{self, ProblemDecision};
use prost::Message;
use tonic::Code;

use super::{Scene, new_agent_id};
use crate::wire::{Raw, Shared, field, on_both_stores, reason, refused};

on_both_stores!(
    d10_whoever_moves_begins_and_decides_nothing_and_whoever_decides_moves_nothing,
    e01_c02_another_tenants_campaign_is_as_if_it_were_not_there,
    c01_every_bad_field_of_a_campaign_is_named,
    a_store_that_is_not_the_campaigns_is_named,
);

const DENIED: (Code, &str) = (Code::PermissionDenied, "PERMISSION_DENIED");
const NOT_THERE: &str = "00000000-0000-4000-8000-000000000000";

fn method(name: &str) -> String {
    format!("/bulla.kms.v1.Rotation/{name}")
}

async fn d10_whoever_moves_begins_and_decides_nothing_and_whoever_decides_moves_nothing(
    server: Shared,
) {
    let scene = Scene::of(server, 1).await;
    let id = scene.campaign().await;
    let agent = scene.agent(&id).await;
    let report = agent.report();
    for (caller, reports, creates, decides, reads) in [
        ("operator", false, true, true, true),
        ("rewrapper", true, false, false, true),
        ("auditor", false, false, false, true),
        ("app", false, false, false, false),
        ("nobody", false, false, false, false),
    ] {
        let client = scene.server.client(caller).await;
        let allowed = |outcome: Result<(), bulla_client::Error>| match outcome {
            Ok(()) => true,
            Err(error) => {
                let denied = (error.code(), error.reason()) == DENIED;
                assert!(denied || caller == "operator", "{caller}: {error}");
                !denied
            }
        };
        let outcome = client.report_progress(report.clone()).await;
        assert_eq!(allowed(outcome.map(|_| ())), reports, "{caller} reports");
        let outcome = client.create_campaign(scene.create()).await;
        assert_eq!(allowed(outcome.map(|_| ())), creates, "{caller} creates");
        let decide = kms::DecideProblemRequest {
            campaign_id: id.clone(),
            store: scene.store.clone(),
            digest: vec![1; 32],
            decision: ProblemDecision::Abandoned.into(),
            reason: "r".into(),
            ..Default::default()
        };
        let outcome = client.decide_problem(decide).await;
        assert_eq!(allowed(outcome.map(|_| ())), decides, "{caller} decides");
        let asked = kms::GetCampaignRequest { campaign_id: id.clone() };
        let outcome = client.get_campaign(asked).await;
        assert_eq!(allowed(outcome.map(|_| ())), reads, "{caller} reads");
        let asked = kms::ListProblemsRequest { campaign_id: id.clone(), ..Default::default() };
        let outcome = client.list_problems(asked).await;
        assert_eq!(allowed(outcome.map(|_| ())), reads, "{caller} reads problems");
    }
}

async fn e01_c02_another_tenants_campaign_is_as_if_it_were_not_there(server: Shared) {
    let scene = Scene::of(server, 1).await;
    let id = scene.campaign().await;
    let manager = Raw::connect(&scene.server, "operator2").await;
    let agent = Raw::connect(&scene.server, "app2").await;
    let mut cases = 0;
    for (raw, path, message) in [
        (&manager, "GetCampaign", &get as &dyn Fn(&str) -> Vec<u8>),
        (&manager, "PauseCampaign", &pause),
        (&manager, "ResumeCampaign", &pause),
        (&manager, "AbandonCampaign", &abandon),
        (&manager, "ListProblems", &get),
        (&manager, "DecideProblem", &decide),
        (&agent, "ReportProgress", &report),
    ] {
        let mut answers = Vec::new();
        for campaign in [id.as_str(), NOT_THERE] {
            let (_, status) = raw.message(&method(path), &message(campaign)).await;
            assert_eq!((status.code(), &*reason(&status)), DENIED, "{path}");
            answers.push((status.message().to_owned(), status.details().to_vec()));
            cases += 1;
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{path}: told apart");
    }
    let listed = scene.server.client("operator2").await;
    let listed = listed.list_campaigns(kms::ListCampaignsRequest::default()).await.unwrap();
    assert!(listed.campaigns.iter().all(|campaign| campaign.campaign_id != id));
    assert_eq!(scene.shown(&id).await.state(), kms::CampaignState::Running);
    println!("another tenant's campaigns: {cases} cases");
}

fn get(campaign: &str) -> Vec<u8> {
    kms::GetCampaignRequest { campaign_id: campaign.into() }.encode_to_vec()
}

fn pause(campaign: &str) -> Vec<u8> {
    let campaign_id = campaign.into();
    kms::PauseCampaignRequest { campaign_id, ..Default::default() }.encode_to_vec()
}

fn abandon(campaign: &str) -> Vec<u8> {
    let (campaign_id, reason) = (campaign.into(), "r".into());
    kms::AbandonCampaignRequest { campaign_id, reason, ..Default::default() }.encode_to_vec()
}

fn decide(campaign: &str) -> Vec<u8> {
    kms::DecideProblemRequest {
        campaign_id: campaign.into(),
        store: "1".into(),
        digest: vec![1; 32],
        decision: ProblemDecision::Retry.into(),
        reason: "r".into(),
        ..Default::default()
    }
    .encode_to_vec()
}

fn report(campaign: &str) -> Vec<u8> {
    kms::ReportProgressRequest {
        campaign_id: campaign.into(),
        store: "1".into(),
        agent_id: new_agent_id(),
        ..Default::default()
    }
    .encode_to_vec()
}

async fn c01_every_bad_field_of_a_campaign_is_named(server: Shared) {
    let scene = Scene::of(server, 1).await;
    let id = scene.campaign().await;
    let mut agent = scene.agent(&id).await;
    agent.claim().await.unwrap();
    let create = |change: &dyn Fn(&mut kms::CreateCampaignRequest)| {
        let mut asked = scene.create();
        change(&mut asked);
        ("operator", "CreateCampaign", asked.encode_to_vec())
    };
    let report = |change: &dyn Fn(&mut kms::ReportProgressRequest)| {
        let mut asked = kms::ReportProgressRequest { pass: 1, ..agent.report() };
        change(&mut asked);
        ("rewrapper", "ReportProgress", asked.encode_to_vec())
    };
    let problem = |change: &dyn Fn(&mut kms::Problem)| {
        let (place, reason) = ("id=1".into(), "NOT_A_BLOB".into());
        let mut problem = kms::Problem { place, digest: vec![1; 32], reason, ..Default::default() };
        change(&mut problem);
        report(&|asked| asked.problems = vec![problem.clone()])
    };
    let decide = |change: &dyn Fn(&mut kms::DecideProblemRequest)| {
        let mut asked = kms::DecideProblemRequest::decode(&*decide(&id)).unwrap();
        asked.store = scene.store.clone();
        change(&mut asked);
        ("operator", "DecideProblem", asked.encode_to_vec())
    };
    let list = kms::ListProblemsRequest {
        campaign_id: id.clone(),
        page_token: "bm90IG9uZQ".into(),
        ..Default::default()
    };
    let no_reason = kms::AbandonCampaignRequest { campaign_id: id.clone(), ..Default::default() };
    let cases = [
        ("key", create(&|asked| asked.key = "No Key".into())),
        ("source_versions", create(&|asked| asked.source_versions = vec![0])),
        ("source_versions", create(&|asked| asked.source_versions = vec![1, 9])),
        ("source_versions", create(&|asked| asked.source_versions = vec![2])),
        ("stores", create(&|asked| asked.stores = vec!["No Store".into()])),
        ("stores", create(&|asked| asked.stores = vec!["nowhere".into()])),
        ("stores", create(&|asked| asked.stores = vec!["4294967295".into()])),
        ("reason", create(&|asked| asked.reason = "\u{1b}".into())),
        ("campaign_id", report(&|asked| asked.campaign_id = "x".into())),
        ("store", report(&|asked| asked.store = "0".into())),
        ("store", report(&|asked| asked.store = "nowhere".into())),
        ("agent_id", report(&|asked| asked.agent_id = "x".into())),
        ("pass", report(&|asked| asked.pass = 2)),
        ("pass", report(&|asked| (asked.pass, asked.pass_ended) = (0, true))),
        ("place", report(&|asked| asked.place = vec![0; 4097])),
        ("problems.place", problem(&|problem| problem.place.clear())),
        ("problems.place", problem(&|problem| problem.place = "x".repeat(513))),
        ("problems.digest", problem(&|problem| problem.digest.clear())),
        ("problems.reason", problem(&|problem| problem.reason.clear())),
        ("digest", decide(&|asked| asked.digest = vec![9; 32])),
        ("digest", decide(&|asked| asked.digest = vec![9; 31])),
        ("digest", decide(&|asked| asked.digest.clear())),
        ("place", decide(&|asked| asked.place = "id=9".into())),
        ("place", decide(&|asked| asked.place = "x".repeat(513))),
        ("decision", decide(&|asked| asked.decision = 0)),
        ("decision", decide(&|asked| asked.decision = 99)),
        ("reason", decide(&|asked| asked.reason.clear())),
        ("page_token", ("operator", "ListProblems", list.encode_to_vec())),
        ("reason", ("operator", "AbandonCampaign", no_reason.encode_to_vec())),
    ];
    for (at, (expected, (caller, name, message))) in cases.into_iter().enumerate() {
        let raw = Raw::connect(&scene.server, caller).await;
        let (_, status) = raw.message(&method(name), &message).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{at} {name} {expected}: {status:?}");
        assert_eq!(field(&status).as_deref(), Some(expected), "{at} {name}: {status:?}");
    }
    let many = vec![kms::Problem::default(); 101];
    let asked = kms::ReportProgressRequest { pass: 1, problems: many, ..agent.report() };
    let refusal = refused(agent.client.report_progress(asked).await);
    assert_eq!(refusal, (Code::ResourceExhausted, "TOO_LARGE".into()));
    // A hundred of the longest, and the longest place, are taken.
    let longest = |at: u8| kms::Problem {
        place: format!("{at:>512}"),
        digest: vec![1; 32],
        reason: "x".repeat(128),
        ..Default::default()
    };
    let asked = kms::ReportProgressRequest {
        seen: 1,
        place: vec![0xff; 4096],
        problems: (0..100).map(longest).collect(),
        ..agent.report()
    };
    assert_eq!(agent.send(asked).await.unwrap().progress.unwrap().problems, 100);
}

async fn a_store_that_is_not_the_campaigns_is_named(server: Shared) {
    let scene = Scene::of(server, 1).await;
    let id = scene.campaign().await;
    let other = crate::wire::fresh("elsewhere");
    super::register(&scene.manager, &other).await;
    let mut agent = scene.agent(&id).await;
    agent.store = other;
    let refusal = agent.claim().await.unwrap_err();
    assert_eq!(refusal.reason(), "INVALID_ARGUMENT");
    assert!(refusal.to_string().contains("not one of the campaign's"), "{refusal}");
}
