//! Why a token was not believed.

/// What was wrong with a token. One text for all: which check failed is for the audit record
/// ([`TokenError::class`]), not for whoever is trying.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the token was not accepted")]
pub enum TokenError {
    /// More than [`super::TOKEN_BYTES_MAX`].
    TooLong,
    /// Not three parts of base64url, or a header or claims that are not one JSON object with each
    /// name once.
    Malformed,
    /// Encrypted, nested, or with a header that changes what is signed.
    UnsupportedHeader,
    /// An algorithm that is not accepted, or not with this key.
    Algorithm,
    /// No key of the issuer has this id.
    UnknownKey,
    /// Several keys could be meant.
    AmbiguousKey,
    /// The signature is not that key's on these bytes.
    Signature,
    /// The token is of another type than it must be.
    Type,
    /// No issuer of this name is configured.
    UnknownIssuer,
    /// It is for somebody else.
    Audience,
    /// A claim is missing or of the wrong JSON type.
    Claim,
    /// The subject cannot be a principal's.
    Subject,
    /// A group is not one that this server can name.
    Group,
    /// Expired.
    Expired,
    /// Not valid yet, or issued in the future.
    NotYetValid,
    /// It is good for longer than the issuer's tokens may be.
    Lifetime,
    /// It leads to no tenant.
    Tenant,
    /// It is bound to a client certificate that this connection does not have (RFC 8705), or to
    /// something that cannot be checked here.
    Binding,
    /// The issuer's keys could not be had, or are older than they may be.
    IssuerUnavailable,
}

// === impl TokenError ===

impl TokenError {
    /// The class of failure, for the audit record.
    pub const fn class(self) -> &'static str {
        match self {
            Self::TooLong => "token_too_long",
            Self::Malformed => "malformed_token",
            Self::UnsupportedHeader => "unsupported_token_header",
            Self::Algorithm => "token_algorithm",
            Self::UnknownKey => "unknown_token_key",
            Self::AmbiguousKey => "ambiguous_token_key",
            Self::Signature => "token_signature",
            Self::Type => "token_type",
            Self::UnknownIssuer => "unknown_token_issuer",
            Self::Audience => "token_audience",
            Self::Claim => "token_claim",
            Self::Subject => "token_subject",
            Self::Group => "token_group",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Lifetime => "token_lifetime",
            Self::Tenant => "token_tenant",
            Self::Binding => "token_binding",
            Self::IssuerUnavailable => "issuer_unavailable",
        }
    }
}
