//! What there is none of.

use std::fs;

use bulla::service::Refusal;
use bulla_client::kms;
use prost::Message;
use prost_types::FileDescriptorSet;
use sha2::{Digest, Sha256};

use crate::server::TestServer;

#[test]
fn f13_no_method_takes_key_material_from_outside() {
    let set = FileDescriptorSet::decode(bulla_proto::DESCRIPTORS).unwrap();
    let methods: Vec<_> = set
        .file
        .iter()
        .flat_map(|file| &file.service)
        .flat_map(|service| &service.method)
        .map(|method| method.name().to_owned())
        // It says that somebody restored a store of theirs, and carries no key.
        .filter(|method| method != "ReportRestore")
        .collect();
    assert!(methods.len() > 30);
    for word in ["Import", "Export", "Restore", "Wrap", "Unwrap"] {
        assert!(methods.iter().all(|name| !name.contains(word)), "{word}: {methods:?}");
    }
}

/// What an attacker could guess byte by byte is compared in five places, and in none by what ends early.
#[test]
fn c04_what_is_secret_is_compared_in_constant_time_and_nowhere_else() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut constant: std::collections::BTreeMap<String, usize> = Default::default();
    let mut early = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root.join("src")).unwrap().display().to_string();
            let text = fs::read_to_string(&path).unwrap();
            // What tests compare is nobody's secret.
            let text = text.split("#[cfg(test)]").next().unwrap();
            let count = text.matches(".ct_eq(").count();
            if count > 0 {
                constant.insert(name.clone(), count);
            }
            let is_of_tests = name.contains("tests") || name == "crypto/self_test.rs";
            for line in text.lines().filter(|_| !is_of_tests) {
                let words: Vec<&str> = line.split_whitespace().collect();
                for place in 1..words.len().saturating_sub(1) {
                    let sides = [words[place - 1], words[place + 1]];
                    let secret = |side: &str| {
                        let last = side.rsplit('.').next().unwrap();
                        ["secret", "secret_digest", "mac", "commitment", "thumbprint", "pin"]
                            .iter()
                            .any(|word| last.trim_end_matches([')', '(', '{', ',', ';']) == *word)
                    };
                    if ["==", "!="].contains(&words[place]) && sides.into_iter().any(secret) {
                        early.push(format!("{name}: {}", line.trim()));
                    }
                }
            }
        }
    }
    let expected = [
        ("auth/identify.rs", 1),
        ("crypto/keys.rs", 2),
        ("crypto/suite.rs", 1),
        ("custody/credentials.rs", 1),
    ];
    assert_eq!(constant, expected.map(|(name, count)| (name.to_owned(), count)).into());
    assert!(early.is_empty(), "{early:#?}");
}

/// What the log is told of a failure, its caller never is.
#[test]
fn i02_no_failure_tells_its_caller_a_path_a_statement_or_a_version() {
    let problem = "open /var/lib/bulla/store.db: SQLite 3.51.3: SELECT body FROM rows".to_owned();
    let refusals = [
        Refusal::StoreUnavailable { problem: problem.clone() },
        Refusal::AuditUnavailable { problem: problem.clone() },
        Refusal::Internal { class: "row_tampered", problem: problem.clone() },
    ];
    for refusal in refusals {
        assert_eq!(refusal.problem(), problem, "the log is told");
        let text = refusal.to_string();
        for word in ["/", "SELECT", "SQLite", "3.51", "row_tampered", "store.db"] {
            assert!(!text.contains(word), "{text}");
        }
    }
    // Nor why it was refused: that is in the record alone.
    let classes = ["no_policy", "not_found", "out_of_scope", "other_tenant"];
    let denied = classes.map(|class| Refusal::Denied { class }.to_string());
    let closed = classes.map(|class| Refusal::InvalidCiphertext { class }.to_string());
    for texts in [denied, closed] {
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_neither_a_plaintext_nor_its_digest_is_kept_anywhere() {
    let mut server = TestServer::start();
    let operator = server.client("operator").await;
    let app = server.client("app").await;
    let create = kms::CreateKeyRequest { alias: "kept".into(), ..Default::default() };
    operator.create_key(create).await.unwrap();
    let mut secrets = Vec::new();
    for _ in 0..20 {
        let asked = kms::GenerateDataKeyRequest { key: "kept".into(), ..Default::default() };
        secrets.push(app.generate_data_key(asked).await.unwrap().plaintext);
    }
    let plaintext = b"a small payload of twenty-nine b".to_vec();
    let encrypt = kms::EncryptRequest {
        key: "kept".into(),
        plaintext: plaintext.clone(),
        ..Default::default()
    };
    app.encrypt(encrypt).await.unwrap();
    secrets.push(plaintext);
    assert_eq!(server.stop(), 0, "{}", server.log());
    let (mut files, mut kept) = (0, Vec::new());
    for folder in ["data", "data/audit", "data/audit/segments"] {
        let entries = fs::read_dir(server.path(folder)).unwrap().map(|entry| entry.unwrap().path());
        kept.extend(entries.filter(|path| path.is_file()));
    }
    for path in kept {
        let mut kept = fs::read(path).unwrap();
        kept.truncate(kept.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
        files += usize::from(!kept.is_empty());
        for secret in &secrets {
            let digest = Sha256::digest(secret).to_vec();
            for needle in [secret.clone(), digest.clone(), hex::encode(&digest).into_bytes()] {
                assert!(!kept.windows(needle.len()).any(|window| window == needle));
            }
        }
    }
    assert!(files >= 2, "a database and an audit log");
    let log = server.log();
    assert!(secrets.iter().all(|secret| !log.contains(&hex::encode(secret))));
}

#[tokio::test(flavor = "multi_thread")]
async fn g03_what_wraps_was_durable_before_it_wrapped() {
    let mut server = TestServer::start();
    let operator = server.client("operator").await;
    let app = server.client("app").await;
    let create = kms::CreateKeyRequest { alias: "turned".into(), ..Default::default() };
    operator.create_key(create).await.unwrap();
    for expected in 2..6 {
        let rotate = kms::RotateKeyRequest { key: "turned".into(), ..Default::default() };
        operator.rotate_key(rotate).await.unwrap();
        let asked = kms::GenerateDataKeyRequest { key: "turned".into(), ..Default::default() };
        let made = app.generate_data_key(asked).await.unwrap();
        assert_eq!(made.version, expected);
        server.kill();
        server.serve();
        let decrypt = kms::DecryptRequest { ciphertext: made.ciphertext, ..Default::default() };
        assert_eq!(app.decrypt(decrypt).await.unwrap().plaintext, made.plaintext);
    }
}
