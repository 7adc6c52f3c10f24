//! Tokens of this installation's own: what a caller exchanges its proof for (RFC 8693 semantics).
//!
//! Signed by EdDSA or ES256, typed `at+jwt` (RFC 9068), good for [`OWN_LIFETIME_SECONDS_MAX`] at
//! most. Without an end user, `sub` is the principal; with one, `sub` is the end user and `act` the
//! principal that acts for them, and inside it whoever acted before (RFC 8693, section 4.1). Never
//! widens anything, and never speaks of a tenant but the one that it was made in.

mod parse;
mod signing;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::token::{Jws, KeySet, TOKEN_BYTES_MAX, TokenError, Verified};
use crate::policy::{PrincipalId, Scope, Subject};

use signing::SigningKey;

pub use signing::OwnKey;

/// The longest that a token of this installation's own is good for: 15 minutes.
pub const OWN_LIFETIME_SECONDS_MAX: i64 = 900;

/// The audience of tokens that this server itself takes.
pub const OWN_AUDIENCE: &str = "bulla";

/// Verifies tokens of this installation's own.
pub trait OwnTokens: Send + Sync {
    /// The `iss` of its tokens.
    fn issuer(&self) -> &str;

    /// What a token says at `now` (seconds since the Unix epoch).
    fn verify(&self, token: &Jws<'_>, now: i64) -> Result<Verified, TokenError>;
}

/// This installation as an issuer.
pub struct OwnIssuer {
    issuer: String,
    signing: SigningKey,
    keys: KeySet,
    key_set: String,
}

/// What is put into a token.
#[derive(Clone, Debug)]
pub struct OwnToken {
    /// Who it is for: [`OWN_AUDIENCE`], or a service that knows this installation's keys.
    pub audience: String,
    /// Who calls with it, for whom, and the most that it is good for.
    pub subject: Subject,
    /// Who acted before the principal, the last first.
    pub earlier_actors: Vec<PrincipalId>,
    /// How long it is good for.
    pub lifetime_seconds: i64,
    /// SHA-256 of the client certificate that it is bound to (RFC 8705, section 3.1).
    pub certificate: Option<[u8; 32]>,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OwnTokenError {
    /// The lifetime is not one.
    #[error("the lifetime must be 1 to {OWN_LIFETIME_SECONDS_MAX} seconds")]
    Lifetime,
    /// It says too much for one token.
    #[error(
        "the token would be longer than {TOKEN_BYTES_MAX} bytes; ask for fewer keys and actions"
    )]
    TooLong,
    /// The seed is no key's, or the library failed.
    #[error("the signing key cannot be used")]
    Key,
}

// === impl OwnIssuer ===

impl OwnIssuer {
    /// An issuer that signs with the first key and also verifies with the others, each by its own
    /// algorithm. All are published, so that those who verify know a key before anything is signed with
    /// it, and still know it afterwards.
    ///
    /// # Errors
    /// The library refuses a key.
    pub fn new(
        issuer: &str,
        signing: OwnKey<'_>,
        others: &[OwnKey<'_>],
    ) -> Result<Self, OwnTokenError> {
        let signing = SigningKey::new(signing)?;
        let mut public = vec![signing.published.clone()];
        for other in others {
            public.push(SigningKey::new(*other)?.published);
        }
        let key_set = json!({ "keys": public }).to_string();
        let keys = KeySet::parse(key_set.as_bytes()).map_err(|_| OwnTokenError::Key)?;
        Ok(Self { issuer: issuer.to_owned(), signing, keys, key_set })
    }

    /// The JSON Web Key Set (RFC 7517) with which others verify its tokens.
    pub fn key_set(&self) -> &str {
        &self.key_set
    }

    /// Makes a token at `now` (seconds since the Unix epoch). `id` is drawn at random.
    ///
    /// # Errors
    /// The lifetime is out of bounds, or it would be too long.
    pub fn sign(&self, token: &OwnToken, id: &[u8; 16], now: i64) -> Result<String, OwnTokenError> {
        if !(1..=OWN_LIFETIME_SECONDS_MAX).contains(&token.lifetime_seconds) {
            return Err(OwnTokenError::Lifetime);
        }
        let header = json!({
            "alg": self.signing.algorithm().name(), "kid": self.signing.id, "typ": TOKEN_TYPE
        });
        let claims = self.claims(token, id, now);
        let part = |value: String| URL_SAFE_NO_PAD.encode(value);
        let signed =
            format!("{}.{}", part(header.to_string()), part(Value::Object(claims).to_string()));
        let signature = self.signing.sign(signed.as_bytes())?;
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        if token.len() > TOKEN_BYTES_MAX { Err(OwnTokenError::TooLong) } else { Ok(token) }
    }

    fn claims(&self, token: &OwnToken, id: &[u8; 16], now: i64) -> Map<String, Value> {
        let subject = &token.subject;
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", self.issuer.as_str().into());
        put("aud", token.audience.as_str().into());
        put("iat", now.into());
        put("exp", now.saturating_add(token.lifetime_seconds).into());
        put("jti", URL_SAFE_NO_PAD.encode(id).into());
        let principal = subject.principal.id().as_str();
        let whom = subject.end_user.as_ref().map_or(principal, PrincipalId::as_str);
        put("sub", whom.into());
        if subject.end_user.is_some() {
            let mut act = None;
            for actor in token.earlier_actors.iter().rev() {
                act = Some(actor_of(actor.as_str(), act));
            }
            put("act", actor_of(principal, act));
        }
        if let Some(certificate) = &token.certificate {
            put("cnf", json!({ "x5t#S256": URL_SAFE_NO_PAD.encode(certificate) }));
        }
        put("tenant", subject.principal.tenant().to_string().into());
        let groups: Vec<_> = subject.groups.iter().map(|group| group.as_str()).collect();
        put("groups", groups.into());
        put("attributes", json!(subject.claims));
        if let Some(id) = subject.credential {
            put("credential", id.to_string().into());
        }
        if let Some(scope) = &subject.scope {
            put("restrictions", restrictions(scope));
            let actions: Vec<_> = scope.actions.iter().map(|action| action.name()).collect();
            put("scope", actions.join(" ").into());
        }
        claims
    }
}

impl OwnTokens for OwnIssuer {
    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn verify(&self, token: &Jws<'_>, now: i64) -> Result<Verified, TokenError> {
        let verified = parse::accept(token, &self.issuer, now)?;
        self.keys.verify(token)?;
        Ok(verified)
    }
}

impl OwnTokens for Arc<OwnIssuer> {
    fn issuer(&self) -> &str {
        self.as_ref().issuer()
    }

    fn verify(&self, token: &Jws<'_>, now: i64) -> Result<Verified, TokenError> {
        self.as_ref().verify(token, now)
    }
}

fn actor_of(principal: &str, earlier: Option<Value>) -> Value {
    match earlier {
        Some(earlier) => json!({ "sub": principal, "act": earlier }),
        None => json!({ "sub": principal }),
    }
}

fn restrictions(scope: &Scope) -> Value {
    json!({
        "keys": scope.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "key_rings": scope.key_rings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "encryption_context": scope.encryption_context,
        "networks": scope.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

const TOKEN_TYPE: &str = "at+jwt";

#[cfg(test)]
mod tests;
