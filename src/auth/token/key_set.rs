//! An issuer's public keys (RFC 7517), each bound to the algorithms that it may verify.
//!
//! The binding is by the key's own type, curve, `alg`, `use` and `key_ops`; the token has no say in it
//! (RFC 8725, section 3.1; attack A01). A symmetric key in a set is passed over, as is every key that
//! cannot be used. Keys are found by `kid`, compared byte for byte.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::claims::texts_of;
use super::{Algorithm, Jws, TokenError, object};

/// The keys that an issuer has published. Never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeySet(Vec<Key>);

/// The bytes hold no key that could verify anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "not a JSON Web Key Set (RFC 7517) with at least one key for signatures, and at most 64 keys"
)]
pub struct KeySetError;

#[derive(Clone, Debug, Eq, PartialEq)]
struct Key {
    id: String,
    /// Narrower than what the material allows, where the key says so itself.
    only: Option<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

// === impl KeySet ===

impl KeySet {
    /// Reads a key set. Keys that cannot be used are left out.
    ///
    /// # Errors
    /// It is no key set, has too many keys, or none that can be used.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let members = object(text).ok_or(KeySetError)?;
        let keys = members.get("keys").and_then(Value::as_array).ok_or(KeySetError)?;
        if keys.len() > KEYS_MAX {
            return Err(KeySetError);
        }
        let keys: Vec<_> = keys.iter().filter_map(Value::as_object).filter_map(key).collect();
        if keys.is_empty() { Err(KeySetError) } else { Ok(Self(keys)) }
    }

    /// Whether any key has this id.
    pub fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id == id)
    }

    /// Verifies the token's signature with the one key that it names.
    ///
    /// # Errors
    /// There is no such key, there are several, it is not for that algorithm, or the signature is not
    /// its own.
    pub fn verify(&self, token: &Jws<'_>) -> Result<(), TokenError> {
        let mut named = self.0.iter().filter(|key| key.id == token.key_id()).peekable();
        if named.peek().is_none() {
            return Err(TokenError::UnknownKey);
        }
        let mut fitting = named.filter(|key| key.permits(token.algorithm()));
        let key = fitting.next().ok_or(TokenError::Algorithm)?;
        if fitting.next().is_some() {
            return Err(TokenError::AmbiguousKey);
        }
        key.verify(token.algorithm(), token.signed(), token.signature())
    }
}

// === impl Key ===

impl Key {
    fn permits(&self, algorithm: Algorithm) -> bool {
        let fits = matches!(
            (&self.material, algorithm),
            (Material::Rsa { .. }, Algorithm::Rs256 | Algorithm::Ps256)
                | (Material::P256(_), Algorithm::Es256)
                | (Material::P384(_), Algorithm::Es384)
                | (Material::Ed25519(_), Algorithm::EdDsa)
        );
        fits && self.only.is_none_or(|only| only == algorithm)
    }

    fn verify(&self, by: Algorithm, signed: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        let verified = match (&self.material, by) {
            (Material::Rsa { modulus, exponent }, Algorithm::Rs256) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature)
            }
            (Material::Rsa { modulus, exponent }, Algorithm::Ps256) => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(&RSA_PSS_2048_8192_SHA256, signed, signature)
            }
            (Material::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature)
            }
            (Material::P384(point), Algorithm::Es384) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(signed, signature)
            }
            (Material::Ed25519(point), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, point).verify(signed, signature)
            }
            _ => return Err(TokenError::Algorithm),
        };
        verified.map_err(|_| TokenError::Signature)
    }
}

/// A key that can verify signatures; None is any other.
fn key(members: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let has = |name: &str| members.contains_key(name);
    let for_signatures = (!has("use") || text("use") == Some("sig"))
        && (!has("key_ops")
            || texts_of(members.get("key_ops"))
                .is_ok_and(|operations| operations.contains(&"verify")));
    if !for_signatures {
        return None;
    }
    let only = match members.get("alg") {
        None => None,
        Some(name) => Some(Algorithm::parse(name.as_str()?)?),
    };
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let point = |length: usize| {
        let (x, y) = (bytes("x")?, bytes("y")?);
        let whole = x.len() == length && y.len() == length;
        whole.then(|| [&[UNCOMPRESSED][..], &x, &y].concat())
    };
    let material = match (text("kty")?, text("crv")) {
        ("RSA", None) => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            // Others are either broken or cost too much (attack A12).
            let lawful = RSA_BYTES.contains(&modulus.len()) && exponent == RSA_EXPONENT;
            lawful.then_some(Material::Rsa { modulus, exponent })?
        }
        ("EC", Some("P-256")) => Material::P256(point(32)?),
        ("EC", Some("P-384")) => Material::P384(point(48)?),
        ("OKP", Some("Ed25519")) => {
            Material::Ed25519(bytes("x").filter(|point| point.len() == 32)?)
        }
        _ => return None,
    };
    Some(Key { id: text("kid")?.to_owned(), only, material })
}

const KEYS_MAX: usize = 64;
const UNCOMPRESSED: u8 = 4;
/// 65,537, as every issuer in use has it.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];
/// 2,048 to 4,096 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
