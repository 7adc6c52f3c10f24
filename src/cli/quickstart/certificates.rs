//! The quickstart's own certificate authorities, and what they sign.
//!
//! One authority for the server and one for its callers, so that neither can stand in for the
//! other. The authorities' own keys are never written: nobody can sign with them once they have
//! served.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::cli::failure::{Exit, Failure};

/// Signs certificates for as long as it is held.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its private key, both in PEM.
pub(super) struct Identity {
    /// May be read by anybody.
    pub(super) certificate: String,
    /// The owner's alone.
    pub(super) key: String,
}

// === impl Authority ===

impl Authority {
    /// A new authority (RFC 5280, section 4.2.1.9: it signs end entities only).
    pub(super) fn new(name: &str) -> Result<Self, Failure> {
        let mut params = parameters(name)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(failed)?;
        let pem = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// The authority's own certificate.
    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server on this machine.
    pub(super) fn server(&self) -> Result<Identity, Failure> {
        let mut params = parameters("bulla quickstart server")?;
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into().map_err(failed)?),
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()),
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A certificate for a caller, who is named by a SPIFFE id in the URI SAN.
    pub(super) fn client(&self, spiffe_id: &str) -> Result<Identity, Failure> {
        let mut params = parameters("bulla quickstart client")?;
        params.subject_alt_names = vec![SanType::URI(spiffe_id.try_into().map_err(failed)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Identity, Failure> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

/// Valid from an hour ago, in case that clocks differ.
fn parameters(name: &str) -> Result<CertificateParams, Failure> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    let ends = || Failure::new(Exit::Internal, "the system's clock is out of range");
    params.not_before = now.checked_sub(CLOCKS_MAY_DIFFER).ok_or_else(ends)?.into();
    params.not_after = now.checked_add(VALID).ok_or_else(ends)?.into();
    Ok(params)
}

fn failed(error: rcgen::Error) -> Failure {
    Failure::new(Exit::Internal, format!("cannot make a certificate: {error}"))
}

const VALID: Duration = Duration::from_secs(90 * 86_400);
const CLOCKS_MAY_DIFFER: Duration = Duration::from_secs(3_600);
