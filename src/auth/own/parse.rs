//! From the claims of a token of this installation's own back to the subject that it was made for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{OWN_AUDIENCE, OWN_LIFETIME_SECONDS_MAX, TOKEN_TYPE};
use crate::auth::token::{
    Algorithm, Claims, Jws, Times, TokenError, Verified, confirmation, texts_of,
};
use crate::keys::{CredentialId, KeyId, KeyRing, TenantId};
use crate::policy::{
    Action, CredentialKind, GroupName, Network, Principal, PrincipalId, Scope, Subject,
};

/// What the token says at `now`, if its signature holds.
pub(super) fn accept(token: &Jws<'_>, issuer: &str, now: i64) -> Result<Verified, TokenError> {
    // Which of the two is the key's, the key set says.
    if !matches!(token.algorithm(), Algorithm::EdDsa | Algorithm::Es256) {
        return Err(TokenError::Algorithm);
    }
    if token.token_type().as_deref() != Some(TOKEN_TYPE) {
        return Err(TokenError::Type);
    }
    if token.issuer()? != issuer {
        return Err(TokenError::UnknownIssuer);
    }
    let claims = token.claims();
    if claims.text("aud")? != OWN_AUDIENCE {
        return Err(TokenError::Audience);
    }
    let times = Times::of(claims, now, OWN_LIFETIME_SECONDS_MAX)?;
    let tenant = TenantId::parse(claims.text("tenant")?).map_err(|_| TokenError::Tenant)?;
    let subject = PrincipalId::parse(claims.text("sub")?).map_err(|_| TokenError::Subject)?;
    let (principal, end_user) = match claims.members("act")? {
        None => (subject, None),
        Some(act) => (actor(act)?, Some(subject)),
    };
    let mut subject = Subject::new(Principal::new(principal, tenant), CredentialKind::Exchanged);
    subject.end_user = end_user;
    let groups = claims.texts("groups")?.into_iter().map(GroupName::parse);
    subject.groups = groups.collect::<Result<_, _>>().map_err(|_| TokenError::Group)?;
    subject.claims = claims.members("attributes")?.map_or_else(|| Ok(BTreeMap::new()), pairs)?;
    subject.scope = scope(claims)?.map(Arc::new);
    let credential = claims.texts("credential")?.first().map(|text| CredentialId::parse(text));
    subject.credential = credential.transpose().map_err(|_| TokenError::Claim)?;
    Ok(Verified { subject, times, certificate: confirmation(claims)? })
}

/// The principal that acts now. Whoever acted before is told and gives no right (RFC 8693, section 4.1).
fn actor(act: &Map<String, Value>) -> Result<PrincipalId, TokenError> {
    let now = act.get("sub").and_then(Value::as_str).ok_or(TokenError::Claim)?;
    let mut inner = act.get("act");
    for _ in 0..EARLIER_ACTORS_MAX {
        let Some(earlier) = inner else { break };
        let earlier = earlier.as_object().ok_or(TokenError::Claim)?;
        inner = earlier.get("act");
    }
    if inner.is_some() {
        return Err(TokenError::Claim);
    }
    PrincipalId::parse(now).map_err(|_| TokenError::Subject)
}

/// The most that the token is good for. One claim without the other is nothing that was signed here.
fn scope(claims: &Claims) -> Result<Option<Scope>, TokenError> {
    let Some(restrictions) = claims.members("restrictions")? else { return Ok(None) };
    let mut actions = Vec::new();
    for name in claims.text("scope")?.split(' ').filter(|name| !name.is_empty()) {
        let action = Action::ALL.iter().find(|action| action.name() == name);
        actions.push(*action.ok_or(TokenError::Claim)?);
    }
    let context = restrictions.get("encryption_context").and_then(Value::as_object);
    Ok(Some(Scope {
        actions,
        keys: each(restrictions, "keys", |text| KeyId::parse(text).ok())?,
        key_rings: each(restrictions, "key_rings", |text| KeyRing::parse(text).ok())?,
        encryption_context: context.map_or_else(|| Ok(BTreeMap::new()), pairs)?,
        networks: each(restrictions, "networks", |text| Network::parse(text).ok())?,
    }))
}

fn each<T>(
    members: &Map<String, Value>,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, TokenError> {
    let texts = texts_of(members.get(name))?.into_iter();
    texts.map(|text| parse(text).ok_or(TokenError::Claim)).collect()
}

fn pairs(members: &Map<String, Value>) -> Result<BTreeMap<String, String>, TokenError> {
    let pair = |(name, value): (&String, &Value)| {
        Ok((name.clone(), value.as_str().ok_or(TokenError::Claim)?.to_owned()))
    };
    members.iter().map(pair).collect()
}

const EARLIER_ACTORS_MAX: usize = 4;
