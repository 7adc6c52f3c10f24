//! The published vectors that need a look inside: the bytes of `A`, `H`, the hedge key, and blobs
//! with a salt that is not hedged. `tests/it/vectors.rs` runs the same files from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::backend::{Backend, Ring, RustCrypto};
use super::context::{Binding, EncryptionContext, bound_parts};
use super::header::{BlobKind, Header};
use super::kbkdf::{HEDGE, derive};
use super::suite::KekState;

#[test]
fn every_ok_vector_is_made_byte_for_byte_by_rustcrypto() {
    every_ok_vector_is_made::<RustCrypto>();
}

#[test]
fn every_ok_vector_is_made_byte_for_byte_by_ring() {
    every_ok_vector_is_made::<Ring>();
}

#[test]
fn the_documents_worked_example_is_the_published_vector() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md");
    let document: String = fs::read_to_string(document).unwrap().split_whitespace().collect();
    let files = wrap_files();
    let cases = files.iter().flat_map(|(_, cases)| cases.as_array().unwrap());
    let case = cases.into_iter().find(|case| case["name"] == "hedged_salt").unwrap();
    for field in ["kek", "tenant", "plaintext", "random", "aad_sha256", "hedge_key", "blob"] {
        assert!(document.contains(text(&case[field])), "{field}");
    }
}

fn every_ok_vector_is_made<B: Backend>() {
    let mut ran = 0;
    for (file, cases) in wrap_files() {
        for case in cases.as_array().unwrap().iter().filter(|case| case["expect"] == "ok") {
            ok_vector_is_made::<B>(case, &format!("{file}: {}", case["name"]));
            ran += 1;
        }
    }
    assert!(ran > 0, "no vector was run");
    println!("{}: {ran} vectors made byte for byte", B::NAME);
}

fn ok_vector_is_made<B: Backend>(case: &Value, name: &str) {
    let kind = match text(&case["type"]) {
        "client" => BlobKind::Client,
        "kek" => BlobKind::Kek,
        "tenant" => BlobKind::Tenant,
        "root" => BlobKind::Root,
        "backup" => BlobKind::Backup,
        other => panic!("{name}: type {other}"),
    };
    let version = u32::try_from(case["version"].as_u64().unwrap()).unwrap();
    let store = u32::try_from(case["store"].as_u64().unwrap()).unwrap();
    let header = Header::new(kind, array(&case["key_id"]), version, store).unwrap();
    let tenant = array(&case["tenant"]);
    let context = context(&case["context"]);
    let binding = Binding::new(&header, &tenant, &context);

    let mut bound = Vec::new();
    bound_parts(&header.to_bytes(), &tenant, &context, |part| bound.extend_from_slice(part));
    assert_eq!(bound, bytes(&case["aad"]), "{name}: A");
    assert_eq!(binding.digest()[..], bytes(&case["aad_sha256"]), "{name}: H");
    assert_eq!(binding.digest()[..], Sha256::digest(&bound)[..], "{name}: H of A");

    let kek: [u8; 32] = array(&case["kek"]);
    let mut hedge_key = [0; 32];
    derive::<B>(&B::mac_state(&kek), HEDGE, [&[], &[]], &mut hedge_key);
    assert_eq!(hedge_key[..], bytes(&case["hedge_key"]), "{name}: hedge key");

    let random: [u8; 28] = array(&case["random"]);
    let plaintext = bytes(&case["plaintext"]);
    let state = KekState::<B>::new(&kek);
    let made = if case["hedged"].as_bool().unwrap() {
        state.wrap(&binding, &random, &plaintext)
    } else {
        let (salt, iv) = random.split_at(16);
        let (salt, iv) = (salt.try_into().unwrap(), iv.try_into().unwrap());
        state.wrap_salted(&binding, salt, iv, &plaintext)
    };
    assert_eq!(made.unwrap(), bytes(&case["blob"]), "{name}: blob");
}

/// Every file of the wrapped format, whatever it is called. A file of a format that nobody reads
/// is an error, not a file to pass over.
fn wrap_files() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        match text(&file["format"]) {
            "bulla-wrap-v1" => kept.push((name, file["cases"].take())),
            "bulla-data-v1" | "bulla-data-v2" => {} // Sealed data is the client's, and so are its vectors.
            other => panic!("{name}: nobody reads vectors of format {other}"),
        }
    }
    kept
}

fn context(pairs: &Value) -> EncryptionContext {
    let pairs = pairs.as_array().unwrap().iter();
    let pairs = pairs.map(|pair| (text(&pair[0]).to_owned(), text(&pair[1]).to_owned()));
    EncryptionContext::new(pairs).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = text(value).as_bytes().chunks(2);
    digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
