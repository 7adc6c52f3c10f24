//! Tokens that have fooled somebody, and what is made of them here.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects
)]

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::auth::forge::{AUDIENCE, ISSUER, NOW, PAIRS, claims, claims_with, key_set, pair};
use crate::keys::TenantId;
use crate::policy::{CredentialKind, GroupName};

const ONE: TenantId = TenantId::from_bytes([1; 16]);
const TWO: TenantId = TenantId::from_bytes([2; 16]);

pub(in crate::auth) fn rules() -> IssuerRules {
    IssuerRules {
        name: "login".to_owned(),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        tenant: TenantRule::One(ONE),
        algorithms: Algorithm::ALL.to_vec(),
        token_type: None,
        groups_claim: None,
        groups: BTreeMap::new(),
        claims: BTreeMap::new(),
        lifetime_seconds_max: 3_600,
    }
}

/// Everything that happens to a token, as [`crate::auth::Identifier`] does it.
fn judged(rules: &IssuerRules, keys: &KeySet, token: &str) -> Result<Verified, TokenError> {
    let token = Jws::parse(token)?;
    let verified = rules.accept(&token, NOW)?;
    keys.verify(&token)?;
    Ok(verified)
}

fn keys() -> KeySet {
    KeySet::parse(&key_set(&[pair().jwk("k1")])).unwrap()
}

/// What lawful rules make of these claims, signed well.
fn said(claims: &Value) -> Result<Verified, TokenError> {
    said_to(&rules(), claims)
}

fn said_to(rules: &IssuerRules, claims: &Value) -> Result<Verified, TokenError> {
    judged(rules, &keys(), &pair().token("ES256", "k1", claims))
}

fn refused(result: Result<Verified, TokenError>) -> TokenError {
    result.map(|verified| verified.subject.principal).unwrap_err()
}

#[test]
fn a_lawful_token_is_its_subjects_principal_in_its_issuers_tenant() {
    let verified = said(&claims()).unwrap();
    assert_eq!(verified.subject.principal.id().as_str(), "oidc://login/alice");
    assert_eq!(verified.subject.principal.tenant(), ONE);
    assert_eq!(verified.subject.kind, CredentialKind::Token);
    assert!(verified.subject.groups.is_empty() && verified.certificate.is_none());
}

#[test]
fn a01_every_algorithm_with_every_key_is_refused_but_for_its_own() {
    let named = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];
    let others = [
        "HS256",
        "HS384",
        "HS512",
        "none",
        "None",
        "NONE",
        "RS384",
        "RS512",
        "PS512",
        "ES512",
        "ES256K",
        "Ed25519",
        "es256",
        "",
        "RSA-OAEP",
        "dir",
        "PBES2-HS256+A128KW",
    ];
    let (mut tried, mut accepted) = (0, 0);
    for (place, published) in PAIRS.iter().enumerate() {
        for only in named.iter().map(Some).chain([None]) {
            let mut jwk = published.jwk("k1");
            if let Some(only) = only {
                jwk["alg"] = json!(only);
            }
            let keys = KeySet::parse(&key_set(&[jwk])).unwrap();
            for (signer, signing) in PAIRS.iter().enumerate() {
                for algorithm in named.iter().chain(&others) {
                    let token = signing.token(algorithm, "k1", &claims());
                    let result = judged(&rules(), &keys, &token);
                    let lawful = place == signer
                        && published.algorithms().contains(algorithm)
                        && only.is_none_or(|only| only == algorithm);
                    tried += 1;
                    accepted += usize::from(result.is_ok());
                    assert_eq!(
                        result.is_ok(),
                        lawful,
                        "{algorithm} by {signer} under {place} {only:?}"
                    );
                }
            }
        }
    }
    assert_eq!((tried, accepted), (4 * 6 * 4 * 22, 10));
}

#[test]
fn a01_an_algorithm_that_the_issuer_was_not_given_is_refused() {
    let rules = IssuerRules { algorithms: vec![Algorithm::Ps256], ..rules() };
    let keys = KeySet::parse(&key_set(&[PAIRS[0].jwk("k1")])).unwrap();
    let asked = |algorithm| judged(&rules, &keys, &PAIRS[0].token(algorithm, "k1", &claims()));
    assert!(asked("PS256").is_ok());
    assert_eq!(refused(asked("RS256")), TokenError::Algorithm);
}

#[test]
fn a01_a_key_that_is_not_for_signatures_or_too_weak_verifies_nothing() {
    let with = |place: usize, name: &str, value: Value| {
        let mut jwk = PAIRS[place].jwk("k1");
        jwk[name] = value;
        KeySet::parse(&key_set(&[jwk]))
    };
    for (place, name, value) in [
        (1, "use", json!("enc")),
        (1, "use", json!(7)),
        (1, "key_ops", json!(["sign"])),
        (1, "key_ops", json!(7)),
        (1, "alg", json!("HS256")),
        (1, "alg", json!("none")),
        (1, "alg", json!(["ES256"])),
        (1, "kty", json!("oct")),
        (1, "crv", json!("P-521")),
        (1, "x", json!("AA")),
        (0, "e", json!("Aw")),
        (0, "e", json!("AQAAAAAB")),
        (0, "n", json!(URL_SAFE_NO_PAD.encode([0xff; 128]))),
        (0, "n", json!(URL_SAFE_NO_PAD.encode(vec![0xff; 2_048]))),
        (3, "crv", json!("X25519")),
        (1, "kid", json!(7)),
    ] {
        assert_eq!(with(place, name, value.clone()), Err(KeySetError), "{name} {value}");
    }
    assert!(with(1, "use", json!("sig")).is_ok() && with(1, "key_ops", json!(["verify"])).is_ok());
    // A point that is on no curve.
    let off = with(1, "x", json!(URL_SAFE_NO_PAD.encode([7; 32]))).unwrap();
    let token = pair().token("ES256", "k1", &claims());
    assert_eq!(refused(judged(&rules(), &off, &token)), TokenError::Signature);
    let secret = json!({"kty": "oct", "kid": "k1", "k": "AAAA", "alg": "HS256"});
    assert_eq!(KeySet::parse(&key_set(&[secret])), Err(KeySetError));
}

#[test]
fn a02_a_token_without_a_claim_that_it_needs_is_refused() {
    for (claim, error) in [
        ("iss", TokenError::Claim),
        ("aud", TokenError::Audience),
        ("sub", TokenError::Claim),
        ("exp", TokenError::Claim),
    ] {
        assert_eq!(refused(said(&claims_with(claim, Value::Null))), error, "{claim}");
    }
    assert!(said(&claims_with("iat", Value::Null)).is_ok(), "iat and nbf are optional");
}

#[test]
fn a02_an_audience_is_one_of_a_list_or_the_only_one_and_never_a_part_of_a_text() {
    let asked = |audience: Value| said(&claims_with("aud", audience));
    assert!(asked(json!([AUDIENCE])).is_ok());
    assert!(asked(json!(["other", AUDIENCE])).is_ok());
    for bad in [
        json!([]),
        json!(["other"]),
        json!("other"),
        json!(format!("{AUDIENCE} other")),
        json!(format!("{AUDIENCE}/")),
        json!(AUDIENCE.to_uppercase()),
        json!(""),
    ] {
        assert_eq!(refused(asked(bad.clone())), TokenError::Audience, "{bad}");
    }
}

#[test]
fn a03_a_claim_of_another_json_type_is_no_claim() {
    let odd = [
        json!("text"),
        json!(""),
        json!(["a"]),
        json!({"a": 1}),
        json!(true),
        json!(1.5),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!([]),
    ];
    for claim in ["exp", "nbf", "iat"] {
        for value in odd.iter().chain(&[json!(format!("{}", NOW + 60))]) {
            assert_eq!(
                refused(said(&claims_with(claim, value.clone()))),
                TokenError::Claim,
                "{claim} {value}"
            );
        }
        assert!(
            said(&claims_with(claim, json!(if claim == "exp" { NOW + 60 } else { NOW - 60 })))
                .is_ok()
        );
    }
    for claim in ["iss", "sub"] {
        for value in [json!([ISSUER]), json!(7), json!(true), json!({"a": ISSUER}), json!([])] {
            assert_eq!(
                refused(said(&claims_with(claim, value.clone()))),
                TokenError::Claim,
                "{claim} {value}"
            );
        }
    }
    for value in [json!(7), json!({"a": AUDIENCE}), json!([AUDIENCE, 7]), json!(true)] {
        assert_eq!(refused(said(&claims_with("aud", value.clone()))), TokenError::Claim, "{value}");
    }
    // Null, and a number that no machine can hold, as text: a library would not write them.
    for (claim, text) in [("exp", "null"), ("exp", "1e400"), ("nbf", "null"), ("sub", "null")] {
        let mut whole = claims_with(claim, Value::Null).to_string();
        whole.insert_str(1, &format!("\"{claim}\":{text},"));
        let token = pair().token_of("ES256", r#"{"alg":"ES256","kid":"k1"}"#, &whole);
        assert!(judged(&rules(), &keys(), &token).is_err(), "{whole}");
    }
}

#[test]
fn a04_a_name_that_stands_twice_is_refused_wherever_it_stands() {
    let header = r#"{"alg":"ES256","kid":"k1"}"#;
    let lawful = claims().to_string();
    let twice = |extra: &str| format!("{{{extra},{}", &lawful[1..]);
    for claims in [
        twice(r#""sub":"mallory""#),
        twice(r#""\u0073ub":"mallory""#),
        twice(r#""exp":1"#),
        twice(r#""x":{"a":1,"a":2}"#),
        twice(r#""x":[{"a":1,"a":1}]"#),
        format!("{lawful} {lawful}"),
        format!("[{lawful}]"),
        format!("\u{feff}{lawful}"),
        "{}x".to_owned(),
        String::new(),
        "null".to_owned(),
    ] {
        let token = pair().token_of("ES256", header, &claims);
        assert_eq!(refused(judged(&rules(), &keys(), &token)), TokenError::Malformed, "{claims}");
    }
    for header in [
        r#"{"alg":"ES256","alg":"none","kid":"k1"}"#,
        r#"{"alg":"none","kid":"k1","\u0061lg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"k1","kid":"k2"}"#,
    ] {
        let token = pair().token_of("ES256", header, &lawful);
        assert_eq!(refused(judged(&rules(), &keys(), &token)), TokenError::Malformed, "{header}");
    }
}

#[test]
fn a04_a_header_that_changes_what_is_signed_is_refused() {
    let with = |extra: &str| {
        let header = format!(r#"{{"alg":"ES256","kid":"k1",{extra}}}"#);
        refused(judged(
            &rules(),
            &keys(),
            &pair().token_of("ES256", &header, &claims().to_string()),
        ))
    };
    for extra in [
        r#""crit":["b64"],"b64":false"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""crit":[]"#,
        r#""crit":["exp"],"exp":1"#,
        r#""cty":"JWT""#,
        r#""enc":"A256GCM""#,
        r#""zip":"DEF""#,
    ] {
        assert_eq!(with(extra), TokenError::UnsupportedHeader, "{extra}");
    }
    let token = pair().token("ES256", "k1", &claims());
    for parts in [format!("{token}.AA.AA"), format!("{token}.AA"), format!("{token}.")] {
        assert!(judged(&rules(), &keys(), &parts).is_err(), "{parts}");
    }
    let (without, _) = token.rsplit_once('.').unwrap();
    for bad in [without.to_owned(), format!("{without}."), "..".to_owned(), "a.b.c".to_owned()] {
        assert!(judged(&rules(), &keys(), &bad).is_err(), "{bad}");
    }
}

#[test]
fn a05_a_token_of_another_type_is_refused() {
    let typed = |rules: &IssuerRules, text: &str| {
        let header = format!(r#"{{"alg":"ES256","kid":"k1"{text}}}"#);
        judged(rules, &keys(), &pair().token_of("ES256", &header, &claims().to_string()))
            .map(|_| ())
            .map_err(|error| error.class())
    };
    let strict = IssuerRules { token_type: Some("at+jwt".to_owned()), ..rules() };
    let (access, other) =
        ([r#","typ":"at+jwt""#, r#","typ":"application/AT+JWT""#], Err("token_type"));
    for text in access {
        assert_eq!((typed(&strict, text), typed(&rules(), text)), (Ok(()), Ok(())), "{text}");
    }
    for text in ["", r#","typ":"JWT""#] {
        assert_eq!((typed(&strict, text), typed(&rules(), text)), (other, Ok(())), "{text}");
    }
    for text in
        [r#","typ":"logout+jwt""#, r#","typ":"dpop+jwt""#, r#","typ":"at+jwtx""#, r#","typ":7"#]
    {
        assert_eq!((typed(&strict, text), typed(&rules(), text)), (other, other), "{text}");
    }
}

#[test]
fn a06_an_issuer_is_compared_byte_for_byte() {
    for bad in [
        format!("{ISSUER}/"),
        ISSUER.to_uppercase(),
        ISSUER.replace("https", "http"),
        ISSUER.replace("login", "l\u{43e}gin"),
        ISSUER.replace(".example", ".example:443"),
        format!(" {ISSUER}"),
        ISSUER.replace("realm", "re%61lm"),
    ] {
        let asked = refused(said(&claims_with("iss", json!(bad))));
        assert_eq!(asked, TokenError::UnknownIssuer, "{bad}");
    }
}

#[test]
fn a07_a_key_id_is_a_name_and_nothing_else() {
    for id in
        ["../../etc/passwd", "k1 ", "K1", "k1' OR '1'='1", "https://evil.example/k", "k2", "\u{0}"]
    {
        let token = pair().token("ES256", id, &claims());
        assert_eq!(refused(judged(&rules(), &keys(), &token)), TokenError::UnknownKey, "{id}");
    }
    for header in
        [r#"{"alg":"ES256"}"#, r#"{"alg":"ES256","kid":7}"#, r#"{"alg":"ES256","kid":""}"#]
    {
        let token = pair().token_of("ES256", header, &claims().to_string());
        assert_eq!(refused(judged(&rules(), &keys(), &token)), TokenError::UnknownKey, "{header}");
    }
    let ambiguous = KeySet::parse(&key_set(&[pair().jwk("k1"), pair().jwk("k1")])).unwrap();
    let token = pair().token("ES256", "k1", &claims());
    assert_eq!(refused(judged(&rules(), &ambiguous, &token)), TokenError::AmbiguousKey);
}

#[test]
fn a07_a_key_that_comes_with_the_token_is_not_looked_at() {
    let stranger = crate::auth::forge::Pair::Ed25519(
        aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap(),
    );
    let header = |id: &str| {
        json!({
            "alg": "EdDSA", "kid": id, "jwk": stranger.jwk(id), "jku": "https://evil.example/keys",
            "x5u": "https://evil.example/cert", "x5c": ["AAAA"],
        })
    };
    for id in ["k1", "other"] {
        let token = stranger.token_of("EdDSA", &header(id).to_string(), &claims().to_string());
        assert!(judged(&rules(), &keys(), &token).is_err(), "{id}");
    }
    // Signed by the issuer they change nothing.
    let mut own = header("k1");
    own["alg"] = json!("ES256");
    let token = pair().token_of("ES256", &own.to_string(), &claims().to_string());
    assert!(judged(&rules(), &keys(), &token).is_ok());
}

#[test]
fn a11_a_token_counts_from_its_beginning_to_its_end_and_not_longer_than_it_may() {
    let leeway = LEEWAY_SECONDS;
    for (claim, seconds, expected) in [
        ("exp", -leeway + 1, Ok(())),
        ("exp", -leeway, Err(TokenError::Expired)),
        ("exp", -86_400, Err(TokenError::Expired)),
        ("nbf", leeway, Ok(())),
        ("nbf", leeway + 1, Err(TokenError::NotYetValid)),
        ("iat", leeway, Ok(())),
        ("iat", leeway + 1, Err(TokenError::NotYetValid)),
        ("exp", 3_590, Ok(())),
        ("exp", 3_591, Err(TokenError::Lifetime)),
        ("exp", 100 * 365 * 86_400, Err(TokenError::Lifetime)),
        ("iat", -86_400, Err(TokenError::Lifetime)),
    ] {
        let result = said(&claims_with(claim, json!(NOW + seconds))).map(|_| ());
        assert_eq!(result, expected, "{claim} {seconds}");
    }
    let mut unissued = claims_with("iat", Value::Null);
    unissued["exp"] = json!(NOW + 3_601 + leeway);
    assert_eq!(refused(said(&unissued)), TokenError::Lifetime, "without iat it counts from now");
}

#[test]
fn a11_a_bound_token_says_to_what_or_is_refused() {
    let digest = URL_SAFE_NO_PAD.encode([9; 32]);
    let asked = |cnf: Value| said(&claims_with("cnf", cnf)).map(|verified| verified.certificate);
    assert_eq!(asked(json!({"x5t#S256": digest})), Ok(Some([9; 32])));
    for (cnf, error) in [
        (json!({"jkt": digest}), TokenError::Binding),
        (json!({"x5t#S256": digest, "jkt": digest}), TokenError::Binding),
        (json!({}), TokenError::Binding),
        (json!({"x5t#S256": "AAAA"}), TokenError::Claim),
        (json!({"x5t#S256": 7}), TokenError::Claim),
        (json!("x"), TokenError::Claim),
    ] {
        assert_eq!(asked(cnf.clone()), Err(error), "{cnf}");
    }
}

#[test]
fn a12_a_token_that_costs_too_much_is_refused_before_it_does() {
    let long = pair().token("ES256", "k1", &claims_with("x", json!("a".repeat(6_000))));
    assert!(long.len() > TOKEN_BYTES_MAX);
    assert_eq!(Jws::parse(&long).err(), Some(TokenError::TooLong));
    assert_eq!(Jws::parse(&".".repeat(TOKEN_BYTES_MAX)).err(), Some(TokenError::UnsupportedHeader));
    let deep = format!("{{\"x\":{}1{}}}", "[".repeat(2_000), "]".repeat(2_000));
    let token = pair().token_of("ES256", r#"{"alg":"ES256","kid":"k1"}"#, &deep);
    assert_eq!(Jws::parse(&token).err(), Some(TokenError::Malformed));
    let many = vec![pair().jwk("k1"); 65];
    assert_eq!(KeySet::parse(&key_set(&many)), Err(KeySetError));
}

#[test]
fn c01_a_subject_that_cannot_be_a_principal_is_refused_and_never_repaired() {
    for bad in ["", " alice", "alice ", "al\u{0}ice", "\u{e9}ve", "a,b", "a*", &"a".repeat(181)] {
        assert_eq!(refused(said(&claims_with("sub", json!(bad)))), TokenError::Subject, "{bad:?}");
    }
    let kubernetes = said(&claims_with("sub", json!("system:serviceaccount:pay:app"))).unwrap();
    assert_eq!(
        kubernetes.subject.principal.id().as_str(),
        "oidc://login/system:serviceaccount:pay:app"
    );
}

#[test]
fn e01_a_tenant_comes_from_a_list_and_an_unlisted_one_is_refused() {
    let tenants = [("acme".to_owned(), ONE), ("globex".to_owned(), TWO)].into();
    let by_claim = TenantRule::Claim { claim: "/org/id".to_owned(), tenants };
    let rules = IssuerRules { tenant: by_claim, ..rules() };
    let asked = |org: Value| {
        said_to(&rules, &claims_with("org", org)).map(|it| it.subject.principal.tenant())
    };
    assert_eq!(asked(json!({"id": "acme"})), Ok(ONE));
    assert_eq!(asked(json!({"id": "globex"})), Ok(TWO));
    for (bad, error) in [
        (json!({"id": "initech"}), TokenError::Tenant),
        (json!({"id": "ACME"}), TokenError::Tenant),
        (json!({"id": ["acme"]}), TokenError::Claim),
        (json!({}), TokenError::Tenant),
        (json!("acme"), TokenError::Tenant),
        (Value::Null, TokenError::Tenant),
    ] {
        assert_eq!(asked(bad.clone()), Err(error), "{bad}");
    }
}

#[test]
fn groups_and_attributes_are_what_the_configuration_makes_of_the_claims() {
    let group = |name| GroupName::parse(name).unwrap();
    let mut rules = IssuerRules { groups_claim: Some("roles".to_owned()), ..rules() };
    rules.claims = [
        ("namespace".to_owned(), "/kubernetes.io/namespace".to_owned()),
        ("verified".to_owned(), "email_verified".to_owned()),
    ]
    .into();
    let mut said = claims_with("roles", json!(["payments", "audit", "payments"]));
    said["kubernetes.io"] = json!({"namespace": "pay"});
    said["email_verified"] = json!(true);
    let subject = said_to(&rules, &said).unwrap().subject;
    assert_eq!(subject.groups, [group("audit"), group("payments")]);
    let attributes: Vec<_> = subject.claims.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(attributes, [("namespace", "pay"), ("verified", "true")]);
    for bad in [json!(["Payments"]), json!(["a b"]), json!(vec!["g"; 129])] {
        said["roles"] = bad.clone();
        assert_eq!(refused(said_to(&rules, &said)), TokenError::Group, "{bad}");
    }
    rules.groups = [("Domain Users".to_owned(), group("staff"))].into();
    said["roles"] = json!(["Domain Users", "Domain Admins", "staff"]);
    assert_eq!(said_to(&rules, &said).unwrap().subject.groups, [group("staff")]);
    said["email_verified"] = json!({"a": 1});
    assert_eq!(refused(said_to(&rules, &said)), TokenError::Claim);
}

#[test]
fn j05_a_damaged_token_is_refused() {
    let token = pair().token("ES256", "k1", &claims());
    for position in 0..token.len() {
        for other in ["A", "-", ".", "=", "\u{e9}"] {
            let mut damaged = token.clone();
            damaged.replace_range(position..=position, other);
            if damaged != token {
                assert!(judged(&rules(), &keys(), &damaged).is_err(), "{position} {other}");
            }
        }
        assert!(judged(&rules(), &keys(), &token[..position]).is_err(), "{position}");
    }
}
