//! Who is calling, once authenticated.

use std::fmt;
use std::sync::Arc;

use crate::keys::TenantId;

/// An authenticated caller. Belongs to exactly one tenant.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Principal {
    id: PrincipalId,
    tenant: TenantId,
}

/// A principal's name in its one canonical form, at most 255 bytes. There are three forms:
///
/// * `spiffe://DOMAIN/PATH`, of a client certificate. The SPIFFE-ID standard (section 2): a trust domain
///   of `a-z 0-9 . - _`, a path of segments of `A-Z a-z 0-9 . - _` that are neither empty nor `.` nor
///   `..`, no trailing slash, no query, no fragment, no percent-encoding;
/// * `oidc://ISSUER/SUB`, of a token: the issuer's name in the configuration (`a-z 0-9 -`, at most 63
///   bytes) and its subject (1 to 180 bytes of `A-Z a-z 0-9 . _ : @ | / = + -`). The name has no slash,
///   so that two issuers' subjects are never one;
/// * `service://NAME`, of a service account (`a-z 0-9 -`, at most 63 bytes, beginning with a letter).
///
/// Whatever is not one of these is refused, never repaired.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PrincipalId(Arc<str>);

/// The text names no principal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "not a principal such as spiffe://example.org/app, oidc://ci/subject or service://name, of at \
     most 255 bytes"
)]
pub struct MalformedPrincipal;

// === impl Principal ===

impl Principal {
    /// What authentication found.
    pub fn new(id: PrincipalId, tenant: TenantId) -> Self {
        Self { id, tenant }
    }

    /// The name.
    pub fn id(&self) -> &PrincipalId {
        &self.id
    }

    /// The one tenant.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }
}

// === impl PrincipalId ===

impl PrincipalId {
    /// The longest that is accepted.
    pub const MAX_BYTES: usize = 255;

    /// Parses the canonical form.
    pub fn parse(text: &str) -> Result<Self, MalformedPrincipal> {
        let (scheme, rest) = text.split_once("://").ok_or(MalformedPrincipal)?;
        let lawful = match (scheme, rest.split_once('/')) {
            ("spiffe", Some((domain, path))) => {
                is_trust_domain(domain)
                    && domain != INTERNAL_TRUST_DOMAIN
                    && path.split('/').all(is_path_segment)
            }
            ("oidc", Some((issuer, subject))) => is_label(issuer) && is_token_subject(subject),
            ("service", None) => is_label(rest) && rest.starts_with(|c: char| c.is_alphabetic()),
            _ => false,
        };
        let lawful = lawful && text.len() <= Self::MAX_BYTES;
        if lawful { Ok(Self(text.into())) } else { Err(MalformedPrincipal) }
    }

    /// Whom an issuer, by its name in the configuration, calls `subject`.
    pub fn of_token(issuer: &str, subject: &str) -> Result<Self, MalformedPrincipal> {
        if !is_label(issuer) {
            return Err(MalformedPrincipal);
        }
        Self::parse(&format!("{TOKEN_SCHEME}{issuer}/{subject}"))
    }

    /// The program's own scheduler. Its trust domain cannot be configured, so no certificate has it.
    pub fn scheduler() -> Self {
        Self(format!("spiffe://{INTERNAL_TRUST_DOMAIN}/scheduler").into())
    }

    /// Whoever installs. Not a name that a certificate can have either.
    pub fn installer() -> Self {
        Self(format!("spiffe://{INTERNAL_TRUST_DOMAIN}/installer").into())
    }

    /// The trust domain of a certificate's name; None of the other forms.
    pub fn trust_domain(&self) -> Option<&str> {
        self.0.strip_prefix("spiffe://")?.split('/').next()
    }

    /// The configuration's name of the issuer of a token's subject; None of the other forms.
    pub fn issuer(&self) -> Option<&str> {
        self.0.strip_prefix(TOKEN_SCHEME)?.split('/').next()
    }

    /// The name of a service account; None of the other forms.
    pub fn service_account(&self) -> Option<&str> {
        self.0.strip_prefix("service://")
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name is shown as its text, to people and in the log alike.
macro_rules! shown_as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}
pub(super) use shown_as_text;

shown_as_text!(PrincipalId);

/// Whether `text` can name a trust domain.
fn is_trust_domain(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b))
}

fn is_path_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

/// A name of an issuer or of a service account.
fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_token_subject(text: &str) -> bool {
    (1..=180).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@|/=+-".contains(&b))
}

const TOKEN_SCHEME: &str = "oidc://";

/// Names what is inside the program; refused as part of a caller's id.
const INTERNAL_TRUST_DOMAIN: &str = "bulla.internal";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn b03_only_the_canonical_form_of_a_spiffe_id_is_a_principal() {
        let id = PrincipalId::parse("spiffe://demo.bulla/ns/prod/app").unwrap();
        assert_eq!(id.trust_domain(), Some("demo.bulla"));
        assert_eq!((id.issuer(), id.service_account()), (None, None));
        for bad in [
            "spiffe://demo.bulla",
            "spiffe://demo.bulla/",
            "spiffe:///app",
            "spiffe://demo.bulla/app/",
            "spiffe://demo.bulla//app",
            "spiffe://demo.bulla/../app",
            "spiffe://demo.bulla/./app",
            "spiffe://demo.bulla/%61pp",
            "spiffe://Demo.bulla/app",
            "SPIFFE://demo.bulla/app",
            "spiffe://demo.bulla:8443/app",
            "spiffe://user@demo.bulla/app",
            "spiffe://demo.bulla/app?x",
            "spiffe://demo.bulla/app#x",
            "spiffe://demo.bulla/a\u{0}b",
            "spiffe://demo.bulla/ap\u{440}",
            "spiffe://*.bulla/app",
            "https://demo.bulla/app",
            "spiffe://bulla.internal/scheduler",
            "",
        ] {
            assert_eq!(PrincipalId::parse(bad), Err(MalformedPrincipal), "{bad:?}");
        }
    }

    #[test]
    fn c01_a_tokens_subject_and_a_service_account_have_one_spelling_each() {
        let id = PrincipalId::of_token("ci", "repo:acme/app:ref:refs/heads/main").unwrap();
        assert_eq!(id.as_str(), "oidc://ci/repo:acme/app:ref:refs/heads/main");
        assert_eq!((id.issuer(), id.trust_domain()), (Some("ci"), None));
        let account = PrincipalId::parse("service://billing-7").unwrap();
        assert_eq!((account.service_account(), account.issuer()), (Some("billing-7"), None));
        let (issuer, subject) = ("a".repeat(64), "s".repeat(181));
        for bad in [
            "oidc://ci/",
            "oidc://ci",
            "oidc:///sub",
            "oidc://CI/sub",
            "oidc://c.i/sub",
            "oidc://ci/a b",
            "oidc://ci/a%20b",
            "oidc://ci/a\nb",
            "oidc://ci/a*",
            "oidc://ci/a,b",
            "oidc://ci/\u{e9}",
            "OIDC://ci/sub",
            &format!("oidc://{issuer}/sub"),
            &format!("oidc://ci/{subject}"),
            "service://",
            "service://7",
            "service://Billing",
            "service://billing/x",
            "service://a.b",
            &format!("service://{issuer}"),
            "user://x",
            "spiffe",
        ] {
            assert_eq!(PrincipalId::parse(bad), Err(MalformedPrincipal), "{bad:?}");
        }
        // A name with a slash in it would let one issuer speak for another.
        assert_eq!(PrincipalId::of_token("ci/other", "sub"), Err(MalformedPrincipal));
    }

    #[test]
    fn the_length_limit_is_255_bytes() {
        let path = |n: usize| format!("spiffe://d/{}", "a".repeat(n - "spiffe://d/".len()));
        assert!(PrincipalId::parse(&path(254)).is_ok());
        assert!(PrincipalId::parse(&path(255)).is_ok());
        assert_eq!(PrincipalId::parse(&path(256)), Err(MalformedPrincipal));
    }
}
