//! Tokens: JSON Web Tokens (RFC 7519) in compact form (RFC 7515, section 7.1), as strictly as can be.
//!
//! A token is read once, by one parser; its signature is verified with a key that is bound to the
//! algorithm (RFC 8725, section 3.1); and only then is anything that it says believed. Never accepts
//! encryption, a MAC or no signature, never fetches what a token points to, and never repairs anything.

mod algorithm;
mod claims;
mod error;
mod json;
mod jws;
mod key_set;
mod rules;
#[cfg(test)]
pub(in crate::auth) mod tests;

pub use algorithm::Algorithm;
pub use error::TokenError;
pub use jws::{Jws, TOKEN_BYTES_MAX};
pub use key_set::{KeySet, KeySetError};
pub use rules::{IssuerRules, LEEWAY_SECONDS, TenantRule, Verified};

pub(in crate::auth) use claims::{Claims, texts_of};
pub(in crate::auth) use json::object;
pub(in crate::auth) use rules::{Times, confirmation};
