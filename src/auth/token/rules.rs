//! What an issuer's token must say to be believed, and what it then says about whom.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Algorithm, Claims, Jws, TokenError};
use crate::keys::TenantId;
use crate::policy::{CredentialKind, GroupName, Principal, PrincipalId, Subject};

/// How far the clocks of an issuer and of this server may be apart.
pub const LEEWAY_SECONDS: i64 = 30;

/// What a configured issuer's tokens must be.
#[derive(Clone, Debug)]
pub struct IssuerRules {
    /// Its name in principals: `oidc://NAME/sub`.
    pub name: String,
    /// Its `iss`, compared byte for byte.
    pub issuer: String,
    /// Who its tokens must be for.
    pub audience: String,
    /// Whose principals its subjects are.
    pub tenant: TenantRule,
    /// How it signs.
    pub algorithms: Vec<Algorithm>,
    /// The `typ` that its tokens must have, such as `at+jwt`. None: `JWT`, `at+jwt` or no type at all.
    pub token_type: Option<String>,
    /// The claim that lists groups.
    pub groups_claim: Option<String>,
    /// What its groups are called here; others are left out. Empty: as they are called there.
    pub groups: BTreeMap<String, GroupName>,
    /// Attribute for policies → claim, or JSON pointer to it.
    pub claims: BTreeMap<String, String>,
    /// The longest that a token may be good for.
    pub lifetime_seconds_max: i64,
}

/// Which tenant a token's subject belongs to.
#[derive(Clone, Debug)]
pub enum TenantRule {
    /// Always this one.
    One(TenantId),
    /// What the claim says, if it is listed.
    Claim {
        /// The claim, or a JSON pointer to it.
        claim: String,
        /// Value → tenant.
        tenants: BTreeMap<String, TenantId>,
    },
}

/// A token that was verified: who it speaks of, and while it does.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Whom it speaks of.
    pub subject: Subject,
    /// While it is good.
    pub(in crate::auth) times: Times,
    /// SHA-256 of the client certificate that it is bound to (RFC 8705, section 3.1).
    pub certificate: Option<[u8; 32]>,
}

/// While a token is good, in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::auth) struct Times {
    pub(in crate::auth) not_before: i64,
    pub(in crate::auth) expires: i64,
}

// === impl IssuerRules ===

impl IssuerRules {
    /// What a token whose signature was verified says at `now` (seconds since the Unix epoch).
    ///
    /// # Errors
    /// It does not say what it must.
    pub fn accept(&self, token: &Jws<'_>, now: i64) -> Result<Verified, TokenError> {
        let claims = token.claims();
        if !self.algorithms.contains(&token.algorithm()) {
            return Err(TokenError::Algorithm);
        }
        self.check_type(token)?;
        if token.issuer()? != self.issuer {
            return Err(TokenError::UnknownIssuer);
        }
        if !claims.texts("aud")?.contains(&self.audience.as_str()) {
            return Err(TokenError::Audience);
        }
        let times = Times::of(claims, now, self.lifetime_seconds_max)?;
        let subject = claims.text("sub")?;
        let id = PrincipalId::of_token(&self.name, subject).map_err(|_| TokenError::Subject)?;
        let principal = Principal::new(id, self.tenant(claims)?);
        let mut subject = Subject::new(principal, CredentialKind::Token);
        subject.groups = self.groups(claims)?;
        for (attribute, claim) in &self.claims {
            if let Some(value) = claims.plain(claim)? {
                subject.claims.insert(attribute.clone(), value);
            }
        }
        Ok(Verified { subject, times, certificate: confirmation(claims)? })
    }

    fn check_type(&self, token: &Jws<'_>) -> Result<(), TokenError> {
        let token_type = token.token_type();
        let fits = match (&self.token_type, token_type.as_deref()) {
            (Some(required), Some(found)) => required.eq_ignore_ascii_case(found),
            (Some(_), None) => false,
            (None, found) => matches!(found, None | Some("jwt" | "at+jwt")),
        };
        if fits { Ok(()) } else { Err(TokenError::Type) }
    }

    fn tenant(&self, claims: &Claims) -> Result<TenantId, TokenError> {
        match &self.tenant {
            TenantRule::One(tenant) => Ok(*tenant),
            TenantRule::Claim { claim, tenants } => {
                let value = claims.plain(claim)?.ok_or(TokenError::Tenant)?;
                tenants.get(&value).copied().ok_or(TokenError::Tenant)
            }
        }
    }

    fn groups(&self, claims: &Claims) -> Result<Vec<GroupName>, TokenError> {
        let Some(claim) = &self.groups_claim else { return Ok(Vec::new()) };
        let named = claims.texts(claim)?;
        if named.len() > GROUPS_MAX {
            return Err(TokenError::Group);
        }
        let mut groups: Vec<GroupName> = if self.groups.is_empty() {
            let parsed = named.into_iter().map(GroupName::parse);
            parsed.collect::<Result<_, _>>().map_err(|_| TokenError::Group)?
        } else {
            named.into_iter().filter_map(|name| self.groups.get(name).cloned()).collect()
        };
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }
}

// === impl Times ===

impl Times {
    /// Reads `exp`, `nbf` and `iat`, and holds them against the clock.
    pub(in crate::auth) fn of(
        claims: &Claims,
        now: i64,
        lifetime_max: i64,
    ) -> Result<Self, TokenError> {
        let expires = claims.time("exp")?.ok_or(TokenError::Claim)?;
        let issued = claims.time("iat")?;
        let not_before = claims.time("nbf")?.max(issued).unwrap_or(0);
        // Without `iat` it counts as issued now: it was not issued later.
        let lifetime = expires.saturating_sub(issued.unwrap_or(now));
        let left = expires.saturating_sub(now).saturating_sub(LEEWAY_SECONDS);
        if lifetime > lifetime_max || left > lifetime_max {
            return Err(TokenError::Lifetime);
        }
        let times = Self { not_before, expires };
        times.check(now)?;
        Ok(times)
    }

    /// Whether it is good at `now`.
    pub(in crate::auth) fn check(self, now: i64) -> Result<(), TokenError> {
        if now >= self.expires.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenError::Expired);
        }
        if self.not_before > now.saturating_add(LEEWAY_SECONDS) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}

/// What holds a token to its owner (RFC 7800), if anything does. A way that cannot be checked here is
/// refused: whoever bound the token meant that not everybody may use it.
pub(in crate::auth) fn confirmation(claims: &Claims) -> Result<Option<[u8; 32]>, TokenError> {
    let Some(confirmation) = claims.members("cnf")? else { return Ok(None) };
    let mut certificate = None;
    for (method, value) in confirmation {
        if method != "x5t#S256" {
            return Err(TokenError::Binding);
        }
        let text = value.as_str().ok_or(TokenError::Claim)?;
        let digest = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Claim)?;
        certificate = Some(digest.try_into().map_err(|_| TokenError::Claim)?);
    }
    certificate.ok_or(TokenError::Binding).map(Some)
}

const GROUPS_MAX: usize = 128;
