//! Service accounts as their programs use them: a credential or token in a file, in the client and on the
//! command line, over real TLS and without a certificate.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use bulla_client::{Client, Config, Kind, kms};

use super::has_recorded;
use crate::server::{TestServer, spiffe_id};
use crate::transcripts::Callers;

fn served() -> TestServer {
    let mut server = TestServer::install("sqlite", "service_accounts = true");
    server.serve();
    server
}

/// How somebody without a certificate connects.
fn nobody(server: &TestServer) -> Config {
    Config::new(format!("https://localhost:{}", server.address().port()))
        .ca_file(server.path("ca.pem"))
}

/// Runs `bulla` as this caller.
fn bulla(server: &TestServer, caller: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
    command.args(arguments).env_clear().env("HOME", server.path("home"));
    command.envs(server.environment(caller)).output().unwrap()
}

fn done(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A service account, and a file with a credential of it.
fn account(server: &TestServer, name: &str) -> String {
    let file = server.path(&format!("{name}.credential")).display().to_string();
    done(bulla(server, "operator", &["service-account", "create", name]));
    done(bulla(server, "operator", &["credential", "create", name, "--out", &file]));
    file
}

#[tokio::test]
async fn a_credential_is_its_account_in_the_client_and_on_the_command_line() {
    let server = served();
    let file = account(&server, "nightly");
    assert_eq!(mode(Path::new(&file)), 0o600);
    let client = Client::connect(nobody(&server).token_file(&file)).await.unwrap();
    let who = client.who_am_i(kms::WhoAmIRequest {}).await.unwrap();
    assert_eq!(
        (who.principal.as_str(), &*who.credential_kind),
        ("service://nightly", "service_account")
    );
    // A flag goes before the certificate that the environment names.
    let said = done(bulla(&server, "app", &["whoami", "--token-file", &file]));
    assert!(said.contains("service://nightly"), "{said}");
    let secret = fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(!said.contains(&secret) && !has_recorded(&server, &secret), "H04");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let output = bulla(&server, "app", &["whoami", "--token-file", &file]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(78) && said.contains("chmod 600"), "B09: {said}");
    assert!(!said.contains(&secret));
}

#[tokio::test]
async fn a_rotated_file_is_followed_and_the_credential_before_it_can_be_revoked() {
    let server = served();
    let (first, second) = (account(&server, "before"), account(&server, "after"));
    let file = server.path("current");
    fs::rename(&first, &file).unwrap();
    let client = Client::connect(nobody(&server).token_file(&file)).await.unwrap();
    let who = async || client.who_am_i(kms::WhoAmIRequest {}).await.map(|who| who.principal);
    assert_eq!(who().await.unwrap(), "service://before");
    fs::rename(&second, &file).unwrap();
    let ended = kms::DeleteServiceAccountRequest { name: "before".into(), ..Default::default() };
    server.client("operator").await.delete_service_account(ended).await.unwrap();
    assert_eq!(who().await.unwrap(), "service://after");
    fs::remove_file(&file).unwrap();
    assert_eq!(who().await.unwrap_err().kind(), Kind::Config);
}

#[tokio::test]
async fn b07_a_certificate_and_a_credential_of_somebody_else_are_refused_by_the_server() {
    let server = served();
    let file = account(&server, "other");
    let both = Client::connect(server.client_config("app").token_file(&file)).await.unwrap();
    let refused = both.who_am_i(kms::WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(refused.reason(), "UNAUTHENTICATED");
}

#[tokio::test]
async fn a11_an_exchanged_token_is_written_for_its_owner_alone_and_is_less_than_its_caller() {
    let server = served();
    let file = server.path("token").display().to_string();
    let exchange = ["token", "exchange", "--actions", "crypto.decrypt", "--out", &file];
    let said = done(bulla(&server, "app", &exchange));
    assert_eq!(mode(Path::new(&file)), 0o600);
    let token = fs::read_to_string(&file).unwrap();
    assert!(!said.contains(token.trim()), "{said}");
    let client = Client::connect(nobody(&server).token_file(&file)).await.unwrap();
    let who = client.who_am_i(kms::WhoAmIRequest {}).await.unwrap();
    assert_eq!((who.principal, &*who.credential_kind), (spiffe_id("app"), "exchanged"));
    assert!(client.generate_random(kms::GenerateRandomRequest { random_bytes: 8 }).await.is_err());
    let output = bulla(&server, "app", &exchange);
    assert_eq!(output.status.code(), Some(73), "an earlier one is not overwritten");
    let shown = done(bulla(&server, "app", &["token", "exchange", "--out", "-"]));
    assert!(shown.starts_with("ey") && shown.lines().count() == 1, "{shown}");
}

#[tokio::test]
async fn a_credential_for_an_age_recipient_leaves_the_server_in_no_other_form() {
    let server = served();
    let operator = server.client("operator").await;
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    done(bulla(&server, "operator", &["service-account", "create", "sealed"]));
    let file = server.path("sealed.age").display().to_string();
    let create = ["credential", "create", "sealed", "--age-recipient", &recipient, "--out", &file];
    done(bulla(&server, "operator", &create));
    let sealed = fs::read(&file).unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("bulla_"));
    let opened = String::from_utf8(age::decrypt(&identity, &sealed).unwrap()).unwrap();
    let client = Client::connect(nobody(&server).token(opened)).await.unwrap();
    let who = client.who_am_i(kms::WhoAmIRequest {}).await.unwrap();
    assert_eq!(who.principal, "service://sealed");
    let ask = kms::CreateCredentialRequest {
        service_account: "sealed".into(),
        age_recipient: recipient,
        ..Default::default()
    };
    let answer = operator.create_credential(ask.clone()).await.unwrap();
    assert!(answer.secret.is_empty() && !answer.sealed_secret.is_empty());
    operator
        .revoke_credential(kms::RevokeCredentialRequest {
            credential_id: answer.credential.unwrap().credential_id,
            ..Default::default()
        })
        .await
        .unwrap();
    // What cannot be sealed to is refused before anything is made.
    let plugin = "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t";
    for bad in ["age1nobody", plugin] {
        let bad = kms::CreateCredentialRequest { age_recipient: bad.into(), ..ask.clone() };
        assert_eq!(operator.create_credential(bad).await.unwrap_err().reason(), "INVALID_ARGUMENT");
    }
    let list =
        kms::ListCredentialsRequest { service_account: "sealed".into(), ..Default::default() };
    assert_eq!(operator.list_credentials(list).await.unwrap().credentials.len(), 1);
}
