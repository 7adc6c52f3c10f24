//! HTTP to an issuer: TLS 1.3, one request on a connection of its own, within a deadline.
//!
//! Never follows a redirect, never unpacks anything, never reads more than [`BODY_BYTES_MAX`], and never
//! speaks without TLS: tokens pass here.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::cli::failure::{Exit, Failure};

/// Sends requests; whoever is in `authorities` vouches for the issuer's server.
pub(super) struct Https {
    tls: Arc<ClientConfig>,
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpsError {
    #[error("it is no https address")]
    Address,
    #[error("it took longer than {DEADLINE_SECONDS} s")]
    Late,
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("it answered with a redirect, which is not followed")]
    Redirect,
    #[error("it answered with something longer than 256 KiB, packed, or incomplete")]
    Body,
}

// === impl Https ===

impl Https {
    /// Trusts the authorities in this PEM file, or else those of the system.
    pub(super) fn new(authorities: Option<&Path>) -> Result<Self, Failure> {
        let path = match authorities {
            Some(path) => path.to_owned(),
            None => system_authorities().ok_or_else(|| {
                Failure::new(Exit::Configuration, "this system has no list of authorities")
                    .hint("give the issuer's authority with --issuer-ca FILE")
            })?,
        };
        let wrong = |why: &str| {
            let what = format!("the issuer's authorities in {}: {why}", path.display());
            Failure::new(Exit::Configuration, what)
        };
        let text = std::fs::read(&path).map_err(|error| Failure::input(&path, &error))?;
        let mut roots = RootCertStore::empty();
        let found = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
        if roots.add_parsable_certificates(found).0 == 0 {
            return Err(wrong("it holds no certificate of one"));
        }
        let mut tls = ClientConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| wrong(&error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(tls) })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpsError> {
        let deadline = Duration::from_secs(DEADLINE_SECONDS);
        timeout(deadline, self.exchange(request)).await.unwrap_or(Err(HttpsError::Late))
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpsError> {
        let (parts, body) = request.into_parts();
        let uri = &parts.uri;
        if uri.scheme_str() != Some("https") {
            return Err(HttpsError::Address);
        }
        let host = uri.host().ok_or(HttpsError::Address)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| HttpsError::Address)?;
        let tcp = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await?;
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await?;
        let asked = asked(parts, body)?;
        let exchange = async move {
            let response = sender.send_request(asked).await?;
            if response.status().is_redirection() {
                return Err(HttpsError::Redirect);
            }
            let (parts, body) = response.into_parts();
            if parts.headers.contains_key(header::CONTENT_ENCODING) {
                return Err(HttpsError::Body);
            }
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
            let body = body.map_err(|_| HttpsError::Body)?.to_bytes();
            Ok(HttpResponse::from_parts(parts, body.to_vec()))
        };
        // Neither outlives the other: when the deadline passes both are dropped.
        tokio::pin!(exchange, connection);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = &mut connection => {
                ended?;
                exchange.await
            }
        }
    }
}

impl<'c> AsyncHttpClient<'c> for Https {
    type Error = HttpsError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpsError>> + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// The request in the form of its server: a path, and the host beside it.
fn asked(
    mut parts: http::request::Parts,
    body: Vec<u8>,
) -> Result<http::Request<Full<Bytes>>, HttpsError> {
    let authority = parts.uri.authority().ok_or(HttpsError::Address)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| HttpsError::Address)?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse::<Uri>().map_err(|_| HttpsError::Address)?;
    parts.headers.insert(header::HOST, host);
    parts.headers.insert(header::USER_AGENT, HeaderValue::from_static("bulla"));
    Ok(http::Request::from_parts(parts, Full::from(body)))
}

fn system_authorities() -> Option<PathBuf> {
    SYSTEM_AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists())
}

const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
const DEADLINE_SECONDS: u64 = 10;
const BODY_BYTES_MAX: usize = 256 * 1024;
const HEADERS_MAX: usize = 64;
const BUFFER_BYTES_MAX: usize = 64 * 1024;
