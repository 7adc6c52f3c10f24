//! Any bytes are a blob or not, and none that this key did not make opens.
#![no_main]
use bulla::crypto::{Binding, EncryptionContext, Header, Kek, KeyMaterial, RustCrypto};
use std::sync::LazyLock;

static KEK: LazyLock<Kek<RustCrypto>> =
    LazyLock::new(|| KeyMaterial::from_bytes(&mut [7; 32]).kek());

libfuzzer_sys::fuzz_target!(|blob: &[u8]| {
    let Ok(header) = Header::parse(blob) else { return };
    assert_eq!(header.to_bytes(), blob[..30]);
    let binding = Binding::new(&header, &[9; 16], &EncryptionContext::empty());
    assert!(KEK.open(&binding, blob).is_err());
});
