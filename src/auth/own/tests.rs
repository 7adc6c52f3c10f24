//! Tokens of this installation's own, there and back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde_json::json;

use aws_lc_rs::signature::Ed25519KeyPair;

use super::*;
use crate::auth::forge::{NOW, Pair, claims};
use crate::auth::token::Algorithm;
use crate::keys::{KeyId, KeyRing, TenantId};
use crate::policy::{Action, CredentialKind, GroupName, Network, Principal};

const ONE: TenantId = TenantId::from_bytes([1; 16]);

fn issuer() -> OwnIssuer {
    OwnIssuer::new("bulla:one", OwnKey::Ed25519(&[5; 32]), &[]).unwrap()
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
    let elsewhere = OwnIssuer::new("bulla:two", OwnKey::Ed25519(&[5; 32]), &[]).unwrap();
    let text = elsewhere.sign(&token(), &[1; 16], NOW).unwrap();
    assert_eq!(read(&issuer(), &text, NOW).unwrap_err(), TokenError::UnknownIssuer);
    let stranger = OwnIssuer::new("bulla:one", OwnKey::Ed25519(&[6; 32]), &[]).unwrap();
    let text = stranger.sign(&token(), &[1; 16], NOW).unwrap();
    assert_eq!(read(&issuer(), &text, NOW).unwrap_err(), TokenError::UnknownKey);
}

#[test]
fn a10_a_token_of_the_earlier_key_counts_while_that_is_kept() {
    let text = issuer().sign(&token(), &[1; 16], NOW).unwrap();
    let rotated =
        OwnIssuer::new("bulla:one", OwnKey::Ed25519(&[6; 32]), &[OwnKey::Ed25519(&[5; 32])])
            .unwrap();
    assert!(read(&rotated, &text, NOW).is_ok());
    let later = OwnIssuer::new("bulla:one", OwnKey::Ed25519(&[6; 32]), &[]).unwrap();
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
    let header = json!({"alg": "EdDSA", "kid": issuer().signing.id, "typ": "at+jwt"}).to_string();
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
    let plain = json!({"alg": "EdDSA", "kid": issuer().signing.id, "typ": "JWT"}).to_string();
    let text = pair.token_of("EdDSA", &plain, &lawful.to_string());
    assert_eq!(read(&issuer(), &text, NOW).unwrap_err(), TokenError::Type);
}

/// Signs by ES256, and still takes what was signed by EdDSA.
fn by_p256() -> OwnIssuer {
    OwnIssuer::new("bulla:one", OwnKey::P256(&[7; 32]), &[OwnKey::Ed25519(&[5; 32])]).unwrap()
}

#[test]
fn a10_the_algorithm_is_replaced_without_a_token_that_stops_counting() {
    let before =
        OwnIssuer::new("bulla:one", OwnKey::Ed25519(&[5; 32]), &[OwnKey::P256(&[7; 32])]).unwrap();
    let after = by_p256();
    for (signer, algorithm) in [(&before, Algorithm::EdDsa), (&after, Algorithm::Es256)] {
        let text = signer.sign(&token(), &[1; 16], NOW).unwrap();
        assert_eq!(Jws::parse(&text).unwrap().algorithm(), algorithm);
        for reader in [&before, &after] {
            assert!(read(reader, &text, NOW).is_ok());
        }
    }
    // Both show both keys, the one that signs first.
    let shown = |issuer: &OwnIssuer| {
        let set: Value = serde_json::from_str(issuer.key_set()).unwrap();
        let keys = set["keys"].as_array().unwrap().iter();
        keys.map(|key| key["alg"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (shown(&before), shown(&after)),
        (
            vec!["EdDSA".to_owned(), "ES256".to_owned()],
            vec!["ES256".to_owned(), "EdDSA".to_owned()],
        )
    );
}

#[test]
fn a01_a_token_of_our_own_counts_by_the_algorithm_of_its_key_alone() {
    let issuer = by_p256();
    let text = issuer.sign(&token(), &[1; 16], NOW).unwrap();
    let (head, rest) = text.split_once('.').unwrap();
    let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
    let set: Value = serde_json::from_str(issuer.key_set()).unwrap();
    for algorithm in ["EdDSA", "ES256", "ES384", "RS256", "PS256", "HS256", "none"] {
        for key in set["keys"].as_array().unwrap() {
            let mut head = head.clone();
            head["alg"] = algorithm.into();
            head["kid"] = key["kid"].clone();
            let text = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(head.to_string()));
            let is_its_own = algorithm == "ES256" && key["alg"] == "ES256";
            assert_eq!(read(&issuer, &text, NOW).is_ok(), is_its_own, "{algorithm} {key}");
        }
    }
}

/// RFC 7515, appendix A.3: a key that others published, so that its public half and its thumbprint are
/// not this program's word alone.
#[test]
fn a_published_key_is_the_public_half_of_its_secret() {
    let secret = URL_SAFE_NO_PAD.decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI").unwrap();
    let secret: [u8; 32] = secret.try_into().unwrap();
    let issuer = OwnIssuer::new("bulla:one", OwnKey::P256(&secret), &[]).unwrap();
    let set: Value = serde_json::from_str(issuer.key_set()).unwrap();
    let key = &set["keys"][0];
    assert_eq!(key["x"], "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
    assert_eq!(key["y"], "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    assert!(OwnIssuer::new("bulla:one", OwnKey::P256(&[0; 32]), &[]).is_err());
    assert!(OwnIssuer::new("bulla:one", OwnKey::P256(&[0xff; 32]), &[]).is_err());
}

#[test]
fn a11_a_token_is_as_long_as_is_read_and_no_longer() {
    let mut longest = 0;
    let mut refused = 0;
    for bytes in 0..3 {
        for length in TOKEN_BYTES_MAX / 2..TOKEN_BYTES_MAX {
            let mut token = token();
            token.audience = "x".repeat(length);
            let id = format!("spiffe://demo.bulla/{}", "a".repeat(bytes + 1));
            let id = PrincipalId::parse(&id).unwrap();
            token.subject = Subject::new(Principal::new(id, ONE), CredentialKind::Certificate);
            match issuer().sign(&token, &[1; 16], NOW) {
                Ok(text) => longest = longest.max(text.len()),
                Err(error) => {
                    assert_eq!(error, OwnTokenError::TooLong);
                    refused += 1;
                    break;
                }
            }
        }
    }
    assert_eq!((longest, refused), (TOKEN_BYTES_MAX, 3));
}
