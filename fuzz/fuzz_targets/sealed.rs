//! Any bytes are sealed data or not, a header is written as it was read, and none that this data key
//! did not seal opens.
#![no_main]
use bulla_client::{DataKey, Header, Opener};

libfuzzer_sys::fuzz_target!(|sealed: &[u8]| {
    let Ok((header, body)) = Header::split(sealed) else { return };
    assert!(sealed.starts_with(&header.to_bytes()));
    let data_key = DataKey::from_bytes(vec![7; 32]).unwrap();
    let opened = Opener::new(&data_key, &header, b"").and_then(|opener| opener.open(body));
    assert!(opened.is_err());
});
