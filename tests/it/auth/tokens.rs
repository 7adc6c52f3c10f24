//! Tokens of the real provider on a real server.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::line::Line;
use super::provider::Provider;
use super::{add, has_recorded, is_unknown, recorded, with_token};
use crate::server::{TestServer, spiffe_id};

/// A provider, and a server that believes it.
fn served(more: &str) -> (TestServer, Provider) {
    let mut server = TestServer::install("sqlite", "");
    let provider = Provider::start(server.path("bulla.toml").parent().unwrap());
    add(&server, &provider.configuration(more));
    server.serve();
    (server, provider)
}

async fn until_accepted(server: &TestServer, token: &str) -> Duration {
    let begun = Instant::now();
    while with_token(server, token).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "one cooldown is 10 seconds");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn a_token_of_a_real_provider_is_its_subject_in_every_algorithm() {
    let (server, provider) = served("");
    for algorithm in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        let answer = with_token(&server, &provider.token(algorithm)).await.unwrap();
        assert_eq!(answer.principal, "oidc://login/robot", "{algorithm}");
        assert_eq!((answer.tenant.as_str(), answer.credential_kind.as_str()), ("one", "token"));
        assert_eq!(answer.groups, ["payments"]);
        assert!(answer.roles.is_empty());
    }
    let user = provider.ask("user ES256 bulla-test");
    assert_eq!(with_token(&server, &user).await.unwrap().principal, "oidc://login/alice");
}

#[tokio::test]
async fn a05_an_id_token_or_one_for_another_service_is_refused() {
    let (server, provider) = served("");
    let other = provider.ask("token ES256 https://files.example");
    assert!(is_unknown(&with_token(&server, &other).await));
    assert!(is_unknown(&with_token(&server, &provider.ask("id")).await));
    let good = provider.token("ES256");
    assert!(with_token(&server, &good).await.is_ok());
    recorded(&server, "token_audience").await;
    recorded(&server, "token_type").await;
    assert!(!has_recorded(&server, &good) && !server.log().contains(&good), "H04");
}

#[tokio::test]
async fn a06_a_provider_that_is_not_configured_is_nobody() {
    let (server, provider) = served("");
    let folder = tempfile::tempdir().unwrap();
    let stranger = Provider::start(folder.path());
    assert!(is_unknown(&with_token(&server, &stranger.token("ES256")).await));
    assert!(with_token(&server, &provider.token("ES256")).await.is_ok());
}

#[tokio::test]
async fn b07_a_token_beside_a_certificate_of_somebody_else_is_refused() {
    let (server, provider) = served("");
    let token = format!("Bearer {}", provider.token("ES256"));
    let mut app = Line::open(&server, Some("app")).await.unwrap();
    assert!(is_unknown(&app.who_am_i(&[("authorization", &token)]).await));
    assert_eq!(app.who_am_i(&[]).await.unwrap().principal, spiffe_id("app"));
    let mut nobody = Line::open(&server, None).await.unwrap();
    let twice = [("authorization", token.as_str()), ("authorization", token.as_str())];
    assert!(is_unknown(&nobody.who_am_i(&twice).await));
    assert!(nobody.who_am_i(&twice[..1]).await.is_ok());
    assert!(is_unknown(&nobody.who_am_i(&[]).await), "a connection remembers no token");
    recorded(&server, "ambiguous_proof").await;
}

#[tokio::test]
async fn a_gateway_passes_on_its_end_user_and_a_bad_token_of_theirs_refuses_the_call() {
    let (server, provider) = served("");
    let alice = provider.ask("user EdDSA bulla-test");
    let mut gateway = Line::open(&server, Some("app")).await.unwrap();
    let answer = gateway.who_am_i(&[("bulla-on-behalf-of", &alice)]).await.unwrap();
    assert_eq!(answer.principal, spiffe_id("app"));
    assert_eq!(answer.end_user, "oidc://login/alice");
    let mut damaged = alice.clone();
    let middle = damaged.len() / 2;
    damaged.replace_range(middle..=middle, if &alice[middle..=middle] == "A" { "B" } else { "A" });
    for bad in [damaged.as_str(), "", "alice", &provider.ask("id")] {
        assert!(is_unknown(&gateway.who_am_i(&[("bulla-on-behalf-of", bad)]).await), "{bad}");
    }
    // Of another tenant than the user's.
    let mut other = Line::open(&server, Some("app2")).await.unwrap();
    assert!(other.who_am_i(&[]).await.is_ok());
    assert!(is_unknown(&other.who_am_i(&[("bulla-on-behalf-of", &alice)]).await));
}

#[tokio::test]
async fn a10_a_provider_that_is_down_lets_nobody_in_and_those_known_stay() {
    let (server, mut provider) = served("");
    let token = provider.token("ES256");
    provider.goes_down();
    assert!(is_unknown(&with_token(&server, &token).await), "its keys were never had");
    recorded(&server, "issuer_unavailable").await;
    let mut app = Line::open(&server, Some("app")).await.unwrap();
    assert!(app.who_am_i(&[]).await.is_ok(), "certificates do not need it");
    provider.comes_up();
    let took = until_accepted(&server, &token).await;
    println!("believed {} ms after the provider came back", took.as_millis());
    let second = provider.token("RS256");
    provider.goes_down();
    assert!(with_token(&server, &token).await.is_ok(), "what was had still counts");
    assert!(with_token(&server, &second).await.is_ok(), "for a new token as well");
}

#[tokio::test]
async fn a10_after_a_rotation_the_new_key_and_the_old_one_count() {
    let (server, mut provider) = served("");
    let old = provider.token("ES256");
    assert!(with_token(&server, &old).await.is_ok());
    provider.ask("rotate");
    provider.goes_down();
    provider.comes_up();
    let new = provider.token("ES256");
    let took = until_accepted(&server, &new).await;
    println!("believed a new key after {} ms", took.as_millis());
    assert!(with_token(&server, &old).await.is_ok());
}

#[tokio::test]
async fn a10_a_key_that_is_taken_out_of_the_key_file_stops_within_the_bound() {
    let mut server = TestServer::install("sqlite", "");
    let provider = Provider::start(server.path("bulla.toml").parent().unwrap());
    let keys = provider.ask("jwks");
    fs::write(server.path("jwks.json"), &keys).unwrap();
    let configuration = provider.configuration("jwks_file = \"jwks.json\"");
    let configuration = configuration
        .lines()
        .filter(|line| !line.starts_with("ca_file") && !line.starts_with("allow_private"))
        .collect::<Vec<_>>()
        .join("\n");
    add(&server, &configuration);
    server.serve();
    let token = provider.token("ES256");
    assert!(with_token(&server, &token).await.is_ok());
    fs::write(server.path("jwks.json"), keys.replace("\"kid\":\"", "\"kid\":\"x")).unwrap();
    let begun = Instant::now();
    while with_token(&server, &token).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("a key that was taken away stopped within {} ms", begun.elapsed().as_millis());
}

#[tokio::test]
async fn a13_sixty_four_callers_at_once_are_each_who_they_are() {
    let (server, provider) = served("");
    let good = format!("Bearer {}", provider.token("ES256"));
    let user = format!("Bearer {}", provider.ask("user EdDSA bulla-test"));
    let other = format!("Bearer {}", provider.ask("token ES256 https://files.example"));
    // Well inside the signature: of its last letter not every bit counts.
    let middle = good.len() - 40;
    let mut damaged = good.clone();
    damaged.replace_range(middle..=middle, if &good[middle..=middle] == "A" { "B" } else { "A" });
    let proofs = Arc::new([
        (good, Some("oidc://login/robot")),
        (user, Some("oidc://login/alice")),
        (other, None),
        (damaged, None),
        ("Basic YTpi".to_owned(), None),
    ]);
    let server = Arc::new(server);
    let callers: Vec<_> = (0..64_usize)
        .map(|caller| {
            let (server, proofs) = (Arc::clone(&server), Arc::clone(&proofs));
            tokio::spawn(async move {
                let mut line = Line::open(&server, None).await.unwrap();
                for turn in 0..20 {
                    let (proof, whom) = &proofs[(caller + turn) % proofs.len()];
                    let answer = line.who_am_i(&[("authorization", proof)]).await;
                    match whom {
                        Some(whom) => assert_eq!(answer.unwrap().principal, *whom),
                        None => assert!(is_unknown(&answer)),
                    }
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn l07_an_issuer_that_cannot_work_is_refused_at_the_start() {
    let server = TestServer::install("sqlite", "");
    let text = fs::read_to_string(server.path("bulla.toml")).unwrap();
    let issuer = "[[issuers]]\nname = \"login\"\nissuer = \"https://login.example\"\naudience = \"b\"\n\
                  tenant = \"one\"\nalgorithms = [\"ES256\"]\nca_file = \"ca.pem\"\n";
    for (bad, expected) in [
        (issuer.replace("https://login", "http://login"), "not an address such as"),
        (issuer.replace("\"one\"", "\"three\""), "three"),
        (issuer.replace("ca.pem", "nothing.pem"), "nothing.pem"),
        (issuer.replace("ca.pem", "server.key"), "no certificate"),
        (issuer.replace("ES256", "HS256"), "issuers.algorithms"),
        (format!("{issuer}groups_claim = \"g\"\ngroups = {{ a = \"B\" }}\n"), "a group's name"),
    ] {
        fs::write(server.path("bulla.toml"), format!("{text}\n{bad}")).unwrap();
        let (code, said) = server.serve_refused();
        assert_ne!(code, 0);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
