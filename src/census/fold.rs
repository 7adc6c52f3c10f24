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
mod tests;
