//! What goes into a store and comes out of it, with every limit.
//!
//! Plain data without meaning: nothing here knows what a kind or a body is.

use std::collections::BTreeSet;
use std::fmt;

use super::error::StoreError;

/// The format of the rows that this program writes, which is also the oldest that can read them.
pub const FORMAT: u16 = 1;
/// The longest id of a row, in bytes.
pub const ID_BYTES_MAX: usize = 300;
/// The longest body of a row, in bytes.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// The most puts and tombstones of one commit, together.
pub const COMMIT_WRITES_MAX: usize = 1000;
/// The most expectations of one commit.
pub const COMMIT_EXPECTS_MAX: usize = 2000;
/// The most bytes that the bodies of one commit may have, together.
pub const COMMIT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most keys of one load.
pub const LOAD_KEYS_MAX: usize = 1000;
/// The largest limit of a scan, of due rows and of changes.
pub const PAGE_ROWS_MAX: usize = 1000;
/// For how many revisions a tombstone is told at least, unless [`Options`](super::Options) say
/// otherwise.
pub const TOMBSTONES_KEPT_REVISIONS: u64 = 100_000;
/// The longest that [`Store::wait_hint`](super::Store::wait_hint) waits, in milliseconds.
pub const WAIT_HINT_MS_MAX: u64 = 250;

const _: () = assert!(BODY_BYTES_MAX <= COMMIT_BYTES_MAX);
const _: () = assert!(COMMIT_WRITES_MAX <= COMMIT_EXPECTS_MAX);

/// What names a row. Keys are ordered by tenant, kind, and the bytes of the id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// The tenant that the row belongs to.
    pub tenant: [u8; 16],
    /// What sort of row it is.
    pub kind: u8,
    /// Its name among the rows of its tenant and kind: any bytes, at most [`ID_BYTES_MAX`].
    pub id: Vec<u8>,
}

/// A row as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub key: RowKey,
    /// Its content, at most [`BODY_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
    /// What proves to the reader that the row is genuine. The store only keeps it.
    pub mac: [u8; 32],
    /// The format it was written in.
    pub format: u16,
    /// When somebody has to look at it, in Unix milliseconds.
    pub due_at: Option<i64>,
    /// The revision of the commit that last changed it.
    pub revision: u64,
}

/// A row to make or to replace. The store adds its format and the revision.
#[derive(Clone, PartialEq, Eq)]
pub struct Put {
    /// Its name.
    pub key: RowKey,
    /// Its content, at most [`BODY_BYTES_MAX`] bytes.
    pub body: Vec<u8>,
    /// What proves to a reader that the row is genuine, over the store's format too.
    pub mac: [u8; 32],
    /// When somebody has to look at it, in Unix milliseconds.
    pub due_at: Option<i64>,
}

/// What must still be so for a commit to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The row.
    pub key: RowKey,
    /// The revision that last changed it; `None`: there must be no such row.
    pub revision: Option<u64>,
}

/// Changes that happen together or not at all: 1 to [`COMMIT_WRITES_MAX`] puts and tombstones,
/// each for another row, at most [`COMMIT_EXPECTS_MAX`] expectations, and at most
/// [`COMMIT_BYTES_MAX`] bytes of bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// What must hold first.
    pub expect: Vec<Expect>,
    /// Rows to make or replace.
    pub puts: Vec<Put>,
    /// Rows to remove.
    pub tombstones: Vec<RowKey>,
}

/// Which rows of one tenant and one kind to walk over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The tenant.
    pub tenant: [u8; 16],
    /// The kind.
    pub kind: u8,
    /// What the ids must start with; empty for all.
    pub prefix: Vec<u8>,
    /// The last id of the page before; `None` for the first page.
    pub after: Option<Vec<u8>>,
    /// How many rows at most, 1 to [`PAGE_ROWS_MAX`].
    pub limit: usize,
}

/// A place among the rows that are due: after this row, wherever that now stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueAfter {
    /// When the row was due, in Unix milliseconds.
    pub due_at: i64,
    /// The row.
    pub key: RowKey,
}

/// The latest change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The row was made or replaced.
    Put(Row),
    /// The row was removed.
    Gone {
        /// The row.
        key: RowKey,
        /// The revision that removed it.
        revision: u64,
    },
}

/// A page of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The changes, by revision, then by key.
    pub changes: Vec<Change>,
    /// The store's newest revision when the page was read.
    pub head: u64,
    /// What to ask after next: the revision that the page ends with, or `head` when it told
    /// everything.
    pub cursor: u64,
}

/// What a store is and how far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// Which engine: `memory` or `sqlite`.
    pub kind: &'static str,
    /// The newest revision; 0 before the first commit.
    pub head: u64,
    /// The smallest cursor that [`Store::changes`](super::Store::changes) still answers.
    pub oldest_change: u64,
    /// The migration that the database is at; 0 where there are none.
    pub migration: u32,
}

/// Takes changes in the order of revisions and keeps whole revisions up to a limit.
pub(super) struct WholeRevisions {
    changes: Vec<Change>,
    /// Where the revision that is being taken begins.
    revision_start: usize,
    limit: usize,
    is_cut: bool,
}

// === impl RowKey ===

impl RowKey {
    /// The key of the row `id`.
    #[must_use]
    pub fn new(tenant: [u8; 16], kind: u8, id: impl Into<Vec<u8>>) -> RowKey {
        RowKey { tenant, kind, id: id.into() }
    }

    fn check(&self) -> Result<(), StoreError> {
        at_most("a row's id in bytes", self.id.len(), ID_BYTES_MAX)
    }
}

// === impl Row ===

impl Row {
    /// Where to go on after this row among those that are due.
    #[must_use]
    pub fn due_after(&self) -> Option<DueAfter> {
        self.due_at.map(|due_at| DueAfter { due_at, key: self.key.clone() })
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Row")
            .field("key", &self.key)
            .field("body_bytes", &self.body.len())
            .field("format", &self.format)
            .field("due_at", &self.due_at)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

// === impl Put ===

impl fmt::Debug for Put {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Put")
            .field("key", &self.key)
            .field("body_bytes", &self.body.len())
            .field("due_at", &self.due_at)
            .finish_non_exhaustive()
    }
}

// === impl Commit ===

impl Commit {
    /// Refuses what is over a limit or makes no sense, before any work.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let writes = self.puts.len().saturating_add(self.tombstones.len());
        if writes == 0 {
            return Err(StoreError::Invalid("a commit must put or tombstone something"));
        }
        at_most("a commit's puts and tombstones", writes, COMMIT_WRITES_MAX)?;
        at_most("a commit's expectations", self.expect.len(), COMMIT_EXPECTS_MAX)?;
        let mut bytes = 0_usize;
        for put in &self.puts {
            at_most("a row's body in bytes", put.body.len(), BODY_BYTES_MAX)?;
            bytes = bytes.saturating_add(put.body.len());
        }
        at_most("a commit's bodies in bytes", bytes, COMMIT_BYTES_MAX)?;
        for expect in &self.expect {
            expect.key.check()?;
        }
        let mut written = BTreeSet::new();
        for key in self.written() {
            key.check()?;
            if !written.insert(key) {
                return Err(StoreError::Invalid("a commit must change each row once only"));
            }
        }
        Ok(())
    }

    /// The keys of every row that this would change.
    pub(super) fn written(&self) -> impl Iterator<Item = &RowKey> {
        self.puts.iter().map(|put| &put.key).chain(&self.tombstones)
    }

    /// How many bytes of rows it holds, roughly.
    pub(super) fn bytes(&self) -> usize {
        self.puts.iter().fold(0, |sum, put| sum.saturating_add(put.body.len()))
    }
}

// === impl Scan ===

impl Scan {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        check_limit(self.limit)?;
        at_most("a scan's prefix in bytes", self.prefix.len(), ID_BYTES_MAX)?;
        at_most("a scan's after in bytes", self.after.as_ref().map_or(0, Vec::len), ID_BYTES_MAX)
    }

    /// The ids to walk over, as a half-open range of bytes: from the first, before the second.
    pub(super) fn range(&self) -> (Vec<u8>, Vec<u8>) {
        let mut low = self.prefix.clone();
        if let Some(after) = &self.after {
            // Nothing lies between an id and the same id with a zero after it.
            let next = [after.as_slice(), &[0]].concat();
            low = low.max(next);
        }
        let mut high = self.prefix.clone();
        while let Some(last) = high.pop() {
            if let Some(more) = last.checked_add(1) {
                high.push(more);
                return (low, high);
            }
        }
        // Longer than any id, so it comes after all of them.
        (low, vec![0xff; ID_BYTES_MAX.saturating_add(1)])
    }
}

// === impl Change ===

impl Change {
    /// The row that changed.
    #[must_use]
    pub fn key(&self) -> &RowKey {
        match self {
            Change::Put(row) => &row.key,
            Change::Gone { key, .. } => key,
        }
    }

    /// The revision that changed it.
    #[must_use]
    pub fn revision(&self) -> u64 {
        match self {
            Change::Put(row) => row.revision,
            Change::Gone { revision, .. } => *revision,
        }
    }
}

// === impl WholeRevisions ===

impl WholeRevisions {
    pub(super) fn new(limit: usize) -> WholeRevisions {
        WholeRevisions { changes: Vec::new(), revision_start: 0, limit, is_cut: false }
    }

    /// Takes the next change; `false` when the page is complete without it.
    pub(super) fn take(&mut self, change: Change) -> bool {
        if self.changes.last().is_some_and(|last| last.revision() != change.revision()) {
            self.revision_start = self.changes.len();
            self.is_cut = self.changes.len() >= self.limit;
        }
        if self.is_cut {
            return false;
        }
        self.changes.push(change);
        if self.changes.len() > self.limit && self.revision_start > 0 {
            self.changes.truncate(self.revision_start);
            self.is_cut = true;
        }
        !self.is_cut
    }

    pub(super) fn into_page(self, head: u64) -> Changes {
        let last = self.changes.last().map(Change::revision).filter(|_| self.is_cut);
        Changes { cursor: last.unwrap_or(head), changes: self.changes, head }
    }
}

/// Refuses a limit of no rows and one over [`PAGE_ROWS_MAX`].
pub(super) fn check_limit(limit: usize) -> Result<(), StoreError> {
    if limit == 0 {
        return Err(StoreError::Invalid("a limit must be at least 1"));
    }
    at_most("a limit in rows", limit, PAGE_ROWS_MAX)
}

/// Refuses a limit that [`check_limit`] refuses, and a row that cannot be there.
pub(super) fn check_due(after: Option<&DueAfter>, limit: usize) -> Result<(), StoreError> {
    check_limit(limit)?;
    after.map_or(Ok(()), |after| after.key.check())
}

/// Refuses too many keys and keys that are too long.
pub(super) fn check_keys(keys: &[RowKey]) -> Result<(), StoreError> {
    at_most("the keys of a load", keys.len(), LOAD_KEYS_MAX)?;
    keys.iter().try_for_each(RowKey::check)
}

/// Refuses a cursor that the feed cannot be told after.
pub(super) fn check_cursor(after: u64, oldest: u64, head: u64) -> Result<(), StoreError> {
    if after < oldest || after > head {
        return Err(StoreError::Expired { oldest });
    }
    Ok(())
}

fn at_most(what: &'static str, size: usize, limit: usize) -> Result<(), StoreError> {
    if size > limit {
        return Err(StoreError::TooLarge { what, size, limit });
    }
    Ok(())
}
