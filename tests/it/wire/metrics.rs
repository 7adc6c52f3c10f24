//! What a scraper sees at `GET /metrics`, and who may be one.

use std::collections::{BTreeMap, BTreeSet};

use bulla::api::methods;
use bulla::audit::{Outcome, SEGMENT_HEADER_BYTES, SegmentHeader};
use bulla::metrics::{CONTENT_TYPE, REASONS};
use bulla::trail::{Trail, TrailOptions};
use bulla_proto::kms;
use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Raw, audit_end, blob, fresh, new_key, reason, records, rotate};
use crate::openmetrics::Page;
use crate::server::{CALLERS, TestServer, spiffe_id};

/// The page, as a caller who may see it.
async fn scrape(raw: &Raw) -> (String, Page) {
    let answer = raw.plain(Method::GET, "/metrics", Bytes::new()).await;
    assert_eq!((answer.status, &*answer.kind), (StatusCode::OK, CONTENT_TYPE));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let page = Page::parse(&text);
    (text, page)
}

async fn active_version(manager: &bulla_client::Client, key: &str) -> u32 {
    let asked = kms::GetKeyRequest { key: key.to_owned() };
    manager.get_key(asked).await.unwrap().key.unwrap().active_version
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_by_hand_or_by_schedule_moves_its_counter_by_exactly_that() {
    let server = TestServer::start();
    let raw = Raw::connect(&server, "operator").await;
    let (manager, user) = (server.client("operator").await, server.client("app").await);
    let by_hand = new_key(&manager).await;
    let compromised = new_key(&manager).await;
    let (_, before) = scrape(&raw).await;

    for _ in 0..3 {
        rotate(&manager, &by_hand).await.unwrap();
    }
    // The same request twice is one rotation.
    let request_id = "00000000-0000-4000-8000-000000000001".to_owned();
    for _ in 0..2 {
        let asked = kms::RotateKeyRequest {
            key: by_hand.clone(),
            request_id: request_id.clone(),
            ..Default::default()
        };
        manager.rotate_key(asked).await.unwrap();
    }
    let asked =
        kms::CompromiseVersionRequest { key: compromised, version: 1, ..Default::default() };
    manager.compromise_version(asked).await.unwrap();
    let mut due = Vec::new();
    for _ in 0..2 {
        let past = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
        let asked = kms::CreateKeyRequest { rotation_time: Some(past), ..Default::default() };
        due.push(manager.create_key(asked).await.unwrap().key.unwrap().key_id);
    }
    let asked = kms::CreateKeyRequest { rotation_wraps: 100, ..Default::default() };
    let of_wraps = manager.create_key(asked).await.unwrap().key.unwrap().key_id;
    let asked =
        kms::GenerateDataKeysRequest { key: of_wraps.clone(), count: 100, ..Default::default() };
    user.generate_data_keys(asked).await.unwrap();
    let asked = kms::CreateKeyRequest { rotation_bytes: 4_096, ..Default::default() };
    let of_bytes = manager.create_key(asked).await.unwrap().key.unwrap().key_id;
    let asked = kms::EncryptRequest {
        key: of_bytes.clone(),
        plaintext: vec![7; 4_096],
        ..Default::default()
    };
    user.encrypt(asked).await.unwrap();
    due.extend([of_wraps, of_bytes]);
    for key in &due {
        while active_version(&manager, key).await != 2 {}
    }

    let (_, after) = scrape(&raw).await;
    let succeeded = |trigger: &str| {
        format!("bulla_rotations_total{{trigger=\"{trigger}\",outcome=\"succeeded\"}}")
    };
    for (trigger, rotations) in
        [("manual", 4.0), ("compromise", 1.0), ("date", 2.0), ("wraps", 1.0), ("bytes", 1.0)]
    {
        let name = succeeded(trigger);
        assert_eq!(after.value(&name) - before.value(&name), rotations, "{trigger}");
    }
    assert_eq!(after.value(&succeeded("period")), 0.0);
    let steps = after.rises(&before, "bulla_version_steps_total");
    let expected = BTreeMap::from([
        ("bulla_version_steps_total{step=\"prepared\"}", 4.0),
        // Nine rotations, and the first versions of four keys.
        ("bulla_version_steps_total{step=\"activated\"}", 13.0),
    ]);
    assert_eq!(steps, expected);
    let calls = |method: &str| {
        let name = format!("bulla_requests_total{{method=\"{method}\",reason=\"OK\"}}");
        after.value(&name) - before.value(&name)
    };
    assert_eq!(calls("bulla.kms.v1.Keys/RotateKey"), 5.0);
    assert_eq!(calls("bulla.kms.v1.Keys/CreateKey"), 4.0);
    assert_eq!(calls("bulla.kms.v1.Crypto/Encrypt"), 1.0);
    assert_eq!(calls("metrics"), 1.0, "the one before");
    assert_eq!(after.value("bulla_scheduler_lease"), 1.0);
    assert!(after.value("bulla_scheduler_last_turn_timestamp_seconds") > 1_700_000_000.0);
    assert!(after.value("bulla_store_commits_total{outcome=\"committed\"}") > 20.0);
    assert_eq!(after.value("bulla_audit_available"), 1.0);
    assert!(after.value("bulla_connections") >= 3.0);

    // Status tells the same of the scheduler.
    let status = manager.status(kms::StatusRequest {}).await.unwrap();
    let scheduler = status.scheduler.unwrap();
    assert!(scheduler.holds_lease && scheduler.last_turn_time.is_some());
    assert_eq!(scheduler.rotations, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d02_a_scrape_is_for_operators_and_every_attempt_is_recorded() {
    let mut server = TestServer::start();
    let start = audit_end(&server).await;
    let raw = Raw::connect(&server, "operator").await;
    scrape(&raw).await;
    for caller in ["app", "rewrapper", "auditor", "nobody"] {
        let answer = Raw::connect(&server, caller).await;
        let answer = answer.plain(Method::GET, "/metrics", Bytes::new()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{caller}");
        assert!(answer.body.is_empty());
        assert_eq!(reason(&answer.grpc.unwrap()), "PERMISSION_DENIED");
    }
    // Anything else is no page, and is refused as ever.
    for (method, path) in [
        (Method::POST, "/metrics"),
        (Method::HEAD, "/metrics"),
        (Method::GET, "/metrics/"),
        (Method::GET, "/"),
        (Method::GET, "/debug/pprof/"),
    ] {
        let answer = raw.plain(method, path, Bytes::new()).await;
        assert_eq!(reason(&answer.grpc.unwrap()), "UNKNOWN_METHOD", "{path}");
    }
    // A body is not what this takes.
    let answer = raw.plain(Method::GET, "/metrics", Bytes::from(vec![0; 6])).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);

    let told = records(&server, "auditor", start).await;
    let of = |action: &str, outcome: &str| {
        let told = told.iter().filter(|it| it.action == action && it.outcome == outcome);
        told.map(|it| it.principal.clone()).collect::<BTreeSet<_>>()
    };
    let refused = ["app", "rewrapper", "auditor", "nobody"].map(spiffe_id);
    assert_eq!(of("operator.metrics", "REFUSED"), BTreeSet::from(refused));
    assert_eq!(of("operator.metrics", "SUCCEEDED"), BTreeSet::from([spiffe_id("operator")]));
    let unknown = told.iter().filter(|record| record.action == "unknown_method").count();
    let too_large = told.iter().filter(|record| record.reason == "TOO_LARGE").count();
    assert_eq!((unknown, too_large), (5, 1));

    // Without a certificate there is no connection to ask on, and that is recorded too.
    let mut stranger = Raw::tls_without_certificate(&server).await;
    let _ = stranger.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let mut answer = Vec::new();
    assert!(stranger.read_to_end(&mut answer).await.is_err(), "{answer:?}");
    assert_eq!(server.stop(), 0);
    let log = server.path("data/audit");
    let segment = std::fs::read(log.join("segments/00000000000000000001-0000.seg")).unwrap();
    let header = segment.first_chunk::<SEGMENT_HEADER_BYTES>().unwrap();
    let installation = *SegmentHeader::parse(header).unwrap().installation_id();
    let (trail, _) = Trail::open(&log, installation, &TrailOptions::default()).unwrap();
    let entries = trail.read(start, 1_000).await.unwrap();
    let refused = entries.iter().map(|entry| &entry.record).filter(|it| it.action == "connect");
    let refused: Vec<_> = refused.map(|it| (it.outcome, &*it.reason, &*it.class)).collect();
    assert_eq!(refused, [(Outcome::Refused, "UNAUTHENTICATED", "no_certificate")]);
    trail.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i04_no_key_alias_tenant_or_principal_is_on_the_page_whatever_was_called() {
    let server = TestServer::start();
    let (manager, user) = (server.client("operator").await, server.client("app").await);
    let alias = fresh("payroll");
    let asked = kms::CreateKeyRequest { alias: alias.clone(), ..Default::default() };
    let key = manager.create_key(asked).await.unwrap().key.unwrap().key_id;
    let other = new_key(&server.client("operator2").await).await;
    let made = blob(&user, &key, &[("row", "payslip")]).await;
    rotate(&manager, &key).await.unwrap();
    let mut hidden: Vec<String> = vec![key.clone(), other.clone(), alias.clone(), "payslip".into()];
    for (caller, _, _) in CALLERS {
        let raw = Raw::connect(&server, caller).await;
        hidden.push(spiffe_id(caller));
        hidden.push(raw.address.port().to_string());
        for method in methods::METHODS.iter().filter(|it| !it.path.contains(".Bench/")) {
            // The key stands in the field that is the key's in most messages.
            let asked = kms::GetKeyRequest { key: key.clone() };
            let _ = raw.is_let_in(method.path, &prost::Message::encode_to_vec(&asked)).await;
        }
        for path in [format!("/{key}"), format!("/bulla.kms.v1.Keys/{alias}"), spiffe_id(caller)] {
            let path = format!("/{}", path.trim_start_matches("spiffe:").trim_start_matches('/'));
            raw.plain(Method::GET, &path, Bytes::from(made.ciphertext.clone())).await;
        }
    }
    let (text, page) = scrape(&Raw::connect(&server, "operator").await).await;
    assert!(
        page.value("bulla_requests_total{method=\"unknown\",reason=\"UNKNOWN_METHOD\"}") >= 24.0
    );
    hidden.extend(["payroll", "spiffe", ".test", "127.0.0.1"].map(str::to_owned));
    for word in &hidden {
        assert!(!text.contains(word.as_str()), "{word} in\n{text}");
    }
    // And every label is a word of a list that was fixed at the start.
    let (rows, reasons) = (methods::labels(), REASONS);
    for (family, label, value) in &page.labels {
        let is_known = match label.as_str() {
            "method" => rows.contains(&value.as_str()),
            "reason" => reasons.contains(&value.as_str()) && value != "OTHER",
            "trigger" => ["period", "wraps", "bytes", "date", "manual", "compromise"]
                .contains(&value.as_str()),
            "outcome" => {
                ["succeeded", "refused", "failed", "held", "not_held", "committed", "conflict"]
                    .contains(&value.as_str())
            }
            "step" => ["prepared", "activated", "destroyed"].contains(&value.as_str()),
            "work" => ["rotation", "destruction", "ladder_step"].contains(&value.as_str()),
            "cause" => ["budget", "server_behind", "quota"].contains(&value.as_str()),
            "version" => value == env!("CARGO_PKG_VERSION"),
            _ => false,
        };
        assert!(is_known, "{family} {label} {value}");
    }
}
