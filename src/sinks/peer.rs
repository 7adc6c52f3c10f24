//! The other end of a connection: TLS 1.3 to whom the configured authorities vouch for, with this
//! server's certificate where it has one. Without TLS it speaks to this machine alone, and only where
//! that was said (I04).

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::{OutsideError, PlaceError};
use crate::config;

/// Where, and how.
pub(super) struct Peer {
    host: String,
    port: u16,
    path: String,
    authorization: Option<String>,
    tls: Option<(ServerName<'static>, Arc<ClientConfig>)>,
}

/// A connection.
pub(super) enum Line {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

// === impl Peer ===

impl Peer {
    /// The peer at `address`: `HOST:PORT`, or with a scheme and a path where `speaks_http`.
    pub(super) fn new(
        name: &str,
        address: &str,
        speaks_http: bool,
        config: &config::Peer,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, OutsideError> {
        let wrong = |problem: &str| OutsideError::Setting {
            setting: "address",
            name: name.to_owned(),
            problem: problem.to_owned(),
        };
        let uri: Uri = address.parse().map_err(|_| wrong("is no address"))?;
        let scheme = if config.plaintext_to_loopback { "http" } else { "https" };
        let lawful = if speaks_http {
            uri.scheme_str() == Some(scheme)
        } else {
            uri.scheme().is_none() && uri.path_and_query().is_none()
        };
        if !lawful {
            let form =
                if speaks_http { format!("{scheme}://HOST:PORT/PATH") } else { "HOST:PORT".into() };
            return Err(wrong(&format!("must be of the form {form}")));
        }
        let host =
            uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().ok_or_else(|| wrong("has no port"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let tls = match config.plaintext_to_loopback {
            true => None,
            false => {
                let server = ServerName::try_from(host.clone());
                let server = server.map_err(|_| wrong("is no name of a server"))?;
                Some((server, client_config(config, provider, speaks_http)?))
            }
        };
        let authorization = config.authorization_file.as_deref().map(secret).transpose()?;
        Ok(Self { host, port, path, authorization, tls })
    }

    /// As the header `Host` has it.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The path, with what is asked after it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The value of the header `Authorization`.
    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Line, PlaceError> {
        let resolved = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let addresses: Vec<SocketAddr> = resolved.map_err(PlaceError::Connect)?.collect();
        if self.tls.is_none() && !addresses.iter().all(|address| address.ip().is_loopback()) {
            let refused = io::Error::other("without TLS only this machine is spoken to");
            return Err(PlaceError::Connect(refused));
        }
        let stream = TcpStream::connect(&addresses[..]).await.map_err(PlaceError::Connect)?;
        watchful(&stream).map_err(PlaceError::Connect)?;
        let Some((server, tls)) = &self.tls else { return Ok(Line::Plain(stream)) };
        let connector = TlsConnector::from(Arc::clone(tls));
        let stream = connector.connect(server.clone(), stream).await;
        Ok(Line::Tls(Box::new(stream.map_err(PlaceError::Connect)?)))
    }
}

// === impl Line ===

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// A peer that is gone without a word is noticed, and what waits for one that is slow is little.
fn watchful(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_user_timeout(Some(GONE_AFTER))?;
    let often = TcpKeepalive::new().with_time(GONE_AFTER).with_interval(ASKED_AGAIN);
    socket.set_tcp_keepalive(&often)
}

fn client_config(
    config: &config::Peer,
    provider: &Arc<CryptoProvider>,
    speaks_http: bool,
) -> Result<Arc<ClientConfig>, OutsideError> {
    let path = config.ca_file.as_deref().unwrap_or(Path::new(""));
    let text = read("ca_file", path)?;
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
    if roots.add_parsable_certificates(found).0 == 0 {
        return Err(unusable("ca_file", path, "holds no certificate of an authority"));
    }
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable("ca_file", path, &error.to_string()))?
        .with_root_certificates(roots);
    let mut tls = match (&config.certificate_file, &config.key_file) {
        (Some(certificate), Some(key)) => {
            let text = read("certificate_file", certificate)?;
            let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>();
            let chain = chain
                .map_err(|error| unusable("certificate_file", certificate, &error.to_string()))?;
            private("key_file", key)?;
            let none = "holds no private key in PEM";
            let private =
                PrivateKeyDer::from_pem_file(key).map_err(|_| unusable("key_file", key, none))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| unusable("key_file", key, &error.to_string()))?
        }
        _ => builder.with_no_client_auth(),
    };
    if speaks_http {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(Arc::new(tls))
}

fn secret(path: &Path) -> Result<String, OutsideError> {
    private("authorization_file", path)?;
    let text = String::from_utf8(read("authorization_file", path)?).unwrap_or_default();
    let line = text.trim_end().to_owned();
    match http::HeaderValue::from_str(&line) {
        Ok(_) if !line.is_empty() => Ok(line),
        _ => Err(unusable("authorization_file", path, "holds no value of a header")),
    }
}

/// Refuses a file of secrets that others can read.
fn private(setting: &'static str, path: &Path) -> Result<(), OutsideError> {
    let found = fs::metadata(path).map_err(|error| unusable(setting, path, &error.to_string()))?;
    match found.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(unusable(setting, path, "can be read by others; set its mode to 0600")),
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, OutsideError> {
    fs::read(path).map_err(|error| unusable(setting, path, &error.to_string()))
}

fn unusable(setting: &'static str, path: &Path, problem: &str) -> OutsideError {
    OutsideError::File { setting, path: path.to_owned(), problem: problem.to_owned() }
}

const GONE_AFTER: Duration = Duration::from_secs(10);
const ASKED_AGAIN: Duration = Duration::from_secs(3);
const SEND_BUFFER_BYTES: usize = 128 * 1024;
/// For one attempt to connect.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(5);
