//! TLS as this server speaks it: version 1.3 (RFC 8446) alone, with X25519MLKEM768 first, a client
//! certificate always unless callers can prove themselves otherwise, HTTP/2 alone (ALPN, RFC 7301), and
//! no tickets and no resumption, so that each connection proves its identity anew. Never a key log, whatever the environment asks for; never early data.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::auth::Authenticator;

/// The server's own certificate, those that lead from it to its authority, and its private key.
pub struct TlsIdentity {
    /// Its own first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first.
    pub key: PrivateKeyDer<'static>,
}

/// The cryptography: aws-lc-rs, cut down to TLS 1.3.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider.kx_groups = KEY_EXCHANGES.to_vec();
    Arc::new(provider)
}

/// The configuration of every listener.
///
/// # Errors
/// When the private key is not the certificate's, or of a kind that is not supported.
pub fn server_config(
    identity: TlsIdentity,
    provider: Arc<CryptoProvider>,
    authenticator: Arc<Authenticator>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let TlsIdentity { chain, key } = identity;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(authenticator)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// HTTP/2's name in ALPN.
pub(super) const HTTP2: &[u8] = b"h2";

const KEY_EXCHANGES: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
