//! The way to the server: TCP, then TLS 1.3 (RFC 8446) with the client's certificate, then HTTP/2.
//! Trusts the configured authority alone, never the system's; never speaks anything older or in the
//! clear; never asks a proxy.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::ServerName;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::time;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use crate::bearer::{Bearer, TokenSource};
use crate::config::{Address, Certificate, Config, ConfigError, Credentials};
use crate::error::Error;

/// Who this client is to the server, as a digest of what proves it: its certificate, its token (by
/// the path of its file) and whom it acts for. It keeps what is cached for one caller apart from what
/// is cached for another.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Identity([u8; 32]);

/// Why no connection could be made.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ConnectFailure {
    #[error("cannot reach {server}: {why}; is the server running there, and is the address right?")]
    Tcp { server: String, why: String },
    #[error("no connection to {server} within {waited:?}; is the address right?")]
    Timeout { server: String, waited: Duration },
    #[error("no secure connection to {server}: {why}")]
    Tls { server: String, why: String },
}

/// A checked configuration, ready to dial.
pub(crate) struct Connection {
    pub(crate) identity: Identity,
    pub(crate) bearer: Option<Arc<Bearer>>,
    pub(crate) server: String,
    endpoint: Endpoint,
    dialer: Dialer,
}

#[derive(Clone)]
struct Dialer(Arc<Target>);

struct Target {
    server: String,
    host: String,
    port: u16,
    name: ServerName<'static>,
    timeout: Duration,
    tls: TlsConnector,
}

type Stream = TokioIo<TlsStream<TcpStream>>;

// === impl Identity ===

impl Identity {
    pub(crate) fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Of a certificate, a token, or both.
    fn of(certificate: Option<&Certificate>, token: Option<&TokenSource>) -> Self {
        let leaf = certificate.and_then(|certificate| certificate.chain.first());
        let leaf: Option<[u8; 32]> = leaf.map(|leaf| Sha256::digest(leaf).into());
        Self(match (leaf, token.map(TokenSource::digest)) {
            (Some(leaf), Some(token)) => {
                Sha256::new().chain_update(leaf).chain_update(token).finalize().into()
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => [0; 32],
        })
    }

    /// The 32 bytes: with a certificate alone, the SHA-256 over its DER encoding.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Identity(")?;
        for byte in self.0 {
            write!(formatter, "{byte:02x}")?;
        }
        formatter.write_str(")")
    }
}

// === impl Connection ===

impl Connection {
    /// Reads and checks the whole configuration; dials nothing yet.
    pub(crate) fn prepare(config: &Config) -> Result<Self, Error> {
        let Address { host, port, name } = config.address()?;
        let credentials = config.credentials()?;
        let identity = Identity::of(credentials.certificate.as_ref(), config.token.as_ref());
        let bearer = config.token.as_ref().map(TokenSource::open).transpose()?.map(Arc::new);
        let tls = TlsConnector::from(Arc::new(tls(credentials)?));
        let server = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        // The scheme of the endpoint is http because this module does the TLS itself.
        let endpoint = endpoint(&format!("http://{server}"), &format!("https://{server}"), config)?;
        let timeout = config.connect_timeout;
        let target = Target { server: server.clone(), host, port, name, timeout, tls };
        let dialer = Dialer(Arc::new(target));
        Ok(Self { identity, bearer, server, endpoint, dialer })
    }

    /// A channel that dials when it is first used, and again whenever the connection is lost.
    pub(crate) fn lazy(&self) -> Channel {
        self.endpoint.connect_with_connector_lazy(self.dialer.clone())
    }

    /// The same, but dialled, so that a wrong address or authority is known at once.
    pub(crate) async fn eager(&self) -> Result<Channel, Error> {
        let channel = self.endpoint.connect_with_connector(self.dialer.clone()).await;
        channel.map_err(|error| Error::from_transport(&error, &self.server))
    }
}

// === impl Dialer ===

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = ConnectFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectFailure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let target = Arc::clone(&self.0);
        Box::pin(async move { target.dial().await })
    }
}

// === impl Target ===

impl Target {
    async fn dial(&self) -> Result<Stream, ConnectFailure> {
        match time::timeout(self.timeout, self.dial_unbounded()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(ConnectFailure::Timeout { server: self.server.clone(), waited: self.timeout })
            }
        }
    }

    async fn dial_unbounded(&self) -> Result<Stream, ConnectFailure> {
        let tcp = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
            tcp.set_nodelay(true)?;
            Ok::<_, io::Error>(tcp)
        };
        let tcp = tcp.await.map_err(|error| ConnectFailure::Tcp {
            server: self.server.clone(),
            why: error.to_string().to_lowercase(),
        })?;
        let failed = |why: String| ConnectFailure::Tls { server: self.server.clone(), why };
        let tls = self.tls.connect(self.name.clone(), tcp).await.map_err(|error| {
            failed(match tls_error(&error) {
                Some(error) => explain(error),
                None => error.to_string(),
            })
        })?;
        match tls.get_ref().1.alpn_protocol() {
            Some(HTTP2) => Ok(TokioIo::new(tls)),
            _ => Err(failed("the peer does not speak HTTP/2, so it is no Bulla server".to_owned())),
        }
    }
}

// === impl ConnectFailure ===

impl ConnectFailure {
    /// In TLS 1.3 a server refuses a client's certificate after the client thinks that it is
    /// connected, so the refusal arrives as a failed read of the first call, and by then HTTP/2 has
    /// left nothing of it but its text.
    pub(crate) fn in_stream(server: &str, text: &str) -> Option<Self> {
        let (_, alert) = text.split_once(ALERT)?;
        let why = format!("{} (alert {alert})", explain_alert(alert)?);
        Some(Self::Tls { server: server.to_owned(), why })
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Says what a person can do about a failed handshake.
fn explain(error: &rustls::Error) -> String {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
        UnknownIssuer,
    };
    let text = error.to_string();
    let advice = match error {
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature) => {
            "the server's certificate does not come from the configured authority (BULLA_CA)"
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "the server's certificate is for another name; use that name in the address, or set \
             the server name"
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            "the server's certificate has expired, or this machine's clock is wrong"
        }
        _ => match text.split_once(ALERT).and_then(|(_, alert)| explain_alert(alert)) {
            Some(advice) => advice,
            None => return text,
        },
    };
    format!("{advice} ({text})")
}

/// What the server meant by an alert (RFC 8446, section 6.2).
fn explain_alert(alert: &str) -> Option<&'static str> {
    Some(match alert {
        "CertificateExpired" => {
            "the server refused this client's certificate, because it has expired"
        }
        // A wrong signature is what an authority of the same name and another key looks like.
        "UnknownCA" | "DecryptError" => {
            "the server refused this client's certificate, because it does not come from an \
             authority that the server trusts"
        }
        "CertificateRevoked" => {
            "the server refused this client's certificate, because it was revoked"
        }
        "CertificateRequired" => {
            "the server wants a client certificate: it takes no tokens and no credentials"
        }
        "BadCertificate" | "CertificateUnknown" | "UnsupportedCertificate" | "AccessDenied" => {
            "the server refused this client's certificate"
        }
        "ProtocolVersion" => "the peer does not speak TLS 1.3",
        "NoApplicationProtocol" => "the peer does not speak HTTP/2",
        _ => return None,
    })
}

fn endpoint(address: &str, origin: &str, config: &Config) -> Result<Endpoint, ConfigError> {
    let bad = |why: String| ConfigError::Address { address: origin.to_owned(), why };
    let origin_uri: Uri = origin.parse().map_err(|_| bad("it is no address".to_owned()))?;
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|e| bad(e.to_string()))?;
    let endpoint = endpoint.user_agent(USER_AGENT).map_err(|error| bad(error.to_string()))?;
    Ok(endpoint
        .origin(origin_uri)
        .http2_keep_alive_interval(config.keep_alive)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}

fn tls(credentials: Credentials) -> Result<ClientConfig, ConfigError> {
    let content = |what: &'static str, place: String| {
        move |error: &dyn fmt::Display| ConfigError::Content { what, place, why: error.to_string() }
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in credentials.authorities {
        let bad = content("certificate authority", "the given PEM".to_owned());
        roots.add(authority).map_err(|error| bad(&error))?;
    }
    let bad = content("certificate authority", "the given PEM".to_owned());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| bad(&error))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| content("TLS", "this build".to_owned())(&error))?
        .with_webpki_verifier(verifier);
    let mut config = match credentials.certificate {
        None => builder.with_no_client_auth(),
        Some(Certificate { chain, key, place }) => {
            let bad = content("client certificate", place);
            builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    bad(&"it does not belong to the private key that was given with it")
                }
                error => bad(&error),
            })?
        }
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

/// How rustls begins the text of an alert that it received.
const ALERT: &str = "received fatal alert: ";
const HTTP2: &[u8] = b"h2";
const USER_AGENT: &str = concat!("bulla-client/", env!("CARGO_PKG_VERSION"));
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
