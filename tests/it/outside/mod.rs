//! What leaves the audit log for other places: sinks and anchors of a real server, with receivers that
//! are slow, refuse, break off and are away.

mod anchors;
mod receivers;
mod sinks;
mod witness;
mod witnesses;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use bulla_client::{Client, Retries};
use bulla_proto::kms;
use serde_json::Value;

use crate::server::{Authority, TestServer};

/// Installed with this in the table `[audit]`, a certificate for receivers beside it: `receiver.pem`, and
/// `stranger.pem` that nobody vouches for.
fn installed(audit: &str) -> TestServer {
    let server = TestServer::install("sqlite", &format!("[audit]\n{audit}"));
    identities(server.path("").as_path());
    server
}

/// Certificates for receivers, and the authority's.
fn identities(folder: &Path) {
    let authority = Authority::new("receivers");
    std::fs::write(folder.join("receivers.pem"), authority.pem()).unwrap();
    authority.server_certificate().write(&folder.join("receiver"));
    Authority::new("strangers").server_certificate().write(&folder.join("stranger"));
}

/// Adds to the table `[audit]` of a server that is not running.
fn configure(server: &TestServer, audit: &str) {
    let path = server.path("bulla.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let (before, after) = config.split_once("\n[seal]").unwrap();
    std::fs::write(&path, format!("{before}\n{audit}\n[seal]{after}")).unwrap();
}

/// A key of the operator's, and the application that uses it; no call is sent twice.
struct User {
    client: Client,
    key: String,
}

// === impl User ===

impl User {
    async fn new(server: &TestServer) -> Self {
        let operator = server.client("operator").await;
        let made = operator.create_key(kms::CreateKeyRequest::default()).await.unwrap();
        let config = server.client_config("app").retries(Retries::none());
        let client = Client::connect(config).await.unwrap();
        Self { client, key: made.key.unwrap().key_id }
    }

    /// A data key, recorded under this request's context; how long it took, and the reason if refused.
    async fn call(&self, place: &str) -> (Duration, Result<Vec<u8>, String>) {
        let asked = kms::GenerateDataKeyRequest {
            key: self.key.clone(),
            encryption_context: BTreeMap::from([("place".to_owned(), place.to_owned())]),
            ..Default::default()
        };
        let begun = Instant::now();
        let made = self.client.generate_data_key(asked).await;
        let made = made.map(|made| made.plaintext.to_vec());
        (begun.elapsed(), made.map_err(|error| error.reason().to_owned()))
    }

    /// Calls until one is answered; how long that took.
    async fn until_answered(&self, place: &str) -> Duration {
        let begun = Instant::now();
        for _ in 0..600 {
            if self.call(place).await.1.is_ok() {
                return begun.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no call was answered");
    }
}

/// Asks again and again until it is so.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what}");
}

/// The records in these lines, by sequence; a record that came twice is the same one.
fn by_sequence(lines: &[String]) -> BTreeMap<u64, Value> {
    let mut records: BTreeMap<u64, Value> = BTreeMap::new();
    for line in lines {
        let record: Value = serde_json::from_str(line).unwrap();
        let sequence = record["sequence"].as_u64().unwrap();
        if let Some(before) = records.insert(sequence, record.clone()) {
            assert_eq!(before, record);
        }
    }
    records
}

/// The places of the calls in these lines.
fn places(lines: &[String]) -> BTreeSet<String> {
    let records = by_sequence(lines);
    let places = records.values().filter(|record| record["action"] == "crypto.generate_data_key");
    places
        .filter_map(|it| Some(it["encryption_context"][0]["value"].as_str()?.to_owned()))
        .collect()
}

/// Every record from the first to the last is there.
fn is_dense(lines: &[String]) -> u64 {
    let records = by_sequence(lines);
    let last = records.keys().last().copied().unwrap_or(0);
    assert_eq!(records.len() as u64, last, "records are missing");
    last
}
