//! What a client needs to know before it can connect, and the reading of it. Certificates, keys and
//! tokens come from files or from the program; secrets never come from the environment, and nothing here is printed.

mod files;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use zeroize::Zeroizing;

use crate::bearer::TokenSource;
use crate::call::Retries;

use files::{certificates, private_key, read};

/// Where the server is, whom to trust, who the caller is, and how long to wait.
///
/// ```
/// # use std::time::Duration;
/// let config = bulla_client::Config::new("https://bulla.example:7443")
///     .ca_file("ca.pem")
///     .certificate_file("billing.pem")
///     .key_file("billing.key")
///     .timeout(Duration::from_secs(5));
/// ```
#[derive(Clone)]
pub struct Config {
    server: String,
    server_name: Option<String>,
    ca: Option<Pem>,
    certificate: Option<Pem>,
    key: Option<Pem>,
    pub(crate) token: Option<TokenSource>,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) retries: Retries,
}

/// What is wrong with a [`Config`], and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A part was not given.
    #[error("no {what} was given; set {variable} or give it in the configuration")]
    Missing {
        /// Which part.
        what: &'static str,
        /// The environment variable that [`Config::from_env`] reads for it.
        variable: &'static str,
    },
    /// The server's address is not of the form `https://host:port`.
    #[error("the server address {address:?} is not usable: {why}; write it as https://host:port")]
    Address {
        /// The address as given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The name to look for in the server's certificate is neither a DNS name nor an IP address.
    #[error("the server name {name:?} is neither a DNS name nor an IP address")]
    ServerName {
        /// The name as given.
        name: String,
    },
    /// A file cannot be read.
    #[error("cannot read the {what} file {path}: {why}")]
    Unreadable {
        /// Which part.
        what: &'static str,
        /// The file.
        path: String,
        /// What the operating system said.
        why: String,
    },
    /// Others than its owner may read the private key's file.
    #[error("the key file {path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")]
    KeyFileOpen {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Others than its owner may write to the token's file, or read the credential in it.
    #[error(
        "others may read or write the token file {path} (mode {mode:04o}); run: chmod 600 {path}"
    )]
    TokenFileOpen {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A file or byte string does not hold what it should.
    #[error("the {what} in {place} is not usable: {why}")]
    Content {
        /// Which part.
        what: &'static str,
        /// The file, or `the given bytes`.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A PEM text, by path or by value.
#[derive(Clone)]
enum Pem {
    File(PathBuf),
    Bytes(Zeroizing<Vec<u8>>),
}

/// Where to dial, and the name that the server's certificate must carry.
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) name: ServerName<'static>,
}

/// Everything that was read, parsed.
pub(crate) struct Credentials {
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    pub(crate) certificate: Option<Certificate>,
}

/// What proves the caller in the handshake.
pub(crate) struct Certificate {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) place: String,
}

// === impl Config ===

impl Config {
    /// A configuration for the server at `https://host:port`. The authority, and a certificate with
    /// its key or a token, are still to be given.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            server_name: None,
            ca: None,
            certificate: None,
            key: None,
            token: None,
            timeout: TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            keep_alive: KEEP_ALIVE,
            retries: Retries::default(),
        }
    }

    /// Reads `BULLA_SERVER` (`https://host:port`) and the paths `BULLA_CA`, `BULLA_CERTIFICATE` and
    /// `BULLA_KEY`, or `BULLA_TOKEN_FILE` in place of these two or beside them. No secret is ever
    /// taken from the environment.
    ///
    /// # Errors
    /// [`ConfigError::Missing`] names the first variable that is unset or empty.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(read: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let value = |(what, variable): (&'static str, &'static str)| {
            read(variable)
                .filter(|value| !value.is_empty())
                .ok_or(ConfigError::Missing { what, variable })
        };
        let mut config = Self::new(value(SERVER)?).ca_file(value(CA)?);
        if let Ok(token) = value(TOKEN) {
            config = config.token_file(token);
        }
        if config.token.is_some() && value(CERTIFICATE).is_err() && value(KEY).is_err() {
            return Ok(config);
        }
        Ok(config.certificate_file(value(CERTIFICATE)?).key_file(value(KEY)?))
    }

    /// The name that the server's certificate must carry, when it is not the address's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// The PEM file of the authorities that the server's certificate must come from. The system's
    /// own authorities are never trusted.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(Pem::File(path.into()));
        self
    }

    /// The same as [`Config::ca_file`], by value.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(Pem::Bytes(Zeroizing::new(pem.into())));
        self
    }

    /// The PEM file of the client's certificate, followed by its intermediates.
    pub fn certificate_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.certificate = Some(Pem::File(path.into()));
        self
    }

    /// The same as [`Config::certificate_file`], by value.
    pub fn certificate_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificate = Some(Pem::Bytes(Zeroizing::new(pem.into())));
        self
    }

    /// The PEM file of the client's private key, which its owner alone may read (mode 0600).
    pub fn key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.key = Some(Pem::File(path.into()));
        self
    }

    /// The same as [`Config::key_file`], by value. The bytes are wiped on drop.
    pub fn key_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.key = Some(Pem::Bytes(Zeroizing::new(pem.into())));
        self
    }

    /// The file of a token (a JSON Web Token) or of a service account's credential, which goes with
    /// every call. It is read again when it changes, so that it can be rotated. Nobody else may
    /// write to it; a credential nobody else may read, unless the file is another user's. A
    /// certificate is then optional.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token = Some(TokenSource::File(path.into()));
        self
    }

    /// The same as [`Config::token_file`], by value. It is wiped on drop.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(TokenSource::Value(Zeroizing::new(token.into())));
        self
    }

    /// How long a call may take with all its retries. 10 seconds unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long name resolution, TCP and TLS may take together. 5 seconds unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How often an idle connection is probed; it is given up after 10 seconds without an answer.
    /// 20 seconds unless set.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval;
        self
    }

    /// When and how often a call is tried again.
    pub fn retries(mut self, retries: Retries) -> Self {
        self.retries = retries;
        self
    }

    pub(crate) fn address(&self) -> Result<Address, ConfigError> {
        let bad = |why: String| ConfigError::Address { address: self.server.clone(), why };
        if self.server.is_empty() {
            return Err(ConfigError::Missing { what: SERVER.0, variable: SERVER.1 });
        }
        let uri: Uri = self.server.parse().map_err(|_| bad("it is no address".to_owned()))?;
        if uri.scheme_str() != Some("https") {
            return Err(bad("it does not begin with https://".to_owned()));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("it has a path".to_owned()));
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() || self.server.contains('@') {
            return Err(bad("it has no plain host".to_owned()));
        }
        let port = uri.port_u16().ok_or_else(|| bad("it has no port".to_owned()))?;
        let name = self.server_name.clone().unwrap_or_else(|| host.clone());
        let name =
            ServerName::try_from(name.clone()).map_err(|_| ConfigError::ServerName { name })?;
        Ok(Address { host, port, name })
    }

    pub(crate) fn credentials(&self) -> Result<Credentials, ConfigError> {
        let (ca, ca_place) = read(self.ca.as_ref(), CA)?;
        let authorities = certificates(&ca, CA.0, ca_place)?;
        Ok(Credentials { authorities, certificate: self.certificate()? })
    }

    /// None where a token alone proves the caller.
    fn certificate(&self) -> Result<Option<Certificate>, ConfigError> {
        if self.certificate.is_none() && self.key.is_none() {
            let (what, variable) = PROOF;
            let neither = ConfigError::Missing { what, variable };
            return if self.token.is_some() { Ok(None) } else { Err(neither) };
        }
        let (certificate, place) = read(self.certificate.as_ref(), CERTIFICATE)?;
        let (key, key_place) = read(self.key.as_ref(), KEY)?;
        let chain = certificates(&certificate, CERTIFICATE.0, place.clone())?;
        Ok(Some(Certificate { chain, key: private_key(&key, key_place)?, place }))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Config")
            .field("server", &self.server)
            .field("server_name", &self.server_name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

const SERVER: (&str, &str) = ("server address", "BULLA_SERVER");
const CA: (&str, &str) = ("certificate authority", "BULLA_CA");
const CERTIFICATE: (&str, &str) = ("client certificate", "BULLA_CERTIFICATE");
const PROOF: (&str, &str) =
    ("client certificate and no token", "BULLA_CERTIFICATE and BULLA_KEY, or BULLA_TOKEN_FILE,");
const KEY: (&str, &str) = ("private key", "BULLA_KEY");
const TOKEN: (&str, &str) = ("token", "BULLA_TOKEN_FILE");
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
