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
        let item = RecordItem {
            key: record.key.take(),
            version: std::mem::take(&mut record.version),
            store: std::mem::take(&mut record.store),
            destination: record.destination.take(),
            reason: refusal.map(Refusal::reason).unwrap_or_default().into(),
            class: refusal.map(Refusal::class).unwrap_or_default().into(),
            count: 1,
            wrapped_bytes: std::mem::take(&mut record.wrapped_bytes),
        };
        match self.items.iter_mut().find(|known| is_like(known, &item)) {
            Some(known) => {
                known.count = known.count.saturating_add(1);
                known.wrapped_bytes = known.wrapped_bytes.saturating_add(item.wrapped_bytes);
            }
            None => self.items.push(item),
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

fn is_like(one: &RecordItem<'_>, other: &RecordItem<'_>) -> bool {
    (one.key, one.version, one.store, one.destination)
        == (other.key, other.version, other.store, other.destination)
        && one.reason == other.reason
        && one.class == other.class
}
