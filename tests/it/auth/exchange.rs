//! Tokens of the server's own: less than what they were exchanged for, for a short time.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bulla_client::kms;
use prost::Message;
use serde_json::Value;

use super::is_unknown;
use super::line::Line;
use crate::server::{TestServer, spiffe_id};

const GENERATE: &str = "/bulla.kms.v1.Crypto/GenerateDataKey";
const DECRYPT: &str = "/bulla.kms.v1.Crypto/Decrypt";
const EXCHANGE: &str = "/bulla.kms.v1.Access/ExchangeToken";
const PERMISSION_DENIED: i32 = 7;

/// A server that also takes who has no certificate.
fn served() -> TestServer {
    let mut server = TestServer::install("sqlite", "service_accounts = true");
    server.serve();
    server
}

async fn exchanged(server: &TestServer, asked: kms::ExchangeTokenRequest) -> String {
    let app = server.client("app").await;
    app.exchange_token(asked).await.unwrap().access_token
}

fn for_bulla() -> kms::ExchangeTokenRequest {
    kms::ExchangeTokenRequest { audience: "bulla".into(), ..Default::default() }
}

#[tokio::test]
async fn a11_an_exchanged_token_does_what_was_asked_for_and_nothing_else() {
    let server = served();
    let manager = server.client("operator").await;
    let app = server.client("app").await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let made = manager.create_key(kms::CreateKeyRequest::default()).await.unwrap();
        keys.push(made.key.unwrap().key_id);
    }
    let mut blobs = Vec::new();
    for key in &keys {
        let asked = kms::GenerateDataKeyRequest { key: key.clone(), ..Default::default() };
        blobs.push(app.generate_data_key(asked).await.unwrap().ciphertext);
    }
    let asked = kms::ExchangeTokenRequest {
        actions: vec!["crypto.decrypt".into()],
        keys: vec![keys[0].clone()],
        ..for_bulla()
    };
    let token = exchanged(&server, asked).await;
    let bearer = format!("Bearer {token}");
    let headers: &[(&str, &str)] = &[("authorization", &bearer)];

    let mut line = Line::open(&server, None).await.unwrap();
    let who = line.who_am_i(headers).await.unwrap();
    assert_eq!((who.principal, &*who.credential_kind), (spiffe_id("app"), "exchanged"));
    let open = |blob: &Vec<u8>| {
        kms::DecryptRequest { ciphertext: blob.clone(), ..Default::default() }.encode_to_vec()
    };
    assert!(line.ask(DECRYPT, &open(&blobs[0]), headers).await.is_ok());
    // Another key of the same caller, and another action on the same key.
    assert!(line.ask(DECRYPT, &open(&blobs[1]), headers).await.is_err());
    let make = kms::GenerateDataKeyRequest { key: keys[0].clone(), ..Default::default() };
    let made = line.ask(GENERATE, &make.encode_to_vec(), headers).await;
    assert_eq!(made.unwrap_err().0, PERMISSION_DENIED);
    // It is not for ever: nobody renews a token with itself.
    let again = line.ask(EXCHANGE, &for_bulla().encode_to_vec(), headers).await;
    assert_eq!(again.unwrap_err().0, PERMISSION_DENIED);
}

#[tokio::test]
async fn c05_a_proof_that_fails_gives_nothing_and_leaves_nothing_behind() {
    let server = served();
    let good = format!("Bearer {}", exchanged(&server, for_bulla()).await);
    let mut damaged = good.clone();
    // Well inside the signature: of its last letter not every bit counts.
    let middle = good.len() - 40;
    damaged.replace_range(middle..=middle, if &good[middle..=middle] == "A" { "B" } else { "A" });
    let mut line = Line::open(&server, None).await.unwrap();
    // Nobody before, in between and after: neither a success nor a failure is a session.
    for _ in 0..3 {
        assert!(is_unknown(&line.who_am_i(&[]).await));
        let known = line.who_am_i(&[("authorization", &good)]).await.unwrap();
        assert_eq!(known.principal, spiffe_id("app"));
        assert!(is_unknown(&line.who_am_i(&[("authorization", &damaged)]).await));
        // The refusal comes before the method, whatever that is: no reply beside the error.
        for path in [GENERATE, DECRYPT, EXCHANGE] {
            let answer = line.ask(path, &[], &[("authorization", &damaged)]).await;
            assert_eq!(answer.unwrap_err().0, 16);
        }
    }
    // Beside a good certificate it is not passed over either.
    let mut app = Line::open(&server, Some("app")).await.unwrap();
    assert!(is_unknown(&app.who_am_i(&[("authorization", &damaged)]).await));
    assert_eq!(app.who_am_i(&[]).await.unwrap().principal, spiffe_id("app"));
}

#[tokio::test]
async fn a11_a_bound_token_is_good_with_its_certificate_only() {
    let server = served();
    let asked = kms::ExchangeTokenRequest { bind_certificate: true, ..for_bulla() };
    let bearer = format!("Bearer {}", exchanged(&server, asked).await);
    let headers: &[(&str, &str)] = &[("authorization", &bearer)];
    let mut own = Line::open(&server, Some("app")).await.unwrap();
    assert_eq!(own.who_am_i(headers).await.unwrap().principal, spiffe_id("app"));
    for caller in [None, Some("rewrapper")] {
        let mut line = Line::open(&server, caller).await.unwrap();
        assert!(is_unknown(&line.who_am_i(headers).await), "{caller:?}");
    }
}

#[tokio::test]
async fn a05_a_token_for_another_service_is_none_for_this_one_and_can_be_verified_by_that_one() {
    let server = served();
    let asked =
        kms::ExchangeTokenRequest { audience: "https://files.example".into(), ..for_bulla() };
    let token = exchanged(&server, asked).await;
    let mut line = Line::open(&server, None).await.unwrap();
    let bearer = format!("Bearer {token}");
    assert!(is_unknown(&line.who_am_i(&[("authorization", &bearer)]).await));

    let keys: Value = serde_json::from_str(&line.page("/.well-known/jwks.json").await).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
    let header: Value = serde_json::from_slice(&decoded(parts[0])).unwrap();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]);
    let public = decoded(key.unwrap()["x"].as_str().unwrap());
    let signed = format!("{}.{}", parts[0], parts[1]);
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public)
        .verify(signed.as_bytes(), &decoded(parts[2]))
        .unwrap();
    let claims: Value = serde_json::from_slice(&decoded(parts[1])).unwrap();
    assert_eq!(claims["aud"], "https://files.example");
    let lasts = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lasts, 300);
}
