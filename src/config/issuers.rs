//! Whose tokens are believed: one table `[[issuers]]` for each issuer (OpenID Connect, or anything else
//! that signs JSON Web Tokens and publishes its keys; Kubernetes is one).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfigError, is_name, setting};

/// An issuer of tokens.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its name in principals: `oidc://NAME/sub`. 1 to 63 of `a-z 0-9 -`.
    pub name: String,
    /// Its `iss`, which is also where its discovery document is.
    pub issuer: String,
    /// Who its tokens must be for: never a value that another service accepts too.
    pub audience: String,
    /// The tenant of all its subjects. Either this or `tenant_claim`.
    pub tenant: Option<String>,
    /// The claim that says which tenant a subject belongs to: a name, or a JSON pointer.
    pub tenant_claim: Option<String>,
    /// Value of `tenant_claim` → tenant. Other values are refused.
    #[serde(default)]
    pub tenants: BTreeMap<String, String>,
    /// How it signs: of `RS256`, `PS256`, `ES256`, `ES384`, `EdDSA`.
    pub algorithms: Vec<String>,
    /// The `typ` that its tokens must have, such as `at+jwt`.
    pub token_type: Option<String>,
    /// The claim that lists groups: a name, or a JSON pointer.
    pub groups_claim: Option<String>,
    /// What its groups are called here; others are left out. Without it: as they are called there.
    #[serde(default)]
    pub groups: BTreeMap<String, String>,
    /// Attribute that policies see → claim, by name or JSON pointer.
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
    /// The longest that a token may be good for.
    #[serde(default = "default_lifetime_seconds")]
    pub lifetime_seconds_max: u32,
    /// How old its keys may be when they cannot be fetched anew.
    #[serde(default = "default_key_age_seconds")]
    pub jwks_age_seconds_max: u32,
    /// Its keys, in place of those that it publishes. Read again when the file changes.
    pub jwks_file: Option<PathBuf>,
    /// The authorities that vouch for its server. Without it: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether its server may have a private address.
    #[serde(default)]
    pub allow_private_addresses: bool,
}

// === impl Issuer ===

impl Issuer {
    /// The tenants that its subjects can belong to.
    pub fn tenant_names(&self) -> impl Iterator<Item = &str> {
        self.tenant.iter().chain(self.tenants.values()).map(String::as_str)
    }

    pub(super) fn resolve(mut self, base: &Path) -> Self {
        self.jwks_file = self.jwks_file.map(|file| base.join(file));
        self.ca_file = self.ca_file.map(|file| base.join(file));
        self
    }

    fn checked(&self) -> Result<(), ConfigError> {
        let lawful_name = (1..=63).contains(&self.name.len())
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !lawful_name {
            return Err(setting("issuers.name", "must be 1 to 63 of a-z 0-9 -"));
        }
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err(setting("issuers.audience", "issuer and audience must not be empty"));
        }
        let by_claim = self.tenant_claim.is_some();
        if self.tenant.is_some() == by_claim || self.tenants.is_empty() == by_claim {
            return Err(setting(
                "issuers.tenant",
                "give either tenant, or tenant_claim and the table tenants",
            ));
        }
        if !self.tenant_names().all(is_name) {
            return Err(setting("issuers.tenant", "must be 1 to 63 of a-z 0-9 . - _"));
        }
        if self.algorithms.is_empty() {
            return Err(setting("issuers.algorithms", "name at least one"));
        }
        if let Some(unknown) = self.algorithms.iter().find(|a| !ALGORITHMS.contains(&a.as_str())) {
            let known = ALGORITHMS.join(", ");
            return Err(setting("issuers.algorithms", &format!("{unknown} is none of {known}")));
        }
        if !self.groups.is_empty() && self.groups_claim.is_none() {
            return Err(setting("issuers.groups", "is of no use without groups_claim"));
        }
        if !(60..=86_400).contains(&self.lifetime_seconds_max) {
            return Err(setting("issuers.lifetime_seconds_max", "must be from 60 to 86400"));
        }
        if !(300..=86_400).contains(&self.jwks_age_seconds_max) {
            return Err(setting("issuers.jwks_age_seconds_max", "must be from 300 to 86400"));
        }
        if self.jwks_file.is_some() && (self.ca_file.is_some() || self.allow_private_addresses) {
            return Err(setting(
                "issuers.jwks_file",
                "nothing is fetched: leave out ca_file and allow_private_addresses",
            ));
        }
        Ok(())
    }
}

/// Checks every issuer, and that no two could be taken for one another.
pub(super) fn checked(issuers: &[Issuer]) -> Result<(), ConfigError> {
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for issuer in issuers {
        issuer.checked()?;
        if !names.insert(&issuer.name) {
            return Err(setting("issuers.name", "the same name stands twice"));
        }
        if !addresses.insert(&issuer.issuer) {
            return Err(setting("issuers.issuer", "the same issuer stands twice"));
        }
    }
    Ok(())
}

fn default_lifetime_seconds() -> u32 {
    3_600
}

fn default_key_age_seconds() -> u32 {
    3_600
}

/// As the standard writes them (RFC 7518, RFC 8037). There is no MAC and no `none`.
const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = r#"
        name = "ci"
        issuer = "https://token.actions.githubusercontent.com"
        audience = "bulla-production"
        tenant = "one"
        algorithms = ["RS256"]
    "#;

    fn read(text: &str) -> Result<(), String> {
        let issuer: Issuer = toml::from_str(text).map_err(|error| error.to_string())?;
        issuer.checked().map_err(|error| error.to_string())
    }

    #[test]
    fn a01_an_issuer_cannot_be_given_a_mac_or_no_signature() {
        assert_eq!(read(GOOD), Ok(()));
        for bad in ["HS256", "none", "rs256", "RS512", "ES256K", ""] {
            let text = GOOD.replace("RS256", bad);
            assert!(read(&text).unwrap_err().contains("issuers.algorithms"), "{bad}");
        }
        assert!(read(&GOOD.replace("\"RS256\"", "")).is_err());
    }

    #[test]
    fn l07_an_issuer_says_whose_its_subjects_are_in_one_way() {
        let by_claim = "tenant_claim = \"org\"\n[tenants]\nacme = \"one\"";
        assert_eq!(read(&GOOD.replace("tenant = \"one\"", "").add_line(by_claim)), Ok(()));
        for bad in [
            GOOD.replace("tenant = \"one\"", ""),
            GOOD.to_owned().add_line(by_claim),
            GOOD.replace("tenant = \"one\"", "tenant_claim = \"org\""),
            GOOD.replace("\"one\"", "\"One\""),
        ] {
            assert!(read(&bad).unwrap_err().contains("issuers.tenant"), "{bad}");
        }
    }

    #[test]
    fn l07_what_is_out_of_bounds_or_without_effect_is_refused() {
        for (line, expected) in [
            ("lifetime_seconds_max = 59", "lifetime_seconds_max"),
            ("lifetime_seconds_max = 86401", "lifetime_seconds_max"),
            ("jwks_age_seconds_max = 299", "jwks_age_seconds_max"),
            ("jwks_file = \"a\"\nca_file = \"b\"", "jwks_file"),
            ("jwks_file = \"a\"\nallow_private_addresses = true", "jwks_file"),
            ("groups = { a = \"b\" }", "groups_claim"),
            ("tokentype = \"at+jwt\"", "unknown field"),
        ] {
            let refused = read(&GOOD.to_owned().add_line(line)).unwrap_err();
            assert!(refused.contains(expected), "{line}: {refused}");
        }
    }

    #[test]
    fn a06_two_issuers_are_never_one() {
        let one: Issuer = toml::from_str(GOOD).unwrap();
        let renamed = Issuer { name: "other".to_owned(), ..one.clone() };
        let moved = Issuer { issuer: "https://other.example".to_owned(), ..one.clone() };
        let both = Issuer { issuer: moved.issuer.clone(), ..renamed.clone() };
        assert!(
            checked(&[one.clone(), renamed]).unwrap_err().to_string().contains("issuers.issuer")
        );
        assert!(checked(&[one.clone(), moved]).unwrap_err().to_string().contains("issuers.name"));
        assert!(checked(&[one, both]).is_ok());
    }

    trait AddLine {
        fn add_line(self, line: &str) -> String;
    }

    impl AddLine for String {
        fn add_line(mut self, line: &str) -> String {
            self.push('\n');
            self.push_str(line);
            self
        }
    }
}
