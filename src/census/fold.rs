//! The fold of the audit log: what each version has issued, moved away, opened and been refused,
//! for which store and by whom.
//!
//! Counts SUCCEEDED uses, and refusals because of the version's state. Each count has the sequence
//! of its last record, so that what happened first never rests on a clock. A record that was
//! counted is not counted again.

use std::collections::BTreeMap;

use crate::audit::{Destination, Outcome, Record, RecordItem};
use crate::keys::{Key, KeyId, Timestamp};
use crate::policy::Action;

/// The most stores of one version. A list that is full may not be whole.
pub const STORES_MAX: usize = 400;
/// The most principals of one store.
pub const PRINCIPALS_PER_STORE_MAX: usize = 8;
/// The most principals of one version, over all stores: a row of names that are all as long as
/// names may be still fits into a store.
pub const PRINCIPALS_MAX: usize = 480;

/// What one version of a key has done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct VersionCensus {
    /// The last audit record that is counted.
    pub sequence: u64,
    /// Blobs made under it.
    pub wraps: u64,
    /// Bytes of plaintext in them.
    pub wrapped_bytes: u64,
    /// By the store in the blobs' headers, 0 for none; at most [`STORES_MAX`].
    pub stores: BTreeMap<u32, StoreCensus>,
}

/// What it has done for one store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoreCensus {
    /// Blobs made.
    pub issued: UseCount,
    /// Blobs re-wrapped under another version.
    pub moved: UseCount,
    /// Times that a blob was opened.
    pub opened: UseCount,
    /// Times that a use was refused because of the version's state.
    pub refused: UseCount,
    /// Who did, the latest first.
    pub principals: Vec<PrincipalCensus>,
    /// There were more.
    pub principals_truncated: bool,
}

/// How often, and when last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UseCount {
    /// How often.
    pub count: u64,
    /// The last one's audit record; 0 for none.
    pub sequence: u64,
    /// The last one's time.
    pub time: Timestamp,
}

/// What one principal did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrincipalCensus {
    /// Who.
    pub principal: String,
    /// Blobs made.
    pub issued: u64,
    /// Blobs moved away.
    pub moved: u64,
    /// Times that a blob was opened.
    pub opened: u64,
    /// Times that it was refused.
    pub refused: u64,
    /// When it last did anything.
    pub last_time: Timestamp,
}

/// One thing that a record says of one version and store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VersionUse {
    /// Of which key.
    pub key: KeyId,
    /// Which version.
    pub version: u32,
    /// In the header; 0 for none.
    pub store: u32,
    /// What was done.
    pub kind: VersionUseKind,
    /// How often.
    pub count: u64,
    /// Bytes of plaintext that were wrapped.
    pub wrapped_bytes: u64,
}

/// What was done with a version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VersionUseKind {
    /// A blob was made.
    Issued,
    /// A blob was re-wrapped under another version.
    Moved,
    /// A blob was opened.
    Opened,
    /// The version's state did not allow it.
    Refused,
}

/// What a record says of versions; nothing, for most.
pub fn uses(record: &Record<'_>) -> Vec<VersionUse> {
    let Some(kind) = kind_of(&record.action) else { return Vec::new() };
    let mut uses = Vec::new();
    match record.outcome {
        Outcome::Succeeded if record.item_details.is_empty() => {
            add(&mut uses, kind, &whole(record, ""));
        }
        Outcome::Succeeded => {
            for item in &record.item_details {
                add(&mut uses, kind, item);
            }
        }
        Outcome::Refused => add(&mut uses, kind, &whole(record, &record.reason)),
        // Nobody was given anything.
        Outcome::Started | Outcome::Failed => {}
    }
    uses
}

/// Whether a version has wrapped as much as its key allows, and the key is to be rotated.
pub fn is_spent(key: &Key, census: &VersionCensus) -> bool {
    key.is_spent(census.wraps, census.wrapped_bytes)
}

// === impl VersionCensus ===

impl VersionCensus {
    /// Counts what the record at `sequence` says of this version, unless it is counted already.
    pub fn apply(&mut self, sequence: u64, record: &Record<'_>, uses: &[VersionUse]) {
        if sequence <= self.sequence {
            return;
        }
        self.sequence = sequence;
        let time = Timestamp::from_unix_ms(record.time_us.div_euclid(1_000));
        for used in uses {
            if used.kind == VersionUseKind::Issued {
                self.wraps = self.wraps.saturating_add(used.count);
                self.wrapped_bytes = self.wrapped_bytes.saturating_add(used.wrapped_bytes);
            }
            if self.is_full() && !self.stores.contains_key(&used.store) {
                continue;
            }
            let named = self.stores.values().map(|store| store.principals.len()).sum();
            let store = self.stores.entry(used.store).or_default();
            let total = store.total_mut(used.kind);
            total.count = total.count.saturating_add(used.count);
            total.sequence = sequence;
            total.time = time;
            store.name(&record.principal, used, time, named);
        }
    }

    /// Whether there may be stores that are not listed.
    pub fn is_full(&self) -> bool {
        self.stores.len() >= STORES_MAX
    }

    /// The last audit record that says anything of this version.
    pub fn last_sequence(&self) -> u64 {
        self.stores.values().map(StoreCensus::last_sequence).max().unwrap_or(0)
    }
}

// === impl StoreCensus ===

impl StoreCensus {
    /// The last audit record that says anything of this store.
    pub fn last_sequence(&self) -> u64 {
        let all = [self.issued, self.moved, self.opened, self.refused];
        all.iter().map(|used| used.sequence).max().unwrap_or(0)
    }

    /// Who did `kind` last, as far as is still known.
    pub fn last_principal(&self, kind: VersionUseKind) -> Option<&str> {
        let did = |who: &&PrincipalCensus| match kind {
            VersionUseKind::Issued => who.issued > 0,
            VersionUseKind::Moved => who.moved > 0,
            VersionUseKind::Opened => who.opened > 0,
            VersionUseKind::Refused => who.refused > 0,
        };
        self.principals.iter().find(did).map(|who| who.principal.as_str())
    }

    fn total_mut(&mut self, kind: VersionUseKind) -> &mut UseCount {
        match kind {
            VersionUseKind::Issued => &mut self.issued,
            VersionUseKind::Moved => &mut self.moved,
            VersionUseKind::Opened => &mut self.opened,
            VersionUseKind::Refused => &mut self.refused,
        }
    }

    /// Puts `principal` first. `named` is how many the whole version lists.
    fn name(&mut self, principal: &str, used: &VersionUse, time: Timestamp, named: usize) {
        let known = self.principals.iter().position(|who| who.principal == principal);
        let mut who = match known {
            Some(at) => self.principals.remove(at),
            None => PrincipalCensus::new(principal),
        };
        who.last_time = time;
        let count = match used.kind {
            VersionUseKind::Issued => &mut who.issued,
            VersionUseKind::Moved => &mut who.moved,
            VersionUseKind::Opened => &mut who.opened,
            VersionUseKind::Refused => &mut who.refused,
        };
        *count = count.saturating_add(used.count);
        self.principals.insert(0, who);
        let is_over = known.is_none() && named >= PRINCIPALS_MAX;
        if is_over || self.principals.len() > PRINCIPALS_PER_STORE_MAX {
            self.principals.pop();
            self.principals_truncated = true;
        }
    }
}

// === impl PrincipalCensus ===

impl PrincipalCensus {
    fn new(principal: &str) -> Self {
        Self {
            principal: principal.to_owned(),
            issued: 0,
            moved: 0,
            opened: 0,
            refused: 0,
            last_time: Timestamp::default(),
        }
    }
}

fn kind_of(action: &str) -> Option<VersionUseKind> {
    const GENERATE: &str = Action::GenerateDataKey.name();
    const GENERATE_WITHOUT: &str = Action::GenerateDataKeyWithoutPlaintext.name();
    const ENCRYPT: &str = Action::Encrypt.name();
    const DECRYPT: &str = Action::Decrypt.name();
    const RE_ENCRYPT: &str = Action::ReEncryptFrom.name();
    match action {
        GENERATE | GENERATE_WITHOUT | ENCRYPT => Some(VersionUseKind::Issued),
        DECRYPT => Some(VersionUseKind::Opened),
        RE_ENCRYPT => Some(VersionUseKind::Moved),
        _ => None,
    }
}

/// A record without item details, as its one item.
fn whole<'a>(record: &'a Record<'_>, reason: &'a str) -> RecordItem<'a> {
    RecordItem {
        key: record.key,
        version: record.version,
        store: record.store,
        reason: reason.into(),
        class: "".into(),
        count: record.items.max(1),
        destination: record.destination,
        wrapped_bytes: record.wrapped_bytes,
    }
}

fn add(uses: &mut Vec<VersionUse>, kind: VersionUseKind, item: &RecordItem<'_>) {
    let Some(key) = item.key.filter(|_| item.version > 0) else { return };
    let RecordItem { version, store, wrapped_bytes, .. } = *item;
    let count = u64::from(item.count);
    match (&*item.reason, kind, item.destination) {
        ("", VersionUseKind::Moved, Some(to)) => {
            uses.push(VersionUse { key, version, store, kind, count, wrapped_bytes: 0 });
            let Destination { key, version, store } = to;
            let kind = VersionUseKind::Issued;
            uses.push(VersionUse { key, version, store, kind, count, wrapped_bytes });
        }
        ("", VersionUseKind::Moved, None) => {}
        ("", _, _) => {
            let wrapped_bytes = if kind == VersionUseKind::Issued { wrapped_bytes } else { 0 };
            uses.push(VersionUse { key, version, store, kind, count, wrapped_bytes });
        }
        (NOT_USABLE, _, _) => {
            let kind = VersionUseKind::Refused;
            uses.push(VersionUse { key, version, store, kind, count, wrapped_bytes: 0 });
        }
        _ => {}
    }
}

/// The reason of a refusal because of the version's state.
const NOT_USABLE: &str = "VERSION_NOT_USABLE";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;

    const KEY: KeyId = KeyId::from_bytes([7; 16]);

    fn record(action: Action, version: u32, store: u32) -> Record<'static> {
        Record {
            key: Some(KEY),
            version,
            store,
            items: 1,
            principal: "spiffe://one.test/app".into(),
            ..Record::new(5_000_000, action.name(), Outcome::Succeeded)
        }
    }

    fn item(version: u32, store: u32, count: u32) -> RecordItem<'static> {
        let (key, reason, class) = (Some(KEY), "".into(), "".into());
        let (destination, wrapped_bytes) = (None, 0);
        RecordItem { key, version, store, reason, class, count, destination, wrapped_bytes }
    }

    fn counted(records: &[Record<'_>], version: u32) -> VersionCensus {
        let mut census = VersionCensus::default();
        for (at, record) in records.iter().enumerate() {
            let of = |used: &VersionUse| used.version == version;
            let uses: Vec<_> = uses(record).into_iter().filter(of).collect();
            census.apply(at as u64 + 1, record, &uses);
        }
        census
    }

    fn counts(census: &VersionCensus, store: u32) -> [u64; 4] {
        let store = census.stores.get(&store).cloned().unwrap_or_default();
        [store.issued, store.moved, store.opened, store.refused].map(|used| used.count)
    }

    #[test]
    fn batches_and_single_uses_are_counted_alike() {
        let many =
            Record { items: 100, wrapped_bytes: 3_200, ..record(Action::GenerateDataKey, 1, 4) };
        let encrypted = Record { wrapped_bytes: 9, ..record(Action::Encrypt, 1, 4) };
        let opened = record(Action::Decrypt, 1, 4);
        let batch = Record {
            key: None,
            version: 0,
            store: 0,
            items: 9,
            item_details: vec![
                item(1, 4, 5),
                item(1, 5, 1),
                RecordItem { reason: "INVALID_CIPHERTEXT".into(), ..item(1, 4, 1) },
                RecordItem { reason: NOT_USABLE.into(), ..item(1, 4, 2) },
            ],
            ..record(Action::Decrypt, 0, 0)
        };
        let census = counted(&[many, encrypted, opened, batch], 1);
        assert_eq!((census.wraps, census.wrapped_bytes, census.sequence), (101, 3_209, 4));
        assert_eq!(counts(&census, 4), [101, 0, 6, 2]);
        assert_eq!(counts(&census, 5), [0, 0, 1, 0]);
        assert_eq!(census.stores[&4].issued.sequence, 2);
        assert_eq!(census.stores[&4].opened.sequence, 4);
        assert_eq!(census.stores[&4].opened.time, Timestamp::from_unix_ms(5_000));
    }

    #[test]
    fn a_move_counts_at_both_ends_also_when_they_are_the_same() {
        let to = |version, store| Some(Destination { key: KEY, version, store });
        let away = Record {
            destination: to(2, 9),
            wrapped_bytes: 32,
            ..record(Action::ReEncryptFrom, 1, 4)
        };
        let inside = Record { destination: to(2, 9), ..record(Action::ReEncryptFrom, 2, 9) };
        let batch = Record {
            key: None,
            item_details: vec![RecordItem { destination: to(2, 9), ..item(1, 4, 3) }],
            ..record(Action::ReEncryptFrom, 0, 0)
        };
        let records = [away, inside, batch];
        assert_eq!(counts(&counted(&records, 1), 4), [0, 4, 0, 0]);
        let second = counted(&records, 2);
        assert_eq!(counts(&second, 9), [5, 1, 0, 0]);
        assert_eq!((second.wraps, second.wrapped_bytes), (5, 32));
    }

    #[test]
    fn only_what_succeeded_counts_and_refusals_only_because_of_the_state() {
        let not = |outcome, reason: &'static str| Record {
            outcome,
            reason: reason.into(),
            ..record(Action::Decrypt, 1, 4)
        };
        let records = [
            not(Outcome::Failed, "INTERNAL"),
            not(Outcome::Started, ""),
            not(Outcome::Refused, "INVALID_CIPHERTEXT"),
            not(Outcome::Refused, "KEY_DISABLED"),
            not(Outcome::Refused, NOT_USABLE),
            record(Action::Inspect, 1, 4),
            record(Action::GetVersion, 1, 0),
        ];
        let census = counted(&records, 1);
        assert_eq!(counts(&census, 4), [0, 0, 0, 1]);
        assert_eq!(census.stores.len(), 1);
    }

    #[test]
    fn d10_a_record_that_was_counted_is_not_counted_again() {
        let record = record(Action::Encrypt, 1, 4);
        let uses = uses(&record);
        let mut census = VersionCensus::default();
        for sequence in [3, 3, 2, 4] {
            census.apply(sequence, &record, &uses);
        }
        assert_eq!((census.wraps, census.sequence), (2, 4));
    }

    #[test]
    fn the_latest_eight_principals_are_kept_and_the_rest_is_said_to_be_missing() {
        let by = |who: usize| Record {
            principal: format!("spiffe://one.test/{who}").into(),
            ..record(Action::Decrypt, 1, 4)
        };
        let eight: Vec<_> = (0..8).chain([0]).map(by).collect();
        let store = counted(&eight, 1).stores[&4].clone();
        assert!(!store.principals_truncated);
        assert_eq!(store.principals[0].principal, "spiffe://one.test/0");
        assert_eq!(store.principals[0].opened, 2);
        let nine: Vec<_> = (0..9).map(by).collect();
        let store = counted(&nine, 1).stores[&4].clone();
        assert!(store.principals_truncated);
        assert_eq!(store.principals.len(), PRINCIPALS_PER_STORE_MAX);
        assert_eq!(store.principals[0].principal, "spiffe://one.test/8");
        assert_eq!(store.last_principal(VersionUseKind::Opened), Some("spiffe://one.test/8"));
        assert_eq!(store.last_principal(VersionUseKind::Moved), None);
    }

    #[test]
    fn a_list_of_stores_has_an_end_and_totals_have_none() {
        let records: Vec<_> =
            (0..500).map(|store| record(Action::GenerateDataKey, 1, store)).collect();
        let census = counted(&records, 1);
        assert_eq!((census.stores.len(), census.wraps), (STORES_MAX, 500));
        assert!(census.is_full());
        let named: usize = census.stores.values().map(|store| store.principals.len()).sum();
        assert_eq!(named, STORES_MAX);
        let mut records = records;
        records.extend((0..500).map(|store| Record {
            principal: "spiffe://one.test/other".into(),
            ..record(Action::Decrypt, 1, store)
        }));
        let census = counted(&records, 1);
        let named: usize = census.stores.values().map(|store| store.principals.len()).sum();
        assert_eq!(named, PRINCIPALS_MAX);
    }
}
