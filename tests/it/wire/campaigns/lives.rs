//! Whole lives of campaigns.

use bulla_proto::kms::{self, CampaignState, ProblemDecision, StorePhase};
use tonic::Code;

use super::{Scene, broken, digest_of, register, version_of};
use crate::server::spiffe_id;
use crate::wire::{Shared, audit_end, on_both_stores, records, refused, rotate};

on_both_stores!(
    g05_a_campaign_is_done_only_when_a_scan_proves_it,
    g05_a_killed_agent_loses_nothing_and_no_report_counts_twice,
    problems_hold_a_campaign_up_until_somebody_decides,
    a_problem_that_is_to_be_tried_again_brings_another_pass,
    rows_with_the_same_broken_bytes_are_decided_one_by_one,
    g05_a_report_that_is_said_again_undoes_no_decision,
    a_paused_campaign_gives_no_store_and_loses_nothing,
    g05_a_version_that_is_suspended_half_way_pauses_the_campaign,
    an_abandoned_campaign_never_goes_on,
    versions_and_stores_are_found_where_none_are_named,
    a_request_id_makes_one_campaign,
    a_second_campaign_over_a_store_is_refused_until_the_first_has_ended,
    of_campaigns_that_are_created_at_once_one_is_made,
    campaigns_and_problems_come_in_pages,
    a_budget_is_shared_by_the_agents_at_work,
);

async fn g05_a_campaign_is_done_only_when_a_scan_proves_it(server: Shared) {
    let mut scene = Scene::of(server, 4).await;
    let late = scene.blobs[0].clone();
    let begun = audit_end(&scene.server).await;
    let asked = kms::CreateCampaignRequest { reason: "v1 is old".into(), ..scene.create() };
    let made = scene.manager.create_campaign(asked).await.unwrap().campaign.unwrap();
    assert_eq!((made.state(), made.key_id.as_str()), (CampaignState::Running, &*scene.key));
    assert_eq!((made.source_versions.as_slice(), made.reason.as_str()), (&[1][..], "v1 is old"));
    assert_eq!(made.principal, spiffe_id("operator"));
    let [store] = made.stores.as_slice() else { panic!("{made:?}") };
    assert_eq!((store.phase(), store.pass, &store.name), (StorePhase::Waiting, 0, &scene.store));
    let id = made.campaign_id;

    let mut agent = scene.agent(&id).await;
    let claimed = agent.claim().await.unwrap();
    assert_eq!((claimed.state(), claimed.key_id.as_str()), (CampaignState::Running, &*scene.key));
    assert_eq!((claimed.source_versions.as_slice(), claimed.rate_per_second), (&[1][..], 0));
    let progress = claimed.progress.unwrap();
    assert_eq!((progress.phase(), progress.pass), (StorePhase::Moving, 1));
    assert_eq!(progress.agent, spiffe_id("rewrapper"));

    let ended = agent.finish_pass(&mut scene.blobs).await;
    let progress = ended.progress.unwrap();
    assert_eq!(ended.state, i32::from(CampaignState::Verifying));
    assert_eq!((progress.phase(), progress.moved), (StorePhase::Verifying, 4));
    // Said once more, and with no scan, it stands where it stands.
    let again = agent.send(agent.report()).await.unwrap();
    assert_eq!(again.state(), CampaignState::Verifying);

    // A writer that was slow: the scan finds its blob, and there is another pass.
    scene.blobs.push(late);
    let judged = agent.scan(&scene.key, &scene.blobs, 0).await;
    let progress = judged.progress.as_ref().unwrap();
    assert_eq!(judged.state(), CampaignState::Running);
    assert_eq!((progress.phase(), progress.pass), (StorePhase::Moving, 2));
    assert_eq!((progress.place.len(), progress.seen, progress.moved), (0, 0, 4));

    let ended = agent.finish_pass(&mut scene.blobs).await;
    assert_eq!(ended.state(), CampaignState::Verifying);
    let judged = agent.scan(&scene.key, &scene.blobs, 0).await;
    let progress = judged.progress.as_ref().unwrap();
    assert_eq!((judged.state(), progress.phase()), (CampaignState::Done, StorePhase::Clean));
    assert_eq!((progress.moved, progress.scan.as_ref().unwrap().rows), (5, 5));
    assert!(scene.blobs.iter().all(|blob| version_of(blob) == 2));

    let shown = scene.shown(&id).await;
    assert_eq!(shown.state(), CampaignState::Done);
    assert!(shown.end_time.is_some() && shown.note.contains("nothing left"), "{shown:?}");
    // What has ended stays as it is.
    let late = kms::ReportProgressRequest { pass: 2, seen: 99, moved: 99, ..agent.report() };
    let answer = agent.send(late).await.unwrap();
    assert_eq!((answer.state(), answer.progress.unwrap().moved), (CampaignState::Done, 5));

    let records = records(&scene.server, "auditor", begun).await;
    // Other tests use the same server.
    let of_key = |record: &&kms::Record| record.key_id == scene.key;
    let mut reports = records.iter().filter(of_key);
    let last = reports.rfind(|record| record.action == "rotation.report_progress").unwrap();
    assert_eq!((last.store, last.outcome.as_str()), (scene.number, "SUCCEEDED"));
    assert!(last.detail.contains(&id) && last.detail.contains("state=DONE"), "{}", last.detail);
    let created = records.iter().filter(of_key);
    let created = created.filter(|record| record.action == "rotation.create_campaign");
    assert_eq!(created.count(), 2, "before the commit and after it");
}

async fn g05_a_killed_agent_loses_nothing_and_no_report_counts_twice(server: Shared) {
    let mut scene = Scene::of(server, 6).await;
    let id = scene.campaign().await;
    let mut agent = scene.agent(&id).await;
    agent.claim().await.unwrap();
    agent.work(&mut scene.blobs, 2).await;
    let first = kms::ReportProgressRequest { total: 6, changed: 1, ..agent.report() };
    agent.send(first.clone()).await.unwrap();
    agent.work(&mut scene.blobs, 2).await;
    let second = agent.report();
    agent.send(second.clone()).await.unwrap();
    // The same again, and an older one after it: on the way for a long time, but not lost.
    for old in [&second, &first, &second] {
        let answer = agent.client.report_progress(old.clone()).await.unwrap();
        let progress = answer.progress.unwrap();
        assert_eq!((progress.seen, progress.moved, progress.changed), (4, 4, 1));
        assert_eq!(progress.place, second.place);
    }

    // Another run, as after a kill: the store is its own only when the first has been silent.
    let mut other = scene.agent(&id).await;
    let refusal = other.claim().await.unwrap_err();
    assert_eq!((refusal.code(), refusal.reason()), (Code::Aborted, "CONFLICT"));
    assert!(refusal.to_string().contains(&spiffe_id("rewrapper")), "{refusal}");
    let wait = refusal.retry_after().unwrap().as_millis();
    assert!((1..=30_000).contains(&wait), "j09: {wait} ms");
    assert_eq!(scene.shown(&id).await.stores[0].moved, 4);

    // It lets go, and the other goes on where it was.
    let release = kms::ReportProgressRequest { release: true, ..agent.report() };
    assert_eq!(agent.send(release).await.unwrap().progress.unwrap().agent, "");
    let claimed = other.claim().await.unwrap().progress.unwrap();
    assert_eq!((claimed.pass, claimed.seen, claimed.place), (1, 4, second.place));
    let ended = other.finish_pass(&mut scene.blobs).await;
    assert_eq!(ended.progress.unwrap().moved, 6);
    assert_eq!(other.scan(&scene.key, &scene.blobs, 0).await.state(), CampaignState::Done);
}

async fn problems_hold_a_campaign_up_until_somebody_decides(server: Shared) {
    let mut scene = Scene::of(server, 3).await;
    scene.blobs[1] = broken(&scene.blobs[1]);
    let lost = digest_of(&scene.blobs[1]);
    let id = scene.campaign().await;
    let mut agent = scene.agent(&id).await;
    agent.claim().await.unwrap();
    let progress = agent.finish_pass(&mut scene.blobs).await.progress.unwrap();
    assert_eq!((progress.moved, progress.problems, progress.undecided), (2, 1, 1));
    // The scan finds nothing but what nobody has decided about: that is no reason to begin again.
    let waits = agent.scan(&scene.key, &scene.blobs, 0).await;
    assert_eq!(waits.state(), CampaignState::Verifying);
    assert_eq!(waits.progress.unwrap().phase(), StorePhase::Verifying);
    assert!(waits.abandoned.is_empty());

    let asked = kms::ListProblemsRequest { campaign_id: id.clone(), ..Default::default() };
    let listed = scene.manager.list_problems(asked.clone()).await.unwrap().problems;
    let [found] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((found.store, &found.store_name), (scene.number, &scene.store));
    let problem = found.problem.as_ref().unwrap();
    assert_eq!((problem.place.as_str(), problem.reason.as_str()), ("id=2", "INVALID_CIPHERTEXT"));
    assert_eq!((&problem.digest, problem.version), (&lost, 1));
    assert_eq!(problem.decision(), ProblemDecision::Unspecified);

    let decided = scene.decide(&id, &lost, ProblemDecision::Abandoned).await.unwrap();
    assert_eq!(decided.decision(), ProblemDecision::Abandoned);
    assert_eq!(decided.decision_principal, spiffe_id("operator"));
    assert_eq!(decided.decision_reason, "nobody needs it");
    // The scan was before the decision, so that another must tell: the agent passes it by now.
    let answer = agent.send(agent.report()).await.unwrap();
    let mark = digest_of(&[lost.as_slice(), b"id=2"].concat());
    assert_eq!((answer.state(), &answer.abandoned), (CampaignState::Running, &vec![mark]));
    let ended = agent.finish_pass(&mut scene.blobs).await;
    let progress = ended.progress.unwrap();
    assert_eq!((progress.problems, progress.undecided), (1, 0), "known, and decided");
    let done = agent.scan(&scene.key, &scene.blobs, 1).await;
    assert_eq!(done.state(), CampaignState::Done);
    let listed = scene.manager.list_problems(asked).await.unwrap().problems;
    assert_eq!(listed[0].problem.as_ref().unwrap().decision(), ProblemDecision::Abandoned);
}

async fn a_problem_that_is_to_be_tried_again_brings_another_pass(server: Shared) {
    let mut scene = Scene::of(server, 2).await;
    let whole = scene.blobs[0].clone();
    scene.blobs[0] = broken(&whole);
    let digest = digest_of(&scene.blobs[0]);
    let id = scene.campaign().await;
    let mut agent = scene.agent(&id).await;
    agent.claim().await.unwrap();
    agent.finish_pass(&mut scene.blobs).await;
    scene.decide(&id, &digest, ProblemDecision::Retry).await.unwrap();
    let shown = scene.shown(&id).await;
    assert_eq!((shown.state(), shown.stores[0].pass), (CampaignState::Running, 2));

    // Not mended yet: it is reported again, and somebody must decide again.
    agent.send(agent.report()).await.unwrap();
    let progress = agent.finish_pass(&mut scene.blobs).await.progress.unwrap();
    assert_eq!((progress.problems, progress.undecided), (1, 1));
    scene.blobs[0] = whole;
    scene.decide(&id, &digest, ProblemDecision::Retry).await.unwrap();
    agent.send(agent.report()).await.unwrap();
    let progress = agent.finish_pass(&mut scene.blobs).await.progress.unwrap();
    assert_eq!((progress.pass, progress.moved, progress.undecided), (3, 2, 0));
    assert_eq!(agent.scan(&scene.key, &scene.blobs, 0).await.state(), CampaignState::Done);
}

async fn rows_with_the_same_broken_bytes_are_decided_one_by_one(server: Shared) {
    let mut scene = Scene::of(server, 4).await;
    let whole = scene.blobs[2].clone();
    let bad = broken(&scene.blobs[0]);
    scene.blobs[0] = bad.clone();
    scene.blobs[2] = bad.clone();
    let digest = digest_of(&bad);
    let id = scene.campaign().await;
    let mut agent = scene.agent(&id).await;
    agent.claim().await.unwrap();
    let progress = agent.finish_pass(&mut scene.blobs).await.progress.unwrap();
    assert_eq!((progress.moved, progress.problems, progress.undecided), (2, 2, 2));
    let waits = agent.scan(&scene.key, &scene.blobs, 0).await;
    assert_eq!(waits.state(), CampaignState::Verifying, "no more is left than is undecided");

    // What stands in two places needs the place, and the place needs what stands there.
    let decide = |place: &str, digest: &[u8], decision: ProblemDecision| {
        let asked = kms::DecideProblemRequest {
            campaign_id: id.clone(),
            store: scene.store.clone(),
            digest: digest.to_vec(),
            place: place.to_owned(),
            decision: decision.into(),
            reason: "looked at".into(),
            ..Default::default()
        };
        let manager = scene.manager.clone();
        async move { manager.decide_problem(asked).await.map(|reply| reply.problem.unwrap()) }
    };
    let (lost, again) = (ProblemDecision::Abandoned, ProblemDecision::Retry);
    let ambiguous = decide("", &digest, lost).await.unwrap_err();
    assert!(ambiguous.to_string().contains("2 places"), "{ambiguous}");
    assert_eq!(refused(decide("id=1", &[9; 32], lost).await).1, "INVALID_ARGUMENT");
    let decided = decide("id=1", &digest, lost).await.unwrap();
    assert_eq!((decided.place.as_str(), decided.decision()), ("id=1", lost));
    let asked = kms::ListProblemsRequest { campaign_id: id.clone(), ..Default::default() };
    let listed = scene.manager.list_problems(asked).await.unwrap().problems;
    let listed: Vec<_> = listed.into_iter().map(|one| one.problem.unwrap()).collect();
    let of = |place: &str| listed.iter().find(|one| one.place == place).unwrap().decision();
    assert_eq!((of("id=1"), of("id=3")), (lost, ProblemDecision::Unspecified));
    assert_eq!(scene.shown(&id).await.stores[0].undecided, 1);

    decide("id=3", &[], again).await.unwrap();
    scene.blobs[2] = whole;
    agent.send(agent.report()).await.unwrap();
    let progress = agent.finish_pass(&mut scene.blobs).await.progress.unwrap();
    assert_eq!((progress.problems, progress.undecided, progress.moved), (2, 0, 3));
    assert_eq!(agent.scan(&scene.key, &scene.blobs, 1).await.state(), CampaignState::Done);
}

async fn g05_a_report_that_is_said_again_undoes_no_decision(server: Shared) {
    let mut scene = Scene::of(server, 3).await;
    scene.blobs[0] = broken(&scene.blobs[0]);
    let digest = digest_of(&scene.blobs[0]);
    let id = scene.campaign().await;
    let mut agent = scene.agent(&id).await;
    agent.claim().await.unwrap();
    let problems = agent.work(&mut scene.blobs, 2).await;
    let said = kms::ReportProgressRequest { problems, ..agent.report() };
    let first = agent.send(said.clone()).await.unwrap().progress.unwrap();
    assert_eq!((first.moved, first.problems, first.undecided), (1, 1, 1));
    let counts = |progress: &kms::StoreProgress| {
        (progress.pass, progress.seen, progress.moved, progress.problems, progress.undecided)
    };
    for _ in 0..3 {
        let again = agent.send(said.clone()).await.unwrap().progress.unwrap();
        assert_eq!(counts(&again), counts(&first));
    }
    // Somebody decides, and only then the same report arrives once more.
    scene.decide(&id, &digest, ProblemDecision::Retry).await.unwrap();
    let again = agent.send(said).await.unwrap().progress.unwrap();
    assert_eq!((again.moved, again.problems, again.undecided), (1, 1, 0));
    let ended = agent.finish_pass(&mut scene.blobs).await.progress.unwrap();
    assert_eq!((ended.moved, ended.problems, ended.undecided), (2, 1, 0));
}

async fn a_paused_campaign_gives_no_store_and_loses_nothing(server: Shared) {
    let mut scene = Scene::of(server, 4).await;
    let id = scene.campaign().await;
    let mut agent = scene.agent(&id).await;
    let pause = kms::PauseCampaignRequest {
        campaign_id: id.clone(),
        reason: "the database is busy".into(),
        ..Default::default()
    };
    let resume = kms::ResumeCampaignRequest { campaign_id: id.clone(), ..Default::default() };
    scene.manager.pause_campaign(pause.clone()).await.unwrap();
    let told = agent.claim().await.unwrap();
    let progress = told.progress.as_ref().unwrap();
    assert_eq!((told.state(), progress.phase()), (CampaignState::Paused, StorePhase::Waiting));
    assert_eq!(progress.agent, "");
    assert_eq!(scene.shown(&id).await.note, "the database is busy");
    let twice = refused(scene.manager.pause_campaign(pause.clone()).await);
    assert_eq!(twice, (Code::FailedPrecondition, "CAMPAIGN_STATE".into()));

    scene.manager.resume_campaign(resume.clone()).await.unwrap();
    agent.claim().await.unwrap();
    agent.work(&mut scene.blobs, 2).await;
    let paused = scene.manager.pause_campaign(pause).await.unwrap().campaign.unwrap();
    assert_eq!(paused.state(), CampaignState::Paused);
    // What was done until then is done.
    let told = agent.send(agent.report()).await.unwrap();
    assert_eq!((told.state(), told.progress.unwrap().moved), (CampaignState::Paused, 2));
    let ended = agent.finish_pass(&mut scene.blobs).await;
    assert_eq!(ended.state(), CampaignState::Paused);
    assert_eq!(ended.progress.unwrap().phase(), StorePhase::Verifying);
    let told = agent.scan(&scene.key, &scene.blobs, 0).await;
    assert_eq!(told.state(), CampaignState::Paused, "nothing is judged meanwhile");

    let resumed = scene.manager.resume_campaign(resume.clone()).await.unwrap().campaign.unwrap();
    assert_eq!(resumed.state(), CampaignState::Verifying, "where its stores are");
    assert_eq!(agent.send(agent.report()).await.unwrap().state(), CampaignState::Done);
    let over = refused(scene.manager.resume_campaign(resume).await);
    assert_eq!(over, (Code::FailedPrecondition, "CAMPAIGN_STATE".into()));
}

async fn g05_a_version_that_is_suspended_half_way_pauses_the_campaign(server: Shared) {
    let mut scene = Scene::of(server, 2).await;
    let id = scene.campaign().await;
    let mut agent = scene.agent(&id).await;
    agent.claim().await.unwrap();
    agent.work(&mut scene.blobs, 1).await;
    let suspend =
        kms::SuspendVersionRequest { key: scene.key.clone(), version: 1, ..Default::default() };
    scene.manager.suspend_version(suspend).await.unwrap();
    let told = agent.send(agent.report()).await.unwrap();
    assert_eq!((told.state(), told.progress.unwrap().moved), (CampaignState::Paused, 1));
    let note = scene.shown(&id).await.note;
    assert!(note.contains("version 1 is SUSPENDED") && note.contains("resume"), "{note}");

    let resume = kms::ResumeCampaignRequest { campaign_id: id.clone(), ..Default::default() };
    let still = refused(scene.manager.resume_campaign(resume.clone()).await);
    assert_eq!(still, (Code::FailedPrecondition, "VERSION_NOT_USABLE".into()));
    let back =
        kms::ResumeVersionRequest { key: scene.key.clone(), version: 1, ..Default::default() };
    scene.manager.resume_version(back).await.unwrap();
    scene.manager.resume_campaign(resume.clone()).await.unwrap();

    let disable = kms::DisableKeyRequest { key: scene.key.clone(), ..Default::default() };
    scene.manager.disable_key(disable).await.unwrap();
    assert_eq!(agent.claim().await.unwrap().state(), CampaignState::Paused);
    assert!(scene.shown(&id).await.note.contains("the key is disabled"));
    let still = refused(scene.manager.resume_campaign(resume.clone()).await);
    assert_eq!(still, (Code::FailedPrecondition, "KEY_DISABLED".into()));
    let enable = kms::EnableKeyRequest { key: scene.key.clone(), ..Default::default() };
    scene.manager.enable_key(enable).await.unwrap();
    scene.manager.resume_campaign(resume).await.unwrap();

    agent.claim().await.unwrap();
    let progress = agent.finish_pass(&mut scene.blobs).await.progress.unwrap();
    assert_eq!(progress.moved, 2);
    assert_eq!(agent.scan(&scene.key, &scene.blobs, 0).await.state(), CampaignState::Done);
}

async fn an_abandoned_campaign_never_goes_on(server: Shared) {
    let mut scene = Scene::of(server, 2).await;
    let id = scene.campaign().await;
    let mut agent = scene.agent(&id).await;
    agent.claim().await.unwrap();
    let problems = vec![kms::Problem {
        place: "id=1".into(),
        digest: vec![7; 32],
        reason: "NOT_A_BLOB".into(),
        ..Default::default()
    }];
    agent.work(&mut scene.blobs, 1).await;
    let report = kms::ReportProgressRequest { problems, ..agent.report() };
    agent.send(report).await.unwrap();
    let abandon = kms::AbandonCampaignRequest {
        campaign_id: id.clone(),
        reason: "wrong table".into(),
        ..Default::default()
    };
    let given_up = scene.manager.abandon_campaign(abandon.clone()).await.unwrap();
    let given_up = given_up.campaign.unwrap();
    assert_eq!((given_up.state(), &*given_up.note), (CampaignState::Failed, "wrong table"));
    assert!(given_up.end_time.is_some());
    let told = agent.claim().await.unwrap();
    assert_eq!((told.state(), told.progress.unwrap().moved), (CampaignState::Failed, 1));
    let ended = (Code::FailedPrecondition, "CAMPAIGN_STATE".to_owned());
    assert_eq!(refused(scene.manager.abandon_campaign(abandon).await), ended);
    let pause = kms::PauseCampaignRequest { campaign_id: id.clone(), ..Default::default() };
    assert_eq!(refused(scene.manager.pause_campaign(pause).await), ended);
    let decided = scene.decide(&id, &[7; 32], ProblemDecision::Abandoned).await;
    assert_eq!(refused(decided), ended);
    // What was moved stays moved, and another campaign goes on from there.
    assert_eq!(version_of(&scene.blobs[0]), 2);
    let id = scene.campaign().await;
    let mut agent = scene.agent(&id).await;
    agent.claim().await.unwrap();
    assert_eq!(agent.finish_pass(&mut scene.blobs).await.progress.unwrap().moved, 1);
}

async fn versions_and_stores_are_found_where_none_are_named(server: Shared) {
    let scene = Scene::of(server, 2).await;
    let unused = crate::wire::fresh("unused");
    register(&scene.manager, &unused).await;
    rotate(&scene.manager, &scene.key).await.unwrap();
    let asked = kms::CreateCampaignRequest { key: scene.key.clone(), ..Default::default() };
    let made = scene.manager.create_campaign(asked.clone()).await.unwrap().campaign.unwrap();
    assert_eq!(made.source_versions, [1, 2], "every old one, and not the Active one");
    let stores: Vec<_> = made.stores.iter().map(|store| store.store).collect();
    assert_eq!(stores, [scene.number], "what the versions were used for");
    scene.give_up(&made.campaign_id).await;
    // One that nobody can move from is never passed over in silence.
    let suspend =
        kms::SuspendVersionRequest { key: scene.key.clone(), version: 2, ..Default::default() };
    scene.manager.suspend_version(suspend).await.unwrap();
    let stuck = refused(scene.manager.create_campaign(asked.clone()).await);
    assert_eq!(stuck, (Code::FailedPrecondition, "VERSION_NOT_USABLE".into()));
    let named = kms::CreateCampaignRequest { source_versions: vec![1], ..asked };
    let made = scene.manager.create_campaign(named).await.unwrap().campaign.unwrap();
    assert_eq!(made.source_versions, [1]);
}

async fn a_request_id_makes_one_campaign(server: Shared) {
    let scene = Scene::of(server, 1).await;
    let asked = kms::CreateCampaignRequest { request_id: "once".into(), ..scene.create() };
    let first = scene.manager.create_campaign(asked.clone()).await.unwrap().campaign.unwrap();
    let again = scene.manager.create_campaign(asked.clone()).await.unwrap().campaign.unwrap();
    assert_eq!(first, again);
    let other = kms::CreateCampaignRequest { urgent: true, ..asked };
    assert_eq!(refused(scene.manager.create_campaign(other).await).1, "INVALID_ARGUMENT");
    let asked = kms::ListCampaignsRequest { key: scene.key.clone(), ..Default::default() };
    let listed = scene.manager.list_campaigns(asked).await.unwrap().campaigns;
    assert_eq!(listed, [first]);
}

async fn a_second_campaign_over_a_store_is_refused_until_the_first_has_ended(server: Shared) {
    let scene = Scene::of(server, 1).await;
    let second = crate::wire::fresh("orders-db/archive.dek");
    register(&scene.manager, &second).await;
    let over = |stores: &[&String]| kms::CreateCampaignRequest {
        stores: stores.iter().map(|store| (*store).clone()).collect(),
        ..scene.create()
    };
    let first = scene.campaign().await;
    let stands_in_the_way = async |state: &str| {
        let asked = over(&[&second, &scene.store]);
        let refusal = scene.manager.create_campaign(asked).await.unwrap_err();
        assert_eq!(
            (refusal.code(), refusal.reason()),
            (Code::FailedPrecondition, "CAMPAIGN_STATE")
        );
        let said = refusal.to_string();
        for part in [&*first, state, &scene.number.to_string(), "bulla campaign abandon"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    stands_in_the_way("RUNNING").await;
    let pause = kms::PauseCampaignRequest { campaign_id: first.clone(), ..Default::default() };
    scene.manager.pause_campaign(pause).await.unwrap();
    stands_in_the_way("PAUSED").await;
    // Nothing of a refused one stays: another store of the key, and another key, are free.
    scene.manager.create_campaign(over(&[&second])).await.unwrap();
    let other_key = crate::wire::new_key(&scene.manager).await;
    rotate(&scene.manager, &other_key).await.unwrap();
    let asked = kms::CreateCampaignRequest { key: other_key, ..scene.create() };
    scene.manager.create_campaign(asked).await.unwrap();
    scene.give_up(&first).await;
    scene.campaign().await;
}

async fn of_campaigns_that_are_created_at_once_one_is_made(server: Shared) {
    let scene = Scene::of(server, 1).await;
    let creates = (0..8).map(|_| scene.manager.create_campaign(scene.create()));
    let outcomes = futures_util::future::join_all(creates).await;
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for refusal in refused {
        // A client that lost the race asks again by itself, and is told.
        assert_eq!(refusal.unwrap_err().reason(), "CAMPAIGN_STATE");
    }
    let asked = kms::ListCampaignsRequest { key: scene.key.clone(), ..Default::default() };
    assert_eq!(scene.manager.list_campaigns(asked).await.unwrap().campaigns.len(), 1);
}

async fn campaigns_and_problems_come_in_pages(server: Shared) {
    let scene = Scene::of(server, 1).await;
    let mut made = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let id = scene.campaign().await;
        scene.give_up(&id).await;
        made.insert(id);
    }
    let at_work = scene.campaign().await;
    made.insert(at_work.clone());
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let key = scene.key.clone();
        let asked = kms::ListCampaignsRequest { key, page_size: 2, page_token };
        let page = scene.manager.list_campaigns(asked).await.unwrap();
        assert!(page.campaigns.len() <= 2);
        listed.extend(page.campaigns.into_iter().map(|campaign| campaign.campaign_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, made.into_iter().collect::<Vec<_>>());

    let mut agent = scene.agent(&at_work).await;
    agent.claim().await.unwrap();
    let problem = |at: u8| kms::Problem {
        // The order of the places is not that of the reports.
        place: format!("id={}", 9 - at),
        digest: vec![1; 32],
        reason: "NOT_A_BLOB".into(),
        ..Default::default()
    };
    for at in 0..7 {
        let report = kms::ReportProgressRequest {
            problems: vec![problem(at), problem(at)],
            seen: u64::from(at) + 1,
            ..agent.report()
        };
        agent.send(report).await.unwrap();
    }
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let asked = kms::ListProblemsRequest {
            campaign_id: at_work.clone(),
            store: scene.number.to_string(),
            page_size: 3,
            page_token,
        };
        let page = scene.manager.list_problems(asked).await.unwrap();
        found.extend(page.problems.into_iter().map(|problem| problem.problem.unwrap()));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found.len(), 7, "one for each place");
    let times: Vec<_> = found
        .iter()
        .map(|problem| problem.report_time.map(|time| (time.seconds, time.nanos)))
        .collect();
    assert!(times.is_sorted(), "oldest first: {times:?}");
}

async fn a_budget_is_shared_by_the_agents_at_work(server: Shared) {
    let scene = Scene::of(server, 1).await;
    let second = crate::wire::fresh("orders-db/archive.dek");
    register(&scene.manager, &second).await;
    let asked = kms::CreateCampaignRequest {
        stores: vec![scene.store.clone(), second.clone()],
        rate_per_second: 1_001,
        ..scene.create()
    };
    let id = scene.manager.create_campaign(asked).await.unwrap().campaign.unwrap().campaign_id;
    let mut one = scene.agent(&id).await;
    assert_eq!(one.claim().await.unwrap().rate_per_second, 1_001);
    let mut other = scene.agent(&id).await;
    other.store = second;
    assert_eq!(other.claim().await.unwrap().rate_per_second, 500);
    assert_eq!(one.send(one.report()).await.unwrap().rate_per_second, 500);
    let release = kms::ReportProgressRequest { release: true, ..other.report() };
    other.send(release).await.unwrap();
    assert_eq!(one.send(one.report()).await.unwrap().rate_per_second, 1_001);
}
