//! A cache of data keys, so that not every message costs a call. For opening it keeps data keys
//! that were opened; for sealing it keeps a stock of fresh ones. Bounded in time, uses, bytes and
//! entries; wiped on drop; apart for each caller, key and whole encryption context. Never seals two
//! messages under one data key.

mod shelf;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::envelope::DataKey;
use crate::error::Error;
use shelf::{Bounds, Shelf};

/// Keeps data keys for the [`Envelope`](crate::Envelope)s that it is given to.
///
/// * **Opening**: an opened data key is kept, and opens the same data again without a call. A key
///   that was disabled or destroyed meanwhile goes on opening what is kept until `age_max` has
///   passed, and the audit trail has one record for all those uses.
/// * **Sealing**, only when asked for: fresh data keys are made in batches
///   (`GenerateDataKeys`), and each seals one message. Sealing two messages under one data key
///   would repeat nonces, so this cache never does it; a batch saves the same calls.
///
/// Concurrent misses for the same entry make one call. What is expired is wiped when the cache is
/// next used, or by [`DataKeyCache::sweep`].
pub struct DataKeyCache {
    opening: Shelf<Arc<DataKey>>,
    sealing: Option<Shelf<Batch>>,
    keys_per_call: u32,
}

/// How long and how much opened data keys may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpeningLimits {
    /// How long a data key is kept. 5 minutes unless set.
    pub age_max: Duration,
    /// How many messages a kept data key opens. 10,000 unless set.
    pub uses_max: u64,
    /// How many bytes a kept data key opens; a stream counts when it has ended. 64 GiB unless set.
    pub bytes_max: u64,
    /// How many data keys are kept; the oldest goes first. 1,000 unless set.
    pub entries_max: usize,
}

/// How long and how much a batch of fresh data keys may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SealingLimits {
    /// How long a batch is kept. 5 minutes unless set.
    pub age_max: Duration,
    /// How many data keys a call makes, and so how many messages a batch seals. 100 unless set;
    /// 1 to 1000.
    pub uses_max: u32,
    /// How many bytes a batch seals; what is left of it is then wiped. A stream counts when it has
    /// ended. 64 GiB unless set.
    pub bytes_max: u64,
    /// How many batches are kept, one for each key, store and encryption context; the oldest goes
    /// first. 100 unless set.
    pub entries_max: usize,
}

/// Time as the cache sees it.
pub trait Clock: Send + Sync + 'static {
    /// How long ago some fixed moment was. Never runs backwards.
    fn elapsed(&self) -> Duration;
}

/// The machine's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock(Instant);

/// What an entry is for, whole: caller, server, purpose, key, store, encryption context and, for
/// opening, the wrapped data key. A SHA-256 over an injective encoding of all of them.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct Scope([u8; 32]);

/// Fresh data keys, each with its wrapped form.
pub(crate) type Batch = Vec<(DataKey, Vec<u8>)>;

/// A data key that has sealed nothing yet.
pub(crate) struct FreshKey {
    pub(crate) data_key: DataKey,
    pub(crate) wrapped: Vec<u8>,
    /// The batch it came from.
    pub(crate) batch: Option<Scope>,
}

// === impl DataKeyCache ===

impl DataKeyCache {
    /// A cache of opened data keys. Sealing does not use it until [`DataKeyCache::for_sealing`].
    pub fn new(limits: OpeningLimits) -> Self {
        Self::with_clock(limits, MonotonicClock::default())
    }

    /// The same with a clock of the caller's.
    pub fn with_clock(limits: OpeningLimits, clock: impl Clock) -> Self {
        let bounds = Bounds {
            age_max: limits.age_max,
            uses_max: limits.uses_max,
            bytes_max: limits.bytes_max,
            entries_max: limits.entries_max,
        };
        Self { opening: Shelf::new(bounds, Arc::new(clock)), sealing: None, keys_per_call: 0 }
    }

    /// Keeps a stock of fresh data keys for sealing too.
    pub fn for_sealing(mut self, limits: SealingLimits) -> Self {
        self.keys_per_call = limits.uses_max.clamp(1, KEYS_PER_CALL_MAX);
        let bounds = Bounds {
            age_max: limits.age_max,
            uses_max: u64::from(self.keys_per_call),
            bytes_max: limits.bytes_max,
            entries_max: limits.entries_max,
        };
        self.sealing = Some(Shelf::new(bounds, self.opening.clock()));
        self
    }

    /// Wipes everything that is too old. Worth a timer in a process that may not use the cache for
    /// long stretches; otherwise the cache does it by itself.
    pub fn sweep(&self) {
        self.opening.sweep();
        if let Some(sealing) = &self.sealing {
            sealing.sweep();
        }
    }

    /// Wipes everything.
    pub fn clear(&self) {
        self.opening.clear();
        if let Some(sealing) = &self.sealing {
            sealing.clear();
        }
    }

    /// How many entries there are: opened data keys, and batches of fresh ones.
    pub fn entries(&self) -> usize {
        let batches = self.sealing.as_ref().map_or(0, Shelf::entries);
        self.opening.entries().saturating_add(batches)
    }

    pub(crate) fn seals(&self) -> bool {
        self.sealing.is_some()
    }

    pub(crate) fn keys_per_call(&self) -> u32 {
        self.keys_per_call
    }

    /// The data key of a blob, kept or fetched, for a message of `bytes`.
    pub(crate) async fn data_key(
        &self,
        scope: &Scope,
        bytes: u64,
        fetch: impl Future<Output = Result<DataKey, Error>>,
    ) -> Result<Arc<DataKey>, Error> {
        let fetch = async { fetch.await.map(Arc::new) };
        self.opening.take(scope, bytes, |key| Some(Arc::clone(key)), fetch).await
    }

    /// A data key that has sealed nothing, for a message of `bytes`.
    pub(crate) async fn fresh_key(
        &self,
        scope: &Scope,
        bytes: u64,
        fetch: impl Future<Output = Result<Batch, Error>>,
    ) -> Result<FreshKey, Error> {
        let Some(sealing) = &self.sealing else {
            return Err(Error::protocol("this cache keeps no data keys for sealing".to_owned()));
        };
        let (data_key, wrapped) = sealing.take(scope, bytes, Batch::pop, fetch).await?;
        Ok(FreshKey { data_key, wrapped, batch: Some(*scope) })
    }

    /// Counts bytes that were sealed by a stream, whose length was not known before.
    pub(crate) fn sealed(&self, batch: &Scope, bytes: u64) {
        if let Some(sealing) = &self.sealing {
            sealing.count(batch, bytes);
        }
    }

    /// Counts bytes that were opened by a stream, whose length was not known before.
    pub(crate) fn opened(&self, scope: &Scope, bytes: u64) {
        self.opening.count(scope, bytes);
    }
}

impl fmt::Debug for DataKeyCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DataKeyCache")
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

// === impl OpeningLimits ===

impl Default for OpeningLimits {
    fn default() -> Self {
        Self {
            age_max: Duration::from_secs(300),
            uses_max: 10_000,
            bytes_max: 64 << 30,
            entries_max: 1_000,
        }
    }
}

// === impl SealingLimits ===

impl Default for SealingLimits {
    fn default() -> Self {
        Self {
            age_max: Duration::from_secs(300),
            uses_max: 100,
            bytes_max: 64 << 30,
            entries_max: 100,
        }
    }
}

// === impl MonotonicClock ===

impl Default for MonotonicClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MonotonicClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

// === impl Scope ===

impl Scope {
    pub(crate) fn opening(client: &Client, key: &str, context: &BTreeMap<String, String>) -> Self {
        Self::over(b"open", client, key, context, 0)
    }

    pub(crate) fn sealing(
        client: &Client,
        key: &str,
        context: &BTreeMap<String, String>,
        store: u32,
    ) -> Self {
        Self::over(b"seal", client, key, context, store)
    }

    fn over(
        purpose: &[u8; 4],
        client: &Client,
        key: &str,
        context: &BTreeMap<String, String>,
        store: u32,
    ) -> Self {
        let identity = client.identity();
        Self::of(purpose, identity.fingerprint(), client.server(), key, context, store)
    }

    /// Every part is of fixed length or preceded by its length, so no two differ and encode alike.
    fn of(
        purpose: &[u8; 4],
        identity: &[u8; 32],
        server: &str,
        key: &str,
        context: &BTreeMap<String, String>,
        store: u32,
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(purpose);
        hash.update(identity);
        hash.update(store.to_be_bytes());
        for text in [server, key].into_iter().chain(context.iter().flat_map(|(k, v)| [&**k, v])) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        Self(hash.finalize().into())
    }

    /// The entry of one wrapped data key.
    pub(crate) fn with_blob(&self, wrapped: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(wrapped).finalize().into())
    }
}

const KEYS_PER_CALL_MAX: u32 = 1_000;
