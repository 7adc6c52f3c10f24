//! What can go wrong between a request and the rows.

use crate::crypto::{ContextError, OpenFailure, RandomFailed, VersionZero, WrapFailure};
use crate::keys::{QuotaExceeded, State};
use crate::store::StoreError;
use crate::trail::TrailError;

/// Why custody did not give or change something.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// There is no such thing in the tenant.
    #[error("not found")]
    NotFound,
    /// The key is disabled as a whole.
    #[error("the key is disabled")]
    KeyDisabled,
    /// The version's state does not allow this use.
    #[error("version {version} is {state}")]
    VersionNotUsable {
        /// Which.
        version: u32,
        /// Where it stands.
        state: State,
    },
    /// The permit does not cover what was asked with it. A defect of this program.
    #[error("the permit does not cover this use")]
    NotCovered,
    /// Another change came first.
    #[error("another change came first")]
    Conflict,
    /// The name is taken.
    #[error("the name is taken")]
    AlreadyExists,
    /// A tenant has the name.
    #[error("a tenant has the name")]
    TenantExists,
    /// The configuration calls a tenant what none can be called.
    #[error("a tenant's name is 1 to 63 of a-z 0-9 . - _, and may not look like a UUID")]
    MalformedTenantName,
    /// The installation has as many as it can have.
    #[error("there are as many tenants as there can be")]
    TooManyTenants,
    /// A service account has the name.
    #[error("a service account has the name")]
    AccountExists,
    /// The service account has as many credentials as it can have.
    #[error("the service account has two credentials")]
    TooManyCredentials,
    /// The tenant has as many as it may have.
    #[error(transparent)]
    QuotaExceeded(QuotaExceeded),
    /// The request id was used before, for something else.
    #[error("the request id was used before for another request")]
    RequestIdReused,
    /// A row is not as this program wrote it.
    #[error("a row of kind {kind} was changed from outside: {problem}")]
    Tampered {
        /// The row's kind.
        kind: u8,
        /// What was seen.
        problem: &'static str,
    },
    /// A version that is not destroyed does not open, so that nothing may rest on its key's past.
    #[error(
        "version {version} does not open; restore the store from a backup, or destroy the version"
    )]
    VersionDoesNotOpen {
        /// Which.
        version: u32,
    },
    /// A row was written by a newer release.
    #[error("a row of kind {kind} was written by a newer release")]
    NewerFormat {
        /// The row's kind.
        kind: u8,
    },
    /// The cursor is older than what the store still tells.
    #[error("the cursor is too old")]
    CursorExpired,
    /// The store cannot be read or written now.
    #[error(transparent)]
    Store(StoreError),
    /// The store refuses what no trying again will change: its file or the request is not as this
    /// program makes it.
    #[error(transparent)]
    StoreDefect(StoreError),
    /// The audit log cannot be read now.
    #[error(transparent)]
    Trail(#[from] TrailError),
    /// The operating system gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// Wrapping failed.
    #[error(transparent)]
    Wrap(#[from] WrapFailure),
    /// A context of our own was refused. A defect of this program.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A generation or version of our own is 0. A defect of this program.
    #[error(transparent)]
    VersionZero(#[from] VersionZero),
}

impl CustodyError {
    pub(super) fn unopened(kind: u8, failure: OpenFailure) -> Self {
        Self::Tampered { kind, problem: failure.class() }
    }
}

impl From<StoreError> for CustodyError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::Conflict,
            StoreError::Expired { .. } => Self::CursorExpired,
            defect @ (StoreError::Corrupt(_)
            | StoreError::NewerFormat { .. }
            | StoreError::TooLarge { .. }
            | StoreError::Invalid(_)) => Self::StoreDefect(defect),
            other => Self::Store(other),
        }
    }
}
