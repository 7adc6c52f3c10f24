//! Why somebody was not believed, or a trust domain not configured.

use super::token::TokenError;
use rustls::{CertificateError, Error as TlsError, OtherError};

/// Nobody was authenticated. The text is the same for all of them: what was wrong is for the audit record
/// ([`AuthError::class`]), not for whoever is trying.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the caller was not authenticated")]
pub enum AuthError {
    /// None was presented.
    NoCertificate,
    /// It does not parse, or has an extension that it must not have twice.
    Malformed,
    /// More certificates than any honest chain has.
    ChainTooLong,
    /// No URI among its subject alternative names.
    NoName,
    /// Several URIs, so that it could mean either.
    SeveralNames,
    /// The URI is not a SPIFFE id in its canonical form.
    MalformedName,
    /// The SPIFFE id's trust domain is not configured.
    UnknownTrustDomain,
    /// It does not chain to an authority of its own trust domain.
    UnknownIssuer,
    /// A signature in the chain is wrong, or of a kind that is not accepted.
    BadSignature,
    /// It, or a certificate in its chain, has expired.
    Expired,
    /// It, or a certificate in its chain, is not valid yet.
    NotYetValid,
    /// It does not say that it is for TLS clients.
    NotForClients,
    /// It is an authority's certificate.
    IsAuthority,
    /// A constraint of an authority in its chain does not allow it: name, path length, or being none.
    Constraint,
    /// Revoked.
    Revoked,
    /// No revocation list tells of it or of a certificate in its chain, or the one that does is old.
    RevocationUnknown,
    /// Whatever else the verifier found.
    Untrusted,
    /// Neither a certificate nor a token nor a credential.
    NoProof,
    /// Two proofs that speak of different principals, or one header twice (attack B07).
    Ambiguous,
    /// The header `authorization` has another scheme than `Bearer`, or is no text.
    Scheme,
    /// A token was not accepted.
    Token(TokenError),
    /// The end user's token was not accepted.
    EndUser(TokenError),
    /// The end user belongs to another tenant than whoever calls for them.
    EndUserTenant,
    /// A credential that is damaged, or not written as this server writes them.
    MalformedCredential,
    /// No such credential: unknown, revoked, expired, or of an account that is no more.
    UnknownCredential,
    /// Whether the proof is good cannot be told now.
    Unavailable,
}

/// The configured trust domains cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TrustDomainError {
    /// There is none, so nobody could ever be authenticated.
    #[error("no trust domain is configured")]
    None,
    /// The name is not one that a SPIFFE id can have.
    #[error("{name:?} cannot name a trust domain: use a-z, 0-9, '.', '-' and '_'")]
    Name {
        /// The name as configured.
        name: String,
    },
    /// Two have the same name.
    #[error("the trust domain {name} is configured twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// It has no authority.
    #[error("the bundle of trust domain {name} holds no certificate")]
    EmptyBundle {
        /// The name.
        name: String,
    },
    /// A revocation list cannot be read.
    #[error("revocation list {place} of trust domain {name} cannot be used: {problem}")]
    RevocationList {
        /// The trust domain's name.
        name: String,
        /// Which list, from 1.
        place: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate in the bundle is not an authority's. It would vouch for itself.
    #[error("certificate {place} in the bundle of trust domain {name} is not an authority's")]
    NotAnAuthority {
        /// The trust domain's name.
        name: String,
        /// Which certificate, from 1.
        place: usize,
    },
}

// === impl AuthError ===

impl AuthError {
    /// The class of failure, for the audit record.
    pub fn class(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Malformed => "malformed_certificate",
            Self::ChainTooLong => "chain_too_long",
            Self::NoName => "no_name",
            Self::SeveralNames => "several_names",
            Self::MalformedName => "malformed_name",
            Self::UnknownTrustDomain => "unknown_trust_domain",
            Self::UnknownIssuer => "unknown_issuer",
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NotForClients => "not_for_clients",
            Self::IsAuthority => "is_authority",
            Self::Constraint => "constraint",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::Untrusted => "untrusted",
            Self::NoProof => "no_proof",
            Self::Ambiguous => "ambiguous_proof",
            Self::Scheme => "unknown_scheme",
            Self::Token(error) => error.class(),
            Self::EndUser(_) => "end_user_token",
            Self::EndUserTenant => "end_user_tenant",
            Self::MalformedCredential => "malformed_credential",
            Self::UnknownCredential => "unknown_credential",
            Self::Unavailable => "proof_unavailable",
        }
    }

    /// What a failed handshake says about the certificate, if it failed for it.
    pub fn of_handshake(error: &TlsError) -> Option<Self> {
        match error {
            TlsError::NoCertificatesPresented => Some(Self::NoCertificate),
            TlsError::InvalidCertificate(error) => Some(Self::of_certificate(error)),
            _ => None,
        }
    }

    pub(super) fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::BadEncoding => Self::Malformed,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::RevocationUnknown,
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                Self::BadSignature
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::NotForClients
            }
            CertificateError::Other(other) => Self::of_other(other),
            _ => Self::Untrusted,
        }
    }

    fn of_other(OtherError(other): &OtherError) -> Self {
        if let Some(ours) = other.downcast_ref::<Self>() {
            return *ours;
        }
        match other.downcast_ref::<webpki::Error>() {
            Some(webpki::Error::CaUsedAsEndEntity) => Self::IsAuthority,
            Some(
                webpki::Error::NameConstraintViolation
                | webpki::Error::PathLenConstraintViolated
                | webpki::Error::EndEntityUsedAsCa,
            ) => Self::Constraint,
            Some(webpki::Error::EmptyEkuExtension) => Self::NotForClients,
            _ => Self::Untrusted,
        }
    }
}

impl From<TokenError> for AuthError {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl From<AuthError> for TlsError {
    fn from(error: AuthError) -> Self {
        let other = OtherError(std::sync::Arc::new(error));
        Self::InvalidCertificate(CertificateError::Other(other))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn other(error: webpki::Error) -> CertificateError {
        CertificateError::Other(OtherError(Arc::new(error)))
    }

    #[test]
    fn b02_each_fault_of_a_certificate_is_recorded_as_what_it_is() {
        for (fault, class) in [
            (CertificateError::BadEncoding, "malformed_certificate"),
            (CertificateError::Expired, "expired"),
            (CertificateError::NotValidYet, "not_yet_valid"),
            (CertificateError::Revoked, "revoked"),
            (CertificateError::UnknownRevocationStatus, "revocation_unknown"),
            (CertificateError::ExpiredRevocationList, "revocation_unknown"),
            (CertificateError::UnknownIssuer, "unknown_issuer"),
            (CertificateError::BadSignature, "bad_signature"),
            (CertificateError::InvalidPurpose, "not_for_clients"),
            (CertificateError::NotValidForName, "untrusted"),
            (other(webpki::Error::CaUsedAsEndEntity), "is_authority"),
            (other(webpki::Error::NameConstraintViolation), "constraint"),
            (other(webpki::Error::PathLenConstraintViolated), "constraint"),
            (other(webpki::Error::EmptyEkuExtension), "not_for_clients"),
            (other(webpki::Error::BadDer), "untrusted"),
        ] {
            let found = AuthError::of_handshake(&TlsError::InvalidCertificate(fault.clone()));
            assert_eq!(found.map(AuthError::class), Some(class), "{fault:?}");
        }
        let none = AuthError::of_handshake(&TlsError::NoCertificatesPresented);
        assert_eq!(none, Some(AuthError::NoCertificate));
        assert_eq!(AuthError::of_handshake(&TlsError::DecryptError), None);
    }
}
