//! Reading the audit log: which records are asked for, and what of an encryption context is in them.

use std::collections::BTreeMap;
use std::path::Path;

use bulla_proto::kms;
use tonic::Code;

use super::{audit_end, blob, new_key, records, refused};
use crate::server::TestServer;

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The records after `after` that the filter leaves, in pages of two.
async fn filtered(server: &TestServer, after: u64, filter: kms::RecordFilter) -> Vec<kms::Record> {
    let auditor = server.client("auditor").await;
    let (mut after_sequence, mut found) = (after, Vec::new());
    loop {
        let filter = Some(filter.clone());
        let asked = kms::ListRecordsRequest { after_sequence, page_size: 2, filter };
        let page = auditor.list_records(asked).await.unwrap();
        found.extend(page.records);
        after_sequence = page.next_after_sequence;
        if page.end {
            return found;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_leaves_exactly_the_records_for_which_all_of_it_holds() {
    let server = TestServer::start();
    let (operator, app) = (server.client("operator").await, server.client("app").await);
    let key = new_key(&operator).await;
    let other = new_key(&operator).await;
    let begin = audit_end(&server).await;
    let sealed = blob(&app, &key, &[("table", "cards")]).await;
    blob(&app, &other, &[("table", "cards"), ("row", "1")]).await;
    let wrong = kms::DecryptRequest { ciphertext: sealed.ciphertext.clone(), ..Default::default() };
    assert!(app.decrypt(wrong).await.is_err());
    let move_to = kms::ReEncryptRequest {
        ciphertext: sealed.ciphertext,
        source_encryption_context: pairs(&[("table", "cards")]),
        destination_key: other.clone(),
        ..Default::default()
    };
    // An application may not move blobs: a refusal.
    assert!(app.re_encrypt(move_to).await.is_err());

    let all = records(&server, "auditor", begin).await;
    let of = |holds: &dyn Fn(&kms::Record) -> bool| -> Vec<u64> {
        all.iter().filter(|record| holds(record)).map(|record| record.sequence).collect()
    };
    let app_id = all.iter().find(|record| record.action == "crypto.generate_data_key").unwrap();
    let app_id = app_id.principal.clone();
    let is_app = |record: &kms::Record| record.principal == app_id;
    let nothing = kms::RecordFilter::default;
    let text = str::to_owned;
    let cases: Vec<(kms::RecordFilter, Vec<u64>)> = vec![
        (kms::RecordFilter { principal: app_id.clone(), ..nothing() }, of(&is_app)),
        (
            kms::RecordFilter { principal: app_id.clone(), key_id: key.clone(), ..nothing() },
            of(&|record| is_app(record) && record.key_id == key),
        ),
        (
            kms::RecordFilter {
                principal: app_id.clone(),
                key_id: key.clone(),
                version: 1,
                ..nothing()
            },
            of(&|record| is_app(record) && record.key_id == key && record.version == 1),
        ),
        (kms::RecordFilter { key_id: key.clone(), version: 2, ..nothing() }, of(&|_| false)),
        (
            kms::RecordFilter { outcome: text("REFUSED"), principal: app_id.clone(), ..nothing() },
            of(&|record| is_app(record) && record.outcome == "REFUSED"),
        ),
        (
            kms::RecordFilter { reason: text("INVALID_CIPHERTEXT"), ..nothing() },
            of(&|record| record.reason == "INVALID_CIPHERTEXT"),
        ),
        (
            kms::RecordFilter {
                action: text("crypto.generate_data_key"),
                encryption_context: pairs(&[("row", "1")]),
                ..nothing()
            },
            of(&|record| record.encryption_context.contains_key("row")),
        ),
        (kms::RecordFilter { end_time: all[0].time, principal: app_id, ..nothing() }, vec![]),
    ];
    for (filter, expected) in cases {
        let found = filtered(&server, begin, filter.clone()).await;
        let found: Vec<u64> = found.iter().map(|record| record.sequence).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_says_nothing_sensible_is_refused() {
    let server = TestServer::start();
    let auditor = server.client("auditor").await;
    let nothing = kms::RecordFilter::default;
    let time = prost_types::Timestamp { seconds: i64::MAX, nanos: 0 };
    for filter in [
        kms::RecordFilter { key_id: "cards".to_owned(), ..nothing() },
        kms::RecordFilter { version: 1, ..nothing() },
        kms::RecordFilter { outcome: "DONE".to_owned(), ..nothing() },
        kms::RecordFilter { start_time: Some(time), ..nothing() },
        kms::RecordFilter { principal: "p".repeat(256), ..nothing() },
    ] {
        let asked = kms::ListRecordsRequest { filter: Some(filter.clone()), ..Default::default() };
        let (code, reason) = refused(auditor.list_records(asked).await);
        assert_eq!((code, &*reason), (Code::InvalidArgument, "INVALID_ARGUMENT"), "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h07_marked_values_are_recorded_as_hashes_of_their_tenants_own_and_found_by_value() {
    let audit = "[audit]\nhashed_context_keys = [\"customer\"]";
    let mut server = TestServer::install("sqlite", audit);
    server.serve();
    let key = new_key(&server.client("operator").await).await;
    let key_of_two = new_key(&server.client("operator2").await).await;
    let begin = audit_end(&server).await;
    let app = server.client("app").await;
    let jane = [("customer", "jane"), ("table", "cards")];
    for context in [&jane, &[("customer", "john"), ("table", "cards")], &jane] {
        blob(&app, &key, context).await;
    }
    blob(&server.client("app2").await, &key_of_two, &jane).await;

    let seen = records(&server, "auditor", begin).await;
    let made: Vec<_> =
        seen.iter().filter(|record| record.action == "crypto.generate_data_key").collect();
    let hashes: Vec<_> =
        made.iter().map(|record| &*record.encryption_context["customer"]).collect();
    assert_eq!(hashes.len(), 3);
    assert!(hashes.iter().all(|hash| hash.starts_with("hmac-sha256:") && hash.len() == 12 + 32));
    assert_eq!(hashes[0], hashes[2], "the same value is the same");
    assert_ne!(hashes[0], hashes[1]);
    assert!(made.iter().all(|record| record.encryption_context["table"] == "cards"));
    let of_two = records(&server, "auditor2", begin).await;
    let of_two = of_two.iter().find(|record| record.action == "crypto.generate_data_key").unwrap();
    assert_ne!(of_two.encryption_context["customer"], hashes[0], "another tenant's is another");

    let filter = kms::RecordFilter {
        encryption_context: pairs(&[("customer", "jane")]),
        ..Default::default()
    };
    let found = filtered(&server, begin, filter).await;
    let found: Vec<u64> = found.iter().map(|record| record.sequence).collect();
    assert_eq!(found, [made[0].sequence, made[2].sequence]);

    let written = everything_in(&server.path("data"));
    assert!(contains(&written, b"cards"), "the log is among what was read");
    for value in [&b"jane"[..], b"john"] {
        assert!(!contains(&written, value), "it is on the disk");
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

/// The bytes of every file in a folder and below it.
fn everything_in(folder: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(
            |path| {
                if path.is_dir() { everything_in(&path) } else { std::fs::read(path).unwrap() }
            },
        )
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c02_records_of_no_tenant_reach_the_installations_own_auditors_and_nobody_else() {
    let server = TestServer::start();
    let nobody =
        bulla_client::Config::new(format!("https://localhost:{}", server.address().port()))
            .ca_file(server.path("ca.pem"));
    if let Ok(stranger) = bulla_client::Client::connect(nobody).await {
        assert!(stranger.status(kms::StatusRequest {}).await.is_err());
    }
    new_key(&server.client("operator").await).await;
    let begun = std::time::Instant::now();
    let of_nobody = |records: &[kms::Record]| {
        records.iter().filter(|record| record.tenant_sequence == 0).count()
    };
    loop {
        let seen = records(&server, "landlord", 0).await;
        let keys = seen.iter().filter(|record| record.action.contains("create_key")).count();
        assert_eq!(keys, 0, "another tenant's");
        if of_nobody(&seen) > 0 {
            break;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{seen:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let seen = records(&server, "auditor", 0).await;
    assert!(!seen.is_empty() && of_nobody(&seen) == 0);
}
