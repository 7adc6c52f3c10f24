//! From a certificate chain to a principal, and the same as rustls asks for it during a handshake.
//!
//! What is trusted can be replaced while connections are open: each is then looked at again before its
//! next call ([`Authenticator::still`]).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

use super::error::{AuthError, TrustDomainError};
use super::extension::{EXTENDED_KEY_USAGE, Odd, extension, is_authority, not_after, uri_names};
use crate::clock::Clock;
use crate::keys::TenantId;
use crate::policy::{CredentialKind, Principal, PrincipalId, Subject};

/// The most certificates that a client may present, its own included.
pub const MAX_CHAIN_CERTIFICATES: usize = 6;

/// A trust domain as configured.
#[derive(Clone, Debug)]
pub struct TrustDomain {
    /// The name, as in `spiffe://<name>/…`.
    pub name: String,
    /// Whose principals its names are.
    pub tenant: TenantId,
    /// The certificates of the authorities that vouch for its names, and for no other domain's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// The revocation lists of those authorities (RFC 5280, section 5). With none, nothing is revoked;
    /// with any, a certificate that no current list tells of is refused.
    pub revocations: Vec<CertificateRevocationListDer<'static>>,
}

/// Tells who a client certificate's holder is.
pub struct Authenticator {
    trust: ArcSwap<Trust>,
    provider: Arc<CryptoProvider>,
    algorithms: WebPkiSupportedAlgorithms,
    clock: Arc<dyn Clock>,
    mandatory: bool,
}

/// A client certificate whose holder was authenticated, and what has been found of it since.
pub struct Certified {
    subject: Arc<Subject>,
    chain: Vec<CertificateDer<'static>>,
    thumbprint: [u8; 32],
    looked: Mutex<Looked>,
}

/// When a certificate was last looked at, and for how long that holds.
#[derive(Clone, Copy)]
struct Looked {
    generation: u64,
    from_seconds: i64,
    until_seconds: i64,
}

/// Whose certificates are believed, until the next reload.
struct Trust {
    generation: u64,
    domains: HashMap<String, Domain>,
}

struct Domain {
    tenant: TenantId,
    verifier: Arc<dyn ClientCertVerifier>,
}

// === impl Authenticator ===

impl Authenticator {
    /// Takes the configured domains; a client without a certificate is refused. `provider` does the
    /// signatures; `clock` says what has expired.
    pub fn new(
        domains: Vec<TrustDomain>,
        provider: &Arc<CryptoProvider>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TrustDomainError> {
        if domains.is_empty() {
            return Err(TrustDomainError::None);
        }
        Self::built(domains, provider, clock, true)
    }

    /// The same, where a client may come without a certificate because there are other ways to prove
    /// who it is. It is then nobody until it does.
    pub fn optional(
        domains: Vec<TrustDomain>,
        provider: &Arc<CryptoProvider>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TrustDomainError> {
        Self::built(domains, provider, clock, false)
    }

    fn built(
        domains: Vec<TrustDomain>,
        provider: &Arc<CryptoProvider>,
        clock: Arc<dyn Clock>,
        mandatory: bool,
    ) -> Result<Self, TrustDomainError> {
        let trust = Trust { generation: 0, domains: known(domains, provider)? };
        let algorithms = provider.signature_verification_algorithms;
        let (trust, provider) = (ArcSwap::from_pointee(trust), Arc::clone(provider));
        Ok(Self { trust, provider, algorithms, clock, mandatory })
    }

    /// Trusts these domains from now on, and no others: of open connections too.
    ///
    /// # Errors
    /// They cannot be used. What was trusted before still is.
    pub fn reload(&self, domains: Vec<TrustDomain>) -> Result<(), TrustDomainError> {
        if domains.is_empty() && self.mandatory {
            return Err(TrustDomainError::None);
        }
        let domains = known(domains, &self.provider)?;
        let generation = self.trust.load().generation.saturating_add(1);
        self.trust.store(Arc::new(Trust { generation, domains }));
        Ok(())
    }

    /// Whether a client must have a certificate.
    pub fn is_mandatory(&self) -> bool {
        self.mandatory
    }

    /// Whose certificates these are, for as long as a connection lasts.
    pub fn certify(&self, presented: &[CertificateDer<'_>]) -> Result<Certified, AuthError> {
        // Before it is looked at: what changes meanwhile makes it be looked at again.
        let generation = self.trust.load().generation;
        let principal = self.authenticate(presented)?;
        let chain: Vec<_> = presented.iter().map(|one| one.clone().into_owned()).collect();
        let own = chain.first().ok_or(AuthError::NoCertificate)?;
        let thumbprint = Sha256::digest(own).into();
        let looked = Mutex::new(self.looked(generation, &chain)?);
        let subject = Arc::new(Subject::new(principal, CredentialKind::Certificate));
        Ok(Certified { subject, chain, thumbprint, looked })
    }

    /// Whether the holder still is who it was: looks at the certificates again when what is trusted has
    /// changed, when one of them has expired, and now and then.
    pub fn still(&self, certified: &Certified) -> Result<(), AuthError> {
        let looked = *certified.looked.lock();
        let (generation, now) = (self.trust.load().generation, self.now_seconds());
        if looked.generation == generation
            && (looked.from_seconds..looked.until_seconds).contains(&now)
        {
            return Ok(());
        }
        if self.authenticate(&certified.chain)? != certified.subject.principal {
            return Err(AuthError::Untrusted);
        }
        *certified.looked.lock() = self.looked(generation, &certified.chain)?;
        Ok(())
    }

    fn looked(&self, generation: u64, chain: &[CertificateDer<'_>]) -> Result<Looked, AuthError> {
        let from_seconds = self.now_seconds();
        let mut until_seconds = from_seconds.saturating_add(LOOK_AGAIN_SECONDS);
        for certificate in chain {
            let last = not_after(certificate).map_err(|Odd| AuthError::Malformed)?;
            until_seconds = until_seconds.min(last.saturating_add(1));
        }
        Ok(Looked { generation, from_seconds, until_seconds })
    }

    /// Who presents these certificates, the first being its own: verifies the whole chain at the
    /// present time. That its holder has the private key is for the handshake to prove.
    pub fn authenticate(&self, presented: &[CertificateDer<'_>]) -> Result<Principal, AuthError> {
        let (own, intermediates) = presented.split_first().ok_or(AuthError::NoCertificate)?;
        if presented.len() > MAX_CHAIN_CERTIFICATES {
            return Err(AuthError::ChainTooLong);
        }
        let id = name_of(own)?;
        let trust = self.trust.load();
        let name = id.trust_domain().ok_or(AuthError::MalformedName)?;
        let domain = trust.domains.get(name).ok_or(AuthError::UnknownTrustDomain)?;
        domain.verifier.verify_client_cert(own, intermediates, self.now()).map_err(|error| {
            match AuthError::of_handshake(&error) {
                Some(error) => error,
                None => AuthError::Untrusted,
            }
        })?;
        // Webpki lets a certificate pass that says nothing about what it is for.
        match extension(own, EXTENDED_KEY_USAGE) {
            Ok(Some(_)) => Ok(Principal::new(id, domain.tenant)),
            Ok(None) => Err(AuthError::NotForClients),
            Err(Odd) => Err(AuthError::Malformed),
        }
    }

    fn now_seconds(&self) -> i64 {
        self.clock.unix_us().div_euclid(1_000_000)
    }

    fn now(&self) -> UnixTime {
        let since_epoch_us = u64::try_from(self.clock.unix_us()).unwrap_or(0);
        UnixTime::since_unix_epoch(Duration::from_micros(since_epoch_us))
    }
}

// === impl Certified ===

impl Certified {
    /// Who it is.
    pub fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    /// SHA-256 of the holder's own certificate, which a token can be bound to (RFC 8705, section 3.1).
    pub fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }
}

impl fmt::Debug for Certified {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.subject.principal.fmt(formatter)
    }
}

impl ClientCertVerifier for Authenticator {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    /// None: whom this server trusts is no business of somebody who has not said who they are.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let presented: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
        self.authenticate(&presented)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.trust.load().domains.keys()).finish()
    }
}

/// The one name that the certificate has, by two readers that must agree.
fn name_of(own: &CertificateDer<'_>) -> Result<PrincipalId, AuthError> {
    let certificate = EndEntityCert::try_from(own).map_err(|_| AuthError::Malformed)?;
    let uris = uri_names(own).map_err(|Odd| AuthError::Malformed)?;
    let uri = match uris.as_slice() {
        [] => return Err(AuthError::NoName),
        [uri] => *uri,
        _ => return Err(AuthError::SeveralNames),
    };
    let name = str::from_utf8(uri).map_err(|_| AuthError::MalformedName)?;
    if !certificate.valid_uri_names().eq([name]) {
        return Err(AuthError::Malformed);
    }
    PrincipalId::parse(name).map_err(|_| AuthError::MalformedName)
}

fn known(
    domains: Vec<TrustDomain>,
    provider: &Arc<CryptoProvider>,
) -> Result<HashMap<String, Domain>, TrustDomainError> {
    let mut known = HashMap::new();
    for domain in domains {
        let name = domain.name.clone();
        let example = PrincipalId::parse(&format!("spiffe://{name}/app"));
        if !example.is_ok_and(|id| id.trust_domain() == Some(&name)) {
            return Err(TrustDomainError::Name { name });
        }
        let (tenant, verifier) = (domain.tenant, verifier(domain, provider)?);
        if known.insert(name.clone(), Domain { tenant, verifier }).is_some() {
            return Err(TrustDomainError::Twice { name });
        }
    }
    Ok(known)
}

fn verifier(
    domain: TrustDomain,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TrustDomainError> {
    let TrustDomain { name, authorities, revocations, .. } = domain;
    let mut roots = RootCertStore::empty();
    for (place, authority) in (1..).zip(authorities) {
        if is_authority(&authority) != Ok(true) || roots.add(authority).is_err() {
            return Err(TrustDomainError::NotAnAuthority { name, place });
        }
    }
    // One by one, so that the one that cannot be read is named.
    for (place, list) in (1..).zip(&revocations) {
        webpki::BorrowedCertRevocationList::from_der(list).map_err(|error| {
            let (name, problem) = (name.clone(), error.to_string());
            TrustDomainError::RevocationList { name, place, problem }
        })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .with_crls(revocations)
        .enforce_revocation_expiration()
        .build()
        .map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
        // The lists were read just now: only an empty bundle is refused.
        .map_err(|_| TrustDomainError::EmptyBundle { name })
}

/// How long a look at a certificate holds when nothing is known to have changed: until a revocation list
/// of its chain has grown old, which nothing announces.
const LOOK_AGAIN_SECONDS: i64 = 30;
