//! Attack D11: what is taken away is gone at once, on a server that runs and on connections that are open.

use std::time::{Duration, Instant};

use super::*;

on_both_stores!(d11_a_revoked_grant_role_and_relation_is_gone_within_the_bound);

/// The bound that the documents promise.
const BOUND: Duration = Duration::from_secs(5);

async fn d11_a_revoked_grant_role_and_relation_is_gone_within_the_bound(server: Shared) {
    let operator = server.client("operator").await;
    let revoked = server.client("revoked").await;
    let key = new_key(&operator).await;
    let id = spiffe_id("revoked");
    let told = [format!("key:{key}#user@{id}")];
    let mut took = Vec::new();
    for _ in 0..30 {
        let made = grant(&operator, grant_of(&key, "revoked", &["crypto.generate_data_key"]));
        let made = made.await.unwrap();
        data_key(&revoked, &key, &[]).await.unwrap();
        revoke(&operator, &made).await.unwrap();
        took.push(until_denied(&revoked, &key).await);

        bind(&operator, &id, "key-user").await.unwrap();
        data_key(&revoked, &key, &[]).await.unwrap();
        unbind(&operator, &id, "key-user").await;
        took.push(until_denied(&revoked, &key).await);

        relate(&operator, &told, &[]).await.unwrap();
        data_key(&revoked, &key, &[]).await.unwrap();
        relate(&operator, &[], &told).await.unwrap();
        took.push(until_denied(&revoked, &key).await);
    }
    took.sort();
    let p99 = took[took.len() * 99 / 100];
    println!("revocation: {} cases, p99 {p99:?}, worst {:?}", took.len(), took[took.len() - 1]);
    assert!(took[took.len() - 1] < BOUND);
}

/// How long after the revocation was answered a call was still allowed.
async fn until_denied(user: &Client, key: &str) -> Duration {
    let begun = Instant::now();
    while data_key(user, key, &[]).await.is_ok() {
        assert!(begun.elapsed() < BOUND, "still allowed");
    }
    begun.elapsed()
}
