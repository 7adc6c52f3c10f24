//! The published vectors, through the program's own interface, on both back ends.
//!
//! Every `*.json` in `tests/vectors` is read and told apart by its `format`, so a file that is
//! dropped in is run as well. What needs a look inside (`A`, the hedge key, blobs with a salt that
//! is not hedged) is checked from the same files by the unit tests of `crypto`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bulla::crypto::{
    Backend, Binding, BlobKind, EncryptionContext, Header, Kek, KeyMaterial, OpenFailure,
    Plaintext, Random, RandomFailed, Ring, RustCrypto,
};
use serde_json::Value;

#[test]
fn every_wrap_vector_holds_on_rustcrypto() {
    every_wrap_vector_holds::<RustCrypto>("RustCrypto");
}

#[test]
fn every_wrap_vector_holds_on_ring() {
    every_wrap_vector_holds::<Ring>("ring");
}

#[test]
fn no_vector_file_goes_unread() {
    for (name, file) in files() {
        let format = text(&file["format"]);
        // Sealed data is the client's, whose own tests run these.
        assert!(
            ["bulla-wrap-v1", "bulla-data-v1", "bulla-data-v2"].contains(&format),
            "{name}: format {format}"
        );
        assert!(!file["cases"].as_array().unwrap().is_empty(), "{name}: no cases");
    }
}

fn every_wrap_vector_holds<B: Backend>(back_end: &str) {
    let mut ran = BTreeMap::new();
    for (name, file) in files() {
        if text(&file["format"]) != "bulla-wrap-v1" {
            continue;
        }
        for case in file["cases"].as_array().unwrap() {
            let name = format!("{name}: {}", text(&case["name"]));
            let expected = text(&case["expect"]);
            match opened::<B>(case) {
                Ok(plaintext) => {
                    assert_eq!(expected, "ok", "{name} opened");
                    assert_eq!(plaintext.into_public(), bytes(&case["plaintext"]), "{name}");
                    header_and_blob_are_made::<B>(case, &name);
                }
                Err(failure) => assert_eq!(failure.class(), expected, "{name}"),
            }
            *ran.entry(expected.to_owned()).or_insert(0) += 1;
        }
    }
    assert!(!ran.is_empty(), "no vector was run");
    println!("{back_end}: {} wrap vectors, by class {ran:?}", ran.values().sum::<i32>());
}

/// Opens a case's blob as a server does: the header, and with it the binding, is the blob's own.
fn opened<B: Backend>(case: &Value) -> Result<Plaintext, OpenFailure> {
    let blob = bytes(&case["blob"]);
    let header = Header::parse(&blob)?;
    kek::<B>(case).open(&binding(case, &header), &blob)
}

fn header_and_blob_are_made<B: Backend>(case: &Value, name: &str) {
    let blob = bytes(&case["blob"]);
    let kinds = ["client", "kek", "tenant", "root", "backup"].into_iter().zip(BlobKind::ALL);
    let (_, kind) = kinds.into_iter().find(|(kind, _)| *kind == text(&case["type"])).unwrap();
    let header =
        Header::new(kind, array(&case["key_id"]), u32_of(&case["version"]), u32_of(&case["store"]));
    let header = header.unwrap();
    assert_eq!(Header::parse(&blob), Ok(header), "{name}: header");
    if case["hedged"].as_bool().unwrap() {
        let random = Replayed(bytes(&case["random"]));
        let plaintext = bytes(&case["plaintext"]);
        let made = kek::<B>(case).wrap(&random, &binding(case, &header), &plaintext).unwrap();
        assert_eq!(made, blob, "{name}: blob");
    }
}

/// The randomness that a case was made with.
struct Replayed(Vec<u8>);

impl Random for Replayed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

fn kek<B: Backend>(case: &Value) -> Kek<B> {
    KeyMaterial::from_bytes(&mut array(&case["kek"])).kek()
}

fn binding(case: &Value, header: &Header) -> Binding {
    let pairs = case["context"].as_array().unwrap().iter();
    let pairs = pairs.map(|pair| (text(&pair[0]).to_owned(), text(&pair[1]).to_owned()));
    Binding::new(header, &array(&case["tenant"]), &EncryptionContext::new(pairs).unwrap())
}

fn files() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
        })
        .collect();
    assert!(!files.is_empty(), "no vectors");
    files
}

fn u32_of(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
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
