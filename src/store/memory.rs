//! Rows in this process's memory: for tests and development.
//!
//! It keeps the contract exactly, but nothing outlives the value, and it never writes a file.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::error::StoreError;
use super::head::Head;
use super::options::Options;
use super::rows::{
    Change, Changes, Commit, DueAfter, Row, RowKey, Scan, StoreStatus, WholeRevisions,
    check_cursor, check_due, check_keys, check_limit,
};
use super::{PRUNED_REVISIONS_PER_COMMIT, Store};

/// A store in memory. Share it behind an `Arc`.
#[derive(Debug)]
pub struct MemoryStore {
    options: Options,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    head: Head,
}

#[derive(Debug, Default)]
struct State {
    /// Every row and every kept tombstone, as its latest change.
    latest: BTreeMap<RowKey, Change>,
    by_revision: BTreeSet<(u64, RowKey)>,
    by_due: BTreeSet<(i64, RowKey)>,
    head: u64,
    /// Tombstones up to this revision have been pruned.
    examined: u64,
    /// The newest tombstone that was pruned.
    oldest: u64,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> MemoryStore {
        MemoryStore::with(Options::default())
    }

    /// An empty store with a clock or bounds of one's own.
    #[must_use]
    pub fn with(options: Options) -> MemoryStore {
        let shared = Shared { state: Mutex::default(), head: Head::new(0) };
        MemoryStore { options, shared: Arc::new(shared) }
    }

    /// Another store on the same rows, as a restart (or an upgrade, by other options) finds them.
    #[must_use]
    pub fn reopen(&self, options: Options) -> MemoryStore {
        MemoryStore { options, shared: Arc::clone(&self.shared) }
    }
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        check_keys(keys)?;
        let state = self.shared.state.lock();
        Ok(keys.iter().map(|key| state.row(key).cloned()).collect())
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        scan.check()?;
        let (low, high) = scan.range();
        let low = RowKey::new(scan.tenant, scan.kind, low);
        let high = RowKey::new(scan.tenant, scan.kind, high);
        if low >= high {
            return Ok(Vec::new());
        }
        let state = self.shared.state.lock();
        let rows = state.latest.range(low..high).filter_map(|(_, change)| as_row(change));
        Ok(rows.take(scan.limit).cloned().collect())
    }

    async fn due(
        &self,
        now: i64,
        after: Option<&DueAfter>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        check_due(after, limit)?;
        let state = self.shared.state.lock();
        let first = match after {
            Some(after) => Bound::Excluded((after.due_at, after.key.clone())),
            None => Bound::Unbounded,
        };
        let keys = state.by_due.range((first, Bound::Unbounded));
        let keys = keys.take_while(|(due_at, _)| *due_at <= now);
        Ok(keys.filter_map(|(_, key)| state.row(key)).take(limit).cloned().collect())
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Changes, StoreError> {
        check_limit(limit)?;
        let state = self.shared.state.lock();
        check_cursor(after, state.oldest, state.head)?;
        let mut page = WholeRevisions::new(limit);
        let first = (after.saturating_add(1), RowKey::new([0; 16], 0, []));
        for (_, key) in state.by_revision.range(first..) {
            let Some(change) = state.latest.get(key) else { continue };
            if !page.take(change.clone()) {
                break;
            }
        }
        Ok(page.into_page(state.head))
    }

    async fn commit(&self, commit: Commit) -> Result<u64, StoreError> {
        commit.check()?;
        let mut state = self.shared.state.lock();
        state.check(&commit, self.options.format)?;
        let revision = state.apply(commit, self.options.format)?;
        state.prune(self.options.tombstones_kept);
        self.shared.head.announce(revision);
        Ok(revision)
    }

    async fn clock(&self) -> Result<i64, StoreError> {
        Ok((self.options.clock)())
    }

    async fn wait_hint(&self, after: u64) {
        self.shared.head.wait_beyond(after).await;
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        let state = self.shared.state.lock();
        Ok(StoreStatus {
            kind: "memory",
            head: state.head,
            oldest_change: state.oldest,
            migration: 0,
        })
    }
}

// === impl State ===

impl State {
    fn row(&self, key: &RowKey) -> Option<&Row> {
        self.latest.get(key).and_then(as_row)
    }

    /// Whether every expectation holds and every row may be changed. Changes nothing.
    fn check(&self, commit: &Commit, ours: u16) -> Result<(), StoreError> {
        for expect in &commit.expect {
            if self.row(&expect.key).map(|row| row.revision) != expect.revision {
                return Err(StoreError::Conflict);
            }
        }
        for row in commit.written().filter_map(|key| self.row(key)) {
            if row.format > ours {
                return Err(StoreError::NewerFormat { row: row.format, ours });
            }
        }
        Ok(())
    }

    fn apply(&mut self, commit: Commit, format: u16) -> Result<u64, StoreError> {
        let revision =
            self.head.checked_add(1).ok_or(StoreError::Invalid("no revision is left"))?;
        for put in commit.puts {
            let (key, body, mac, due_at) = (put.key, put.body, put.mac, put.due_at);
            self.set(Change::Put(Row { key, body, mac, format, due_at, revision }));
        }
        for key in commit.tombstones {
            self.set(Change::Gone { key, revision });
        }
        self.head = revision;
        Ok(revision)
    }

    fn set(&mut self, change: Change) {
        self.forget(&change.key().clone());
        let key = change.key().clone();
        self.by_revision.insert((change.revision(), key.clone()));
        if let Some(due_at) = as_row(&change).and_then(|row| row.due_at) {
            self.by_due.insert((due_at, key.clone()));
        }
        self.latest.insert(key, change);
    }

    fn forget(&mut self, key: &RowKey) {
        let Some(old) = self.latest.remove(key) else { return };
        self.by_revision.remove(&(old.revision(), key.clone()));
        if let Some(due_at) = as_row(&old).and_then(|row| row.due_at) {
            self.by_due.remove(&(due_at, key.clone()));
        }
    }

    /// Forgets the tombstones of a few revisions that are old enough.
    fn prune(&mut self, kept: u64) {
        let reach = self.examined.saturating_add(PRUNED_REVISIONS_PER_COMMIT);
        let until = self.head.saturating_sub(kept).min(reach);
        let first = (self.examined.saturating_add(1), RowKey::new([0; 16], 0, []));
        let last = (until.saturating_add(1), RowKey::new([0; 16], 0, []));
        if first >= last {
            return;
        }
        let old: Vec<_> = self.by_revision.range(first..last).cloned().collect();
        for (revision, key) in old {
            if self.row(&key).is_none() {
                self.forget(&key);
                self.oldest = self.oldest.max(revision);
            }
        }
        self.examined = until;
    }
}

fn as_row(change: &Change) -> Option<&Row> {
    match change {
        Change::Put(row) => Some(row),
        Change::Gone { .. } => None,
    }
}
