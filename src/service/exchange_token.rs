//! A short-lived token for less than its caller may (RFC 8693 semantics).
//!
//! Never wider than what it is exchanged for, and never exchanged again: a token that could be renewed
//! with itself would be for ever.

use crate::audit::{MAX_DETAIL_BYTES, Record, clip};
use crate::keys::{KeyRing, Timestamp};
use crate::policy::{Action, CredentialKind, Scope, Subject};

use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// Signs tokens. Outside of `service`, which knows no format of them.
pub trait TokenSigner: Send + Sync {
    /// The token, or what is wrong with what was asked for.
    ///
    /// # Errors
    /// A text for the caller.
    fn issue(&self, token: NewToken, id: &[u8; 16], now: Timestamp) -> Result<String, String>;

    /// The JSON Web Key Set (RFC 7517) with which others verify them.
    fn key_set(&self) -> &str;
}

/// What is put into a token.
pub struct NewToken {
    /// Who it is for.
    pub audience: String,
    /// Who calls with it, and the most that it is good for.
    pub subject: Subject,
    /// How long it is good for.
    pub lifetime_seconds: u32,
    /// SHA-256 of the certificate that it is bound to.
    pub certificate: Option<[u8; 32]>,
}

/// A token to be had for the proof that the caller came with.
pub struct ExchangeToken {
    /// Who it is for: 1 to 255 bytes.
    pub audience: String,
    /// At most this. Empty lists restrict nothing further.
    pub scope: Scope,
    /// 1 to 900.
    pub lifetime_seconds: u32,
    /// Good on connections with the caller's present certificate only.
    pub bind_certificate: bool,
}

/// The token. Mute: it is a secret.
pub struct Exchanged {
    /// In the clear.
    pub access_token: String,
    /// When it ends.
    pub expire_time: Timestamp,
}

// === impl ExchangeToken ===

impl UseCase for ExchangeToken {
    type Reply = Exchanged;

    const ACTION: Action = Action::ExchangeToken;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        let actions: Vec<_> = self.scope.actions.iter().map(|action| action.name()).collect();
        let detail = format!(
            "audience={:?} lifetime_seconds={} bound={} actions={}",
            self.audience,
            self.lifetime_seconds,
            self.bind_certificate,
            actions.join(",")
        );
        record.detail = clip(&detail, MAX_DETAIL_BYTES).into_owned().into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Exchanged, Refusal> {
        let subject = act.subject();
        if subject.kind == CredentialKind::Exchanged {
            return Err(Refusal::Denied { class: "exchanged_already" });
        }
        let certificate = match (self.bind_certificate, act.certificate()) {
            (false, _) => None,
            (true, Some(certificate)) => Some(*certificate),
            (true, None) => {
                let problem = "this connection has no client certificate to bind a token to";
                return Err(Refusal::invalid("bind_certificate", problem));
            }
        };
        let scope = narrowed(subject.scope.as_deref(), self.scope)?;
        let subject = Subject { scope: Some(scope.into()), ..subject.clone() };
        let lifetime_seconds = self.lifetime_seconds;
        let token = NewToken { audience: self.audience, subject, lifetime_seconds, certificate };
        let (id, now) = (act.custody.draw_id()?, act.custody.now());
        let issuer = act.office.tokens.as_ref().ok_or(Refusal::Denied { class: "no_tokens" })?;
        let access_token = issuer
            .issue(token, &id, now)
            .map_err(|problem| Refusal::invalid("lifetime", problem))?;
        let expire_time = now.plus_ms(u64::from(lifetime_seconds).saturating_mul(1_000));
        Ok(Exchanged { access_token, expire_time })
    }
}

/// What was asked for, if it is within what the caller's own credential is good for.
fn narrowed(own: Option<&Scope>, asked: Scope) -> Result<Scope, Refusal> {
    let Some(own) = own else { return Ok(asked) };
    let wider = |field| Refusal::invalid(field, "is more than the caller's own credential allows");
    let actions = match (own.actions.is_empty(), asked.actions.is_empty()) {
        (true, _) => asked.actions,
        (false, true) => own.actions.clone(),
        (false, false) if asked.actions.iter().all(|action| own.actions.contains(action)) => {
            asked.actions
        }
        (false, false) => return Err(wider("actions")),
    };
    let is_free = own.keys.is_empty() && own.key_rings.is_empty();
    let asks_nothing = asked.keys.is_empty() && asked.key_rings.is_empty();
    let (keys, key_rings) = match (is_free, asks_nothing) {
        (true, _) => (asked.keys, asked.key_rings),
        (false, true) => (own.keys.clone(), own.key_rings.clone()),
        (false, false) => {
            if !asked.keys.iter().all(|key| own.keys.contains(key)) {
                return Err(wider("keys"));
            }
            let inside = |ring: &KeyRing| {
                own.key_rings.iter().any(|outer| outer == ring || outer.contains(ring))
            };
            if !asked.key_rings.iter().all(inside) {
                return Err(wider("key_rings"));
            }
            (asked.keys, asked.key_rings)
        }
    };
    let encryption_context = own.encryption_context.clone();
    Ok(Scope { actions, keys, key_rings, encryption_context, networks: own.networks.clone() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::KeyId;

    fn own() -> Scope {
        Scope {
            actions: vec![Action::Decrypt, Action::GenerateDataKey],
            keys: vec![KeyId::from_bytes([1; 16])],
            key_rings: vec![KeyRing::parse("payments").unwrap()],
            encryption_context: [("purpose".to_owned(), "billing".to_owned())].into(),
            networks: Vec::new(),
        }
    }

    #[test]
    fn d09_a_token_is_never_wider_than_what_it_is_exchanged_for() {
        let cases = [
            (Scope { actions: vec![Action::Encrypt], ..Scope::default() }, "actions"),
            (Scope { keys: vec![KeyId::from_bytes([2; 16])], ..Scope::default() }, "keys"),
            (
                Scope { key_rings: vec![KeyRing::parse("hr").unwrap()], ..Scope::default() },
                "key_rings",
            ),
            (
                Scope { key_rings: vec![KeyRing::parse("paymentsx").unwrap()], ..Scope::default() },
                "key_rings",
            ),
        ];
        for (asked, field) in cases {
            assert_eq!(narrowed(Some(&own()), asked).unwrap_err().class(), field);
        }
    }

    #[test]
    fn what_was_not_asked_for_stays_as_narrow_as_it_was() {
        let all = narrowed(Some(&own()), Scope::default()).unwrap();
        assert_eq!(all, own());
        let ring = KeyRing::parse("payments/cards").unwrap();
        let asked = Scope {
            actions: vec![Action::Decrypt],
            key_rings: vec![ring.clone()],
            ..Scope::default()
        };
        let less = narrowed(Some(&own()), asked).unwrap();
        assert_eq!((less.actions, less.keys), (vec![Action::Decrypt], Vec::new()));
        assert_eq!(
            (less.key_rings, less.encryption_context),
            (vec![ring], own().encryption_context)
        );
        let asked = Scope { actions: vec![Action::Encrypt], ..Scope::default() };
        assert_eq!(narrowed(None, asked.clone()).unwrap(), asked);
    }
}
