//! The keys that sign tokens of this installation's own: Ed25519 (RFC 8037) or P-256 (RFC 7518, section
//! 3.4). A key signs by its one algorithm and is published with it, so that nobody can be made to verify
//! by another (attack A01).

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::OwnTokenError;
use crate::auth::token::Algorithm;

/// A secret that a signing key is made of.
#[derive(Clone, Copy)]
pub enum OwnKey<'s> {
    /// Signs by EdDSA.
    Ed25519(&'s [u8; 32]),
    /// Signs by ES256. One in 2³² secrets is no key's.
    P256(&'s [u8; 32]),
}

/// A key and what others know of it.
pub(super) struct SigningKey {
    pair: Pair,
    /// The thumbprint of the public key (RFC 7638): nobody has to agree on a name.
    pub(super) id: String,
    /// The key as others see it.
    pub(super) published: Value,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

// === impl SigningKey ===

impl SigningKey {
    pub(super) fn new(key: OwnKey<'_>) -> Result<Self, OwnTokenError> {
        match key {
            OwnKey::Ed25519(seed) => Self::ed25519(seed),
            OwnKey::P256(secret) => Self::p256(secret),
        }
    }

    fn ed25519(seed: &[u8; 32]) -> Result<Self, OwnTokenError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| OwnTokenError::Key)?;
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let id = thumbprint(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
        let published = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "alg": "EdDSA", "use": "sig"});
        Ok(Self { pair: Pair::Ed25519(pair), id, published })
    }

    fn p256(secret: &[u8; 32]) -> Result<Self, OwnTokenError> {
        let scalar =
            PrivateKey::from_private_key(&ECDH_P256, secret).map_err(|_| OwnTokenError::Key)?;
        let public = scalar.compute_public_key().map_err(|_| OwnTokenError::Key)?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair =
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, secret, public.as_ref())
                .map_err(|_| OwnTokenError::Key)?;
        // Uncompressed: 04, x, y (SEC 1, section 2.3.3).
        let point = public.as_ref().strip_prefix(&[4]).ok_or(OwnTokenError::Key)?;
        let (x, y) = point.split_at_checked(32).ok_or(OwnTokenError::Key)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let id = thumbprint(&format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
        let published = json!({
            "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": id, "alg": "ES256", "use": "sig"
        });
        Ok(Self { pair: Pair::P256(pair), id, published })
    }

    /// What it signs by.
    pub(super) const fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ed25519(_) => Algorithm::EdDsa,
            Pair::P256(_) => Algorithm::Es256,
        }
    }

    pub(super) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, OwnTokenError> {
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(text),
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), text).map_err(|_| OwnTokenError::Key)?
            }
        };
        Ok(signature.as_ref().to_vec())
    }
}

fn thumbprint(canonical: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
}
