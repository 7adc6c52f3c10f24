//! From a certificate chain to a principal, and the same as rustls asks for it during a handshake.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;

use super::error::{AuthError, TrustDomainError};
use super::extension::{EXTENDED_KEY_USAGE, Odd, extension, is_authority, uri_names};
use crate::clock::Clock;
use crate::keys::TenantId;
use crate::policy::{Principal, PrincipalId};

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
}

/// Tells who a client certificate's holder is.
pub struct Authenticator {
    domains: HashMap<String, Domain>,
    algorithms: WebPkiSupportedAlgorithms,
    clock: Arc<dyn Clock>,
}

struct Domain {
    tenant: TenantId,
    verifier: Arc<dyn ClientCertVerifier>,
}

// === impl Authenticator ===

impl Authenticator {
    /// Takes the configured domains. `provider` does the signatures; `clock` says what has expired.
    pub fn new(
        domains: Vec<TrustDomain>,
        provider: &Arc<CryptoProvider>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TrustDomainError> {
        if domains.is_empty() {
            return Err(TrustDomainError::None);
        }
        let mut known = HashMap::new();
        for TrustDomain { name, tenant, authorities } in domains {
            let example = PrincipalId::parse(&format!("spiffe://{name}/app"));
            if !example.is_ok_and(|id| id.trust_domain() == name) {
                return Err(TrustDomainError::Name { name });
            }
            let verifier = verifier(&name, &authorities, provider)?;
            if known.insert(name.clone(), Domain { tenant, verifier }).is_some() {
                return Err(TrustDomainError::Twice { name });
            }
        }
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { domains: known, algorithms, clock })
    }

    /// Who presents these certificates, the first being its own: verifies the whole chain at the
    /// present time. That its holder has the private key is for the handshake to prove.
    pub fn authenticate(&self, presented: &[CertificateDer<'_>]) -> Result<Principal, AuthError> {
        let (own, intermediates) = presented.split_first().ok_or(AuthError::NoCertificate)?;
        if presented.len() > MAX_CHAIN_CERTIFICATES {
            return Err(AuthError::ChainTooLong);
        }
        let id = name_of(own)?;
        let domain = self.domains.get(id.trust_domain()).ok_or(AuthError::UnknownTrustDomain)?;
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

    fn now(&self) -> UnixTime {
        let since_epoch_us = u64::try_from(self.clock.unix_us()).unwrap_or(0);
        UnixTime::since_unix_epoch(Duration::from_micros(since_epoch_us))
    }
}

impl ClientCertVerifier for Authenticator {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
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
        formatter.debug_set().entries(self.domains.keys()).finish()
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

fn verifier(
    name: &str,
    authorities: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TrustDomainError> {
    let mut roots = RootCertStore::empty();
    for (place, authority) in (1..).zip(authorities) {
        if is_authority(authority) != Ok(true) || roots.add(authority.clone()).is_err() {
            return Err(TrustDomainError::NotAnAuthority { name: name.to_owned(), place });
        }
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
        // Without revocation lists, only an empty bundle is refused.
        .map_err(|_| TrustDomainError::EmptyBundle { name: name.to_owned() })
}
