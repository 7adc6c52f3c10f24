//! Tests of what is believed of an issuer.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::future::ready;

use oauth2::{HttpRequest, HttpResponse};

use super::*;
use crate::cli::login::https::HttpsError;

const GOOD: &str = r#"{"issuer":"https://login.test","token_endpoint":"https://login.test/token",
    "authorization_endpoint":"https://login.test/auth","code_challenge_methods_supported":["S256"]}"#;

async fn said(document: &str, status: u16) -> Result<Issuer, Failure> {
    let http = |_: HttpRequest| {
        let response = http::Response::builder().status(status);
        let response = response.body(document.as_bytes().to_vec()).unwrap();
        ready(Ok::<HttpResponse, HttpsError>(response))
    };
    Issuer::discover(&http, "https://login.test").await
}

#[tokio::test]
async fn a09_a_hostile_discovery_document_gives_no_client() {
    let issuer = said(GOOD, 200).await.unwrap();
    assert!(issuer.client("cli").is_ok() && !issuer.revokes());
    for (from, to) in [
        ("https://login.test/token", "http://login.test/token"),
        ("https://login.test/token", "file:///etc/passwd"),
        ("https://login.test/token", "https://user:pw@login.test/token"),
        ("https://login.test/auth", "javascript:alert(1)"),
        ("https://login.test/auth", "https://login.test/auth#x"),
        ("https://login.test/auth", "\\u001b[2J"),
    ] {
        let issuer = said(&GOOD.replace(from, to), 200).await.unwrap();
        let failure = issuer.client("cli").map(|_| ()).unwrap_err().to_string();
        assert!(
            failure.contains("is no https address") && !failure.contains('\u{1b}'),
            "{failure}"
        );
    }
    for other in ["https://login.test/", "https://LOGIN.test", "https://evil.test", "\\u001b[2J"] {
        let bad = GOOD.replace("\"https://login.test\"", &format!("\"{other}\""));
        let failure = said(&bad, 200).await.map(|_| ()).unwrap_err().to_string();
        assert!(failure.contains("discovery document is that of"), "{failure}");
        assert!(!failure.contains('\u{1b}'), "{failure}");
    }
    for (document, status) in [(GOOD, 500), (GOOD, 404), ("[]", 200), ("", 200), ("{}", 200)] {
        assert!(said(document, status).await.is_err(), "{status} {document}");
    }
}

#[tokio::test]
async fn b09_an_issuer_without_pkce_is_refused_for_a_browser_login() {
    assert!(said(GOOD, 200).await.unwrap().must_have_pkce().is_ok());
    for bad in [GOOD.replace("[\"S256\"]", "[\"plain\"]"), GOOD.replace("[\"S256\"]", "[]")] {
        let failure = said(&bad, 200).await.unwrap().must_have_pkce().unwrap_err();
        assert!(failure.to_string().contains("--device"), "{failure}");
    }
    let silent = GOOD.replace(",\"code_challenge_methods_supported\":[\"S256\"]", "");
    assert!(said(&silent, 200).await.unwrap().must_have_pkce().is_err());
}
