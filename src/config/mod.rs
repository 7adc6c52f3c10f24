//! What an operator configures: plain data, parsed whole before anything is opened.
//!
//! One TOML file; a few environment variables override it. Paths in the file are relative to the
//! file. Never a secret: secrets are in files that this names.

mod audit;
mod issuers;
mod rotation;
mod sinks;
mod tokens;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde::Deserialize;

pub use audit::Audit;
pub use issuers::Issuer;
pub use rotation::Rotation;
pub use sinks::{Anchor, AnchorKind, Peer, Sink, SinkKind};
pub use tokens::{TokenAlgorithm, Tokens};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// What this installation is for. Environments do not mix.
    pub environment: Environment,
    /// The one address that is listened on.
    pub listen: SocketAddr,
    /// Holds the database and the audit log.
    pub data_directory: PathBuf,
    /// Where rows are kept.
    pub store: StoreKind,
    /// The server's certificate.
    pub tls: Tls,
    /// How the root key is opened.
    pub seal: Seal,
    /// Whose certificates are believed, and for which tenant.
    pub trust_domains: Vec<TrustDomain>,
    /// Whose tokens are believed, and for which tenant.
    pub issuers: Vec<Issuer>,
    /// Whether service accounts' credentials are believed.
    pub service_accounts: bool,
    /// Limits.
    pub limits: Limits,
    /// What happens by itself.
    pub rotation: Rotation,
    /// How the audit log is kept.
    pub audit: Audit,
    /// Tokens of this installation's own.
    pub tokens: Tokens,
    /// What to do where the system does not let keys be locked in memory.
    pub memory_lock: MemoryLock,
    /// A file with the milliseconds that this installation's clock is ahead of the machine's. In
    /// development only: it makes waits pass.
    pub clock_ahead_file: Option<PathBuf>,
}

/// What an installation is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Real keys of real data.
    Production,
    /// A rehearsal.
    Staging,
    /// Anything else.
    Development,
}

/// Which store keeps the rows.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// One file, `bulla.db` in the data directory.
    #[default]
    Sqlite,
    /// Nothing survives the program. In development only.
    Memory,
}

/// The server's certificate chain and private key, in PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The chain, leaf first.
    pub certificate_file: PathBuf,
    /// The private key, readable by its owner only.
    pub key_file: PathBuf,
}

/// How the root key is opened.
#[derive(Clone, Debug)]
pub struct Seal {
    /// 32 bytes in base64, outside the data directory, readable by its owner only.
    pub key_file: PathBuf,
}

/// A SPIFFE trust domain: who signs its certificates, and which tenant it belongs to.
#[derive(Clone, Debug)]
pub struct TrustDomain {
    /// As in `spiffe://NAME/...`.
    pub name: String,
    /// The certificates of the authorities that may sign for it, in PEM: one file or several. They are
    /// read again when they change.
    pub ca_files: Vec<PathBuf>,
    /// The revocation lists of those authorities, in PEM or DER. With none, nothing is revoked.
    pub crl_files: Vec<PathBuf>,
    /// The tenant that every principal of the domain belongs to.
    pub tenant: String,
}

/// Limits on what callers can make the server hold.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections in all.
    pub connections_max: u32,
    /// Connections from one address.
    pub connections_per_address_max: u32,
    /// Calls in flight on one connection.
    pub streams_per_connection_max: u32,
    /// How long what is in flight may take once the server drains.
    pub drain_seconds_max: u32,
    /// Calls that use keys, of one tenant, a second; 0 is unlimited. A tenant may have its own.
    pub tenant_uses_per_second: u32,
    /// The same, of one principal.
    pub principal_uses_per_second: u32,
    /// All other calls, of one tenant, a second; 0 is unlimited.
    pub tenant_management_per_second: u32,
    /// With so many calls under way no tenant gets more than its share.
    pub busy_calls: u32,
    /// Data-plane threads; 0 means one for each core.
    pub data_plane_threads: u32,
}

/// What to do where the system does not let keys be locked in memory.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum MemoryLock {
    /// Log a warning and go on.
    #[default]
    Warn,
    /// Do not start.
    Require,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML, or not of this shape.
    #[error("{path}: {problem}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what, from the parser.
        problem: String,
    },
    /// Two settings contradict each other, or one is out of its limits.
    #[error("{setting}: {problem}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong and what to do.
        problem: String,
    },
}

// === impl Config ===

impl Config {
    /// Reads, overrides from `environment_variable` (name to value) and checks.
    pub fn load(
        path: &Path,
        environment_variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let file: File = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        })?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let mut config = file.resolve(base);
        if let Some(listen) = environment_variable("BULLA_LISTEN") {
            config.listen = listen.parse().map_err(|_| {
                setting("BULLA_LISTEN", "must be an address and a port such as 127.0.0.1:8443")
            })?;
        }
        if let Some(directory) = environment_variable("BULLA_DATA_DIRECTORY") {
            config.data_directory = directory.into();
        }
        config.checked()
    }

    /// The database file.
    pub fn database_file(&self) -> PathBuf {
        self.data_directory.join("bulla.db")
    }

    /// The audit log, the tree over it and its checkpoints.
    pub fn audit_directory(&self) -> PathBuf {
        self.data_directory.join("audit")
    }

    /// The distinct tenants that trust domains and issuers belong to, by name.
    pub fn tenants(&self) -> BTreeSet<&str> {
        let domains = self.trust_domains.iter().map(|domain| domain.tenant.as_str());
        domains.chain(self.issuers.iter().flat_map(Issuer::tenant_names)).collect()
    }

    /// Whether a caller can prove who it is without a client certificate.
    pub fn certificates_are_optional(&self) -> bool {
        !self.issuers.is_empty() || self.service_accounts
    }

    fn checked(self) -> Result<Self, ConfigError> {
        if self.trust_domains.is_empty() && self.issuers.is_empty() {
            return Err(setting(
                "trust_domains",
                "one, or one of issuers, is needed: nobody could call",
            ));
        }
        let mut names = BTreeSet::new();
        for domain in &self.trust_domains {
            if !is_name(&domain.name) || !domain.name.contains(|c: char| c.is_ascii_lowercase()) {
                return Err(setting("trust_domains.name", "must be of a-z 0-9 . - _"));
            }
            if !is_name(&domain.tenant) {
                return Err(setting("trust_domains.tenant", "must be 1 to 63 of a-z 0-9 . - _"));
            }
            if domain.ca_files.is_empty() {
                return Err(setting("trust_domains.ca_file", "give ca_file, or ca_files"));
            }
            if !names.insert(&domain.name) {
                return Err(setting("trust_domains.name", "the same trust domain stands twice"));
            }
        }
        if self.store == StoreKind::Memory && self.environment != Environment::Development {
            return Err(setting("store", "memory is for development: every key would be lost"));
        }
        if self.clock_ahead_file.is_some() && self.environment != Environment::Development {
            return Err(setting(
                "clock_ahead_file",
                "is for development: who may write the file could make every wait pass",
            ));
        }
        if self.seal.key_file.starts_with(&self.data_directory) {
            return Err(setting(
                "seal.key_file",
                "must be outside data_directory: whoever copies the data would have the key",
            ));
        }
        issuers::checked(&self.issuers)?;
        self.limits.checked()?;
        self.rotation.checked()?;
        self.audit.checked()?;
        Ok(self)
    }
}

// === impl Limits ===

impl Limits {
    fn checked(self) -> Result<(), ConfigError> {
        let ranges = [
            ("limits.connections_max", self.connections_max, 1..=65_536),
            ("limits.connections_per_address_max", self.connections_per_address_max, 1..=65_536),
            ("limits.streams_per_connection_max", self.streams_per_connection_max, 1..=1_000),
            ("limits.busy_calls", self.busy_calls, 16..=1_000_000),
            ("limits.drain_seconds_max", self.drain_seconds_max, 1..=3_600),
            ("limits.data_plane_threads", self.data_plane_threads, 0..=256),
        ];
        for (name, value, range) in ranges {
            if !range.contains(&value) {
                let (low, high) = (range.start(), range.end());
                return Err(setting(name, &format!("must be from {low} to {high}")));
            }
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_address_max: 1_024,
            streams_per_connection_max: 128,
            drain_seconds_max: 30,
            tenant_uses_per_second: 0,
            principal_uses_per_second: 0,
            tenant_management_per_second: 2_000,
            busy_calls: 512,
            data_plane_threads: 0,
        }
    }
}

// === impl Environment ===

impl Environment {
    /// The name in files and rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Development => "development",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    environment: Environment,
    listen: SocketAddr,
    data_directory: PathBuf,
    #[serde(default)]
    store: StoreKind,
    tls: FileTls,
    seal: FileSeal,
    #[serde(default)]
    trust_domains: Vec<FileTrustDomain>,
    #[serde(default)]
    issuers: Vec<Issuer>,
    #[serde(default)]
    service_accounts: bool,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    rotation: Rotation,
    #[serde(default)]
    audit: Audit,
    #[serde(default)]
    tokens: Tokens,
    #[serde(default)]
    memory_lock: MemoryLock,
    clock_ahead_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTls {
    certificate_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSeal {
    key_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTrustDomain {
    name: String,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    ca_files: Vec<PathBuf>,
    #[serde(default)]
    crl_files: Vec<PathBuf>,
    tenant: String,
}

// === impl File ===

impl File {
    fn resolve(self, base: &Path) -> Config {
        Config {
            environment: self.environment,
            listen: self.listen,
            data_directory: base.join(self.data_directory),
            store: self.store,
            tls: Tls {
                certificate_file: base.join(self.tls.certificate_file),
                key_file: base.join(self.tls.key_file),
            },
            seal: Seal { key_file: base.join(self.seal.key_file) },
            trust_domains: self
                .trust_domains
                .into_iter()
                .map(|domain| TrustDomain {
                    name: domain.name,
                    ca_files: under(base, domain.ca_file.into_iter().chain(domain.ca_files)),
                    crl_files: under(base, domain.crl_files),
                    tenant: domain.tenant,
                })
                .collect(),
            issuers: self.issuers.into_iter().map(|issuer| issuer.resolve(base)).collect(),
            service_accounts: self.service_accounts,
            limits: self.limits,
            rotation: self.rotation,
            audit: self.audit.resolve(base),
            tokens: self.tokens,
            memory_lock: self.memory_lock,
            clock_ahead_file: self.clock_ahead_file.map(|file| base.join(file)),
        }
    }
}

fn under(base: &Path, files: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    files.into_iter().map(|file| base.join(file)).collect()
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b))
}

fn setting(setting: &'static str, problem: &str) -> ConfigError {
    ConfigError::Setting { setting, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests;
