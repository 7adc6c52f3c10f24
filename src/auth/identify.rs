//! From what a call presents to who calls: the connection's certificate, a token, a credential, or
//! several of these where they agree.
//!
//! The one place where proofs meet. Whatever is ambiguous is refused (attack B07), an end user's token
//! that is not good refuses the whole call, and no other header is ever looked at: what a proxy says of
//! a caller (`x-forwarded-client-cert` and the like) is not believed (attack B06).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, HeaderMap};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::credential::{CREDENTIAL_PREFIX, PresentedCredential};
use super::own::OwnTokens;
use super::provider::IssuerKeys;
use super::token::{IssuerRules, Jws, TokenError, Verified};
use super::{AuthError, Authenticator, Certified, Peer};
use crate::clock::Clock;
use crate::keys::{CredentialId, TenantId};
use crate::policy::Subject;

/// The header with which a gateway passes on its end user's token.
pub const ON_BEHALF_OF: &str = "bulla-on-behalf-of";

/// Whose a credential is. Implemented where rows can be reached.
#[async_trait]
pub trait CredentialDirectory: Send + Sync {
    /// The service account of this credential, if it is alive and good from `source`.
    ///
    /// # Errors
    /// [`AuthError::UnknownCredential`] for every reason why it is not, in equal time;
    /// [`AuthError::Unavailable`] when that cannot be told.
    async fn subject_of(
        &self,
        credential: &PresentedCredential,
        source: IpAddr,
    ) -> Result<Arc<Subject>, AuthError>;

    /// That a credential is alive, for a token that it was exchanged for.
    ///
    /// # Errors
    /// As [`subject_of`](Self::subject_of).
    async fn still(&self, tenant: TenantId, id: CredentialId) -> Result<(), AuthError>;
}

/// A configured issuer of tokens.
pub struct TokenIssuer {
    /// What its tokens must say.
    pub rules: IssuerRules,
    /// Its keys.
    pub keys: Arc<IssuerKeys>,
}

/// Tells who calls.
pub struct Identifier {
    authenticator: Arc<Authenticator>,
    issuers: HashMap<String, Arc<TokenIssuer>>,
    own: Option<Arc<dyn OwnTokens>>,
    credentials: Option<Arc<dyn CredentialDirectory>>,
    verified: Cache<[u8; 32], Arc<Kept>>,
    clock: Arc<dyn Clock>,
}

/// A token whose signature was found good, so that it need not be verified for every call.
struct Kept {
    verified: Verified,
    subject: Arc<Subject>,
    issuer: Arc<TokenIssuer>,
    generation: u64,
}

/// What a proof in a header says.
struct Proven {
    subject: Arc<Subject>,
    /// The certificate that it is bound to.
    certificate: Option<[u8; 32]>,
}

// === impl Identifier ===

impl Identifier {
    /// By certificates and by tokens of these issuers.
    pub fn new(
        authenticator: Arc<Authenticator>,
        issuers: Vec<TokenIssuer>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let issuers = issuers.into_iter().map(|one| (one.rules.issuer.clone(), Arc::new(one)));
        Self {
            authenticator,
            issuers: issuers.collect(),
            own: None,
            credentials: None,
            verified: Cache::new(VERIFIED_MAX),
            clock,
        }
    }

    /// Also by tokens of this installation's own.
    #[must_use]
    pub fn with_own_tokens(mut self, own: Arc<dyn OwnTokens>) -> Self {
        self.own = Some(own);
        self
    }

    /// Also by service accounts' credentials.
    #[must_use]
    pub fn with_credentials(mut self, directory: Arc<dyn CredentialDirectory>) -> Self {
        self.credentials = Some(directory);
        self
    }

    /// Who makes a call with these headers on this connection.
    ///
    /// # Errors
    /// Nobody that is known, or it is not clear who.
    pub async fn identify(
        &self,
        peer: &Peer,
        headers: &HeaderMap,
    ) -> Result<Arc<Subject>, AuthError> {
        let certified = peer.certified();
        if let Some(certified) = certified {
            self.authenticator.still(certified)?;
        }
        let subject = match (one(headers, AUTHORIZATION.as_str())?, certified) {
            (None, None) => return Err(AuthError::NoProof),
            (None, Some(certified)) => Arc::clone(certified.subject()),
            (Some(header), certified) => {
                let proven = self.bearer(bearer_of(header)?, peer).await?;
                agreed(proven, certified)?
            }
        };
        match one(headers, ON_BEHALF_OF)? {
            None => Ok(subject),
            Some(token) => self.for_end_user(&subject, token).await,
        }
    }

    async fn bearer(&self, text: &str, peer: &Peer) -> Result<Proven, AuthError> {
        if text.starts_with(CREDENTIAL_PREFIX) {
            let credential = PresentedCredential::parse(text)?;
            let directory = self.credentials.as_ref().ok_or(AuthError::UnknownCredential)?;
            let source = peer.address().ip();
            let subject = directory.subject_of(&credential, source).await?;
            if subject.principal.tenant() != credential.tenant() {
                return Err(AuthError::UnknownCredential);
            }
            return Ok(Proven { subject, certificate: None });
        }
        if let Some(own) = &self.own {
            let token = Jws::parse(text)?;
            if token.issuer()? == own.issuer() {
                let verified = own.verify(&token, self.now_seconds())?;
                let subject = Arc::new(verified.subject);
                // What is revoked takes with it what it was exchanged for.
                if let Some(id) = subject.credential {
                    let directory = self.credentials.as_ref();
                    let directory = directory.ok_or(AuthError::UnknownCredential)?;
                    directory.still(subject.principal.tenant(), id).await?;
                }
                return Ok(Proven { subject, certificate: verified.certificate });
            }
        }
        let kept = self.token(text).await?;
        let (subject, certificate) = (Arc::clone(&kept.subject), kept.verified.certificate);
        Ok(Proven { subject, certificate })
    }

    /// A token of a configured issuer.
    async fn token(&self, text: &str) -> Result<Arc<Kept>, TokenError> {
        let digest: [u8; 32] = Sha256::digest(text).into();
        let now = self.now_seconds();
        if let Some(kept) = self.verified.get(&digest)
            && kept.issuer.keys.still(kept.generation)
        {
            kept.verified.times.check(now)?;
            return Ok(kept);
        }
        let token = Jws::parse(text)?;
        let issuer = self.issuers.get(token.issuer()?).ok_or(TokenError::UnknownIssuer)?;
        // What costs nothing comes first: only a token that would be accepted has its signature
        // verified (attack J10), and nothing is believed before that.
        let verified = issuer.rules.accept(&token, now)?;
        let generation = issuer.keys.verify(&token).await?;
        let (subject, issuer) = (Arc::new(verified.subject.clone()), Arc::clone(issuer));
        let kept = Arc::new(Kept { verified, subject, issuer, generation });
        self.verified.insert(digest, Arc::clone(&kept));
        Ok(kept)
    }

    async fn for_end_user(
        &self,
        gateway: &Arc<Subject>,
        token: &str,
    ) -> Result<Arc<Subject>, AuthError> {
        if gateway.end_user.is_some() {
            return Err(AuthError::Ambiguous);
        }
        let kept = self.token(token).await.map_err(AuthError::EndUser)?;
        if kept.verified.certificate.is_some() {
            return Err(AuthError::EndUser(TokenError::Binding));
        }
        let end_user = &kept.subject.principal;
        if end_user.tenant() != gateway.principal.tenant() {
            return Err(AuthError::EndUserTenant);
        }
        let mut subject = Subject::clone(gateway);
        subject.end_user = Some(end_user.id().clone());
        Ok(Arc::new(subject))
    }

    fn now_seconds(&self) -> i64 {
        self.clock.unix_us().div_euclid(1_000_000)
    }
}

/// Holds a proof in a header against the connection's certificate.
fn agreed(proven: Proven, certified: Option<&Certified>) -> Result<Arc<Subject>, AuthError> {
    match (proven.certificate, certified) {
        (Some(bound), Some(certified)) if bool::from(bound.ct_eq(certified.thumbprint())) => {
            Ok(proven.subject)
        }
        (Some(_), _) => Err(AuthError::Token(TokenError::Binding)),
        (None, None) => Ok(proven.subject),
        (None, Some(certified)) if certified.subject().principal == proven.subject.principal => {
            Ok(proven.subject)
        }
        (None, Some(_)) => Err(AuthError::Ambiguous),
    }
}

/// The one header of this name. Two of them are two callers.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, AuthError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| AuthError::Scheme),
        (Some(_), Some(_)) => Err(AuthError::Ambiguous),
    }
}

/// What stands after `Bearer` (RFC 6750, section 2.1).
fn bearer_of(header: &str) -> Result<&str, AuthError> {
    let (scheme, text) = header.split_once(' ').ok_or(AuthError::Scheme)?;
    let lawful = scheme.eq_ignore_ascii_case("bearer")
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
    if lawful { Ok(text) } else { Err(AuthError::Scheme) }
}

/// Tokens that need not be verified again. An entry is a token's hash and its subject.
const VERIFIED_MAX: usize = 4_096;

#[cfg(test)]
mod tests;
