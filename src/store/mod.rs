//! Rows, and nothing else: where Bulla keeps what must survive a restart.
//!
//! A store holds rows `(tenant, kind, id) → (body, mac, format, due_at, revision)` and moves them
//! from one consistent state to the next. It never knows what a row means, never opens a body
//! (bodies hold wrapped bytes only), never checks a MAC, and names no other module of Bulla; that
//! is what lets every engine be small, and lets one suite (`tests/store`) prove them alike.
//!
//! [`memory`] is for tests and development; [`sqlite`] is one file on a local disk with one writer.

mod error;
mod head;
pub mod memory;
mod options;
mod rows;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;

pub use error::StoreError;
pub use memory::MemoryStore;
pub use options::{Options, StoreClock};
pub use rows::{
    BODY_BYTES_MAX, COMMIT_BYTES_MAX, COMMIT_EXPECTS_MAX, COMMIT_WRITES_MAX, Change, Changes,
    Commit, DueAfter, Expect, FORMAT, ID_BYTES_MAX, LOAD_KEYS_MAX, PAGE_ROWS_MAX, Put, Row, RowKey,
    Scan, StoreStatus, TOMBSTONES_KEPT_REVISIONS, WAIT_HINT_MS_MAX,
};

/// A place that keeps rows. Each method's comment is its contract, and every store keeps it.
///
/// Commits are totally ordered by their revision: the first is 1, the next is 2, without gaps.
/// Once a call has seen revision `r`, no later call on the same store sees a state before `r`. All
/// rows of one call come from one state: no call ever sees half a commit.
///
/// A future may be dropped at any time. A dropped `commit` has either taken effect whole or not at
/// all, and nobody is told which; read again to know.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The rows that have these keys, in the order of `keys`, all from one state. `None` where
    /// there is no row: never put, or tombstoned. A key may be asked for more than once. Rows of a
    /// newer format are returned as they are; the caller decides.
    ///
    /// # Errors
    /// [`TooLarge`](StoreError::TooLarge) over [`LOAD_KEYS_MAX`] keys or [`ID_BYTES_MAX`] bytes of
    /// an id.
    async fn load(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError>;

    /// The rows of one tenant and one kind whose id starts with `prefix` and comes after `after`,
    /// in ascending order of the id's bytes, at most `limit`. Fewer than `limit` means that these
    /// were the last. Pages of one walk may come from different states: a row that was there
    /// during the whole walk is seen exactly once.
    ///
    /// # Errors
    /// [`Invalid`](StoreError::Invalid) for a limit of 0; [`TooLarge`](StoreError::TooLarge) for
    /// one over [`PAGE_ROWS_MAX`], or for a prefix or `after` over [`ID_BYTES_MAX`].
    async fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError>;

    /// The rows of every tenant whose `due_at` is set and not later than `now` (Unix
    /// milliseconds), the longest overdue first, then by key, at most `limit`, from the first or,
    /// with `after`, from the one that comes after it. Fewer than `limit` means that these were the
    /// last.
    ///
    /// # Errors
    /// As [`scan`](Store::scan) for the limit and for the id of `after`.
    async fn due(
        &self,
        now: i64,
        after: Option<&DueAfter>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// What was changed after the revision `after`, in the order of revisions, then of keys. Each
    /// row is told once, at its *latest* change; a row changed again meanwhile is told there only.
    /// Revisions are told whole: a page ends before the revision that would take it over `limit`,
    /// and holds at least one revision if there is any, even one larger than `limit`. Go on from
    /// [`Changes::cursor`]; when it equals [`Changes::head`], who applied every page has the state
    /// at `head`.
    ///
    /// # Errors
    /// [`Expired`](StoreError::Expired) when `after` is older than what the kept tombstones can
    /// tell, or is ahead of the head (the store went back to an older copy): forget everything,
    /// take a new cursor from [`status`](Store::status), and only then read rows again. As
    /// [`scan`](Store::scan) for the limit.
    async fn changes(&self, after: u64, limit: usize) -> Result<Changes, StoreError>;

    /// Makes all these changes, or none, as one new revision, and returns it. It is durable when
    /// this returns. Nothing happens unless every expectation holds: the row is there and was last
    /// changed at exactly that revision or, for `None`, there is no row. A put makes or replaces
    /// the row; over a tombstone it makes it anew. A tombstone removes the row, if there is one,
    /// and is told as [`Change::Gone`] either way. A row of a newer format is never changed.
    ///
    /// # Errors
    /// * [`Conflict`](StoreError::Conflict): an expectation does not hold. Read again, decide
    ///   again, commit again.
    /// * [`NewerFormat`](StoreError::NewerFormat): a row that this would put or tombstone was
    ///   written by a newer program.
    /// * [`Invalid`](StoreError::Invalid): no put and no tombstone, or two of them for one key.
    /// * [`TooLarge`](StoreError::TooLarge): over a limit of [`Commit`].
    /// * [`Full`](StoreError::Full), [`ReadOnly`](StoreError::ReadOnly), [`Busy`](StoreError::Busy)
    ///   [`Corrupt`](StoreError::Corrupt), [`Unavailable`](StoreError::Unavailable): nothing of it
    ///   happened.
    /// * [`Failed`](StoreError::Failed): the disk failed while it was made durable. It did not take
    ///   effect for anyone, but a restart may find it whole; the store answers nothing more.
    async fn commit(&self, commit: Commit) -> Result<u64, StoreError>;

    /// The store's own clock, in Unix milliseconds: the one clock that every server sharing this
    /// store can agree on. Leases are taken against it. It may step, as clocks do.
    ///
    /// # Errors
    /// [`Unavailable`](StoreError::Unavailable) when the store cannot be asked.
    async fn clock(&self) -> Result<i64, StoreError>;

    /// Waits until there may be a change after `after`, at most [`WAIT_HINT_MS_MAX`]. It is a hint
    /// and promises nothing: ask [`changes`](Store::changes) next, whatever made it return. It
    /// needs a runtime with its timer on.
    async fn wait_hint(&self, after: u64);

    /// What this store is and how far it has come.
    ///
    /// # Errors
    /// [`Unavailable`](StoreError::Unavailable) when the store cannot be asked.
    async fn status(&self) -> Result<StoreStatus, StoreError>;
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn load(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        (**self).load(keys).await
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        (**self).scan(scan).await
    }

    async fn due(
        &self,
        now: i64,
        after: Option<&DueAfter>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        (**self).due(now, after, limit).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Changes, StoreError> {
        (**self).changes(after, limit).await
    }

    async fn commit(&self, commit: Commit) -> Result<u64, StoreError> {
        (**self).commit(commit).await
    }

    async fn clock(&self) -> Result<i64, StoreError> {
        (**self).clock().await
    }

    async fn wait_hint(&self, after: u64) {
        (**self).wait_hint(after).await;
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        (**self).status().await
    }
}

/// How many revisions each commit examines for tombstones that are old enough to go. Each commit
/// makes one revision older, so that two catch up.
const PRUNED_REVISIONS_PER_COMMIT: u64 = 2;
