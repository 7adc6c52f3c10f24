//! Why the program does not start, or stops. Each text says what to do next.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::crypto::SelfTestFailed;
use crate::custody::{CustodyError, SealError, StartError};
use crate::service::Refusal;
use crate::store::StoreError;
use crate::trail::{NotaryError, TrailError};

/// A failure of the program itself, for its operator.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Tokens of its own cannot be signed.
    #[error("the key that signs tokens cannot be used: {0}")]
    Tokens(String),
    /// The cryptography does not work on this machine.
    #[error("{0}; do not use this machine or this build")]
    SelfTest(#[from] SelfTestFailed),
    /// The store cannot be opened or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root key cannot be opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store's first rows cannot be made or opened.
    #[error(transparent)]
    Start(StartError),
    /// Rows cannot be read or written.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The audit log cannot be opened or failed.
    #[error("the audit log {path}: {source}")]
    Trail {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TrailError,
    },
    /// How interrupted changes ended cannot be found out or recorded.
    #[error(
        "the audit log cannot be completed: {0}; see what the log and the store lack, then start again"
    )]
    Unended(String),
    /// The audit log is not where the database is.
    #[error(
        "the audit log {0} is missing, and the store has been in use; put it back (a new log would hide what the old one says), or start a new one with --new-audit-log"
    )]
    TrailMissing(PathBuf),
    /// What is signed about the audit log cannot be used, or says that the log is not whole.
    #[error(transparent)]
    Notary(#[from] NotaryError),
    /// A sink or an anchor of the audit log cannot be used, or says that the log is not whole.
    #[error(transparent)]
    Outside(#[from] crate::sinks::OutsideError),
    /// The key that signs checkpoints cannot be used.
    #[error(transparent)]
    CheckpointKey(#[from] crate::auth::CheckpointKeyError),
    /// There is an audit log where a new installation would make one.
    #[error("the audit log {0} exists already; move it away, it belongs to another installation")]
    TrailExists(PathBuf),
    /// A configured tenant is not in the store.
    #[error(
        "the tenant {0} is configured and not in the store; add it with: bulla bind --config FILE PRINCIPAL=ROLE"
    )]
    NoTenant(String),
    /// A file of the configuration cannot be used.
    #[error("{setting} {path}: {problem}")]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The trust domains cannot be used.
    #[error("trust_domains: {0}")]
    TrustDomains(#[from] crate::auth::TrustDomainError),
    /// An issuer of tokens cannot be used.
    #[error("the issuer {name}: {problem}")]
    Issuer {
        /// Its name in the configuration.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; stop what listens there, or configure another address"
    )]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system does not let keys be locked in memory, and the configuration requires it.
    #[error(
        "this system does not let memory be locked, and memory_lock = \"require\" is configured; raise the limit (LimitMEMLOCK= in a systemd unit, ulimit -l in a shell)"
    )]
    MemoryLock,
    /// A binding on the command line is not of the form PRINCIPAL=ROLE, or of no trust domain.
    #[error("--bind {text}: {problem}")]
    Binding {
        /// As it was given.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// A role could not be given.
    #[error("cannot give the role: {0}")]
    Refused(#[from] Refusal),
    /// The operating system refused something.
    #[error("cannot {0}: {1}")]
    System(&'static str, io::Error),
    /// A part of the program ended by itself.
    #[error("{0} ended by itself; see the log just before this")]
    Ended(&'static str),
}

impl From<StartError> for ServerError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Seal(error) => Self::Seal(error),
            StartError::Custody(CustodyError::Store(error)) => Self::Store(error),
            StartError::Custody(error) => Self::Custody(error),
            other => Self::Start(other),
        }
    }
}
