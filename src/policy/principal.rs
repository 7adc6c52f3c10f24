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

/// A principal's name: a SPIFFE id in its one canonical form, at most 255 bytes.
///
/// The SPIFFE-ID standard (section 2): scheme `spiffe`, a trust domain of `a-z 0-9 . - _`, a path of
/// segments of `A-Z a-z 0-9 . - _` that are neither empty nor `.` nor `..`, no trailing slash, no
/// query, no fragment, no percent-encoding. Whatever is not that is refused, never repaired.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PrincipalId(Arc<str>);

/// The text is not a SPIFFE id of a workload.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a SPIFFE id such as spiffe://example.org/app, of at most 255 bytes")]
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
        let (domain, path) = text
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.split_once('/'))
            .ok_or(MalformedPrincipal)?;
        let lawful = text.len() <= Self::MAX_BYTES
            && is_trust_domain(domain)
            && domain != INTERNAL_TRUST_DOMAIN
            && path.split('/').all(is_path_segment);
        if lawful { Ok(Self(text.into())) } else { Err(MalformedPrincipal) }
    }

    /// The program's own scheduler. Its trust domain cannot be configured, so no certificate has it.
    pub fn scheduler() -> Self {
        Self(format!("spiffe://{INTERNAL_TRUST_DOMAIN}/scheduler").into())
    }

    /// Whoever installs. Not a name that a certificate can have either.
    pub fn installer() -> Self {
        Self(format!("spiffe://{INTERNAL_TRUST_DOMAIN}/installer").into())
    }

    /// The trust domain's name.
    pub fn trust_domain(&self) -> &str {
        self.0.trim_start_matches("spiffe://").split('/').next().unwrap_or_default()
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for PrincipalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whether `text` can name a trust domain.
fn is_trust_domain(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b))
}

fn is_path_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

/// Names what is inside the program; refused as part of a caller's id.
const INTERNAL_TRUST_DOMAIN: &str = "bulla.internal";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn b03_only_the_canonical_form_of_a_spiffe_id_is_a_principal() {
        let id = PrincipalId::parse("spiffe://demo.bulla/ns/prod/app").unwrap();
        assert_eq!(id.trust_domain(), "demo.bulla");
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
    fn the_length_limit_is_255_bytes() {
        let path = |n: usize| format!("spiffe://d/{}", "a".repeat(n - "spiffe://d/".len()));
        assert!(PrincipalId::parse(&path(254)).is_ok());
        assert!(PrincipalId::parse(&path(255)).is_ok());
        assert_eq!(PrincipalId::parse(&path(256)), Err(MalformedPrincipal));
    }
}
