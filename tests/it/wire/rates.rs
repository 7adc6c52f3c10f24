//! How much anybody may ask for, on a real server.

use std::time::Instant;

use bulla_proto::kms;
use prost::Message;
use tonic::Code;
use tonic_types::StatusExt;

use super::{Raw, blob, new_key, reason, records};
use crate::server::TestServer;

const GENERATE: &str = "/bulla.kms.v1.Crypto/GenerateDataKey";
/// Calls a second.
const RATE: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h08_a_principal_over_its_rate_is_told_when_to_come_back_and_its_refusals_are_summed_up() {
    let limits = format!("limits = {{ principal_uses_per_second = {RATE} }}");
    let mut server = TestServer::install("sqlite", &limits);
    server.serve();
    let key = new_key(&server.client("operator").await).await;
    let key_of_two = new_key(&server.client("operator2").await).await;
    let raw = Raw::connect(&server, "app").await;
    let message =
        kms::GenerateDataKeyRequest { key: key.clone(), ..Default::default() }.encode_to_vec();

    let began = Instant::now();
    let (mut allowed, mut refused) = (0_u64, 0_u64);
    for _ in 0..300 {
        let (_, status) = raw.message(GENERATE, &message).await;
        if status.code() == Code::Ok {
            allowed += 1;
            continue;
        }
        assert_eq!((status.code(), &*reason(&status)), (Code::ResourceExhausted, "RATE_LIMITED"));
        let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!(!wait.is_zero(), "{status:?}");
        refused += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    assert!(allowed as f64 <= RATE as f64 * (seconds + 1.0) + 1.0, "{allowed} in {seconds} s");
    assert!(refused > 0);
    // Another tenant has its own.
    blob(&server.client("app2").await, &key_of_two, &[]).await;

    let address = raw.address.to_string();
    let records = records(&server, "auditor", 0).await;
    let of_refusals: Vec<_> = records
        .iter()
        .filter(|record| record.reason == "RATE_LIMITED" && record.source_address == address)
        .collect();
    let told = of_refusals.len() as u64;
    assert!((1..=refused.min(seconds as u64 + 2)).contains(&told), "{told} of {refused}");
    assert!(of_refusals.iter().all(|record| record.class == "principal_uses"));
    assert!(of_refusals.iter().all(|record| record.detail.starts_with("not_recorded_before=")));
    let done = records.iter().filter(|record| {
        record.outcome == "SUCCEEDED"
            && record.action == "crypto.generate_data_key"
            && record.source_address == address
    });
    assert_eq!(done.count() as u64, allowed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e07_a_tenants_own_rate_holds_for_it_and_for_no_other_at_once() {
    let server = TestServer::start();
    let key = new_key(&server.client("operator").await).await;
    let key_of_two = new_key(&server.client("operator2").await).await;
    let limits = kms::TenantLimits { uses_per_second: 3, ..Default::default() };
    let asked = kms::UpdateTenantRequest {
        tenant: "one".into(),
        limits: Some(limits),
        ..Default::default()
    };
    server.client("landlord").await.update_tenant(asked).await.unwrap();
    let one = Raw::connect(&server, "app").await;
    let two = Raw::connect(&server, "app2").await;
    let message = |key: &str| {
        kms::GenerateDataKeyRequest { key: key.to_owned(), ..Default::default() }.encode_to_vec()
    };
    let mut refused = 0;
    for _ in 0..50 {
        let (_, status) = one.message(GENERATE, &message(&key)).await;
        if status.code() != Code::Ok {
            assert_eq!(reason(&status), "RATE_LIMITED");
            refused += 1;
        }
        assert_eq!(two.message(GENERATE, &message(&key_of_two)).await.1.code(), Code::Ok);
    }
    assert!(refused > 0, "50 calls within a second or two, of 3 a second");
}
