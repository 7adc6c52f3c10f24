//! An issuer's keys over time: when they are fetched again, and when they are too old to be believed.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::FetchError;
use crate::auth::token::{Jws, KeySet, TokenError};
use crate::clock::Clock;

/// Where keys come from.
#[async_trait]
pub trait FetchKeys: Send + Sync + 'static {
    /// Gets them, within a time of its own.
    async fn fetch(&self) -> Result<KeySet, FetchError>;
}

/// How old keys may be. Ages count the time that has passed, whatever the time of day does.
#[derive(Clone, Copy, Debug)]
pub struct KeyAges {
    /// From here on they are fetched anew when they are used, while the old ones still count.
    pub refresh_ms: u64,
    /// From here on they do not count any more.
    pub max_ms: u64,
    /// Between the beginning of one fetch and of the next, whatever asks for it.
    pub cooldown_ms: u64,
}

/// The keys of one issuer.
pub struct IssuerKeys {
    name: String,
    clock: Arc<dyn Clock>,
    source: Source,
    held: Mutex<Held>,
    /// Counts the fetches that have ended, however they did.
    ended: watch::Sender<u64>,
}

enum Source {
    /// They do not age: whoever keeps the file decides.
    File,
    Provider {
        fetch: Arc<dyn FetchKeys>,
        ages: KeyAges,
    },
}

#[derive(Default)]
struct Held {
    keys: Option<Arc<KeySet>>,
    /// Changes when the keys do.
    generation: u64,
    /// When they were last seen to be the issuer's.
    seen_ms: u64,
    /// When the last fetch began.
    tried_ms: Option<u64>,
    fetching: bool,
}

/// A fetch under way. However it ends, those who wait for it hear of it.
struct Fetching(Arc<IssuerKeys>);

// === impl IssuerKeys ===

impl IssuerKeys {
    /// Keys that are fetched when they are first needed. `name` is for the log.
    pub fn fetched(
        name: &str,
        fetch: Arc<dyn FetchKeys>,
        ages: KeyAges,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Self::new(name, Source::Provider { fetch, ages }, clock, None)
    }

    /// Keys from a file, until [`IssuerKeys::replace`].
    pub fn fixed(name: &str, keys: KeySet, clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::new(name, Source::File, clock, Some(Arc::new(keys)))
    }

    fn new(
        name: &str,
        source: Source,
        clock: Arc<dyn Clock>,
        keys: Option<Arc<KeySet>>,
    ) -> Arc<Self> {
        let held = Mutex::new(Held { keys, ..Held::default() });
        let (ended, _) = watch::channel(0);
        Arc::new(Self { name: name.to_owned(), clock, source, held, ended })
    }

    /// Takes these keys in place of the ones held.
    pub fn replace(&self, keys: KeySet) {
        let now_ms = self.clock.running_ms();
        let mut held = self.held.lock();
        held.seen_ms = now_ms;
        if held.keys.as_deref() != Some(&keys) {
            held.keys = Some(Arc::new(keys));
            held.generation = held.generation.saturating_add(1);
        }
    }

    /// Verifies the token's signature. Gives the generation of the keys that did.
    ///
    /// # Errors
    /// The signature is not the issuer's, or its keys cannot be had.
    pub async fn verify(self: &Arc<Self>, token: &Jws<'_>) -> Result<u64, TokenError> {
        if let Some((keys, generation)) = self.current()
            && keys.has(token.key_id())
        {
            return keys.verify(token).map(|()| generation);
        }
        // Unknown, or nothing that counts is held: the issuer may have new keys.
        self.refresh().await;
        let (keys, generation) = self.current().ok_or(TokenError::IssuerUnavailable)?;
        keys.verify(token).map(|()| generation)
    }

    /// Whether the keys of this generation still are the issuer's, as far as can be known now.
    pub fn still(self: &Arc<Self>, generation: u64) -> bool {
        self.current().is_some_and(|(_, current)| current == generation)
    }

    #[cfg(test)]
    pub(super) fn is_fetching(&self) -> bool {
        self.held.lock().fetching
    }

    /// The keys that count now. Has them fetched when it is time, without waiting for it.
    fn current(self: &Arc<Self>) -> Option<(Arc<KeySet>, u64)> {
        let (keys, generation, age_ms) = {
            let held = self.held.lock();
            let age_ms = self.clock.running_ms().saturating_sub(held.seen_ms);
            (held.keys.clone()?, held.generation, age_ms)
        };
        if let Source::Provider { ages, .. } = &self.source {
            if age_ms >= ages.refresh_ms {
                self.begin();
            }
            if age_ms >= ages.max_ms {
                return None;
            }
        }
        Some((keys, generation))
    }

    /// Waits for a fetch: the one that is under way, or a new one if it is time for one.
    async fn refresh(self: &Arc<Self>) {
        let mut ended = self.ended.subscribe();
        if self.begin() {
            // The sender is in `self`.
            let _ = ended.changed().await;
        }
    }

    /// Begins a fetch unless it is too soon. Whether one is under way now.
    fn begin(self: &Arc<Self>) -> bool {
        let Source::Provider { fetch, ages } = &self.source else { return false };
        let now_ms = self.clock.running_ms();
        {
            let mut held = self.held.lock();
            if held.fetching {
                return true;
            }
            let since = held.tried_ms.map(|tried_ms| now_ms.saturating_sub(tried_ms));
            if since.is_some_and(|since_ms| since_ms < ages.cooldown_ms) {
                return false;
            }
            held.tried_ms = Some(now_ms);
            held.fetching = true;
        }
        let (fetching, fetch) = (Fetching(Arc::clone(self)), Arc::clone(fetch));
        // It ends by itself, and goes on when whoever asked has gone.
        tokio::spawn(async move {
            match fetch.fetch().await {
                Ok(keys) => fetching.0.replace(keys),
                Err(error) => {
                    let issuer = &fetching.0.name;
                    tracing::warn!(issuer, %error, "cannot fetch the issuer's keys");
                }
            }
            drop(fetching);
        });
        true
    }
}

// === impl Fetching ===

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.held.lock().fetching = false;
        self.0.ended.send_modify(|ended| *ended = ended.saturating_add(1));
    }
}
