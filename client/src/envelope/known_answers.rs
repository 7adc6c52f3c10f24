//! The known answers of sealed data, through every way that data can be sealed and opened. Reads
//! each `*.json` in `tests/vectors` of the repository by its `format`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout)]

#[path = "../../tests/pieces/mod.rs"]
mod pieces;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use pieces::{Pieces, by_reader, by_slice, by_stream};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::header::Suite;
use super::{DataFailure, DataKey, Header, Opener, Sealer};

#[tokio::test]
async fn every_data_vector_seals_and_opens_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let mut counts = [(0, 0); 2];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let suite = match file["format"].as_str() {
            Some("bulla-data-v1") => 1,
            Some("bulla-data-v2") => 2,
            Some("bulla-wrap-v1") => continue,
            other => panic!("{}: unknown format {other:?}", path.display()),
        };
        let count = &mut counts[suite - 1];
        for case in file["cases"].as_array().unwrap() {
            let name = format!("{}: {}", path.display(), case["name"]);
            match case["expect"].as_str().unwrap() {
                "ok" => {
                    // The cases of suite 01 share a wrapped key; those of suite 02 have their own.
                    let wrapped = case.get("wrapped").unwrap_or(&file["wrapped"]);
                    seals_and_opens(&name, suite_of(suite, case), case, &bytes(wrapped)).await;
                    count.0 += 1;
                }
                class => {
                    fails(&name, case, class).await;
                    count.1 += 1;
                }
            }
        }
    }
    println!("suite 01, suite 02: (opened, refused) {counts:?}");
    for (opened, refused) in counts {
        assert!(opened >= 8 && refused >= 24, "some vectors are missing: {counts:?}");
    }
}

fn suite_of(number: usize, case: &Value) -> Suite {
    match number {
        1 => Suite::One,
        _ => Suite::Two(bytes(&case["random"]).try_into().unwrap()),
    }
}

async fn seals_and_opens(name: &str, suite: Suite, case: &Value, wrapped: &[u8]) {
    let (dek, aad) = (bytes(&case["dek"]), bytes(&case["aad"]));
    let length = usize::try_from(case["plaintext_len"].as_u64().unwrap()).unwrap();
    let plaintext = match case.get("plaintext") {
        Some(plaintext) => bytes(plaintext),
        None => (0..length).map(|i| ((i * 31 + i / 256) % 256) as u8).collect(),
    };
    assert_eq!(plaintext.len(), length, "{name}");
    assert_eq!(digest(&plaintext), case["plaintext_sha256"], "{name}");

    let data_key = || DataKey::from_bytes(dek.clone()).unwrap();
    let sealer = || Sealer::of(suite, data_key(), wrapped, &aad).unwrap();
    let sealed = sealer().seal(&plaintext).unwrap();
    assert_eq!(sealed.len() as u64, case["sealed_len"].as_u64().unwrap(), "{name}");
    assert_eq!(digest(&sealed), case["sealed_sha256"], "{name}");
    if let Some(expected) = case.get("sealed") {
        assert_eq!(sealed, bytes(expected), "{name}");
    }
    for piece in [1_000_003, 65_536, 4_097, 7] {
        let mut streamed = Vec::new();
        let reader = Pieces::new(&plaintext, piece);
        let sealed_bytes = sealer().seal_stream(reader, &mut streamed).await.unwrap();
        assert_eq!(sealed_bytes, length as u64, "{name}");
        assert!(streamed == sealed, "{name}: sealed as a stream in pieces of {piece}");

        let opened = by_stream(&dek, &aad, &sealed, piece).await.unwrap();
        assert!(opened == plaintext, "{name}: opened as a stream in pieces of {piece}");
        let opened = by_reader(&dek, &aad, &sealed, piece).unwrap();
        assert!(opened == plaintext, "{name}: read in pieces of {piece}");
    }
    assert!(by_slice(&dek, &aad, &sealed).unwrap() == plaintext, "{name}");
    let header = Header::split(&sealed).unwrap().0;
    assert_eq!(header.wrapped(), wrapped, "{name}");
    assert!(sealed.starts_with(&header.to_bytes()), "{name}");
}

async fn fails(name: &str, case: &Value, class: &str) {
    let (dek, aad, sealed) = (bytes(&case["dek"]), bytes(&case["aad"]), bytes(&case["sealed"]));
    let failed = |result: Result<Vec<u8>, DataFailure>, way: &str| {
        assert_eq!(result.unwrap_err().class(), class, "{name}: {way}");
    };
    failed(by_slice(&dek, &aad, &sealed), "slice");
    for piece in [1_000_003, 4_097, 7, 1] {
        failed(by_stream(&dek, &aad, &sealed, piece).await, "stream");
        failed(by_reader(&dek, &aad, &sealed, piece), "reader");
    }
    // What cannot be parsed must not be parsed by the blocking reader of headers either.
    let header = Header::read(Cursor::new(&sealed));
    assert_eq!(header.is_ok(), Header::split(&sealed).is_ok(), "{name}");
    if let Ok(header) = header {
        let data_key = DataKey::from_bytes(dek).unwrap();
        assert_eq!(Opener::new(&data_key, &header, &aad).is_err(), class == "commitment", "{name}");
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn digest(bytes: &[u8]) -> Value {
    Value::String(hex::encode(Sha256::digest(bytes)))
}
