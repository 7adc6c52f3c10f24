//! The context's encoding against a second encoder, written from docs/format.md alone: what a blob
//! commits to must be what the second one computes. The key is 32 times 7, the tenant 16 times 9.
#![no_main]
use bulla::crypto::*;
use ring::{digest, hmac};

fn second_encoding(header: &[u8], pairs: &[(String, String)]) -> Vec<u8> {
    let mut sorted: Vec<(&[u8], &[u8])> =
        pairs.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())).collect();
    sorted.sort();
    let mut bytes = [header, &[9; 16], &(sorted.len() as u16).to_be_bytes()].concat();
    for part in sorted.into_iter().flat_map(|(key, value)| [key, value]) {
        bytes.extend((part.len() as u16).to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs: Vec<_> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let Ok(context) = EncryptionContext::new(pairs.clone()) else { return };
    let header = Header::new(BlobKind::Client, [5; 16], 1, 0).unwrap();
    let kek = KeyMaterial::<RustCrypto>::from_bytes(&mut [7; 32]).kek();
    let blob = kek.wrap(&OsRandom, &Binding::new(&header, &[9; 16], &context), b"x").unwrap();
    let hash = digest::digest(&digest::SHA256, &second_encoding(&blob[..30], &pairs));
    let label: &[u8] = b"\0\0\0\x02bulla-wrap-v1\0";
    let fixed = [label, &blob[30..46], hash.as_ref(), &512_u32.to_be_bytes()].concat();
    let commitment = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), &fixed);
    assert_eq!(commitment.as_ref(), &blob[58..90]);
});
