//! Tokens of this installation's own, there and back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde_json::json;

use super::*;
use crate::auth::forge::{NOW, Pair, claims};
use crate::auth::token::Algorithm;
use crate::keys::{KeyId, KeyRing, TenantId};
use crate::policy::{Action, CredentialKind, GroupName, Network, Principal};

const ONE: TenantId = TenantId::from_bytes([1; 16]);

fn issuer() -> OwnIssuer {
    OwnIssuer::new("bulla:one", &[5; 32], &[]).unwrap()
}

fn token() -> OwnToken {
    let id = PrincipalId::parse("spiffe://demo.bulla/app").unwrap();
    OwnToken {
        audience: OWN_AUDIENCE.to_owned(),
        subject: Subject::new(Principal::new(id, ONE), CredentialKind::Certificate),
        earlier_actors: vec![],
        lifetime_seconds: 300,
        certificate: None,
    }
}

fn read(issuer: &OwnIssuer, text: &str, now: i64) -> Result<Verified, TokenError> {
    issuer.verify(&Jws::parse(text)?, now)
}

#[test]
fn a_token_of_our_own_says_what_was_put_into_it() {
    let mut token = token();
    token.subject.groups = vec![GroupName::parse("payments").unwrap()];
    token.subject.claims = [("team".to_owned(), "cards".to_owned())].into();
    token.subject.end_user = Some(PrincipalId::parse("oidc://login/alice").unwrap());
    token.subject.scope = Some(Arc::new(Scope {
        actions: vec![Action::Decrypt, Action::Encrypt],
        keys: vec![KeyId::from_bytes([3; 16])],
        key_rings: vec![KeyRing::parse("payments/cards").unwrap()],
        encryption_context: [("app".to_owned(), "x y".to_owned())].into(),
        networks: vec![Network::parse("10.0.0.0/8").unwrap()],
    }));
    token.earlier_actors = vec![PrincipalId::parse("service://edge").unwrap()];
    token.certificate = Some([9; 32]);
    let text = issuer().sign(&token, &[1; 16], NOW).unwrap();
    let verified = read(&issuer(), &text, NOW).unwrap();
    let expected = Subject { kind: CredentialKind::Exchanged, ..token.subject };
    assert_eq!(verified.subject, expected);
    assert_eq!(verified.certificate, Some([9; 32]));
    let parsed = Jws::parse(&text).unwrap();
    assert_eq!(parsed.claims().text("sub"), Ok("oidc://login/alice"));
    let act = parsed.claims().members("act").unwrap().unwrap();
    let chain = json!({"sub": "spiffe://demo.bulla/app", "act": {"sub": "service://edge"}});
    assert_eq!(&Value::Object(act.clone()), &chain);
}

#[test]
fn a11_it_is_good_for_what_was_asked_and_never_longer_than_fifteen_minutes() {
    for seconds in [0, -1, 901, i64::MAX] {
        let token = OwnToken { lifetime_seconds: seconds, ..token() };
        assert_eq!(issuer().sign(&token, &[1; 16], NOW), Err(OwnTokenError::Lifetime), "{seconds}");
    }
    let token = OwnToken { lifetime_seconds: 900, ..token() };
    let text = issuer().sign(&token, &[1; 16], NOW).unwrap();
    assert!(read(&issuer(), &text, NOW + 929).is_ok());
    assert_eq!(read(&issuer(), &text, NOW + 930).unwrap_err(), TokenError::Expired);
    let text = issuer().sign(&self::token(), &[1; 16], NOW).unwrap();
    assert_eq!(read(&issuer(), &text, NOW - 31).unwrap_err(), TokenError::NotYetValid);
}

#[test]
fn a05_a_token_for_another_service_or_installation_is_not_taken_here() {
    let other = OwnToken { audience: "https://files.example".to_owned(), ..token() };
    let text = issuer().sign(&other, &[1; 16], NOW).unwrap();
    assert_eq!(read(&issuer(), &text, NOW).unwrap_err(), TokenError::Audience);
    let elsewhere = OwnIssuer::new("bulla:two", &[5; 32], &[]).unwrap();
    let text = elsewhere.sign(&token(), &[1; 16], NOW).unwrap();
    assert_eq!(read(&issuer(), &text, NOW).unwrap_err(), TokenError::UnknownIssuer);
    let stranger = OwnIssuer::new("bulla:one", &[6; 32], &[]).unwrap();
    let text = stranger.sign(&token(), &[1; 16], NOW).unwrap();
    assert_eq!(read(&issuer(), &text, NOW).unwrap_err(), TokenError::UnknownKey);
}

#[test]
fn a10_a_token_of_the_earlier_key_counts_while_that_is_kept() {
    let text = issuer().sign(&token(), &[1; 16], NOW).unwrap();
    let rotated = OwnIssuer::new("bulla:one", &[6; 32], &[[5; 32]]).unwrap();
    assert!(read(&rotated, &text, NOW).is_ok());
    let later = OwnIssuer::new("bulla:one", &[6; 32], &[]).unwrap();
    assert_eq!(read(&later, &text, NOW).unwrap_err(), TokenError::UnknownKey);
}

#[test]
fn others_verify_it_with_the_published_keys_and_learn_no_secret() {
    let issuer = issuer();
    let text = issuer.sign(&token(), &[1; 16], NOW).unwrap();
    let keys = KeySet::parse(issuer.key_set().as_bytes()).unwrap();
    let parsed = Jws::parse(&text).unwrap();
    assert!(keys.verify(&parsed).is_ok());
    assert_eq!(parsed.algorithm(), Algorithm::EdDsa);
    let published: Value = serde_json::from_str(issuer.key_set()).unwrap();
    let mut names: Vec<_> = published["keys"][0].as_object().unwrap().keys().cloned().collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"]);
    assert!(!issuer.key_set().contains(&URL_SAFE_NO_PAD.encode([5; 32])));
}

#[test]
fn a02_a_token_that_does_not_say_all_of_it_is_refused() {
    let seed = [5; 32];
    let pair = Pair::Ed25519(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap());
    let lawful = {
        let mut lawful = claims();
        lawful["iss"] = json!("bulla:one");
        lawful["aud"] = json!("bulla");
        lawful["sub"] = json!("spiffe://demo.bulla/app");
        lawful["tenant"] = json!(ONE.to_string());
        lawful
    };
    let header = json!({"alg": "EdDSA", "kid": issuer().signing_id, "typ": "at+jwt"}).to_string();
    let asked = |name: &str, value: Value| {
        let mut claims = lawful.clone();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        let text = pair.token_of("EdDSA", &header, &claims.to_string());
        read(&issuer(), &text, NOW).map(|verified| verified.subject)
    };
    assert!(asked("x", json!(1)).is_ok());
    for (name, value) in [
        ("iss", json!(null)),
        ("aud", json!(null)),
        ("aud", json!(["bulla"])),
        ("sub", json!(null)),
        ("exp", json!(null)),
        ("tenant", json!(null)),
        ("tenant", json!("one")),
        ("sub", json!("alice")),
        ("groups", json!("A")),
        ("groups", json!({})),
        ("act", json!("x")),
        ("act", json!({})),
        ("act", json!({"sub": "x"})),
        ("attributes", json!({"a": 1})),
        ("restrictions", json!({})),
        ("restrictions", json!([])),
        ("cnf", json!({})),
        ("exp", json!(NOW + 2_000)),
    ] {
        assert!(asked(name, value.clone()).is_err(), "{name} {value}");
    }
    let mut deep = json!({"sub": "service://a"});
    for _ in 0..6 {
        deep = json!({"sub": "service://a", "act": deep});
    }
    assert!(asked("act", deep).is_err());
    let plain = json!({"alg": "EdDSA", "kid": issuer().signing_id, "typ": "JWT"}).to_string();
    let text = pair.token_of("EdDSA", &plain, &lawful.to_string());
    assert_eq!(read(&issuer(), &text, NOW).unwrap_err(), TokenError::Type);
}
