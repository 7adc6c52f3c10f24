//! What tenants and service accounts are called, and what a tenant may use at most.

use std::fmt;
use std::sync::Arc;

use super::id::TenantId;
use super::name::{MalformedName, looks_like_uuid, shown_as_text};

/// A tenant's name: 1 to 63 of `a-z 0-9 . - _`, and never like a UUID. Unique in its installation.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TenantName(Arc<str>);

/// A tenant by its id or its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TenantRef {
    /// Its id.
    Id(TenantId),
    /// Its name.
    Name(TenantName),
}

/// A service account's name: 1 to 63 of `a-z 0-9 -`, beginning with a letter. Unique in its tenant.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AccountName(Arc<str>);

/// The most that a tenant may use. 0 means the installation's default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TenantLimits {
    /// Calls that use keys, a second, in all.
    pub uses_per_second: u32,
    /// The same of one principal.
    pub principal_uses_per_second: u32,
    /// All other calls, a second.
    pub management_per_second: u32,
    /// Keys.
    pub keys: u32,
    /// Versions of one key.
    pub versions_per_key: u32,
    /// Policies.
    pub policies: u32,
    /// Grants.
    pub grants: u32,
    /// Principals and groups that hold roles.
    pub role_bindings: u32,
    /// Relation tuples.
    pub relations: u32,
    /// Service accounts.
    pub service_accounts: u32,
}

// === impl TenantName ===

impl TenantName {
    /// The name of the tenant whose principals manage tenants.
    pub const INSTALLATION: &'static str = "installation";

    /// Parses the one form.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        let lawful = (1..=63).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b))
            && !matches!(text, "." | "..")
            && !looks_like_uuid(text);
        if lawful { Ok(Self(text.into())) } else { Err(MalformedName(TENANT_NAME_FORM)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is of the tenant whose principals manage tenants.
    pub fn is_installation(&self) -> bool {
        &*self.0 == Self::INSTALLATION
    }
}

// === impl TenantRef ===

impl TenantRef {
    /// Parses a UUID or a name.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        match TenantId::parse(text) {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => TenantName::parse(text).map(Self::Name).map_err(|_| {
                MalformedName("a tenant's UUID in lower case with hyphens, or its name")
            }),
        }
    }
}

// === impl AccountName ===

impl AccountName {
    /// Parses the one form.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        let lawful = (1..=63).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if lawful { Ok(Self(text.into())) } else { Err(MalformedName(ACCOUNT_NAME_FORM)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

shown_as_text!(TenantName, AccountName);

impl fmt::Display for TenantRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => fmt::Display::fmt(id, formatter),
            Self::Name(name) => fmt::Display::fmt(name, formatter),
        }
    }
}

const TENANT_NAME_FORM: &str = "1 to 63 of a-z 0-9 . - _, and may not look like a UUID";
const ACCOUNT_NAME_FORM: &str = "1 to 63 of a-z 0-9 -, beginning with a letter";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn c01_e01_a_tenant_has_one_spelling_and_no_name_passes_for_an_id() {
        for good in ["payments", "root", "a.b_c-1", "1st", &"t".repeat(63)] {
            assert_eq!(TenantName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "Root",
            "ROOT",
            "root ",
            " root",
            "root/",
            "root\n",
            "r\u{43e}ot",
            "caf\u{e9}",
            "cafe\u{301}",
            "a\u{200b}",
            "..",
            ".",
            "a/b",
            &"t".repeat(64),
            "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf",
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
        ] {
            assert!(TenantName::parse(bad).is_err(), "{bad:?}");
        }
        let id = "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf";
        assert!(matches!(TenantRef::parse(id), Ok(TenantRef::Id(_))));
        assert!(matches!(TenantRef::parse("payments"), Ok(TenantRef::Name(_))));
        assert!(TenantRef::parse(&id.to_uppercase()).is_err());
    }

    #[test]
    fn c01_a_service_account_has_one_spelling() {
        assert_eq!(AccountName::parse("billing-7").unwrap().as_str(), "billing-7");
        for bad in ["", "7", "-a", "Billing", "a.b", "a/b", "a ", "\u{e9}", &"a".repeat(64)] {
            assert!(AccountName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
