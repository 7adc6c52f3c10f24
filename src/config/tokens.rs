//! How this installation signs the tokens that it gives in exchange.

use serde::Deserialize;

/// Tokens of this installation's own.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// What they are signed by.
    pub algorithm: TokenAlgorithm,
}

/// What a token is signed by.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum TokenAlgorithm {
    /// Ed25519 (RFC 8037).
    #[default]
    EdDSA,
    /// ECDSA with P-256 and SHA-256 (RFC 7518), for services that know no other.
    ES256,
}
