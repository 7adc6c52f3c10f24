//! The checked-in stubs are what the `.proto` files say, made without `protoc`.
//!
//! `BULLA_BLESS=1 cargo test -p bulla-proto` writes them anew.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn checked_in_stubs_are_what_the_proto_files_say() {
    let made = tempfile::tempdir().unwrap();
    generate(made.path());
    let kept = root().join("src/gen");
    if std::env::var_os("BULLA_BLESS").is_some() {
        fs::create_dir_all(&kept).unwrap();
        for name in stubs(made.path()) {
            fs::copy(made.path().join(&name), kept.join(&name)).unwrap();
        }
    }
    assert_eq!(stubs(made.path()), stubs(&kept), "a package was added or removed");
    for name in stubs(made.path()) {
        let (fresh, checked_in) = (read(&made.path().join(&name)), read(&kept.join(&name)));
        assert!(
            fresh == checked_in,
            "proto/src/gen/{name} is stale; run BULLA_BLESS=1 cargo test -p bulla-proto"
        );
    }
}

fn generate(out_dir: &Path) {
    let files = [
        "bulla/kms/v1/crypto.proto",
        "bulla/kms/v1/keys.proto",
        "bulla/kms/v1/rotation.proto",
        "bulla/kms/v1/access.proto",
        "bulla/kms/v1/tenants.proto",
        "bulla/kms/v1/approvals.proto",
        "bulla/kms/v1/audit.proto",
        "bulla/kms/v1/operator.proto",
        "bulla/kms/v1/echo.proto",
        "bulla/store/v1/bodies.proto",
        "bulla/store/v1/record.proto",
        "grpc/health/v1/health.proto",
    ];
    let descriptors = protox::compile(files, [root()]).unwrap();
    fs::write(out_dir.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))
        .unwrap();
    tonic_prost_build::configure()
        .out_dir(out_dir)
        .build_transport(false)
        // Sorted by the bytes of the key, which is the order that the wrapped format wants; and no
        // hash table that a caller could flood.
        .btree_map(".")
        // These hold a secret; `src/lib.rs` gives each a `Debug` that does not show it.
        .skip_debug([
            ".bulla.kms.v1.GenerateDataKeyResponse",
            ".bulla.kms.v1.DataKey",
            ".bulla.kms.v1.EncryptRequest",
            ".bulla.kms.v1.DecryptResponse",
            ".bulla.kms.v1.GenerateRandomResponse",
            ".bulla.kms.v1.CreateCredentialResponse",
            ".bulla.kms.v1.ExchangeTokenResponse",
        ])
        .compile_fds(descriptors)
        .unwrap();
}

fn stubs(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".rs") || name.ends_with(".bin"))
        .collect();
    names.sort();
    names
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
