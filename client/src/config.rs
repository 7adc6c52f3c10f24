//! What a client needs to know before it can connect, and the reading of it. Certificates and keys
//! come from files or bytes; secrets never come from the environment, and nothing here is printed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use zeroize::Zeroizing;

use crate::call::Retries;

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
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) certificate_place: String,
}

// === impl Config ===

impl Config {
    /// A configuration for the server at `https://host:port`. The authority, the certificate and
    /// the key are still to be given.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            server_name: None,
            ca: None,
            certificate: None,
            key: None,
            timeout: TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            keep_alive: KEEP_ALIVE,
            retries: Retries::default(),
        }
    }

    /// Reads `BULLA_SERVER` (`https://host:port`) and the paths `BULLA_CA`, `BULLA_CERTIFICATE` and
    /// `BULLA_KEY`. No secret is ever taken from the environment.
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
        Ok(Self::new(value(SERVER)?)
            .ca_file(value(CA)?)
            .certificate_file(value(CERTIFICATE)?)
            .key_file(value(KEY)?))
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
        let (certificate, certificate_place) = read(self.certificate.as_ref(), CERTIFICATE)?;
        let (key, key_place) = read(self.key.as_ref(), KEY)?;
        Ok(Credentials {
            authorities: certificates(&ca, CA.0, ca_place)?,
            chain: certificates(&certificate, CERTIFICATE.0, certificate_place.clone())?,
            key: private_key(&key, key_place)?,
            certificate_place,
        })
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

fn read(
    pem: Option<&Pem>,
    (what, variable): (&'static str, &'static str),
) -> Result<(Zeroizing<Vec<u8>>, String), ConfigError> {
    match pem {
        None => Err(ConfigError::Missing { what, variable }),
        Some(Pem::Bytes(bytes)) => Ok((bytes.clone(), "the given bytes".to_owned())),
        Some(Pem::File(path)) => {
            let place = path.display().to_string();
            let bytes = read_file(path, what == KEY.0).map_err(|fault| match fault {
                FileFault::Open(mode) => ConfigError::KeyFileOpen { path: place.clone(), mode },
                FileFault::Size => ConfigError::Content {
                    what,
                    place: place.clone(),
                    why: format!("it is larger than {FILE_BYTES_MAX} bytes"),
                },
                FileFault::Io(error) => ConfigError::Unreadable {
                    what,
                    path: place.clone(),
                    why: error.to_string().to_lowercase(),
                },
            })?;
            Ok((bytes, place))
        }
    }
}

enum FileFault {
    Open(u32),
    Size,
    Io(io::Error),
}

impl From<io::Error> for FileFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Judges the permissions of the file that is read, not of whatever has its name a moment later.
fn read_file(path: &Path, secret: bool) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    if secret {
        refuse_if_open(&metadata)?;
    }
    // Room for all of it at once, so that no half-grown copy of a key is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX.saturating_add(1)));
    file.take(FILE_BYTES_MAX.saturating_add(1) as u64).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX { Err(FileFault::Size) } else { Ok(bytes) }
}

#[cfg(unix)]
fn refuse_if_open(metadata: &std::fs::Metadata) -> Result<(), FileFault> {
    use std::os::unix::fs::PermissionsExt;

    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(FileFault::Open(mode)) }
}

#[cfg(not(unix))]
fn refuse_if_open(_: &std::fs::Metadata) -> Result<(), FileFault> {
    Ok(())
}

fn certificates(
    pem: &[u8],
    what: &'static str,
    place: String,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let why = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => "it holds no PEM block CERTIFICATE".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(ConfigError::Content { what, place, why })
}

fn private_key(pem: &[u8], place: String) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let why = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => return Ok(key),
        Err(_) if pem.windows(ENCRYPTED.len()).any(|at| at == ENCRYPTED) => {
            "it is protected by a passphrase; give it as an unencrypted PKCS #8 file of mode 0600"
        }
        Err(_) => "it holds no PEM block PRIVATE KEY",
    };
    Err(ConfigError::Content { what: KEY.0, place, why: why.to_owned() })
}

const SERVER: (&str, &str) = ("server address", "BULLA_SERVER");
const CA: (&str, &str) = ("certificate authority", "BULLA_CA");
const CERTIFICATE: (&str, &str) = ("client certificate", "BULLA_CERTIFICATE");
const KEY: (&str, &str) = ("private key", "BULLA_KEY");
const ENCRYPTED: &[u8] = b"ENCRYPTED";
const FILE_BYTES_MAX: usize = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests;
