//! Who calls: what a caller proves becomes a [`Subject`](crate::policy::Subject), or is refused.
//!
//! A proof is a client certificate (each trust domain has its own authorities, and they vouch for names
//! of that domain only; the name is the one SPIFFE id in the certificate's URI SAN, SPIFFE X509-SVID,
//! section 2), a token of a configured issuer, a token of this installation's own, or a service
//! account's credential. Each leads to exactly one principal of exactly one tenant; whatever is
//! ambiguous is refused. Never looks at a subject's common name, at a DNS name, or at anything that a
//! caller or a proxy says about the caller without proof; never gives anybody a default identity; and
//! never decides what a principal may do.

mod authenticator;
mod checkpoint_key;
mod credential;
mod error;
mod extension;
#[cfg(test)]
mod forge;
mod identify;
mod own;
mod peer;
mod provider;
#[cfg(test)]
mod tests;
mod token;

pub use authenticator::{Authenticator, Certified, MAX_CHAIN_CERTIFICATES, TrustDomain};
pub use checkpoint_key::{CheckpointKey, CheckpointKeyError};
pub use credential::{CREDENTIAL_PREFIX, PresentedCredential};
pub use error::{AuthError, TrustDomainError};
pub use identify::{CredentialDirectory, Identifier, ON_BEHALF_OF, TokenIssuer};
pub use own::{
    OWN_AUDIENCE, OWN_LIFETIME_SECONDS_MAX, OwnIssuer, OwnKey, OwnToken, OwnTokenError, OwnTokens,
};
pub use peer::Peer;
pub use provider::{
    FetchError, FetchKeys, Fetcher, FetcherError, IssuerKeys, KeyAges, MalformedPlace, Place,
    is_public,
};
pub use token::{
    Algorithm, IssuerRules, Jws, KeySet, KeySetError, LEEWAY_SECONDS, TOKEN_BYTES_MAX, TenantRule,
    TokenError, Verified,
};
