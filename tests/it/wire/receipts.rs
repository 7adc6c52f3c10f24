//! Receipts: by what a caller finds the record of its call again, whether it was answered or refused.

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};

use bulla_client::{Client, Items, Receipt};
use bulla_proto::kms;
use tonic::Code;

use super::{blob, decrypt_of, fresh, new_key, refused};
use crate::server::TestServer;
use crate::transcripts::Callers;

/// A client that keeps its receipts, and where they are.
type Kept = Arc<Mutex<Vec<(&'static str, Receipt)>>>;

fn keeping(client: &Client) -> (Client, Kept) {
    let kept = Kept::default();
    let to = Arc::clone(&kept);
    let keep = move |method, receipt| to.lock().unwrap().push((method, receipt));
    (client.with_receipts(keep), kept)
}

fn only(kept: &Kept) -> (&'static str, Receipt) {
    let mut kept = kept.lock().unwrap();
    assert_eq!(kept.len(), 1);
    kept.pop().unwrap()
}

/// The record that a receipt names, which has the hash that the receipt says.
async fn record_of(auditor: &Client, receipt: Receipt) -> kms::Record {
    let asked = kms::GetRecordRequest { sequence: receipt.sequence };
    let found = auditor.get_record(asked).await.unwrap();
    assert_eq!(found.hash, receipt.hash);
    found.record.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h01_a_receipt_names_the_record_of_what_was_done_and_of_what_was_refused() {
    let server = TestServer::start();
    let (operator, app) = (server.client("operator").await, server.client("app").await);
    let auditor = server.client("auditor").await;
    let key = new_key(&operator).await;
    let (app, kept) = keeping(&app);

    let sealed = blob(&app, &key, &[("table", "cards")]).await;
    let (method, receipt) = only(&kept);
    let record = record_of(&auditor, receipt).await;
    assert_eq!(method, "generate_data_key");
    assert_eq!((record.action.as_str(), record.outcome.as_str()), (GENERATE, "SUCCEEDED"));
    assert_eq!(record.items_root, Items::of([sealed.ciphertext.as_slice()]).root());

    let wrong = app.decrypt(decrypt_of(&sealed.ciphertext, &[])).await;
    assert_eq!(refused(wrong).0, Code::InvalidArgument);
    let record = record_of(&auditor, only(&kept).1).await;
    assert_eq!((record.action.as_str(), record.outcome.as_str()), ("crypto.decrypt", "REFUSED"));

    // Not allowed, not understood, and too large for its method.
    let denied = app.create_key(kms::CreateKeyRequest::default()).await;
    assert_eq!(refused(denied).0, Code::PermissionDenied);
    let record = record_of(&auditor, only(&kept).1).await;
    assert_eq!((record.action.as_str(), record.outcome.as_str()), ("keys.create_key", "REFUSED"));
    let random = app.generate_random(kms::GenerateRandomRequest { random_bytes: 9_999 }).await;
    assert_eq!(refused(random).0, Code::InvalidArgument);
    assert_eq!(record_of(&auditor, only(&kept).1).await.outcome, "REFUSED");
    let too_large = decrypt_of(&vec![0; 2 * 1024 * 1024], &[]);
    assert_eq!(refused(app.decrypt(too_large).await).0, Code::ResourceExhausted);
    assert_eq!(record_of(&auditor, only(&kept).1).await.action, "malformed_request");

    // Of a change, its end.
    let (operator, kept) = keeping(&operator);
    new_key(&operator).await;
    let record = record_of(&auditor, only(&kept).1).await;
    assert_eq!((record.action.as_str(), record.outcome.as_str()), ("keys.create_key", "SUCCEEDED"));
    assert_ne!(record.started_sequence, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h01_one_record_stands_for_a_batch_and_proves_each_item_of_it() {
    let server = TestServer::start();
    let operator = server.client("operator").await;
    let auditor = server.client("auditor").await;
    let key = new_key(&operator).await;
    let (app, kept) = keeping(&server.client("app").await);
    let asked = kms::GenerateDataKeysRequest { key, count: 100, ..Default::default() };
    let made = app.generate_data_keys(asked).await.unwrap().data_keys;
    let record = record_of(&auditor, only(&kept).1).await;
    assert_eq!(record.items, 100);
    let root = record.items_root.try_into().unwrap();
    let blobs: Vec<_> = made.iter().map(|made| made.ciphertext.as_slice()).collect();
    let items = Items::of(blobs.iter().copied());
    for (index, blob) in blobs.iter().enumerate() {
        let proof = items.prove(index as u64).unwrap();
        proof.verify(blob, &root).unwrap();
        assert!(proof.verify(blobs[(index + 1) % 100], &root).is_err());
        assert_eq!(proof.hashes.len(), if index < 96 { 7 } else { 4 }, "{index}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn h01_sixty_four_callers_at_once_each_get_the_receipt_of_their_own_record() {
    let server = Arc::new(TestServer::start());
    let key = new_key(&server.client("operator").await).await;
    let auditor = server.client("auditor").await;
    let app = server.client("app").await;
    let calls: Vec<_> = (0..64)
        .map(|_| {
            let (app, kept) = keeping(&app);
            let (key, name) = (key.clone(), fresh("caller"));
            tokio::spawn(async move {
                let mut told = Vec::new();
                for call in 0..8 {
                    let row = format!("{name}/{call}");
                    let sealed = blob(&app, &key, &[("row", &row)]).await;
                    told.push((row, sealed.ciphertext, only(&kept).1));
                }
                told
            })
        })
        .collect();
    let mut count = 0;
    for call in calls {
        for (row, ciphertext, receipt) in call.await.unwrap() {
            let record = record_of(&auditor, receipt).await;
            assert_eq!(record.encryption_context["row"], row);
            assert_eq!(record.items_root, Items::of([ciphertext.as_slice()]).root());
            count += 1;
        }
    }
    assert_eq!(count, 512);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_kept_receipts_are_checked_against_the_signed_log() {
    let server = TestServer::start();
    let key = new_key(&server.client("operator").await).await;
    let kept = server.path("receipts.txt");
    let cli = |caller: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
        command.envs(server.environment(caller)).args(["--output", "json"]);
        command
    };
    for _ in 0..3 {
        let mut generate = cli("app");
        generate.args(["datakey", "generate", "--without-plaintext", &key, "--keep-receipts"]);
        let made = generate.arg(&kept).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let lines = fs::read_to_string(&kept).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    let pinned = server.path("pinned.pub");
    fs::copy(server.path("data/audit/key.pub"), &pinned).unwrap();
    let verified = || {
        let mut verify = cli("auditor");
        verify.args(["audit", "verify", "--public-key"]).arg(&pinned);
        verify.arg("--state").arg(server.path("state")).arg("--receipts").arg(&kept);
        let output = verify.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // The checkpoint over the last of them is a second away at most.
    let last = Receipt::parse(lines.lines().last().unwrap().split_once(' ').unwrap().1).unwrap();
    let auditor = server.client("auditor").await;
    loop {
        let checkpoint =
            auditor.get_checkpoint(kms::GetCheckpointRequest::default()).await.unwrap();
        let text = String::from_utf8(checkpoint.checkpoint).unwrap();
        if text.lines().nth(1).unwrap().parse::<u64>().unwrap() >= last.sequence {
            break;
        }
        // Each look is a record of its own, which is verified below.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (code, said) = verified();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"receipts\": 3"), "{said}");

    let mut hash = last.hash;
    hash[31] ^= 1;
    let forged = Receipt { hash, ..last };
    fs::write(&kept, format!("generate_data_key {forged}\n")).unwrap();
    let (code, _) = verified();
    assert_eq!(code, Some(65));
    let never = Receipt { sequence: 1_000_000, ..last };
    fs::write(&kept, format!("generate_data_key {never}\n")).unwrap();
    let (code, _) = verified();
    assert_eq!(code, Some(65));
}

const GENERATE: &str = "crypto.generate_data_key";
