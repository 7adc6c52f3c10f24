//! Certificates and revocation lists of openssl, on a server that runs, on connections that are open.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bulla_client::Code;
use bulla_client::kms::{
    CreateCredentialRequest, CreateServiceAccountRequest, RevokeCredentialRequest, ServiceAccount,
    TailRecordsRequest,
};
use tokio::time::timeout;

use super::line::Line;
use super::openssl::OpenSsl;
use super::{add, is_unknown, recorded};
use crate::server::TestServer;

const ALICE: &str = "spiffe://people.test/alice";

/// A server that trusts an authority of openssl's for `people.test`, with its revocation list.
fn served() -> (TestServer, OpenSsl) {
    let server = TestServer::prepare("sqlite", "");
    let authority = OpenSsl::authority(server.path("authority"));
    publish(&server, &authority);
    fs::copy(authority.path("ca.pem"), server.path("people.pem")).unwrap();
    authority.client("alice", ALICE, &server.path("alice"));
    authority.client("bob", "spiffe://people.test/bob", &server.path("bob"));
    add(
        &server,
        "[[trust_domains]]\nname = \"people.test\"\nca_files = [\"people.pem\"]\n\
         crl_files = [\"people.crl\"]\ntenant = \"one\"",
    );
    let mut init = server.command("init");
    init.arg("--make-key-file").arg("--bind").arg(format!("{ALICE}=auditor"));
    let made = init.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut server = server;
    server.serve();
    (server, authority)
}

/// Puts the authority's list where the server reads it, whole at once.
fn publish(server: &TestServer, authority: &OpenSsl) {
    replace(&authority.path("crl.pem"), &server.path("people.crl"));
}

fn replace(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    fs::copy(from, &beside).unwrap();
    fs::rename(beside, to).unwrap();
}

/// How long until the open connection has no rights any more.
async fn until_refused(line: &mut Line) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = line.who_am_i(&[]).await;
        if answer.is_err() {
            assert!(is_unknown(&answer));
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "the bound");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn b05_a_revoked_certificate_loses_its_open_connection_within_the_bound_and_no_other_does() {
    let (server, authority) = served();
    let mut alice = Line::open(&server, Some("alice")).await.unwrap();
    let mut bob = Line::open(&server, Some("bob")).await.unwrap();
    assert_eq!(alice.who_am_i(&[]).await.unwrap().principal, ALICE);
    assert!(bob.who_am_i(&[]).await.is_ok());
    authority.revoke("alice");
    publish(&server, &authority);
    let took = until_refused(&mut alice).await;
    println!("revoked on an open connection within {} ms", took.as_millis());
    assert!(bob.who_am_i(&[]).await.is_ok());
    let again = match Line::open(&server, Some("alice")).await {
        Ok(mut line) => line.who_am_i(&[]).await.is_ok(),
        Err(_) => false,
    };
    assert!(!again, "nor does a new connection help");
    recorded(&server, "revoked").await;
}

#[tokio::test]
async fn b05_a_stream_that_goes_on_ends_with_its_callers_certificate() {
    let (server, authority) = served();
    let alice = server.client("alice").await;
    let mut tail = alice.tail_records(TailRecordsRequest { last: 1, filter: None }).await.unwrap();
    let mut bob = Line::open(&server, Some("bob")).await.unwrap();
    assert!(bob.who_am_i(&[]).await.is_ok());
    assert!(tail.message().await.unwrap().is_some());
    authority.revoke("alice");
    publish(&server, &authority);
    let begun = Instant::now();
    let ended = loop {
        // Each call is a record that the stream would tell of.
        assert!(bob.who_am_i(&[]).await.is_ok());
        match timeout(Duration::from_millis(100), tail.message()).await {
            Ok(Err(error)) => break error,
            Ok(Ok(None)) => panic!("it ended well"),
            Ok(Ok(Some(_))) | Err(_) => {}
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
    };
    assert_eq!(ended.code(), Code::Unauthenticated);
    println!("a stream ended {} ms after its caller was revoked", begun.elapsed().as_millis());
}

#[tokio::test]
async fn b05_a_signal_has_the_files_looked_at_and_ends_nothing() {
    let (server, _authority) = served();
    let mut alice = Line::open(&server, Some("alice")).await.unwrap();
    let pid = rustix::process::Pid::from_raw(server.pid().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    while !server.log().contains("nothing has changed in the files of trust") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(alice.who_am_i(&[]).await.is_ok());
}

#[tokio::test]
async fn b05_a_list_or_bundle_that_is_broken_changes_nothing_and_is_logged() {
    let (server, _authority) = served();
    let mut alice = Line::open(&server, Some("alice")).await.unwrap();
    for (file, broken) in [
        ("people.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"),
        ("people.crl", ""),
        ("people.pem", "not a certificate"),
    ] {
        let path = server.path(file);
        let before = fs::read(&path).unwrap();
        let logged = server.log().matches("cannot be used").count();
        fs::write(&path, broken).unwrap();
        while server.log().matches("cannot be used").count() == logged {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(alice.who_am_i(&[]).await.is_ok(), "{file}");
        assert!(Line::open(&server, Some("bob")).await.unwrap().who_am_i(&[]).await.is_ok());
        fs::write(&path, before).unwrap();
    }
}

#[tokio::test]
async fn b05_a_new_bundle_is_taken_beside_the_old_and_the_old_can_go() {
    let (server, _authority) = served();
    let mut alice = Line::open(&server, Some("alice")).await.unwrap();
    let next = OpenSsl::authority(server.path("next"));
    next.client("carol", "spiffe://people.test/carol", &server.path("carol"));
    let text = |path: &Path| fs::read_to_string(path).unwrap();
    let both = |one: &str, other: &str| format!("{one}{other}");
    let took = server.log().matches("took what has changed").count();
    // Lists first: with a list configured an authority without one vouches for nobody.
    let lists = both(&text(&server.path("people.crl")), &text(&next.path("crl.pem")));
    let bundles = both(&text(&server.path("people.pem")), &text(&next.path("ca.pem")));
    fs::write(server.path("people.crl"), lists).unwrap();
    fs::write(server.path("people.pem"), bundles).unwrap();
    while server.log().matches("took what has changed").count() == took {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begun = Instant::now();
    loop {
        let answer = match Line::open(&server, Some("carol")).await {
            Ok(mut line) => line.who_am_i(&[]).await,
            Err(_) => Err((-1, String::new())),
        };
        if answer.is_ok() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert!(alice.who_am_i(&[]).await.is_ok());
    fs::copy(next.path("ca.pem"), server.path("people.pem")).unwrap();
    until_refused(&mut alice).await;
}

#[tokio::test]
async fn b04_a_list_that_has_grown_old_speaks_for_nobody() {
    let server = TestServer::prepare("sqlite", "");
    let authority = OpenSsl::authority(server.path("authority"));
    authority.client("alice", ALICE, &server.path("alice"));
    authority.short_list(1);
    publish(&server, &authority);
    fs::copy(authority.path("ca.pem"), server.path("people.pem")).unwrap();
    add(
        &server,
        "[[trust_domains]]\nname = \"people.test\"\nca_file = \"people.pem\"\n\
         crl_files = [\"people.crl\"]\ntenant = \"one\"",
    );
    let made = server.command("init").arg("--make-key-file").output().unwrap();
    assert!(made.status.success());
    let mut server = server;
    server.serve();
    let is_known = || async {
        match Line::open(&server, Some("alice")).await {
            Ok(mut line) => line.who_am_i(&[]).await.is_ok(),
            Err(_) => false,
        }
    };
    while is_known().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    recorded(&server, "revocation_unknown").await;
}

#[tokio::test]
async fn b06_a_certificate_is_optional_only_where_there_is_another_way() {
    let mut server = TestServer::start();
    let refused = match Line::open(&server, None).await {
        Ok(mut line) => line.who_am_i(&[]).await.map_err(|(code, _)| code),
        Err(_) => Err(-1),
    };
    assert_eq!(refused.err(), Some(-1), "the handshake ends");
    server.stop();
    let text = fs::read_to_string(server.path("bulla.toml")).unwrap();
    fs::write(server.path("bulla.toml"), format!("service_accounts = true\n{text}")).unwrap();
    server.serve();
    let mut line = Line::open(&server, None).await.unwrap();
    let forged = format!("URI={}", crate::server::spiffe_id("app"));
    for headers in [
        vec![],
        vec![("x-forwarded-client-cert", forged.as_str())],
        vec![("x_forwarded_client_cert", forged.as_str()), ("x-forwarded-user", "app")],
        vec![("authorization", "Bearer bulla_AAAA")],
        vec![("authorization", "Basic YTpi")],
    ] {
        assert!(is_unknown(&line.who_am_i(&headers).await), "{headers:?}");
    }
    let mut app = Line::open(&server, Some("app")).await.unwrap();
    assert_eq!(app.who_am_i(&[]).await.unwrap().principal, crate::server::spiffe_id("app"));
    let wrong = [("authorization", "Bearer bulla_AAAA")];
    assert!(is_unknown(&app.who_am_i(&wrong).await), "a bad proof is not passed over");
    recorded(&server, "no_proof").await;
    recorded(&server, "malformed_credential").await;
}

#[tokio::test]
async fn b06_a_service_accounts_credential_is_its_account_until_it_is_revoked() {
    let mut server = TestServer::install("sqlite", "service_accounts = true");
    server.serve();
    let operator = server.client("operator").await;
    let account = ServiceAccount { name: "billing".to_owned(), ..Default::default() };
    let made = CreateServiceAccountRequest { service_account: Some(account), ..Default::default() };
    let made = operator.create_service_account(made).await.unwrap();
    let name = made.service_account.unwrap().name;
    let asked = CreateCredentialRequest { service_account: name.clone(), ..Default::default() };
    let made = operator.create_credential(asked).await.unwrap();
    let (id, text) = (made.credential.unwrap().credential_id, made.secret);
    let mut line = Line::open(&server, None).await.unwrap();
    let bearer = format!("Bearer {text}");
    let headers = [("authorization", bearer.as_str())];
    let answer = line.who_am_i(&headers).await.unwrap();
    assert_eq!((answer.principal.as_str(), answer.tenant.as_str()), ("service://billing", "one"));
    assert_eq!(answer.credential_kind, "service_account");
    let asked = RevokeCredentialRequest { credential_id: id, ..Default::default() };
    operator.revoke_credential(asked).await.unwrap();
    assert!(is_unknown(&line.who_am_i(&headers).await));
    recorded(&server, "unknown_credential").await;
    assert!(!super::has_recorded(&server, &text) && !server.log().contains(&text), "H04");
}
