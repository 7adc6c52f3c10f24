//! What versions still protect, scans, and the check that lets a version go, as callers see them.

use std::sync::Arc;

use bulla_client::Client;
use bulla_proto::kms::{
    self, Evidence, FindingEffect as Effect, RetireVerdict as Verdict, VersionState,
};
use tonic::Code;

use super::{Shared, blob, decrypt_of, fresh, new_key, on_both_stores, records, refused, rotate};
use crate::server::{TestServer, spiffe_id};

on_both_stores!(
    stores_are_numbered_listed_and_never_named_twice,
    the_census_counts_batches_and_moves,
    g04_a_version_goes_only_once_everything_has_moved,
    g04_an_opening_or_a_refusal_after_the_scan_speaks_against_it,
    g05_a_scan_that_was_given_up_proves_nothing,
    blobs_that_name_no_registered_store_need_a_persons_word,
    f05_names_of_another_tenant_give_the_one_answer,
    exposure_names_everybody_who_had_something_of_a_version,
);

const DENIED: (Code, &str) = (Code::PermissionDenied, "PERMISSION_DENIED");
const NOT_SAFE: (Code, &str) = (Code::FailedPrecondition, "RETIRE_NOT_SAFE");

/// Everybody who takes part in finishing a rotation.
struct Cast {
    manager: Client,
    app: Client,
    rewrapper: Client,
}

/// A key that one store is used with.
struct Scene {
    cast: Cast,
    key: String,
    store: kms::Store,
}

impl Cast {
    async fn on(server: &TestServer) -> Self {
        Self {
            manager: server.client("operator").await,
            app: server.client("app").await,
            rewrapper: server.client("rewrapper").await,
        }
    }

    /// A store whose writers hold nothing.
    async fn store(&self) -> kms::Store {
        let asked = register(&fresh("orders-db/customers.dek"));
        self.manager.register_store(asked).await.unwrap().store.unwrap()
    }
}

impl Scene {
    async fn on(server: &TestServer) -> Self {
        let cast = Cast::on(server).await;
        let (key, store) = (new_key(&cast.manager).await, cast.store().await);
        Self { cast, key, store }
    }

    /// A blob of the key for a store.
    async fn issue(&self, store: u32) -> Vec<u8> {
        let asked =
            kms::GenerateDataKeyRequest { store, key: self.key.clone(), ..Default::default() };
        self.cast.app.generate_data_key(asked).await.unwrap().ciphertext
    }

    async fn move_away(&self, ciphertext: &[u8]) -> Vec<u8> {
        let ciphertext = ciphertext.to_vec();
        let asked = kms::ReEncryptRequest { ciphertext, ..Default::default() };
        self.cast.rewrapper.re_encrypt(asked).await.unwrap().ciphertext
    }

    async fn begin_scan(&self) -> String {
        let (key, store) = (self.key.clone(), self.store.name.clone());
        let asked = kms::BeginScanRequest { key, store };
        self.cast.rewrapper.begin_scan(asked).await.unwrap().scan_id
    }

    fn report(&self, scan_id: String, versions: &[(u32, u64)]) -> kms::ReportScanRequest {
        let count =
            |(version, count): &(u32, u64)| kms::VersionCount { version: *version, count: *count };
        kms::ReportScanRequest {
            key: self.key.clone(),
            store: self.store.store.to_string(),
            scan_id,
            rows: 100,
            versions: versions.iter().map(count).collect(),
            ..Default::default()
        }
    }

    async fn scan(&self, versions: &[(u32, u64)]) {
        let asked = self.report(self.begin_scan().await, versions);
        self.cast.rewrapper.report_scan(asked).await.unwrap();
    }

    async fn census(&self) -> Vec<kms::VersionCensus> {
        let asked = kms::GetCensusRequest { key: self.key.clone() };
        self.cast.manager.get_census(asked).await.unwrap().versions
    }

    /// Version 1: the verdict and what speaks against it or is missing.
    async fn check(&self) -> (Verdict, Vec<kms::Finding>) {
        let asked = kms::RetireCheckRequest { key: self.key.clone(), version: 1 };
        let answer = self.cast.manager.retire_check(asked).await.unwrap();
        let mut findings = answer.findings.clone();
        findings.retain(|finding| finding.effect() != Effect::For);
        (answer.verdict(), findings)
    }

    async fn codes(&self) -> (Verdict, Vec<String>) {
        let (verdict, findings) = self.check().await;
        (verdict, findings.into_iter().map(|finding| finding.code).collect())
    }

    fn destroy(&self, not_safe: bool, reason: &str) -> kms::ScheduleDestroyRequest {
        let (key, reason) = (self.key.clone(), reason.to_owned());
        kms::ScheduleDestroyRequest { key, version: 1, reason, not_safe, ..Default::default() }
    }

    async fn is_safe(&self) {
        assert_eq!(self.codes().await, (Verdict::Safe, vec![]));
    }
}

fn register(name: &str) -> kms::RegisterStoreRequest {
    kms::RegisterStoreRequest {
        name: name.to_owned(),
        owner: "the team of orders".into(),
        kind: kms::StoreKind::Postgresql.into(),
        write_delay: Some(prost_types::Duration::default()),
        ..Default::default()
    }
}

/// Issued, moved, opened, refused.
fn counts(census: &kms::VersionCensus, store: u32) -> [u64; 4] {
    let found = census.stores.iter().find(|one| one.store == store).cloned().unwrap_or_default();
    [found.issued, found.moved, found.opened, found.refused]
}

async fn stores_are_numbered_listed_and_never_named_twice(server: Shared) {
    let cast = Cast::on(&server).await;
    let asked = kms::RegisterStoreRequest { request_id: fresh("once"), ..register(&fresh("db")) };
    let store = cast.manager.register_store(asked.clone()).await.unwrap().store.unwrap();
    assert!(store.store > 0);
    assert_eq!((&store.name, &*store.owner), (&asked.name, "the team of orders"));
    assert_eq!(store.kind(), kms::StoreKind::Postgresql);
    assert_eq!((store.write_delay.unwrap().seconds, store.restore_time), (0, None));
    // The same request again is the same store; another one may not take its name.
    let again = cast.manager.register_store(asked).await.unwrap().store.unwrap();
    assert_eq!(again, store);
    let (code, reason) = refused(cast.manager.register_store(register(&store.name)).await);
    assert_eq!((code, &*reason), (Code::AlreadyExists, "ALREADY_EXISTS"));
    let absent = kms::RegisterStoreRequest { write_delay: None, ..register(&fresh("slow")) };
    let slow = cast.manager.register_store(absent).await.unwrap().store.unwrap();
    assert_eq!(slow.write_delay.unwrap().seconds, 3600);
    let long = prost_types::Duration { seconds: 30 * 24 * 3600 + 1, nanos: 0 };
    for wrong in [
        register("Orders"),
        register(""),
        kms::RegisterStoreRequest { kind: 0, ..register(&fresh("db")) },
        kms::RegisterStoreRequest { owner: String::new(), ..register(&fresh("db")) },
        kms::RegisterStoreRequest { write_delay: Some(long), ..register(&fresh("db")) },
    ] {
        let (code, _) = refused(cast.manager.register_store(wrong).await);
        assert_eq!(code, Code::InvalidArgument);
    }
    let mut listed = Vec::new();
    let mut asked = kms::ListStoresRequest { page_size: 1, ..Default::default() };
    loop {
        let page = cast.rewrapper.list_stores(asked.clone()).await.unwrap();
        listed.extend(page.stores);
        if page.next_page_token.is_empty() {
            break;
        }
        asked.page_token = page.next_page_token;
    }
    assert!(listed.windows(2).all(|two| two[0].store < two[1].store));
    assert!(listed.contains(&store) && listed.contains(&slow));
}

async fn the_census_counts_batches_and_moves(server: Shared) {
    let scene = Scene::on(&server).await;
    let (key, store) = (scene.key.clone(), scene.store.store);
    let one = scene.issue(store).await;
    let asked =
        kms::GenerateDataKeysRequest { key: key.clone(), store, count: 3, ..Default::default() };
    let many = scene.cast.app.generate_data_keys(asked).await.unwrap().data_keys;
    let plaintext = b"0123456789".to_vec();
    let asked = kms::EncryptRequest { key, store, plaintext, ..Default::default() };
    scene.cast.app.encrypt(asked).await.unwrap();
    let requests: Vec<_> = many.iter().map(|made| decrypt_of(&made.ciphertext, &[])).collect();
    scene.cast.app.decrypt_many(kms::DecryptManyRequest { requests }).await.unwrap();
    let census = scene.census().await;
    assert_eq!(census.len(), 1);
    assert_eq!((counts(&census[0], store), census[0].wrapped_bytes), ([5, 0, 3, 0], 4 * 32 + 10));
    let shown = &census[0].stores[0];
    assert_eq!((&shown.name, shown.last_move_time), (&scene.store.name, None));
    assert!(shown.last_issue_time.is_some() && !shown.principals_truncated);
    assert_eq!(shown.principals[0].principal, spiffe_id("app"));
    assert_eq!((shown.principals[0].issued, shown.principals[0].opened), (5, 3));

    rotate(&scene.cast.manager, &scene.key).await.unwrap();
    scene.move_away(&one).await;
    let requests = many
        .iter()
        .map(|made| kms::ReEncryptRequest {
            ciphertext: made.ciphertext.clone(),
            ..Default::default()
        })
        .collect();
    let messages = tokio_stream::iter([kms::ReEncryptStreamRequest { requests }]);
    let mut replies = scene.cast.rewrapper.re_encrypt_stream(messages).await.unwrap();
    assert_eq!(replies.message().await.unwrap().unwrap().results.len(), 3);
    let census = scene.census().await;
    assert_eq!(counts(&census[0], store), [5, 4, 3, 0]);
    assert_eq!((counts(&census[1], store), census[1].wrapped_bytes), ([4, 0, 0, 0], 4 * 32));
    assert_eq!(census[0].state(), VersionState::Deactivated);
}

async fn g04_a_version_goes_only_once_everything_has_moved(server: Shared) {
    let scene = Scene::on(&server).await;
    let (manager, store) = (&scene.cast.manager, &scene.store);
    let ciphertext = scene.issue(store.store).await;
    let (verdict, findings) = scene.check().await;
    assert_eq!((verdict, &*findings[0].code), (Verdict::Unsafe, "VERSION_ACTIVE"));

    rotate(manager, &scene.key).await.unwrap();
    let (verdict, findings) = scene.check().await;
    assert_eq!((verdict, findings.len()), (Verdict::Unknown, 1));
    let missing = &findings[0];
    assert_eq!((&*missing.code, missing.effect()), ("SCAN_MISSING", Effect::Missing));
    assert_eq!((missing.store, &missing.store_name), (store.store, &store.name));
    let command = format!(
        "bulla rewrap run --scan-only --key {} --store {} --connector FILE.toml",
        scene.key, store.name
    );
    assert_eq!(missing.remedy, command);
    let error = manager.schedule_destroy(scene.destroy(false, "tidy")).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), NOT_SAFE);
    assert!(error.to_string().contains(&command), "{error}");

    scene.scan(&[(1, 1)]).await;
    let (verdict, findings) = scene.check().await;
    assert_eq!((verdict, &*findings[0].code), (Verdict::Unsafe, "BLOBS_FOUND"));
    assert_eq!((findings[0].count, findings[0].evidence()), (1, Evidence::Scanned));
    assert_eq!(findings[0].principal, spiffe_id("rewrapper"));
    assert_eq!(findings[0].remedy, format!("bulla campaign create {}", scene.key));

    // A scan that began before the move proves nothing about what came after it.
    let early = scene.begin_scan().await;
    scene.move_away(&ciphertext).await;
    scene.cast.rewrapper.report_scan(scene.report(early, &[(2, 1)])).await.unwrap();
    assert_eq!(scene.codes().await, (Verdict::Unknown, vec!["SCAN_OUTDATED".to_owned()]));
    scene.scan(&[(2, 1)]).await;
    scene.is_safe().await;
    let done = manager.schedule_destroy(scene.destroy(false, "tidy")).await.unwrap();
    assert_eq!(done.version.unwrap().state(), VersionState::DestroyScheduled);
}

async fn g04_an_opening_or_a_refusal_after_the_scan_speaks_against_it(server: Shared) {
    let scene = Scene::on(&server).await;
    let ciphertext = scene.issue(scene.store.store).await;
    rotate(&scene.cast.manager, &scene.key).await.unwrap();
    scene.move_away(&ciphertext).await;
    scene.scan(&[]).await;
    scene.is_safe().await;
    // Somebody has kept a copy.
    scene.cast.app.decrypt(decrypt_of(&ciphertext, &[])).await.unwrap();
    let (verdict, findings) = scene.check().await;
    assert_eq!((verdict, &*findings[0].code), (Verdict::Unsafe, "OPENED_SINCE"));
    assert_eq!((&findings[0].principal, findings[0].count), (&spiffe_id("app"), 1));
    assert_eq!(
        (findings[0].store, findings[0].evidence()),
        (scene.store.store, Evidence::Observed)
    );
    assert!(findings[0].time.is_some());
    let outcome = scene.cast.manager.schedule_destroy(scene.destroy(false, "tidy")).await;
    let (code, reason) = refused(outcome);
    assert_eq!((code, &*reason), NOT_SAFE);
    scene.scan(&[]).await;
    scene.is_safe().await;

    let (key, version) = (scene.key.clone(), 1);
    let asked = kms::SuspendVersionRequest { key, version, ..Default::default() };
    scene.cast.manager.suspend_version(asked).await.unwrap();
    scene.is_safe().await;
    let outcome = scene.cast.app.decrypt(decrypt_of(&ciphertext, &[])).await;
    assert_eq!(refused(outcome).1, "VERSION_NOT_USABLE");
    let (verdict, findings) = scene.check().await;
    assert_eq!((verdict, &*findings[0].code), (Verdict::Unsafe, "REFUSED_SINCE"));
    assert_eq!(findings[0].principal, spiffe_id("app"));
    assert_eq!(counts(&scene.census().await[0], scene.store.store), [1, 1, 1, 1]);
}

async fn g05_a_scan_that_was_given_up_proves_nothing(server: Shared) {
    let scene = Scene::on(&server).await;
    scene.issue(scene.store.store).await;
    rotate(&scene.cast.manager, &scene.key).await.unwrap();
    let given_up = scene.begin_scan().await;
    let second = scene.begin_scan().await;
    let report = |id: &String| scene.cast.rewrapper.report_scan(scene.report(id.clone(), &[]));
    assert_eq!(refused(report(&given_up).await).0, Code::InvalidArgument);
    assert_eq!(scene.codes().await, (Verdict::Unknown, vec!["SCAN_MISSING".to_owned()]));
    let first = report(&second).await.unwrap();
    // An answer that was lost is given again.
    assert_eq!(report(&second).await.unwrap(), first);
    scene.is_safe().await;
    let mut twice = scene.report(scene.begin_scan().await, &[(1, 1), (1, 2)]);
    assert_eq!(
        refused(scene.cast.rewrapper.report_scan(twice.clone()).await).0,
        Code::InvalidArgument
    );
    twice.versions = vec![kms::VersionCount { version: 1, count: 3 }];
    twice.abandoned = twice.versions.clone();
    scene.cast.rewrapper.report_scan(twice).await.unwrap();
    scene.is_safe().await;
}

async fn blobs_that_name_no_registered_store_need_a_persons_word(server: Shared) {
    let scene = Scene::on(&server).await;
    let manager = &scene.cast.manager;
    let unnamed = blob(&scene.cast.app, &scene.key, &[]).await;
    rotate(manager, &scene.key).await.unwrap();
    let (verdict, findings) = scene.check().await;
    assert_eq!((verdict, &*findings[0].code), (Verdict::Unknown, "STORE_UNNAMED"));
    let remedy = format!("bulla key waive {} 1 --reason REASON", scene.key);
    assert_eq!((findings.len(), &findings[0].remedy, findings[0].count), (1, &remedy, 1));
    let waive = |reason: &str| kms::WaiveUnnamedStoreRequest {
        key: scene.key.clone(),
        version: 1,
        reason: reason.to_owned(),
        ..Default::default()
    };
    let (code, _) = refused(manager.waive_unnamed_store(waive("")).await);
    assert_eq!(code, Code::InvalidArgument);
    manager.waive_unnamed_store(waive("they were kept nowhere")).await.unwrap();
    scene.is_safe().await;
    let asked = kms::RetireCheckRequest { key: scene.key.clone(), version: 1 };
    let answer = manager.retire_check(asked).await.unwrap();
    let waived = answer.findings.iter().find(|one| one.code == "STORE_WAIVED").unwrap();
    assert_eq!(
        (waived.evidence(), &*waived.principal),
        (Evidence::Declared, &*spiffe_id("operator"))
    );
    // They were kept after all.
    scene.cast.app.decrypt(decrypt_of(&unnamed.ciphertext, &[])).await.unwrap();
    assert_eq!(scene.codes().await, (Verdict::Unsafe, vec!["OPENED_SINCE".to_owned()]));
    manager.waive_unnamed_store(waive("the last of them is gone")).await.unwrap();
    scene.is_safe().await;

    let scene = Scene::on(&server).await;
    scene.issue(4_000_000_000).await;
    rotate(&scene.cast.manager, &scene.key).await.unwrap();
    let (verdict, findings) = scene.check().await;
    assert_eq!((verdict, &*findings[0].code), (Verdict::Unknown, "STORE_UNREGISTERED"));
    assert_eq!((findings[0].store, findings[0].count), (4_000_000_000, 1));
}

async fn f05_names_of_another_tenant_give_the_one_answer(server: Shared) {
    let scene = Scene::on(&server).await;
    scene.issue(scene.store.store).await;
    let other = server.client("operator2").await;
    let agent = server.client("app2").await;
    let own = new_key(&other).await;
    let number = scene.store.store.to_string();
    let mut answers = Vec::new();
    for key in [scene.key.clone(), "00000000-0000-4000-8000-000000000000".into()] {
        let asked = kms::GetCensusRequest { key: key.clone() };
        answers.push(refused(other.get_census(asked).await));
        let asked = kms::RetireCheckRequest { key: key.clone(), version: 1 };
        answers.push(refused(other.retire_check(asked).await));
        let asked = kms::WaiveUnnamedStoreRequest {
            key: key.clone(),
            version: 1,
            reason: "mine".into(),
            ..Default::default()
        };
        answers.push(refused(other.waive_unnamed_store(asked).await));
        let asked = kms::GetExposureRequest { key: key.clone(), version: 1, since: None };
        answers.push(refused(other.get_exposure(asked).await));
        let asked = kms::BeginScanRequest { key, store: number.clone() };
        answers.push(refused(agent.begin_scan(asked).await));
    }
    for store in [scene.store.name.clone(), fresh("no-such"), "3999999999".into()] {
        let asked = kms::BeginScanRequest { key: own.clone(), store: store.clone() };
        answers.push(refused(agent.begin_scan(asked).await));
        let asked = kms::ReportRestoreRequest { store, ..Default::default() };
        answers.push(refused(other.report_restore(asked).await));
    }
    for (code, reason) in answers {
        assert_eq!((code, &*reason), DENIED);
    }
    // A store's name in another tenant is another name.
    let taken = other.register_store(register(&scene.store.name)).await.unwrap();
    assert_eq!(taken.store.unwrap().name, scene.store.name);
}

async fn exposure_names_everybody_who_had_something_of_a_version(server: Shared) {
    let scene = Scene::on(&server).await;
    let store = scene.store.store;
    let blobs = [scene.issue(store).await, scene.issue(store).await, scene.issue(0).await];
    scene.cast.app.decrypt(decrypt_of(&blobs[0], &[])).await.unwrap();
    rotate(&scene.cast.manager, &scene.key).await.unwrap();
    scene.move_away(&blobs[0]).await;
    let asked = |since| kms::GetExposureRequest { key: scene.key.clone(), version: 1, since };
    let view = scene.cast.manager.get_exposure(asked(None)).await.unwrap();
    let shown = |one: &kms::Exposure| {
        (one.principal.clone(), one.store, [one.received, one.opened, one.moved])
    };
    let (app, rewrapper) = (spiffe_id("app"), spiffe_id("rewrapper"));
    let expected =
        [(app.clone(), 0, [1, 0, 0]), (app, store, [2, 1, 0]), (rewrapper, store, [0, 0, 1])];
    assert_eq!(view.exposures.iter().map(shown).collect::<Vec<_>>(), expected);
    assert_eq!((view.first_sequence, view.version), (1, 1));
    assert_eq!(view.exposures[1].store_name, scene.store.name);
    let moved = view.exposures[2].first_time;
    assert_eq!(moved, view.exposures[2].last_time);
    let later = scene.cast.manager.get_exposure(asked(moved)).await.unwrap();
    assert!(later.exposures.iter().any(|one| one.moved == 1));
    let future = prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 };
    let none = scene.cast.manager.get_exposure(asked(Some(future))).await.unwrap();
    assert_eq!(none.exposures, []);
}

// === servers of their own: what is done here would be seen by every test of the tenant ===

async fn a_restore_calls_for_new_scans(server: TestServer) {
    let scene = Scene::on(&server).await;
    let other = scene.cast.store().await;
    let ciphertext = scene.issue(scene.store.store).await;
    rotate(&scene.cast.manager, &scene.key).await.unwrap();
    scene.move_away(&ciphertext).await;
    scene.scan(&[]).await;
    scene.is_safe().await;
    let restored = |store: &kms::Store| kms::ReportRestoreRequest {
        store: store.name.clone(),
        reason: "the disk failed".into(),
        ..Default::default()
    };
    let answer = scene.cast.manager.report_restore(restored(&scene.store)).await.unwrap();
    assert!(answer.store.unwrap().restore_time.is_some());
    assert_eq!(scene.codes().await, (Verdict::Unknown, vec!["SCAN_OUTDATED".to_owned()]));
    // What the backup had is there again.
    scene.scan(&[(1, 1)]).await;
    assert_eq!(scene.codes().await, (Verdict::Unsafe, vec!["BLOBS_FOUND".to_owned()]));
    scene.scan(&[]).await;
    scene.is_safe().await;
    // Blobs may have been copied into a store that the key was never used with.
    scene.cast.manager.report_restore(restored(&other)).await.unwrap();
    let (verdict, findings) = scene.check().await;
    let named: Vec<_> = findings.iter().map(|one| (&*one.code, one.store)).collect();
    let expected = [("SCAN_OUTDATED", scene.store.store), ("SCAN_MISSING", other.store)];
    assert_eq!((verdict, &named[..]), (Verdict::Unknown, &expected[..]));
}

async fn what_is_not_safe_needs_a_reason_and_a_second_right(server: TestServer) {
    let scene = Scene::on(&server).await;
    scene.issue(scene.store.store).await;
    rotate(&scene.cast.manager, &scene.key).await.unwrap();
    let asked = kms::BindRoleRequest {
        principal: spiffe_id("nobody"),
        role: "key-manager".into(),
        ..Default::default()
    };
    scene.cast.manager.bind_role(asked).await.unwrap();
    let only_manager = server.client("nobody").await;
    let (code, reason) = refused(only_manager.schedule_destroy(scene.destroy(false, "x")).await);
    assert_eq!((code, &*reason), NOT_SAFE);
    let (code, reason) = refused(only_manager.schedule_destroy(scene.destroy(true, "x")).await);
    assert_eq!((code, &*reason), DENIED);
    let (code, _) = refused(scene.cast.manager.schedule_destroy(scene.destroy(true, "")).await);
    assert_eq!(code, Code::InvalidArgument);
    let asked = scene.destroy(true, "the data is gone");
    let done = scene.cast.manager.schedule_destroy(asked).await.unwrap().version.unwrap();
    assert_eq!(done.state(), VersionState::DestroyScheduled);
    let recorded = records(&server, "auditor", 0).await;
    let of = recorded.iter().filter(|record| record.action == "keys.schedule_destroy");
    let of: Vec<_> = of.map(|one| (&*one.outcome, &*one.reason, &*one.class)).collect();
    let expected = [
        ("REFUSED", "RETIRE_NOT_SAFE", "UNKNOWN"),
        ("REFUSED", "PERMISSION_DENIED", "role"),
        ("REFUSED", "INVALID_ARGUMENT", "reason"),
        ("STARTED", "", ""),
        ("SUCCEEDED", "", ""),
    ];
    assert_eq!(of.len(), expected.len(), "{of:?}");
    for (found, expected) in of.iter().zip(expected) {
        assert_eq!((found.0, found.1), (expected.0, expected.1));
    }
    assert_eq!(of[0].2, "UNKNOWN");
    let last = recorded.iter().rfind(|record| record.action == "keys.schedule_destroy").unwrap();
    assert!(last.detail.contains("not_safe=true reason=the data is gone"), "{}", last.detail);
}

mod alone {
    use super::TestServer;

    macro_rules! on_both {
        ($($test:ident),* $(,)?) => {
            mod sqlite {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() { super::super::$test(super::TestServer::start()).await; })*
            }
            mod memory {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() { super::super::$test(super::TestServer::in_memory()).await; })*
            }
        };
    }

    on_both!(a_restore_calls_for_new_scans, what_is_not_safe_needs_a_reason_and_a_second_right);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d10_the_census_survives_kills_without_loss_or_doubling() {
    let mut server = TestServer::start();
    let mut key = None;
    let mut issued = 0;
    for round in 0..6_u32 {
        let cast = Cast::on(&server).await;
        let key = match &key {
            Some(key) => String::clone(key),
            None => {
                let made = new_key(&cast.manager).await;
                key.insert(made).clone()
            }
        };
        let store = kms::Store { store: 7, ..Default::default() };
        let scene = Arc::new(Scene { cast, key, store });
        for count in 0..40 {
            scene.issue(7).await;
            issued += 1;
            // In some rounds the rows are ahead when the end comes, in some they are behind.
            if count == 20 && round % 2 == 0 {
                assert_eq!(counts(&scene.census().await[0], 7), [issued, 0, 0, 0]);
            }
        }
        if round == 3 {
            assert_eq!(server.stop(), 0);
        } else {
            server.kill();
        }
        server.serve();
        let scene = Scene {
            cast: Cast::on(&server).await,
            key: scene.key.clone(),
            store: kms::Store::default(),
        };
        let census = scene.census().await;
        assert_eq!(counts(&census[0], 7), [issued, 0, 0, 0], "round {round}");
        assert_eq!(census[0].wrapped_bytes, issued * 32);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_a_census_whose_audit_log_was_replaced_is_never_safe() {
    let mut server = TestServer::start();
    let scene = Scene::on(&server).await;
    for _ in 0..40 {
        scene.issue(scene.store.store).await;
    }
    rotate(&scene.cast.manager, &scene.key).await.unwrap();
    scene.scan(&[]).await;
    scene.is_safe().await;
    assert_eq!(server.stop(), 0);
    std::fs::remove_dir_all(server.path("data/audit")).unwrap();
    server.serve_with(&["--new-audit-log"]);
    let cast = Cast::on(&server).await;
    let scene = Scene { cast, ..scene };
    // Also when the new log has grown as long as the old one was, and after a restart.
    for _ in 0..2 {
        for _ in 0..80 {
            scene.issue(scene.store.store).await;
        }
        scene.scan(&[]).await;
        assert_eq!(scene.codes().await, (Verdict::Unknown, vec!["CENSUS_BEHIND".to_owned()]));
    }
    assert_eq!(server.stop(), 0);
    server.serve();
    let cast = Cast::on(&server).await;
    let scene = Scene { cast, ..scene };
    assert_eq!(scene.codes().await, (Verdict::Unknown, vec!["CENSUS_BEHIND".to_owned()]));
}
