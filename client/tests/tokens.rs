//! Tokens and credentials over a real connection: with and without a certificate, and rotated.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fake;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bulla_client::{Client, Config, Kind, kms};
use fake::{Call, Fake, Reply};

fn nothing(_: &Call) -> Reply {
    Reply::Messages(vec![Vec::new()])
}

fn without_certificate(fake: &Fake) -> Config {
    Config::new(format!("https://{}", fake.address))
        .server_name("localhost")
        .ca_pem(fake.authority.pem.clone())
}

fn token_file(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("token");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn sent(fake: &Fake, header: &str) -> Vec<Option<String>> {
    let value = |call: Call| call.headers.get(header).map(|v| v.to_str().unwrap().to_owned());
    fake.calls().into_iter().map(value).collect()
}

#[tokio::test]
async fn a_token_proves_the_caller_without_a_certificate_in_calls_and_streams() {
    let fake = Fake::start(nothing).await;
    let client = Client::connect(without_certificate(&fake).token("abc")).await.unwrap();
    client.status(kms::StatusRequest {}).await.unwrap();
    client.create_key(kms::CreateKeyRequest::default()).await.unwrap();
    client.watch_keys(kms::WatchKeysRequest::default()).await.unwrap();
    client.tail_records(kms::TailRecordsRequest::default()).await.unwrap();
    client.re_encrypt_stream(tokio_stream::empty()).await.unwrap();
    assert_eq!(sent(&fake, "authorization"), vec![Some("Bearer abc".to_owned()); 5]);
    let shown = format!("{client:?} {:?}", without_certificate(&fake).token("abc"));
    assert!(!shown.contains("abc"), "I01: {shown}");
}

#[tokio::test]
async fn a_token_file_that_is_rotated_is_followed_on_the_same_connection() {
    let fake = Fake::start(nothing).await;
    let folder = tempfile::tempdir().unwrap();
    let path = token_file(&folder, "first\n");
    let client = Client::connect(without_certificate(&fake).token_file(&path)).await.unwrap();
    client.status(kms::StatusRequest {}).await.unwrap();
    let next = folder.path().join("next");
    fs::write(&next, "second\n").unwrap();
    fs::rename(&next, &path).unwrap();
    client.status(kms::StatusRequest {}).await.unwrap();
    fs::remove_file(&path).unwrap();
    let error = client.status(kms::StatusRequest {}).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    let both = [Some("Bearer first".to_owned()), Some("Bearer second".to_owned())];
    assert_eq!(sent(&fake, "authorization"), both);
    assert_eq!(fake.groups().len(), 1, "one connection");
}

#[tokio::test]
async fn a_certificate_and_a_token_go_together_and_a_half_of_a_certificate_does_not() {
    let fake = Fake::start(nothing).await;
    let client = Client::connect(fake.config().token("abc")).await.unwrap();
    client.status(kms::StatusRequest {}).await.unwrap();
    assert_eq!(sent(&fake, "authorization"), [Some("Bearer abc".to_owned())]);
    let half = without_certificate(&fake).token("abc");
    let half = half.certificate_pem(fake.authority.client("spiffe://test/client").certificate);
    assert_eq!(Client::connect(half).await.unwrap_err().kind(), Kind::Config);
    let neither = Client::connect(without_certificate(&fake)).await.unwrap_err().to_string();
    assert!(neither.contains("BULLA_CERTIFICATE") && neither.contains("BULLA_TOKEN_FILE"));
}

#[tokio::test]
async fn a_gateway_says_for_whom_it_acts_and_what_is_cached_for_one_is_not_anothers() {
    let fake = Fake::start(nothing).await;
    let gateway = Client::connect(fake.config()).await.unwrap();
    let alice = gateway.with_on_behalf_of("alice.token").unwrap();
    let bob = gateway.with_on_behalf_of("bob.token").unwrap();
    for client in [&gateway, &alice, &bob] {
        client.status(kms::StatusRequest {}).await.unwrap();
    }
    let whom = [None, Some("alice.token".to_owned()), Some("bob.token".to_owned())];
    assert_eq!(sent(&fake, "bulla-on-behalf-of"), whom);
    assert_eq!(sent(&fake, "authorization"), [None, None, None]);
    assert_ne!(gateway.identity(), alice.identity());
    assert_ne!(alice.identity(), bob.identity());
    assert_eq!(gateway.with_on_behalf_of("a b").unwrap_err().kind(), Kind::Config);
    let by_certificate = Client::connect(fake.config()).await.unwrap();
    let both = Client::connect(fake.config().token("abc")).await.unwrap();
    assert_ne!(by_certificate.identity(), both.identity());
}
