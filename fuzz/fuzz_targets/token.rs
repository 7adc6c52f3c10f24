//! Tokens, key sets and credentials: any bytes are one or not, and what no issuer signed is never believed.
#![no_main]
use bulla::auth::{
    Algorithm, IssuerRules, Jws, KeySet, OwnIssuer, OwnKey, OwnTokens, Place, PresentedCredential,
    TenantRule,
};
use bulla::keys::TenantId;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = KeySet::parse(bytes);
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = Place::parse(text);
    if let Ok(read) = PresentedCredential::parse(text) {
        let again = PresentedCredential::render(read.tenant(), read.id(), read.secret());
        assert!(*again == text);
    }
    let Ok(token) = Jws::parse(text) else { return };
    let now = 1_781_481_600;
    let rules = IssuerRules {
        name: "login".to_owned(),
        issuer: "https://login.example".to_owned(),
        audience: "bulla".to_owned(),
        tenant: TenantRule::One(TenantId::from_bytes([1; 16])),
        algorithms: Algorithm::ALL.to_vec(),
        token_type: None,
        groups_claim: Some("groups".to_owned()),
        groups: Default::default(),
        claims: Default::default(),
        lifetime_seconds_max: 3_600,
    };
    let _ = rules.accept(&token, now);
    // Nobody but this issuer could have signed it, and it has signed nothing.
    let own = OwnIssuer::new("bulla:fuzz", OwnKey::Ed25519(&[7; 32]), &[]).expect("a seed is a key");
    assert!(own.verify(&token, now).is_err());
});
