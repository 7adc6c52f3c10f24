//! Makes tokens for tests, right and wrong, with keys of every kind.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A private key.
pub(super) enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// One of each kind.
pub(super) static PAIRS: LazyLock<[Pair; 4]> = LazyLock::new(|| {
    [
        Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
        Pair::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
        Pair::Ed25519(Ed25519KeyPair::generate().unwrap()),
    ]
});

/// The key that most tests use.
pub(super) fn pair() -> &'static Pair {
    &PAIRS[1]
}

impl Pair {
    /// What this kind of key is for.
    pub(super) fn algorithms(&self) -> &'static [&'static str] {
        match self {
            Self::Rsa(_) => &["RS256", "PS256"],
            Self::P256(_) => &["ES256"],
            Self::P384(_) => &["ES384"],
            Self::Ed25519(_) => &["EdDSA"],
        }
    }

    pub(super) fn public_bytes(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Self::P256(pair) | Self::P384(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    pub(super) fn jwk(&self, id: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = self.public_bytes();
        let point = |curve: &str| {
            let (x, y) = public[1..].split_at((public.len() - 1) / 2);
            json!({"kty": "EC", "crv": curve, "kid": id, "x": encode(x), "y": encode(y)})
        };
        match self {
            Self::Rsa(_) => {
                // The DER ends with the modulus and `02 03 01 00 01`.
                let modulus = &public[public.len() - 5 - 256..public.len() - 5];
                json!({"kty": "RSA", "kid": id, "n": encode(modulus), "e": "AQAB"})
            }
            Self::P256(_) => point("P-256"),
            Self::P384(_) => point("P-384"),
            Self::Ed25519(_) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(&public)})
            }
        }
    }

    /// What this key makes of the bytes under that algorithm: whatever it can make, where it cannot.
    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match (algorithm, self) {
            ("none", _) => Vec::new(),
            // The classic: the public key taken for a shared secret.
            ("HS256" | "HS384" | "HS512", _) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.public_bytes());
                hmac::sign(&key, message).as_ref().to_vec()
            }
            (_, Self::Rsa(pair)) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding =
                    if algorithm.starts_with("PS") { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            (_, Self::P256(pair) | Self::P384(pair)) => {
                pair.sign(&random, message).unwrap().as_ref().to_vec()
            }
            (_, Self::Ed25519(pair)) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of these very texts.
    pub(super) fn token_of(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = self.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", encode(&signature))
    }

    pub(super) fn token(&self, algorithm: &str, id: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "kid": id, "typ": "JWT"}).to_string();
        self.token_of(algorithm, &header, &claims.to_string())
    }
}

/// A key set of these keys.
pub(super) fn key_set(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

pub(super) const ISSUER: &str = "https://login.example/realm";
pub(super) const AUDIENCE: &str = "bulla-test";
/// 2026-06-15, in seconds.
pub(super) const NOW: i64 = 1_781_481_600;

/// What a lawful token says at [`NOW`].
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": NOW - 10, "exp": NOW + 600,
    })
}

/// The same with this claim so; without it when it is null.
pub(super) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().unwrap();
    match value {
        Value::Null => members.remove(name),
        value => members.insert(name.to_owned(), value),
    };
    claims
}
