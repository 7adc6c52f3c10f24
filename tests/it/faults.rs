//! Faults around the server: a clear error, and nothing lost.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use bulla_client::{Client, Error, Kind, Retries, kms};
use rusqlite::Connection;

use crate::server::TestServer;

const CONFIGURATION: i32 = 78;
const CANNOT_CREATE: i32 = 73;
const UNAVAILABLE: i32 = 69;

/// `bulla_row.kind` of a key and of a version.
const KEY: u8 = 4;
const VERSION: u8 = 5;

fn context(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("row".to_owned(), value.to_owned())])
}

async fn create(operator: &Client) -> String {
    let made = operator.create_key(kms::CreateKeyRequest::default()).await.unwrap();
    made.key.unwrap().key_id
}

async fn seal(app: &Client, key: &str, value: &str) -> kms::GenerateDataKeyResponse {
    let request = kms::GenerateDataKeyRequest {
        key: key.to_owned(),
        encryption_context: context(value),
        key_bytes: 32,
        store: 0,
    };
    app.generate_data_key(request).await.unwrap()
}

async fn open(
    app: &Client,
    blob: &kms::GenerateDataKeyResponse,
    value: &str,
    key: &str,
) -> Result<kms::DecryptResponse, Error> {
    let request = kms::DecryptRequest {
        ciphertext: blob.ciphertext.clone(),
        encryption_context: context(value),
        key: key.to_owned(),
    };
    app.decrypt(request).await
}

async fn opens(app: &Client, blob: &kms::GenerateDataKeyResponse, value: &str) {
    assert_eq!(open(app, blob, value, "").await.unwrap().plaintext, blob.plaintext);
}

/// An installation that has been used: its key, a blob, and the server stopped.
async fn used() -> (TestServer, kms::GenerateDataKeyResponse) {
    let mut server = TestServer::start();
    let key = create(&server.client("operator").await).await;
    let blob = seal(&server.client("app").await, &key, "1").await;
    assert_eq!(server.stop(), 0);
    (server, blob)
}

/// The start is refused so, `put_back` undoes the fault, and then everything is there.
async fn refused_and_then_whole(
    mut server: TestServer,
    blob: &kms::GenerateDataKeyResponse,
    exit: i32,
    text: &str,
    put_back: impl FnOnce(&TestServer),
) {
    let (code, said) = server.serve_refused();
    assert!(said.contains(text), "expected {text:?}: {said}");
    assert_eq!(code, exit, "{said}");
    put_back(&server);
    server.serve();
    opens(&server.client("app").await, blob, "1").await;
    assert_eq!(server.stop(), 0);
}

// === the key file ===

#[tokio::test]
async fn f06_a_missing_key_file_is_named() {
    let (server, blob) = used().await;
    fs::rename(server.path("root.key"), server.path("away")).unwrap();
    refused_and_then_whole(server, &blob, CONFIGURATION, "is missing; put it back", |server| {
        assert!(!server.path("root.key").exists(), "no new key file is ever made");
        fs::rename(server.path("away"), server.path("root.key")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn f06_a_wrong_or_malformed_key_file_is_told_apart() {
    let (server, blob) = used().await;
    let right = fs::read(server.path("root.key")).unwrap();
    let wrong = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=\n";
    for malformed in ["", "\n", "QkI=\n", "not base64 at all, and of no use to anybody\n"] {
        fs::write(server.path("root.key"), malformed).unwrap();
        let (code, said) = server.serve_refused();
        assert!(said.contains("does not hold 32 bytes in base64"), "{malformed:?}: {said}");
        assert_eq!(code, CONFIGURATION);
    }
    fs::write(server.path("root.key"), wrong).unwrap();
    let text = "is not the one that this store was made with";
    refused_and_then_whole(server, &blob, CONFIGURATION, text, |server| {
        fs::write(server.path("root.key"), right).unwrap();
    })
    .await;
}

#[tokio::test]
async fn f06_a_key_file_that_others_can_read_is_refused() {
    let (server, blob) = used().await;
    let mode = |server: &TestServer, mode| {
        fs::set_permissions(server.path("root.key"), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&server, 0o644);
    refused_and_then_whole(server, &blob, CONFIGURATION, "run: chmod 600", |server| {
        mode(server, 0o600);
    })
    .await;
}

// === the database ===

#[tokio::test]
async fn a_missing_database_is_named_and_never_made() {
    let (server, blob) = used().await;
    fs::rename(server.path("data/bulla.db"), server.path("away")).unwrap();
    refused_and_then_whole(server, &blob, UNAVAILABLE, "there is no database at", |server| {
        assert!(!server.path("data/bulla.db").exists());
        fs::rename(server.path("away"), server.path("data/bulla.db")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_second_server_on_the_same_installation_is_refused_and_the_first_goes_on() {
    let (mut server, blob) = used().await;
    server.serve();
    let (code, said) = server.serve_refused();
    assert!(said.contains("is in use by another process"), "{said}");
    assert_eq!(code, UNAVAILABLE);
    opens(&server.client("app").await, &blob, "1").await;
    assert_eq!(server.stop(), 0);
}

#[tokio::test]
async fn a_data_directory_that_is_a_file_is_named() {
    let (server, blob) = used().await;
    fs::rename(server.path("data"), server.path("away")).unwrap();
    fs::write(server.path("data"), "a file").unwrap();
    refused_and_then_whole(server, &blob, UNAVAILABLE, "data/bulla.db", |server| {
        assert_eq!(fs::read(server.path("data")).unwrap(), b"a file");
        fs::remove_file(server.path("data")).unwrap();
        fs::rename(server.path("away"), server.path("data")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_something_else_is_named() {
    let (server, blob) = used().await;
    let right = fs::read(server.path("data/bulla.db")).unwrap();
    fs::write(server.path("data/bulla.db"), vec![b'x'; 8192]).unwrap();
    let text = "is not a database of Bulla's";
    refused_and_then_whole(server, &blob, UNAVAILABLE, text, |server| {
        assert_eq!(fs::read(server.path("data/bulla.db")).unwrap(), vec![b'x'; 8192]);
        fs::write(server.path("data/bulla.db"), right).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_database_of_another_environment_is_refused() {
    let (server, blob) = used().await;
    let config = fs::read_to_string(server.path("bulla.toml")).unwrap();
    let other = config.replace("\"development\"", "\"staging\"");
    fs::write(server.path("bulla.toml"), other).unwrap();
    let text = "the store was made for development, and this server is configured for staging";
    refused_and_then_whole(server, &blob, CONFIGURATION, text, |server| {
        fs::write(server.path("bulla.toml"), config).unwrap();
    })
    .await;
}

// === the audit log ===

const SEGMENT: &str = "data/audit/segments/00000000000000000001-0000.seg";

#[tokio::test]
async fn a_missing_audit_log_is_refused_until_a_new_one_is_asked_for() {
    let (mut server, blob) = used().await;
    fs::remove_dir_all(server.path("data/audit")).unwrap();
    let (code, said) = server.serve_refused();
    assert!(said.contains("start a new one with --new-audit-log"), "{said}");
    assert_eq!(code, CONFIGURATION);
    assert!(!server.path("data/audit").exists());
    server.serve_with(&["--new-audit-log"]);
    opens(&server.client("app").await, &blob, "1").await;
    assert_eq!(server.stop(), 0);
    server.serve();
}

#[tokio::test]
async fn h01_a_flipped_byte_in_the_audit_log_is_found_at_the_start() {
    let (server, blob) = used().await;
    let right = fs::read(server.path(SEGMENT)).unwrap();
    // Of the third record, in the middle of its payload.
    let mut offset = bulla::audit::SEGMENT_HEADER_BYTES;
    let length = |at: usize| u32::from_be_bytes(right[at..at + 4].try_into().unwrap()) as usize;
    for _ in 0..2 {
        offset += 16 + length(offset) + 32;
    }
    let mut wrong = right.clone();
    wrong[offset + 16 + length(offset) / 2] ^= 1;
    fs::write(server.path(SEGMENT), &wrong).unwrap();
    let text = "the audit log's chain is broken at sequence 3";
    refused_and_then_whole(server, &blob, UNAVAILABLE, text, |server| {
        assert_eq!(fs::read(server.path(SEGMENT)).unwrap(), wrong, "nothing is cut off");
        fs::write(server.path(SEGMENT), right).unwrap();
    })
    .await;
}

// === rows that were changed by hand ===

fn id(key: &str) -> Vec<u8> {
    uuid::Uuid::parse_str(key).unwrap().as_bytes().to_vec()
}

/// The body and the MAC of the row of this kind whose id begins so.
fn row(store: &Connection, kind: u8, key: &str) -> (Vec<u8>, Vec<u8>) {
    let text = "SELECT body, mac FROM bulla_row WHERE kind = ? AND substr(id, 1, 16) = ?";
    store.query_row(text, (kind, id(key)), |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

fn write(store: &Connection, kind: u8, key: &str, (body, mac): (Vec<u8>, Vec<u8>)) {
    let text = "UPDATE bulla_row SET body = ?, mac = ? WHERE kind = ? AND substr(id, 1, 16) = ?";
    assert_eq!(store.execute(text, (body, mac, kind, id(key))).unwrap(), 1);
}

#[tokio::test]
async fn g01_a_row_changed_by_hand_refuses_and_the_others_work() {
    let mut server = TestServer::start();
    let (operator, app) = (server.client("operator").await, server.client("app").await);
    let (mut keys, mut blobs) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let key = create(&operator).await;
        blobs.push(seal(&app, &key, "1").await);
        keys.push(key);
    }
    drop((operator, app));
    assert_eq!(server.stop(), 0);
    {
        let store = Connection::open(server.path("data/bulla.db")).unwrap();
        let (mut body, mac) = row(&store, KEY, &keys[0]);
        let last = body.len() - 1;
        body[last] ^= 1;
        write(&store, KEY, &keys[0], (body, mac));
        let (body, mut mac) = row(&store, VERSION, &keys[1]);
        mac[0] ^= 1;
        write(&store, VERSION, &keys[1], (body, mac));
        let (second, third) = (row(&store, VERSION, &keys[2]), row(&store, VERSION, &keys[3]));
        write(&store, VERSION, &keys[2], third);
        write(&store, VERSION, &keys[3], second);
        let (mut body, mac) = row(&store, VERSION, &keys[4]);
        body[0] ^= 0x80;
        write(&store, VERSION, &keys[4], (body, mac));
    }
    server.serve();
    let (operator, app) = (server.client("operator").await, server.client("app").await);
    for (index, blob) in blobs.iter().enumerate().take(5) {
        let error = open(&app, blob, "1", "").await.unwrap_err();
        assert_eq!(error.reason(), "INTERNAL", "row {index}: {error}");
        let generated = app
            .generate_data_key(kms::GenerateDataKeyRequest {
                key: keys[index].clone(),
                key_bytes: 32,
                ..Default::default()
            })
            .await;
        assert_eq!(generated.unwrap_err().reason(), "INTERNAL", "row {index}");
        let rotated = operator
            .rotate_key(kms::RotateKeyRequest { key: keys[index].clone(), ..Default::default() })
            .await;
        assert_eq!(rotated.unwrap_err().reason(), "INTERNAL", "row {index}");
    }
    opens(&app, &blobs[5], "1").await;
    let auditor = server.client("auditor").await;
    let request = kms::ListRecordsRequest { after_sequence: 0, page_size: 1000, filter: None };
    let records = auditor.list_records(request).await.unwrap().records;
    for key in &keys[..5] {
        let of_key = records.iter().filter(|record| {
            record.action == "crypto.decrypt"
                && record.outcome == "FAILED"
                && record.class == "row_tampered"
                && record.key_id == *key
        });
        assert_eq!(of_key.count(), 1, "{key}");
    }
}

// === blobs ===

#[tokio::test]
async fn a_blob_opens_after_rotations_and_a_restart_and_never_elsewhere() {
    let mut server = TestServer::start();
    let (operator, app) = (server.client("operator").await, server.client("app").await);
    let (key, other) = (create(&operator).await, create(&operator).await);
    let blob = seal(&app, &key, "1").await;
    assert_eq!(blob.version, 1);
    opens(&app, &blob, "1").await;
    for rotation in 1..=10 {
        let request = kms::RotateKeyRequest { key: key.clone(), ..Default::default() };
        let version = operator.rotate_key(request).await.unwrap().version.unwrap();
        assert_eq!(version.version, rotation + 1);
        opens(&app, &blob, "1").await;
    }
    assert_eq!(seal(&app, &key, "1").await.version, 11);
    assert_eq!(server.stop(), 0);
    server.serve();
    let app = server.client("app").await;
    opens(&app, &blob, "1").await;
    assert_eq!(open(&app, &blob, "1", &key).await.unwrap().plaintext, blob.plaintext);
    for (value, key) in [("2", ""), ("", ""), ("1", other.as_str())] {
        let error = open(&app, &blob, value, key).await.unwrap_err();
        assert_eq!(error.reason(), "INVALID_CIPHERTEXT", "{value:?} {key:?}");
    }
    let stranger = server.client("app2").await;
    // A tenant is not even told that there is such a key.
    for (key, reason) in [("", "INVALID_CIPHERTEXT"), (key.as_str(), "PERMISSION_DENIED")] {
        let error = open(&stranger, &blob, "1", key).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{key:?}: {error}");
    }
}

#[tokio::test]
async fn a_request_id_repeated_after_a_restart_gives_the_same_outcome_once() {
    let mut server = TestServer::start();
    let operator = server.client("operator").await;
    let made = kms::CreateKeyRequest { request_id: "made-once".into(), ..Default::default() };
    let key = operator.create_key(made.clone()).await.unwrap().key.unwrap().key_id;
    let rotated = kms::RotateKeyRequest {
        key: key.clone(),
        request_id: "rotated-once".into(),
        ..Default::default()
    };
    let version = operator.rotate_key(rotated.clone()).await.unwrap().version.unwrap().version;
    for kill in [false, true] {
        if kill {
            server.kill()
        } else {
            assert_eq!(server.stop(), 0)
        }
        server.serve();
        let operator = server.client("operator").await;
        let again = operator.create_key(made.clone()).await.unwrap().key.unwrap();
        assert_eq!((again.key_id, again.latest_version), (key.clone(), version));
        let again = operator.rotate_key(rotated.clone()).await.unwrap();
        assert_eq!(again.version.unwrap().version, version);
        let keys = operator.list_keys(kms::ListKeysRequest::default()).await.unwrap().keys;
        assert_eq!(keys.len(), 1);
        let other = kms::RotateKeyRequest { reason: "another".into(), ..rotated.clone() };
        let error = operator.rotate_key(other).await.unwrap_err();
        assert_eq!(error.reason(), "INVALID_ARGUMENT");
        assert_eq!(error.field_violations()[0].field, "request_id");
    }
}

// === stopping ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_finishes_what_is_in_flight_and_exits_with_0() {
    let mut server = TestServer::start();
    let config = server.client_config("operator").retries(Retries::none());
    let operator = Client::connect(config).await.unwrap();
    let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..64 {
        let (operator, answered) = (operator.clone(), answered.clone());
        tokio::spawn(async move {
            // Until the server turns it away.
            loop {
                let answer = operator.create_key(kms::CreateKeyRequest::default()).await;
                let is_last = answer.is_err();
                let _ = answered.send(answer);
                if is_last {
                    return;
                }
            }
        });
    }
    drop(answered);
    // From the first answer on there are always others on their way.
    let mut made = vec![answers.recv().await.unwrap().unwrap().key.unwrap().key_id];
    server.terminate();
    let mut turned_away = 0;
    while let Some(answer) = answers.recv().await {
        match answer {
            Ok(answer) => made.push(answer.key.unwrap().key_id),
            Err(error) => {
                assert!(error.is_retryable() && error.kind() != Kind::Deadline, "{error}");
                turned_away += 1;
            }
        }
    }
    assert_eq!(server.ended(), 0, "{}", server.log());
    assert!(server.log().contains("stopped"));
    assert_eq!(turned_away, 64);
    println!("drain: {} answered, {turned_away} turned away", made.len());
    server.serve();
    let operator = server.client("operator").await;
    let request = kms::ListKeysRequest { page_size: 1000, ..Default::default() };
    let keys = operator.list_keys(request).await.unwrap().keys;
    let mut stored: Vec<_> = keys.into_iter().map(|key| key.key_id).collect();
    stored.sort();
    made.sort();
    assert_eq!(stored, made, "what was begun was answered");
}

// === init ===

fn all_files(server: &TestServer) -> Vec<(String, Vec<u8>)> {
    ["root.key", "data/bulla.db", "data/bulla.db-wal", "data/audit/lock", SEGMENT]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), fs::read(server.path(name)).ok()?)))
        .collect()
}

#[tokio::test]
async fn init_over_an_installation_is_refused_and_changes_nothing() {
    let (mut server, blob) = used().await;
    let before = all_files(&server);
    for arguments in [&["--make-key-file"][..], &[]] {
        let mut init = server.command("init");
        init.args(arguments);
        let (code, said) = server.refused(init);
        assert_eq!(code, CANNOT_CREATE, "{said}");
        assert!(said.contains("exists already"), "{said}");
        assert!(all_files(&server) == before);
    }
    // Neither does half of an installation let it begin.
    for left in ["data/bulla.db", SEGMENT, "root.key"] {
        for (name, _) in &before {
            fs::remove_file(server.path(name)).unwrap();
        }
        fs::remove_dir_all(server.path("data/audit")).unwrap();
        if *left == *SEGMENT {
            fs::create_dir_all(server.path("data/audit/segments")).unwrap();
        }
        let (name, bytes) = before.iter().find(|(name, _)| name == left).unwrap();
        fs::write(server.path(name), bytes).unwrap();
        let mut init = server.command("init");
        init.arg("--make-key-file");
        let (code, said) = server.refused(init);
        assert!(code != 0 && said.contains("exists already"), "{left}: {said}");
        assert!(all_files(&server) == [(name.clone(), bytes.clone())], "{left}");
        let directory = server.path("data/audit/segments");
        fs::create_dir_all(&directory).unwrap();
        for directory in [&server.path("data/audit"), &directory] {
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
        }
        for (name, bytes) in &before {
            fs::write(server.path(name), bytes).unwrap();
            let mode = fs::Permissions::from_mode(0o600);
            fs::set_permissions(server.path(name), mode).unwrap();
        }
    }
    server.serve();
    opens(&server.client("app").await, &blob, "1").await;
}

#[test]
fn init_leaves_a_log_of_sqlites_that_it_did_not_make() {
    let server = TestServer::prepare("sqlite", "");
    fs::create_dir(server.path("data")).unwrap();
    fs::write(server.path("data/bulla.db-wal"), "the only copy of something").unwrap();
    let mut init = server.command("init");
    init.arg("--make-key-file");
    let (code, said) = server.refused(init);
    assert!(code != 0 && said.contains("bulla.db-wal exists already"), "{said}");
    let left = fs::read(server.path("data/bulla.db-wal")).unwrap();
    assert_eq!(left, b"the only copy of something");
    assert!(!server.path("root.key").exists());
}

#[test]
fn init_that_runs_out_of_room_leaves_nothing() {
    let server = TestServer::prepare("sqlite", "");
    let config = server.path("bulla.toml");
    // Blocks that a file may have: init fails a little later each time, and in the end does not.
    for (failures, blocks) in
        [0, 1, 4, 8, 16, 32, 64, 96, 128, 192, 256, 1024, 4096].into_iter().enumerate()
    {
        let mut init = Command::new("sh");
        let script =
            "trap '' XFSZ; ulimit -f \"$1\"; exec \"$2\" init --config \"$3\" --make-key-file";
        init.args(["-c", script, "sh", &blocks.to_string(), env!("CARGO_BIN_EXE_bulla")]);
        init.arg(&config);
        let (code, said) = server.refused(init);
        if code == 0 {
            println!("init: {failures} failures left nothing");
            assert!(failures > 1);
            return;
        }
        assert!(said.contains("error: "), "{blocks} blocks: {said}");
        assert!(all_files(&server).is_empty(), "{blocks} blocks: {said}");
    }
    panic!("init never had room enough");
}
