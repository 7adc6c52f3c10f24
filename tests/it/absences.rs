//! What there is none of.

use std::fs;

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
    let mut files = 0;
    for entry in fs::read_dir(server.path("data")).unwrap() {
        let kept = fs::read(entry.unwrap().path()).unwrap();
        files += 1;
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
