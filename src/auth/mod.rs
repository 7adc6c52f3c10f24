//! Who is at the other end: a client certificate becomes a [`Principal`](crate::policy::Principal), or
//! is refused.
//!
//! Each trust domain has its own certificate authorities, and they vouch for names of that domain
//! only. The name is the one SPIFFE id in the certificate's URI SAN (SPIFFE X509-SVID, section 2);
//! whatever is ambiguous is refused. Never looks at a subject's common name, at a DNS name, or at
//! anything that a caller says about itself in a request; never gives anybody a default identity; and
//! never decides what a principal may do.

mod authenticator;
mod error;
mod extension;
mod peer;
#[cfg(test)]
mod tests;

pub use authenticator::{Authenticator, MAX_CHAIN_CERTIFICATES, TrustDomain};
pub use error::{AuthError, TrustDomainError};
pub use peer::Peer;
