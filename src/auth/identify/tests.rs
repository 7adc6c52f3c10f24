//! Proofs together: which of them is the caller, and when none is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use rustls::crypto::aws_lc_rs::default_provider;
use serde_json::json;

use super::*;
use crate::auth::forge::{NOW, PAIRS, Pair, claims, claims_with, key_set, pair};
use crate::auth::own::{OWN_AUDIENCE, OwnIssuer, OwnKey, OwnToken};
use crate::auth::provider::KeyAges;
use crate::auth::provider::tests::Fake;
use crate::auth::tests::{Authority, domain};
use crate::auth::token::tests::rules;
use crate::auth::token::{KeySet, TenantRule};
use crate::clock::ManualClock;
use crate::keys::{CredentialId, TenantId};
use crate::policy::{CredentialKind, Principal, PrincipalId};

const ONE: TenantId = TenantId::from_bytes([1; 16]);
const TWO: TenantId = TenantId::from_bytes([2; 16]);
const APP: &str = "spiffe://demo.bulla/app";

/// One account's credential, and no other.
#[derive(Default)]
struct Directory {
    asked: AtomicUsize,
    revoked: AtomicBool,
}

#[async_trait]
impl CredentialDirectory for Directory {
    async fn subject_of(
        &self,
        credential: &PresentedCredential,
        _source: IpAddr,
    ) -> Result<Arc<Subject>, AuthError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let known = credential.id() == &[7; 16] && credential.secret() == &[8; 32];
        let id = PrincipalId::parse("service://billing").unwrap();
        let mut subject = Subject::new(Principal::new(id, ONE), CredentialKind::ServiceAccount);
        subject.credential = Some(CredentialId::from_bytes([7; 16]));
        if known { Ok(Arc::new(subject)) } else { Err(AuthError::UnknownCredential) }
    }

    async fn still(&self, tenant: TenantId, id: CredentialId) -> Result<(), AuthError> {
        let known = tenant == ONE && id == CredentialId::from_bytes([7; 16]);
        let alive = known && !self.revoked.load(Ordering::SeqCst);
        if alive { Ok(()) } else { Err(AuthError::UnknownCredential) }
    }
}

struct World {
    identifier: Identifier,
    authenticator: Arc<Authenticator>,
    clock: Arc<ManualClock>,
    root: Authority,
    own: Arc<OwnIssuer>,
    fake: Arc<Fake>,
    directory: Arc<Directory>,
}

fn world() -> World {
    let clock = Arc::new(ManualClock::at_ms(NOW * 1_000));
    let root = Authority::root("root");
    let domains = vec![domain("demo.bulla", ONE, &[&root])];
    let time: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let authenticator =
        Authenticator::optional(domains, &Arc::new(default_provider()), Arc::clone(&time)).unwrap();
    let authenticator = Arc::new(authenticator);
    let fake = Arc::new(Fake::default());
    fake.publish(&[("k1", pair())]);
    let ages = KeyAges { refresh_ms: 300_000, max_ms: 3_600_000, cooldown_ms: 10_000 };
    let keys = IssuerKeys::fetched("login", Arc::<Fake>::clone(&fake), ages, Arc::clone(&time));
    let other = KeySet::parse(&key_set(&[PAIRS[3].jwk("k1")])).unwrap();
    let other = TokenIssuer {
        rules: IssuerRules {
            name: "other".to_owned(),
            issuer: "https://other.example".to_owned(),
            tenant: TenantRule::One(TWO),
            ..rules()
        },
        keys: IssuerKeys::fixed("other", other, Arc::clone(&time)),
    };
    let own = Arc::new(OwnIssuer::new("bulla:test", OwnKey::Ed25519(&[5; 32]), &[]).unwrap());
    let directory = Arc::new(Directory::default());
    let issuers = vec![TokenIssuer { rules: rules(), keys }, other];
    let identifier = Identifier::new(Arc::clone(&authenticator), issuers, time)
        .with_own_tokens(Arc::new(Arc::clone(&own)))
        .with_credentials(Arc::<Directory>::clone(&directory));
    World { identifier, authenticator, clock, root, own, fake, directory }
}

impl World {
    fn peer(&self, certificate: Option<rustls_pki_types::CertificateDer<'static>>) -> Peer {
        let certified = certificate.map(|own| self.authenticator.certify(&[own]).unwrap());
        Peer::new(certified, SocketAddr::from(([192, 0, 2, 7], 4_000)), 1)
    }

    async fn asked(&self, peer: &Peer, headers: &[(&str, &str)]) -> Result<Subject, AuthError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        self.identifier.identify(peer, &map).await.map(|subject| Subject::clone(&subject))
    }

    /// Whom this call without a certificate is of.
    async fn who(&self, headers: &[(&str, &str)]) -> Result<String, AuthError> {
        let peer = self.peer(None);
        self.asked(&peer, headers).await.map(|subject| subject.principal.id().to_string())
    }

    fn exchanged(&self, principal: &str, certificate: Option<[u8; 32]>) -> String {
        let id = PrincipalId::parse(principal).unwrap();
        let token = OwnToken {
            audience: OWN_AUDIENCE.to_owned(),
            subject: Subject::new(Principal::new(id, ONE), CredentialKind::Certificate),
            earlier_actors: vec![],
            lifetime_seconds: 300,
            certificate,
        };
        bearer(&self.own.sign(&token, &[1; 16], NOW).unwrap())
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn lawful() -> String {
    bearer(&pair().token("ES256", "k1", &claims()))
}

fn credential(secret: u8) -> String {
    bearer(&PresentedCredential::render(ONE, &[7; 16], &[secret; 32]))
}

#[tokio::test]
async fn each_proof_alone_is_its_principal() {
    let world = world();
    assert_eq!(world.who(&[("authorization", &lawful())]).await.unwrap(), "oidc://login/alice");
    assert_eq!(world.who(&[("authorization", &credential(8))]).await.unwrap(), "service://billing");
    assert_eq!(world.who(&[("authorization", &world.exchanged(APP, None))]).await.unwrap(), APP);
    let peer = world.peer(Some(world.root.leaf(|_| {})));
    let subject = world.asked(&peer, &[]).await.unwrap();
    assert_eq!(subject.principal.id().as_str(), APP);
    assert_eq!(subject.kind, CredentialKind::Certificate);
}

#[tokio::test]
async fn b06_without_a_proof_nobody_calls_whatever_a_header_says() {
    let world = world();
    for headers in [
        vec![],
        vec![("x-forwarded-client-cert", "URI=spiffe://demo.bulla/app")],
        vec![("x_forwarded_client_cert", "URI=spiffe://demo.bulla/app")],
        vec![("x-forwarded-user", "alice"), ("x-remote-user", "alice")],
        vec![("x-auth-request-user", "alice"), ("cookie", "session=x")],
        vec![("bulla-principal", APP), ("ssl-client-cert", "x"), ("forwarded", "for=10.0.0.1")],
        vec![("proxy-authorization", "Bearer x")],
    ] {
        assert_eq!(world.who(&headers).await, Err(AuthError::NoProof), "{headers:?}");
    }
    // Nor does one change who is known.
    let peer = world.peer(Some(world.root.leaf(|_| {})));
    let forged = [("x-forwarded-client-cert", "URI=spiffe://demo.bulla/admin")];
    assert_eq!(world.asked(&peer, &forged).await.unwrap().principal.id().as_str(), APP);
}

#[tokio::test]
async fn b06_an_authorization_that_is_no_bearer_token_is_refused_and_never_passed_over() {
    let world = world();
    let token = pair().token("ES256", "k1", &claims());
    let peer = world.peer(Some(world.root.leaf(|_| {})));
    for bad in [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        &token,
        &format!("Bearer  {token}"),
        &format!("Bearer {token} x"),
        &format!("Bearer\t{token}"),
        &format!(" Bearer {token}"),
        &format!("Bearer {token},"),
        &format!("DPoP {token}"),
        "Bearer \u{e9}",
    ] {
        let headers = [("authorization", bad)];
        assert_eq!(world.who(&headers).await, Err(AuthError::Scheme), "{bad}");
        assert!(world.asked(&peer, &headers).await.is_err(), "{bad}: with a certificate");
    }
    assert!(world.who(&[("authorization", &format!("bearer {token}"))]).await.is_ok());
}

#[tokio::test]
async fn b07_two_proofs_that_disagree_are_refused() {
    let world = world();
    let peer = world.peer(Some(world.root.leaf(|_| {})));
    for proof in [lawful(), credential(8), world.exchanged("spiffe://demo.bulla/other", None)] {
        let refused = world.asked(&peer, &[("authorization", &proof)]).await;
        assert_eq!(refused.unwrap_err(), AuthError::Ambiguous, "{proof}");
    }
    let two = [("authorization", lawful()), ("authorization", credential(8))];
    let two = [(two[0].0, two[0].1.as_str()), (two[1].0, two[1].1.as_str())];
    assert_eq!(world.who(&two).await, Err(AuthError::Ambiguous));
    let same = [two[0], two[0]];
    assert_eq!(world.who(&same).await, Err(AuthError::Ambiguous), "twice the same is two as well");
}

#[tokio::test]
async fn b07_two_proofs_of_the_same_principal_are_the_narrower_one() {
    let world = world();
    let peer = world.peer(Some(world.root.leaf(|_| {})));
    let proof = world.exchanged(APP, None);
    let subject = world.asked(&peer, &[("authorization", &proof)]).await.unwrap();
    assert_eq!((subject.kind, subject.principal.id().as_str()), (CredentialKind::Exchanged, APP));
}

#[tokio::test]
async fn a11_a_token_that_is_bound_to_a_certificate_is_good_with_that_one_alone() {
    let world = world();
    let (own, other) = (world.root.leaf(|_| {}), world.root.leaf(|_| {}));
    let (peer, stranger) = (world.peer(Some(own)), world.peer(Some(other)));
    let digest = *peer.certified().unwrap().thumbprint();
    let bound = json!({"x5t#S256": URL_SAFE_NO_PAD.encode(digest)});
    let issued = bearer(&pair().token("ES256", "k1", &claims_with("cnf", bound)));
    for proof in [issued, world.exchanged(APP, Some(digest))] {
        let headers = [("authorization", proof.as_str())];
        assert!(world.asked(&peer, &headers).await.is_ok());
        let refused = Err(AuthError::Token(TokenError::Binding));
        assert_eq!(world.who(&headers).await, refused);
        assert_eq!(world.asked(&stranger, &headers).await.map(|_| String::new()), refused);
    }
}

#[tokio::test]
async fn a06_the_same_subject_and_key_id_of_two_issuers_are_two() {
    let world = world();
    let mut other = claims();
    other["iss"] = json!("https://other.example");
    let own = bearer(&PAIRS[3].token("EdDSA", "k1", &other));
    assert_eq!(world.who(&[("authorization", &own)]).await.unwrap(), "oidc://other/alice");
    let peer = world.peer(None);
    let subject = world.asked(&peer, &[("authorization", &own)]).await.unwrap();
    assert_eq!(subject.principal.tenant(), TWO);
    // A07: one issuer's key under the other's name.
    let crossed = bearer(&pair().token("ES256", "k1", &other));
    let refused = world.who(&[("authorization", &crossed)]).await;
    assert_eq!(refused, Err(AuthError::Token(TokenError::Algorithm)));
    let unknown =
        bearer(&pair().token("ES256", "k1", &claims_with("iss", json!("https://evil.example"))));
    let refused = world.who(&[("authorization", &unknown)]).await;
    assert_eq!(refused, Err(AuthError::Token(TokenError::UnknownIssuer)));
}

#[tokio::test]
async fn a11_a_token_that_was_good_is_refused_once_it_has_expired() {
    let world = world();
    let proof = lawful();
    let headers = [("authorization", proof.as_str())];
    assert!(world.who(&headers).await.is_ok());
    world.clock.advance_ms(629_000);
    assert!(world.who(&headers).await.is_ok());
    world.clock.advance_ms(1_000);
    assert_eq!(world.who(&headers).await, Err(AuthError::Token(TokenError::Expired)));
    world.clock.jump_ms(-2 * 86_400_000);
    assert_eq!(
        world.who(&headers).await,
        Err(AuthError::Token(TokenError::NotYetValid)),
        "a clock that jumped back"
    );
}

#[tokio::test]
async fn a10_a_kept_token_stops_with_its_key_and_with_its_providers_keys() {
    let world = world();
    let mut long = claims();
    long["iat"] = json!(NOW);
    long["exp"] = json!(NOW + 3_600);
    let proof = bearer(&pair().token("ES256", "k1", &long));
    let headers = [("authorization", proof.as_str())];
    assert!(world.who(&headers).await.is_ok());
    world.fake.publish(&[("k2", &PAIRS[3])]);
    world.clock.advance_ms(300_000);
    while world.who(&headers).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.who(&headers).await, Err(AuthError::Token(TokenError::UnknownKey)));
}

#[tokio::test]
async fn a10_a_provider_that_is_down_lets_nobody_in() {
    let world = world();
    world.fake.goes_down();
    let headers = [("authorization", &*lawful())];
    let refused = world.who(&headers).await;
    assert_eq!(refused, Err(AuthError::Token(TokenError::IssuerUnavailable)));
    let peer = world.peer(Some(world.root.leaf(|_| {})));
    assert!(
        world.asked(&peer, &headers).await.is_err(),
        "nor does the certificate beside it count"
    );
}

#[tokio::test]
async fn a12_a_damaged_credential_costs_no_look_and_a_wrong_one_is_refused() {
    let world = world();
    let mut damaged = credential(8);
    damaged.replace_range(20..21, if &damaged[20..21] == "A" { "B" } else { "A" });
    let refused = world.who(&[("authorization", &damaged)]).await;
    assert_eq!(refused, Err(AuthError::MalformedCredential));
    assert_eq!(world.directory.asked.load(Ordering::SeqCst), 0);
    let refused = world.who(&[("authorization", &credential(9))]).await;
    assert_eq!(refused, Err(AuthError::UnknownCredential));
    let other = bearer(&PresentedCredential::render(TWO, &[7; 16], &[8; 32]));
    let refused = world.who(&[("authorization", &other)]).await;
    assert_eq!(refused, Err(AuthError::UnknownCredential), "of another tenant than it says");
}

#[tokio::test]
async fn d11_a_token_ends_with_the_credential_that_it_was_exchanged_for() {
    let world = world();
    let peer = world.peer(None);
    let subject = world.asked(&peer, &[("authorization", &credential(8))]).await.unwrap();
    let token = |tenant, credential| {
        let mut subject = Subject::clone(&subject);
        subject.principal = Principal::new(subject.principal.id().clone(), tenant);
        subject.credential = Some(CredentialId::from_bytes([credential; 16]));
        let (audience, earlier_actors) = (OWN_AUDIENCE.to_owned(), vec![]);
        let token = OwnToken {
            audience,
            subject,
            earlier_actors,
            lifetime_seconds: 300,
            certificate: None,
        };
        bearer(&world.own.sign(&token, &[1; 16], NOW).unwrap())
    };
    let good = token(ONE, 7);
    assert_eq!(world.who(&[("authorization", &good)]).await.unwrap(), "service://billing");
    for of_none in [token(ONE, 6), token(TWO, 7)] {
        let refused = world.who(&[("authorization", &of_none)]).await;
        assert_eq!(refused, Err(AuthError::UnknownCredential));
    }
    world.directory.revoked.store(true, Ordering::SeqCst);
    let refused = world.who(&[("authorization", &good)]).await;
    assert_eq!(refused, Err(AuthError::UnknownCredential));
}

#[tokio::test]
async fn a_gateway_calls_for_an_end_user_and_a_bad_token_of_theirs_refuses_the_call() {
    let world = world();
    let peer = world.peer(Some(world.root.leaf(|_| {})));
    let alice = pair().token("ES256", "k1", &claims());
    let subject = world.asked(&peer, &[(ON_BEHALF_OF, &alice)]).await.unwrap();
    assert_eq!(subject.principal.id().as_str(), APP, "the gateway is who acts");
    assert_eq!(subject.end_user.unwrap().as_str(), "oidc://login/alice");
    let again = world.asked(&peer, &[]).await.unwrap();
    assert_eq!(again.end_user, None, "and only in that call");
    let mut foreign = claims();
    foreign["iss"] = json!("https://other.example");
    let foreign = PAIRS[3].token("EdDSA", "k1", &foreign);
    let expired = pair().token("ES256", "k1", &claims_with("exp", json!(NOW - 60)));
    let bound = pair().token(
        "ES256",
        "k1",
        &claims_with("cnf", json!({"x5t#S256": URL_SAFE_NO_PAD.encode([1; 32])})),
    );
    for (bad, error) in [
        (expired.as_str(), AuthError::EndUser(TokenError::Expired)),
        (&bound, AuthError::EndUser(TokenError::Binding)),
        (&foreign, AuthError::EndUserTenant),
        ("", AuthError::EndUser(TokenError::Malformed)),
        ("alice", AuthError::EndUser(TokenError::Malformed)),
        (&bearer(&alice), AuthError::EndUser(TokenError::Malformed)),
        (&credential(8)[7..], AuthError::EndUser(TokenError::Malformed)),
    ] {
        let refused = world.asked(&peer, &[(ON_BEHALF_OF, bad)]).await;
        assert_eq!(refused.unwrap_err(), error, "{bad}");
    }
    let twice = [(ON_BEHALF_OF, alice.as_str()), (ON_BEHALF_OF, alice.as_str())];
    assert_eq!(world.asked(&peer, &twice).await.unwrap_err(), AuthError::Ambiguous);
    assert_eq!(
        world.who(&[(ON_BEHALF_OF, &alice)]).await,
        Err(AuthError::NoProof),
        "alone it is no proof"
    );
}

#[tokio::test]
async fn b05_an_open_connection_loses_its_rights_when_its_authority_goes() {
    let world = world();
    let peer = world.peer(Some(world.root.leaf(|_| {})));
    assert!(world.asked(&peer, &[]).await.is_ok());
    let next = Authority::root("next");
    let both = vec![domain("demo.bulla", ONE, &[&world.root, &next])];
    world.authenticator.reload(both).unwrap();
    assert!(world.asked(&peer, &[]).await.is_ok(), "two bundles overlap");
    world.authenticator.reload(vec![domain("demo.bulla", ONE, &[&next])]).unwrap();
    assert!(world.asked(&peer, &[]).await.is_err());
    let proof = world.exchanged(APP, None);
    let refused = world.asked(&peer, &[("authorization", &proof)]).await;
    assert!(refused.is_err(), "a token beside it does not help");
    assert!(world.authenticator.reload(vec![domain("demo.bulla", ONE, &[])]).is_err());
    let peer = world.peer(Some(next.leaf(|_| {})));
    assert!(world.asked(&peer, &[]).await.is_ok(), "what cannot be used changes nothing");
    world.authenticator.reload(vec![domain("demo.bulla", TWO, &[&next])]).unwrap();
    assert_eq!(
        world.asked(&peer, &[]).await.unwrap_err(),
        AuthError::Untrusted,
        "nor of another tenant"
    );
}

#[tokio::test]
async fn b04_an_open_connection_loses_its_rights_when_its_certificate_expires() {
    let world = world();
    let peer = world.peer(Some(world.root.leaf(|_| {})));
    // Until 2026-07-01.
    world.clock.advance_ms(16 * 86_400_000);
    assert!(world.asked(&peer, &[]).await.is_ok());
    world.clock.advance_ms(1_000);
    assert_eq!(world.asked(&peer, &[]).await.unwrap_err(), AuthError::Expired);
    world.clock.jump_ms(-60 * 86_400_000);
    assert_eq!(world.asked(&peer, &[]).await.unwrap_err(), AuthError::NotYetValid);
}

#[test]
fn a13_sixty_four_threads_at_once_let_nobody_in_who_is_nobody() {
    let world = Arc::new(world());
    let stranger = Pair::Ed25519(aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap());
    let mut bad = vec![
        bearer(&stranger.token("EdDSA", "k1", &claims())),
        bearer(&pair().token("HS256", "k1", &claims())),
        bearer(&pair().token("none", "k1", &claims())),
        bearer(&pair().token("ES256", "k2", &claims())),
        "Basic YTpi".to_owned(),
        credential(9),
    ];
    for (claim, value) in [
        ("aud", json!("other")),
        ("aud", json!(null)),
        ("exp", json!(NOW - 60)),
        ("exp", json!("x")),
        ("exp", json!(NOW + 86_400)),
        ("iss", json!("https://evil.example")),
        ("sub", json!("a b")),
        ("nbf", json!(NOW + 600)),
        ("sub", json!(null)),
        ("iss", json!([crate::auth::forge::ISSUER])),
    ] {
        bad.push(bearer(&pair().token("ES256", "k1", &claims_with(claim, value))));
    }
    let bad = Arc::new(bad);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let callers: Vec<_> = (0..64_usize)
            .map(|caller| {
                let (world, bad) = (Arc::clone(&world), Arc::clone(&bad));
                tokio::spawn(async move {
                    for turn in 0..200_usize {
                        let place = (caller + turn) % (bad.len() + 1);
                        match bad.get(place) {
                            Some(bad) => {
                                assert!(
                                    world.who(&[("authorization", bad)]).await.is_err(),
                                    "{bad}"
                                );
                            }
                            None => {
                                let who = world.who(&[("authorization", &lawful())]).await;
                                assert_eq!(who.unwrap(), "oidc://login/alice");
                            }
                        }
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    });
}
