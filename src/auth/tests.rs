//! Real certificates, right and wrong in every way that has fooled somebody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::*;
use crate::clock::ManualClock;
use crate::keys::TenantId;

const APP: &str = "spiffe://demo.bulla/app";
const ONE: TenantId = TenantId::from_bytes([1; 16]);
const TWO: TenantId = TenantId::from_bytes([2; 16]);
/// 2026-06-15.
const NOW_MS: i64 = 1_781_481_600_000;

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    pub(super) fn root(name: &str) -> Self {
        Self::made(Self::params(name), None)
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        params
    }

    fn made(params: CertificateParams, by: Option<&Self>) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = match by {
            Some(authority) => params.signed_by(&key, &authority.issuer),
            None => params.self_signed(&key),
        };
        let certificate = certificate.unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn under(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = Self::params(name);
        change(&mut params);
        Self::made(params, Some(self))
    }

    pub(super) fn leaf(
        &self,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let params = leaf_params(change);
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().clone()
    }
}

/// A lawful client's certificate, changed.
fn leaf_params(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![uri(APP)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = date_time_ymd(2026, 6, 1);
    params.not_after = date_time_ymd(2026, 7, 1);
    change(&mut params);
    params
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(super) fn domain(name: &str, tenant: TenantId, authorities: &[&Authority]) -> TrustDomain {
    let authorities = authorities.iter().map(|authority| authority.certificate.clone()).collect();
    TrustDomain { name: name.to_owned(), tenant, authorities, revocations: vec![] }
}

fn authenticator(domains: Vec<TrustDomain>) -> Result<Authenticator, TrustDomainError> {
    let clock = Arc::new(ManualClock::at_ms(NOW_MS));
    Authenticator::new(domains, &Arc::new(default_provider()), clock)
}

/// What an authenticator that trusts `root` for `demo.bulla` says to a chain.
fn asked(root: &Authority, chain: &[CertificateDer<'_>]) -> Result<String, AuthError> {
    let authenticator = authenticator(vec![domain("demo.bulla", ONE, &[root])]).unwrap();
    let answer = authenticator.authenticate(chain);
    // The handshake hears the same, by the same class.
    if let Some((own, intermediates)) = chain.split_first() {
        let heard = authenticator.verify_client_cert(own, intermediates, UnixTime::now());
        let class = |error: rustls::Error| AuthError::of_handshake(&error);
        assert_eq!(heard.err().map(class), answer.as_ref().err().map(|error| Some(*error)));
    }
    answer.map(|principal| {
        assert_eq!(principal.tenant(), ONE);
        principal.id().to_string()
    })
}

/// What it says to a client's certificate that is lawful but for a change.
fn asked_of_leaf(change: impl FnOnce(&mut CertificateParams)) -> Result<String, AuthError> {
    let root = Authority::root("root");
    asked(&root, &[root.leaf(change)])
}

#[test]
fn a_lawful_certificate_is_its_names_principal_in_its_domains_tenant() {
    assert_eq!(asked_of_leaf(|_| {}), Ok(APP.to_owned()));
    let root = Authority::root("root");
    let middle = root.under("middle", |_| {});
    let chain = [middle.leaf(|_| {}), middle.certificate.clone()];
    assert_eq!(asked(&root, &chain), Ok(APP.to_owned()));
    assert_eq!(asked(&root, &chain[..1]), Err(AuthError::UnknownIssuer));
}

#[test]
fn other_kinds_of_names_beside_the_one_uri_change_nothing() {
    let answer = asked_of_leaf(|params| {
        params.subject_alt_names.push(SanType::DnsName("app.example".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress("192.0.2.7".parse().unwrap()));
        params.distinguished_name.push(DnType::CommonName, "spiffe://demo.bulla/admin");
    });
    assert_eq!(answer, Ok(APP.to_owned()));
}

#[test]
fn b01_an_authority_that_is_not_configured_vouches_for_nobody() {
    let (ours, stranger) = (Authority::root("root"), Authority::root("root"));
    assert_eq!(asked(&ours, &[stranger.leaf(|_| {})]), Err(AuthError::BadSignature));
    let other = Authority::root("other");
    let leaf = other.leaf(|_| {});
    assert_eq!(asked(&ours, std::slice::from_ref(&leaf)), Err(AuthError::UnknownIssuer));
    // Presenting its authority along does not help.
    assert_eq!(asked(&ours, &[leaf, other.certificate.clone()]), Err(AuthError::UnknownIssuer));
    let own = leaf_params(|_| {}).self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(asked(&ours, &[own.der().clone()]), Err(AuthError::UnknownIssuer));
}

#[test]
fn b01_a_leaf_in_a_bundle_is_refused_before_it_can_vouch_for_itself() {
    let leaf = leaf_params(|_| {}).self_signed(&KeyPair::generate().unwrap()).unwrap();
    let root = Authority::root("root");
    let mut bundle = domain("demo.bulla", ONE, &[&root]);
    for bad in [leaf.der().clone(), CertificateDer::from(vec![0x30, 0x00])] {
        bundle.authorities.truncate(1);
        bundle.authorities.push(bad);
        let expected = TrustDomainError::NotAnAuthority { name: "demo.bulla".to_owned(), place: 2 };
        assert_eq!(authenticator(vec![bundle.clone()]).unwrap_err(), expected);
    }
}

#[test]
fn b01_a_domains_authority_cannot_mint_another_domains_names() {
    let (one, two) = (Authority::root("one"), Authority::root("two"));
    let both =
        authenticator(vec![domain("one.bulla", ONE, &[&one]), domain("two.bulla", TWO, &[&two])])
            .unwrap();
    let named =
        |name: &'static str| move |p: &mut CertificateParams| p.subject_alt_names = vec![uri(name)];
    let answer = |by: &Authority, name| both.authenticate(&[by.leaf(named(name))]);
    assert_eq!(answer(&one, "spiffe://one.bulla/app").unwrap().tenant(), ONE);
    assert_eq!(answer(&two, "spiffe://two.bulla/app").unwrap().tenant(), TWO);
    assert_eq!(answer(&one, "spiffe://two.bulla/app"), Err(AuthError::UnknownIssuer));
    assert_eq!(answer(&two, "spiffe://one.bulla/app"), Err(AuthError::UnknownIssuer));
    assert_eq!(answer(&one, "spiffe://three.bulla/app"), Err(AuthError::UnknownTrustDomain));
    assert_eq!(
        answer(&one, "spiffe://one.bulla.two.bulla/app"),
        Err(AuthError::UnknownTrustDomain)
    );
}

#[test]
fn b03_a_certificate_without_exactly_one_canonical_name_is_refused() {
    let names = |names: Vec<SanType>| asked_of_leaf(|params| params.subject_alt_names = names);
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    assert_eq!(names(vec![]), Err(AuthError::NoName));
    assert_eq!(names(vec![dns("demo.bulla")]), Err(AuthError::NoName));
    assert_eq!(
        asked_of_leaf(|params| {
            params.subject_alt_names = vec![];
            params.distinguished_name.push(DnType::CommonName, APP);
        }),
        Err(AuthError::NoName),
        "a common name is not a name"
    );
    let other = uri("spiffe://demo.bulla/other");
    assert_eq!(names(vec![uri(APP), other]), Err(AuthError::SeveralNames));
    assert_eq!(names(vec![uri(APP), uri(APP)]), Err(AuthError::SeveralNames));
    assert_eq!(names(vec![uri("https://x/"), uri(APP)]), Err(AuthError::SeveralNames));
    for bad in [
        "spiffe://*.bulla/app",
        "spiffe://demo.bulla/*/..",
        "spiffe://demo.bulla/../app",
        "spiffe://demo.bulla/%61pp",
        "spiffe://demo.bulla/app/",
        "spiffe://DEMO.bulla/app",
        "spiffe://demo.bulla",
        "spiffe://demo.bulla/a\0b",
        "https://demo.bulla/app",
    ] {
        assert_eq!(names(vec![uri(bad)]), Err(AuthError::MalformedName), "{bad}");
    }
}

/// A name extension of these general names (tag, bytes).
fn raw_names(names: &[(u8, &[u8])]) -> CustomExtension {
    let mut content: Vec<u8> = Vec::new();
    for (tag, name) in names {
        content.extend([*tag, u8::try_from(name.len()).unwrap()]);
        content.extend_from_slice(name);
    }
    let mut value = vec![0x30, u8::try_from(content.len()).unwrap()];
    value.extend(content);
    CustomExtension::from_oid_content(&[2, 5, 29, 17], value)
}

#[test]
fn b03_a_name_that_cannot_be_read_still_counts_as_a_name() {
    let raw = |names: &[(u8, &[u8])]| {
        asked_of_leaf(|params| {
            params.subject_alt_names = vec![];
            params.custom_extensions = vec![raw_names(names)];
        })
    };
    assert_eq!(raw(&[(0x86, APP.as_bytes())]), Ok(APP.to_owned()));
    let unreadable = b"spiffe://demo.bulla/\xff\xfe";
    assert_eq!(raw(&[(0x86, unreadable)]), Err(AuthError::MalformedName));
    assert_eq!(raw(&[(0x86, unreadable), (0x86, APP.as_bytes())]), Err(AuthError::SeveralNames));
    let twice = asked_of_leaf(|params| {
        params.custom_extensions = vec![raw_names(&[(0x86, b"spiffe://demo.bulla/admin")])];
    });
    assert_eq!(twice, Err(AuthError::Malformed), "two name extensions");
}

#[test]
fn b04_a_certificate_counts_only_while_it_is_valid() {
    let expired = asked_of_leaf(|params| params.not_after = date_time_ymd(2026, 6, 14));
    assert_eq!(expired, Err(AuthError::Expired));
    let early = asked_of_leaf(|params| params.not_before = date_time_ymd(2026, 6, 16));
    assert_eq!(early, Err(AuthError::NotYetValid));
    let root = Authority::root("root");
    let middle = root.under("old", |params| params.not_after = date_time_ymd(2026, 6, 14));
    let chain = [middle.leaf(|_| {}), middle.certificate.clone()];
    assert_eq!(asked(&root, &chain), Err(AuthError::Expired), "an expired intermediate");
}

#[test]
fn b04_a_certificate_must_say_that_it_is_for_clients() {
    let purposes = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        asked_of_leaf(|params| params.extended_key_usages = purposes)
    };
    assert_eq!(purposes(vec![ExtendedKeyUsagePurpose::ServerAuth]), Err(AuthError::NotForClients));
    assert_eq!(purposes(vec![ExtendedKeyUsagePurpose::Any]), Err(AuthError::NotForClients));
    assert_eq!(purposes(vec![]), Err(AuthError::NotForClients));
    let both = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(purposes(both), Ok(APP.to_owned()));
}

#[test]
fn b04_an_authoritys_own_certificate_is_nobodys_identity() {
    let root = Authority::root("root");
    let middle = root.under("middle", |params| {
        params.subject_alt_names = vec![uri(APP)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert_eq!(asked(&root, &[middle.certificate]), Err(AuthError::IsAuthority));
}

#[test]
fn b04_what_constrains_an_authority_is_kept() {
    let root = Authority::root("root");
    let short = root.under("short", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    });
    let below = short.under("below", |_| {});
    let chain = [below.leaf(|_| {}), below.certificate.clone(), short.certificate.clone()];
    assert_eq!(asked(&root, &chain), Err(AuthError::Constraint), "path length");

    let named = root.under("named", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("allowed.example".to_owned())],
            excluded_subtrees: vec![],
        });
    });
    let leaf = named.leaf(|params| {
        params.subject_alt_names.push(SanType::DnsName("other.example".try_into().unwrap()));
    });
    let chain = [leaf, named.certificate.clone()];
    assert_eq!(asked(&root, &chain), Err(AuthError::Constraint), "name");

    let params = leaf_params(|_| {});
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &root.issuer).unwrap().der().clone();
    let not_an_authority = Issuer::new(params, key);
    let minted = leaf_params(|_| {})
        .signed_by(&KeyPair::generate().unwrap(), &not_an_authority)
        .unwrap()
        .der()
        .clone();
    assert_eq!(asked(&root, &[minted, leaf]), Err(AuthError::Constraint), "a leaf that signs");
}

#[test]
fn b06_nobody_is_not_somebody() {
    let root = Authority::root("root");
    assert_eq!(asked(&root, &[]), Err(AuthError::NoCertificate));
    let authenticator = authenticator(vec![domain("demo.bulla", ONE, &[&root])]).unwrap();
    assert!(authenticator.offer_client_auth() && authenticator.client_auth_mandatory());
    assert!(authenticator.root_hint_subjects().is_empty());
}

#[test]
fn b08_a_chain_longer_than_any_honest_one_is_refused_before_it_is_walked() {
    let root = Authority::root("root");
    let mut chain = vec![root.leaf(|_| {})];
    chain.resize(MAX_CHAIN_CERTIFICATES, root.certificate.clone());
    assert_eq!(asked(&root, &chain), Ok(APP.to_owned()));
    chain.push(root.certificate.clone());
    assert_eq!(asked(&root, &chain), Err(AuthError::ChainTooLong));
}

#[test]
fn j05_a_damaged_certificate_is_refused() {
    let root = Authority::root("root");
    let leaf = root.leaf(|_| {});
    let lawful = authenticator(vec![domain("demo.bulla", ONE, &[&root])]).unwrap();
    for position in 0..leaf.len() {
        for damage in [0x01, 0x80] {
            let mut damaged = leaf.to_vec();
            damaged[position] ^= damage;
            assert!(lawful.authenticate(&[CertificateDer::from(damaged)]).is_err(), "{position}");
        }
        let short = CertificateDer::from(leaf[..position].to_vec());
        assert_eq!(lawful.authenticate(&[short]), Err(AuthError::Malformed));
    }
}

#[test]
fn trust_domains_that_cannot_work_are_refused() {
    let root = Authority::root("root");
    let refused = |domains| authenticator(domains).unwrap_err();
    assert_eq!(refused(vec![]), TrustDomainError::None);
    for bad in ["", "Demo", "a/b", "a:1", "*"] {
        let expected = TrustDomainError::Name { name: bad.to_owned() };
        assert_eq!(refused(vec![domain(bad, ONE, &[&root])]), expected);
    }
    let name = || "demo.bulla".to_owned();
    assert_eq!(
        refused(vec![domain("demo.bulla", ONE, &[])]),
        TrustDomainError::EmptyBundle { name: name() }
    );
    let twice = vec![domain("demo.bulla", ONE, &[&root]), domain("demo.bulla", TWO, &[&root])];
    assert_eq!(refused(twice), TrustDomainError::Twice { name: name() });
}

#[test]
fn i02_what_was_wrong_is_in_the_class_and_not_in_the_text() {
    let texts = [AuthError::NoCertificate, AuthError::Expired, AuthError::UnknownTrustDomain]
        .map(|error| error.to_string());
    assert!(texts.iter().all(|text| *text == texts[0]));
    assert_eq!(AuthError::Expired.class(), "expired");
}

#[test]
fn b05_somebody_must_vouch_where_a_certificate_is_needed_and_nobody_where_it_is_not() {
    let root = Authority::root("root");
    let domains = || vec![domain("demo.bulla", ONE, &[&root])];
    let needed = authenticator(domains()).unwrap();
    assert_eq!(needed.reload(Vec::new()), Err(TrustDomainError::None));
    assert_eq!(needed.reload(domains()), Ok(()));
    let clock = Arc::new(ManualClock::at_ms(NOW_MS));
    let optional =
        Authenticator::optional(domains(), &Arc::new(default_provider()), clock).unwrap();
    assert_eq!(optional.reload(Vec::new()), Ok(()));
    assert_eq!(optional.reload(domains()), Ok(()));
}

#[test]
fn b05_a_certificate_is_demanded_where_it_is_mandatory_and_every_algorithm_of_tls_1_3_is_offered() {
    let root = Authority::root("root");
    let domains = || vec![domain("demo.bulla", ONE, &[&root])];
    let clock: Arc<dyn crate::clock::Clock> = Arc::new(ManualClock::at_ms(NOW_MS));
    let provider = Arc::new(default_provider());
    let mandatory = Authenticator::new(domains(), &provider, Arc::clone(&clock)).unwrap();
    let optional = Authenticator::optional(domains(), &provider, clock).unwrap();
    for (authenticator, expected) in [(&mandatory, true), (&optional, false)] {
        assert_eq!(authenticator.is_mandatory(), expected);
        assert_eq!(authenticator.client_auth_mandatory(), expected);
        assert!(authenticator.offer_client_auth());
        // Whom the server trusts is told to nobody.
        assert!(authenticator.root_hint_subjects().is_empty());
        let schemes = authenticator.supported_verify_schemes();
        assert_eq!(schemes, provider.signature_verification_algorithms.supported_schemes());
        assert!(!schemes.is_empty());
        assert_eq!(format!("{authenticator:?}"), "{\"demo.bulla\"}");
    }
    let certified = mandatory.certify(&[root.leaf(|_| {})]).unwrap();
    assert!(format!("{certified:?}").contains(APP));
    let peer = Peer::new(Some(certified), ([192, 0, 2, 7], 1).into(), 1);
    assert_eq!(peer.principal().unwrap().id().as_str(), APP);
}
