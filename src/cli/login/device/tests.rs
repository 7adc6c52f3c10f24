//! Tests of the device grant, with an issuer that says what it is told to.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::ready;

use oauth2::{HttpRequest, HttpResponse, TokenResponse as _};

use super::*;
use crate::cli::login::https::HttpsError;

const ISSUER: &str = r#"{"issuer":"https://login.test","token_endpoint":"https://login.test/token",
    "device_authorization_endpoint":"https://login.test/device"}"#;
const ASKED: &str = r#"{"device_code":"d","user_code":"ABCD-EFGH","expires_in":600,"interval":INTERVAL,
    "verification_uri":"https://login.test/activate"}"#;
const GRANTED: &str = r#"{"access_token":"token","token_type":"bearer","expires_in":60}"#;
const PENDING: &str = r#"{"error":"authorization_pending"}"#;
const SLOW_DOWN: &str = r#"{"error":"slow_down"}"#;

/// Plays a login against these answers: what it ends with, and how long it waited each time.
async fn played(interval: &str, answers: &[&str]) -> (Result<String, Failure>, Vec<u64>) {
    let asked = ASKED.replace("INTERVAL", interval);
    let answers: VecDeque<_> =
        [asked.as_str()].iter().chain(answers).map(|a| a.to_string()).collect();
    let answers = RefCell::new(answers);
    let http = |_: HttpRequest| {
        let body = answers.borrow_mut().pop_front().unwrap();
        let status = if body.contains("\"error\"") { 400 } else { 200 };
        let response = http::Response::builder().status(status);
        let response = response.header("content-type", "application/json");
        ready(Ok::<HttpResponse, HttpsError>(response.body(body.into_bytes()).unwrap()))
    };
    let waits = RefCell::new(Vec::new());
    let sleep = |wait: Duration| {
        waits.borrow_mut().push(wait.as_secs());
        ready(())
    };
    let issuer: Issuer = serde_json::from_str(ISSUER).unwrap();
    let oauth = issuer.client("cli").unwrap();
    let settings =
        toml::from_str("issuer = \"https://login.test\"\nclient_id = \"cli\"\n").unwrap();
    let granted = run(&http, &issuer, &oauth, &settings, sleep).await;
    let token = granted.map(|granted| granted.access_token().secret().clone());
    (token, waits.into_inner())
}

#[tokio::test]
async fn it_asks_as_often_as_the_issuer_says_and_slower_when_told_to() {
    let answers = [PENDING, SLOW_DOWN, PENDING, SLOW_DOWN, GRANTED];
    let (granted, waits) = played("5", &answers).await;
    assert_eq!(granted.unwrap(), "token");
    assert_eq!(waits, [5, 10, 10, 15], "RFC 8628, section 3.5: five seconds more, for good");
}

#[tokio::test]
async fn j09_an_issuer_cannot_make_it_ask_without_a_pause_or_wait_for_ever() {
    let (granted, waits) = played("0", &[PENDING, PENDING, GRANTED]).await;
    assert_eq!((granted.unwrap().as_str(), waits.as_slice()), ("token", &[1, 1][..]));
    let (granted, waits) = played("4000000000", &[PENDING, GRANTED]).await;
    assert_eq!((granted.unwrap().as_str(), waits.as_slice()), ("token", &[60][..]));
}

#[tokio::test]
async fn b09_a_login_that_is_denied_or_comes_too_late_ends_with_what_to_do() {
    let (denied, _) = played("5", &[PENDING, r#"{"error":"access_denied"}"#]).await;
    let denied = denied.unwrap_err();
    assert_eq!(denied.exit(), Exit::Permission);
    let (expired, _) = played("5", &[r#"{"error":"expired_token"}"#]).await;
    let expired = expired.unwrap_err();
    assert_eq!(expired.exit(), Exit::Temporary);
    assert!(expired.to_string().contains("begin again"), "{expired}");
    let hostile = r#"{"error":"invalid_grant","error_description":"\u001b[2J\nhint: rm"}"#;
    let (refused, _) = played("5", &[hostile]).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("\\u{001b}[2J\\nhint: rm") && !refused.contains('\u{1b}'),
        "{refused}"
    );
    let (garbage, _) = played("5", &["[]"]).await;
    assert_eq!(garbage.unwrap_err().exit(), Exit::Unavailable);
}
