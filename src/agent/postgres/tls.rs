//! Whom TLS to PostgreSQL trusts: the connector's own authorities, never the system's. The handshake and
//! the binding of the password's proof to it (`tls-server-end-point`) are `tokio-postgres-rustls`'s.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::agent::store::StoreError;

/// Makes connections to hosts whose certificate comes from the authorities in a PEM file and carries
/// their name.
pub(super) fn trusting(path: &Path) -> Result<MakeRustlsConnect, StoreError> {
    let wrong = |why: String| StoreError::Connector(format!("ca_file {}: {why}", path.display()));
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(error.to_string().to_lowercase()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
