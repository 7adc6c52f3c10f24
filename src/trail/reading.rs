//! What the log does off the callers' runtimes: reading a page, finding records, and deleting its
//! beginning. Each on a blocking thread; never more than a few reads at once.

use std::sync::Arc;

use super::{Entry, Found, Trail, TrailError, reader, retention, search};
use crate::audit::{Deletion, Query};

// === impl Trail ===

impl Trail {
    /// Durable records after the sequence `after`, oldest first: at most `limit` of them and at most
    /// about [`MAX_READ_BYTES`](super::MAX_READ_BYTES); one at least, if there is one. Runs on a
    /// blocking thread, few at a time, and verifies the chain on its way.
    pub async fn read(&self, after: u64, limit: usize) -> Result<Vec<Entry>, TrailError> {
        let segments = self.segments();
        let _permit = self.handle.shared.readers.acquire().await.map_err(|_| TrailError::Closed)?;
        tokio::task::spawn_blocking(move || reader::read(&segments, after, limit))
            .await
            .map_err(|_| TrailError::Closed)?
    }

    /// The records after the sequence `after` that are asked for, oldest first: at most `limit` of them,
    /// and those of a part of the log, which ends where it says. The same with an index and without one.
    /// Runs on a blocking thread, few at a time.
    pub async fn search(
        &self,
        query: &Query,
        after: u64,
        limit: usize,
    ) -> Result<Found, TrailError> {
        let (segments, query) = (self.segments(), query.clone());
        let _permit = self.handle.shared.readers.acquire().await.map_err(|_| TrailError::Closed)?;
        tokio::task::spawn_blocking(move || search::search(&segments, &query, after, limit))
            .await
            .map_err(|_| TrailError::Closed)?
    }

    /// The deletions that are due, oldest first, of whole segments whose records are all from before
    /// `before_us` and not after the record `until`; never of the last two.
    pub async fn deletions_due(
        &self,
        before_us: i64,
        until: u64,
    ) -> Result<Vec<Deletion>, TrailError> {
        let shared = Arc::clone(&self.handle.shared);
        tokio::task::spawn_blocking(move || retention::due(&shared, before_us, until))
            .await
            .map_err(|_| TrailError::Closed)?
    }

    /// Deletes the segments before a cut. Only for a deletion whose record a signed checkpoint covers:
    /// without it a verifier says that the log was cut.
    pub async fn delete(&self, deletion: Deletion) -> Result<(), TrailError> {
        let shared = Arc::clone(&self.handle.shared);
        tokio::task::spawn_blocking(move || retention::delete(&shared, &deletion))
            .await
            .map_err(|_| TrailError::Closed)?
    }

    /// How many sealed segments have an index, and as far as which record the open one has.
    pub fn indexed(&self) -> (usize, u64) {
        let index = &self.handle.shared.index;
        (index.count(), index.reached())
    }
}
