//! The parts that serving, installing and checking have in common: the store, custody, the audit log,
//! the office.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::clock::{AheadClock, Clock, SystemClock};
use crate::config::{Config, MemoryLock, StoreKind};
use crate::crypto::memory::{self, Locked};
use crate::crypto::{OsRandom, self_test};
use crate::custody::{self, Budget, Custody, Installed, KeyFile};
use crate::limits::{Limiter, Rates};
use crate::metrics::Metrics;
use crate::service::{HashedKeys, Office, TokenSigner, Unended};
use crate::store::sqlite::SqliteStore;
use crate::store::{MemoryStore, Options, Store, StoreError};
use crate::trail::{Notarized, Recovery, Trail, TrailOptions};

use super::counted_store::CountedStore;
use super::error::ServerError;
use super::tokens::{self, Tokens};

/// An open store, whichever it is.
pub(super) struct OpenStore {
    pub(super) rows: Arc<dyn Store>,
    sqlite: Option<Arc<SqliteStore>>,
}

/// Proves the cryptography and shuts the process off from core dumps and debuggers.
pub(super) fn harden(config: &Config) -> Result<(), ServerError> {
    memory::forbid_core_dumps().map_err(|e| ServerError::System("forbid core dumps", e))?;
    self_test()?;
    // The first locked page tells whether this system locks any.
    let probe = Locked::new(|| [0_u8; 32]);
    let unlocked = memory::protection().unlocked_bytes > 0;
    drop(probe);
    match (unlocked, config.memory_lock) {
        (false, _) => Ok(()),
        (true, MemoryLock::Require) => Err(ServerError::MemoryLock),
        (true, MemoryLock::Warn) => {
            tracing::warn!(
                "keys may be written to swap: this system does not let memory be locked"
            );
            Ok(())
        }
    }
}

/// Opens the store that is configured.
pub(super) fn open_store(config: &Config) -> Result<OpenStore, ServerError> {
    match config.store {
        StoreKind::Memory => Ok(OpenStore::memory(store_options(config))),
        StoreKind::Sqlite => {
            let options = store_options(config);
            Ok(OpenStore::sqlite(SqliteStore::open_with(config.database_file(), options)?))
        }
    }
}

/// Makes the store that is configured, in a data directory for the owner only.
pub(super) fn create_store(config: &Config) -> Result<OpenStore, ServerError> {
    private_directory(&config.data_directory)?;
    match config.store {
        StoreKind::Memory => Ok(OpenStore::memory(store_options(config))),
        StoreKind::Sqlite => {
            let options = store_options(config);
            Ok(OpenStore::sqlite(SqliteStore::create_with(config.database_file(), options)?))
        }
    }
}

/// The clock of this installation.
pub(super) fn clock(config: &Config) -> Arc<dyn Clock> {
    match &config.clock_ahead_file {
        Some(file) => Arc::new(AheadClock::new(file.clone())),
        None => Arc::new(SystemClock),
    }
}

fn store_options(config: &Config) -> Options {
    let clock = clock(config);
    Options { clock: Arc::new(move || clock.unix_ms()), ..Options::default() }
}

/// What custody is opened with.
pub(super) fn installed(config: &Config, store: &OpenStore) -> Installed {
    Installed {
        store: Arc::clone(&store.rows),
        clock: clock(config),
        random: Arc::new(OsRandom),
        environment: config.environment.name().to_owned(),
    }
}

/// Opens custody of an existing store with the configured key file.
pub(super) async fn open_custody(
    config: &Config,
    store: &OpenStore,
) -> Result<Custody, ServerError> {
    let seal = KeyFile::read(&config.seal.key_file)?;
    Ok(custody::open(installed(config, store), &seal).await?)
}

/// Opens the audit log, which must be there already unless `may_be_new`.
pub(super) fn open_trail(
    config: &Config,
    custody: &Custody,
    may_be_new: bool,
) -> Result<(Trail, Recovery), ServerError> {
    let path = config.audit_directory();
    if !may_be_new && !Trail::is_at(&path) {
        return Err(ServerError::TrailMissing(path));
    }
    let options = TrailOptions {
        clock: clock(config),
        segment_bytes: config.audit.segment_bytes,
        ..TrailOptions::default()
    };
    Trail::open(&path, custody.installation_id(), &options)
        .map_err(|source| ServerError::Trail { path, source })
}

/// The office of a program that starts now.
pub(super) fn office(
    config: &Config,
    custody: Arc<Custody>,
    trail: Trail,
    notarized: Option<Arc<Notarized>>,
    metrics: Arc<Metrics>,
) -> Result<Arc<Office>, ServerError> {
    let clock = clock(config);
    let environment = config.environment.name();
    let budget = Budget {
        rotations_per_hour_max: config.rotation.rotations_per_hour_max,
        destructions_per_hour_max: config.rotation.destructions_per_hour_max,
    };
    let started = Instant::now();
    let limits = config.limits;
    let rates = Rates {
        uses_per_second: limits.tenant_uses_per_second,
        principal_uses_per_second: limits.principal_uses_per_second,
        management_per_second: limits.tenant_management_per_second,
    };
    let limiter = Limiter::new(limits.busy_calls, rates);
    let own = tokens::own_issuer(&custody, config.tokens.algorithm)?;
    let issuer: Arc<dyn TokenSigner> = Arc::new(Tokens::new(own));
    let tokens = Some(issuer);
    let hashed_keys = HashedKeys::new(config.audit.hashed_context_keys.iter().cloned());
    Ok(Arc::new(Office {
        custody,
        trail,
        notarized,
        clock,
        started,
        environment,
        budget,
        metrics,
        limiter,
        tokens,
        hashed_keys,
        unended: Unended::default(),
    }))
}

/// Refuses a file of secrets that others can read.
pub(super) fn private_file(setting: &'static str, path: &Path) -> Result<(), ServerError> {
    let problem = |problem: String| ServerError::File { setting, path: path.to_owned(), problem };
    let mode = fs::metadata(path).map_err(|error| problem(error.to_string()))?.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(problem(format!(
        "can be read by others (mode {mode:03o}); run: chmod 600 {}",
        path.display()
    )))
}

// === impl OpenStore ===

impl OpenStore {
    fn memory(options: Options) -> Self {
        Self { rows: Arc::new(MemoryStore::with(options)), sqlite: None }
    }

    fn sqlite(store: SqliteStore) -> Self {
        let store = Arc::new(store);
        Self { rows: Arc::<SqliteStore>::clone(&store), sqlite: Some(store) }
    }

    /// The same store, its commits counted.
    pub(super) fn counted(self, metrics: &Arc<Metrics>) -> Self {
        let (store, metrics) = (self.rows, Arc::clone(metrics));
        Self { rows: Arc::new(CountedStore { store, metrics }), sqlite: self.sqlite }
    }

    /// Resolves when the store will never answer again.
    pub(super) async fn failed(&self) -> StoreError {
        match &self.sqlite {
            Some(store) => store.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Finishes what it was sent and lets its file go.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        match &self.sqlite {
            Some(store) => store.close().await,
            None => Ok(()),
        }
    }
}

fn private_directory(path: &Path) -> Result<(), ServerError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| ServerError::File {
        setting: "data_directory",
        path: path.to_owned(),
        problem: error.to_string(),
    })
}
