//! An issuer's keys: fetched over TLS from where its discovery document says (OpenID Connect Discovery
//! 1.0, section 4), or read from a file; and kept.
//!
//! Whoever can present a token can make this ask the network, so what a token says never decides where
//! to or how often. Never follows a redirect, never speaks to an address inside unless configured to,
//! never fetches more often than the cooldown, and never lets keys go because a fetch failed: they go
//! when they are replaced or too old.

mod address;
mod fetch;
mod keys;
mod place;
#[cfg(test)]
pub(in crate::auth) mod tests;

pub use address::is_public;
pub use fetch::{FetchError, Fetcher, FetcherError};
pub use keys::{FetchKeys, IssuerKeys, KeyAges};
pub use place::{MalformedPlace, Place};
