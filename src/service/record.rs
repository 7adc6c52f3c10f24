//! What of a call goes into its record, where that takes more than setting a field.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::audit::{Record, RecordItem};
use crate::crypto::EncryptionContext;
use crate::keys::TenantId;

use super::perform::Office;
use super::refusal::Refusal;

/// What a batch did, summed up by key, version, store, destination and refusal.
#[derive(Default)]
pub(super) struct Tally {
    items: Vec<RecordItem<'static>>,
}

// === impl Tally ===

impl Tally {
    /// Counts one item, whose key, version and store stand in `record`, and clears them there: a
    /// batch's record has them in its items only.
    pub(super) fn count(&mut self, record: &mut Record, refusal: Option<&Refusal>) {
        let reason = refusal.map(Refusal::reason).unwrap_or_default();
        let class = refusal.map(Refusal::class).unwrap_or_default();
        let (key, destination) = (record.key.take(), record.destination.take());
        let version = std::mem::take(&mut record.version);
        let store = std::mem::take(&mut record.store);
        let wrapped_bytes = std::mem::take(&mut record.wrapped_bytes);
        let known = self.items.iter_mut().find(|known| {
            (known.version, known.store, known.key) == (version, store, key)
                && known.destination == destination
                && known.reason == reason
                && known.class == class
        });
        match known {
            Some(known) => {
                known.count = known.count.saturating_add(1);
                known.wrapped_bytes = known.wrapped_bytes.saturating_add(wrapped_bytes);
            }
            None => self.items.push(RecordItem {
                key,
                version,
                store,
                destination,
                reason: reason.into(),
                class: class.into(),
                count: 1,
                wrapped_bytes,
            }),
        }
    }

    pub(super) fn into_items(self) -> Vec<RecordItem<'static>> {
        self.items
    }
}

/// The keys of encryption contexts whose values are recorded as hashes.
#[derive(Clone, Debug, Default)]
pub struct HashedKeys {
    keys: BTreeSet<String>,
    all: bool,
}

// === impl HashedKeys ===

impl HashedKeys {
    /// These keys; `*` is every key.
    pub fn new(keys: impl IntoIterator<Item = String>) -> Self {
        let keys: BTreeSet<String> = keys.into_iter().collect();
        let all = keys.contains("*");
        Self { keys, all }
    }

    fn holds(&self, key: &str) -> bool {
        self.all || self.keys.contains(key)
    }
}

// === impl Office ===

impl Office {
    /// What is recorded for this value, if it is not the value.
    pub(super) fn hashed_value(&self, tenant: TenantId, key: &str, value: &str) -> Option<String> {
        if !self.hashed_keys.holds(key) {
            return None;
        }
        // Of a tenant that is not there nothing is recorded, rather than what is not to be.
        let hash = self.custody.hash_of_pair(tenant, key, value).unwrap_or_default();
        let hash = hash.get(..HASH_BYTES).unwrap_or_default();
        Some(format!("{HASHED}{}", hex::encode(hash)))
    }

    /// Whether a record has a value that is only known by its hash.
    pub(super) fn has_hashed_values(&self, record: &Record<'_>) -> bool {
        record.context.iter().any(|(key, _)| self.hashed_keys.holds(key))
    }

    /// Puts hashes in the place of values that are not to be recorded. Once for each record.
    pub(super) fn hash_values(&self, record: &mut Record<'_>) {
        let Some(tenant) = record.tenant else { return };
        for (key, value) in &mut record.context {
            if let Some(hash) = self.hashed_value(tenant, key, value) {
                *value = hash.into();
            }
        }
    }
}

/// Before a hash in a record.
const HASHED: &str = "hmac-sha256:";

/// How much of it is recorded: two values of a tenant are never taken for one.
const HASH_BYTES: usize = 16;

/// The pairs as they are recorded.
pub(super) fn recorded(context: &EncryptionContext) -> Vec<(Cow<'static, str>, Cow<'static, str>)> {
    context.pairs().map(|(key, value)| (key.to_owned().into(), value.to_owned().into())).collect()
}
