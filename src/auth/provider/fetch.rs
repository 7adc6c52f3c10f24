//! One fetch of an issuer's keys: its discovery document and the key set that this points to, over
//! HTTP/1.1 and TLS, within a deadline.
//!
//! A name is resolved once, and the address that was checked is the one that is connected to, so that a
//! name server cannot answer differently in between (DNS rebinding, attack A09). Never follows a
//! redirect, never unpacks anything, never reads more than [`BODY_BYTES_MAX`], never speaks without TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{FetchKeys, MalformedPlace, Place, is_public};
use crate::auth::token::{KeySet, object};

/// Fetches the keys of one issuer.
pub struct Fetcher {
    issuer: String,
    place: Place,
    tls: Arc<ClientConfig>,
    allow_private_addresses: bool,
}

/// The issuer as configured cannot be fetched from.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FetcherError {
    /// Its name is no address.
    #[error("{0:?} is {1}")]
    Place(String, MalformedPlace),
    /// None of the certificates can be an authority's.
    #[error("no certificate that can vouch for the issuer's server")]
    NoAuthority,
    /// The TLS library refused.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Why a fetch failed. For the operator's log; a caller never learns of it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It took too long.
    #[error("it took longer than {DEADLINE_MS} ms")]
    Late,
    /// The discovery document points to something that is no plain `https` address.
    #[error("it points to something that is {0}")]
    Place(#[from] MalformedPlace),
    /// The name leads to no address, or to one that is not outside.
    #[error(
        "{0} leads to an address that is not public; set allow_private_addresses if that is meant"
    )]
    Address(String),
    /// Connecting or TLS failed.
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    /// HTTP failed.
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
    /// The answer was another than 200, a redirect among them.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// The answer was too long, packed, or broke off.
    #[error("it answered with something longer than 64 KiB, packed, or incomplete")]
    Body,
    /// The document is not what it must be.
    #[error("its discovery document is not that of this issuer")]
    Document,
    /// The key set is not one.
    #[error("its keys are {0}")]
    KeySet(#[from] crate::auth::token::KeySetError),
}

/// The longest answer that is read.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1_024;

// === impl Fetcher ===

impl Fetcher {
    /// Fetches from where `issuer` says it is; `authorities` vouch for its server.
    ///
    /// # Errors
    /// The issuer's name is no address, or no certificate is an authority's.
    pub fn new(
        issuer: &str,
        authorities: Vec<CertificateDer<'static>>,
        allow_private_addresses: bool,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, FetcherError> {
        let place =
            Place::parse(issuer).map_err(|error| FetcherError::Place(issuer.to_owned(), error))?;
        let mut roots = RootCertStore::empty();
        let (added, _unusable) = roots.add_parsable_certificates(authorities);
        if added == 0 {
            return Err(FetcherError::NoAuthority);
        }
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| FetcherError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let issuer = issuer.to_owned();
        Ok(Self { issuer, place, tls: Arc::new(tls), allow_private_addresses })
    }

    async fn fetch_keys(&self) -> Result<KeySet, FetchError> {
        let document = self.read(&self.place.discovery()).await?;
        let document = object(&document).ok_or(FetchError::Document)?;
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        if text("issuer") != Some(&self.issuer) {
            return Err(FetchError::Document);
        }
        let keys = Place::parse(text("jwks_uri").ok_or(FetchError::Document)?)?;
        Ok(KeySet::parse(&self.read(&keys).await?)?)
    }

    async fn read(&self, place: &Place) -> Result<Bytes, FetchError> {
        let addresses = self.resolve(place).await?;
        let name = ServerName::try_from(place.host().to_owned())
            .map_err(|_| FetchError::Place(MalformedPlace))?;
        let stream = TcpStream::connect(&addresses[..]).await?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await?;
        let request = Request::get(place.path())
            .header(header::HOST, place.authority())
            .header(header::ACCEPT, "application/json, application/jwk-set+json")
            .header(header::USER_AGENT, "bulla")
            .body(Empty::<Bytes>::new())
            .map_err(|_| FetchError::Place(MalformedPlace))?;
        let exchange = async move {
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::Status(response.status()));
            }
            if response.headers().contains_key(header::CONTENT_ENCODING) {
                return Err(FetchError::Body);
            }
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
            Ok(body.map_err(|_| FetchError::Body)?.to_bytes())
        };
        // Neither outlives the other: when the deadline passes both are dropped.
        tokio::pin!(exchange, connection);
        tokio::select! {
            body = &mut exchange => body,
            ended = &mut connection => {
                ended?;
                exchange.await
            }
        }
    }

    /// The addresses that may be connected to, and no others are. One that leads inside spoils all.
    async fn resolve(&self, place: &Place) -> Result<Vec<SocketAddr>, FetchError> {
        let addresses: Vec<_> = match place.host().parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, place.port())],
            Err(_) => tokio::net::lookup_host((place.host(), place.port())).await?.collect(),
        };
        let lawful = addresses.iter().all(|a| self.allow_private_addresses || is_public(a.ip()));
        if lawful && !addresses.is_empty() {
            Ok(addresses)
        } else {
            Err(FetchError::Address(place.host().to_owned()))
        }
    }
}

#[async_trait]
impl FetchKeys for Fetcher {
    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let deadline = Duration::from_millis(DEADLINE_MS);
        timeout(deadline, self.fetch_keys()).await.unwrap_or(Err(FetchError::Late))
    }
}

/// For both documents together, names and TLS included.
const DEADLINE_MS: u64 = 4_000;
const HEADERS_MAX: usize = 64;
const BUFFER_BYTES_MAX: usize = 16 * 1_024;
