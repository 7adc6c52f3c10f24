//! What of a call goes into its record, where that takes more than setting a field.

use std::borrow::Cow;

use crate::audit::{Record, RecordItem};
use crate::crypto::EncryptionContext;

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

/// The pairs as they are recorded.
pub(super) fn recorded(context: &EncryptionContext) -> Vec<(Cow<'static, str>, Cow<'static, str>)> {
    context.pairs().map(|(key, value)| (key.to_owned().into(), value.to_owned().into())).collect()
}
