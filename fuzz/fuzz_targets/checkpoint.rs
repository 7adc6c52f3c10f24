//! Any bytes are a checkpoint, a key, a tile's path and a proof, or not; nobody's signature is made up,
//! and what can be read is written the same again.
#![no_main]
use bulla::audit::{Checkpoint, SignedCheckpoint, Tile, VerifyingKey};
use bulla_proof::{verify_consistency, verify_inclusion};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = VerifyingKey::new("bulla/x", [7; 32]) {
        assert!(SignedCheckpoint::open(bytes, &key).is_err(), "a signature that nobody made");
    }
    let _ = SignedCheckpoint::claimed(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(checkpoint) = Checkpoint::parse(text) {
            assert_eq!(checkpoint.text(), text);
        }
        if let Ok(key) = VerifyingKey::parse(text) {
            assert_eq!(key.to_string(), text.trim_end_matches('\n'));
        }
        if let Ok(tile) = Tile::parse(text) {
            assert_eq!(tile.to_string(), text);
        }
    }
    let (proof, rest) = bytes.as_chunks::<32>();
    if let Some((first, second)) = rest.split_first().zip(proof.first()) {
        let (index, size) = (u64::from(*first.0), u64::MAX >> (first.0 % 64));
        let _ = verify_inclusion(second, index, size, proof, second);
        let _ = verify_consistency(index, second, size, second, proof);
    }
});
