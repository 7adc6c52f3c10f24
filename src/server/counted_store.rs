//! A store whose commits are counted. Changes nothing of what is asked or answered.

use std::sync::Arc;

use async_trait::async_trait;

use crate::metrics::{self, Metrics};
use crate::store::{Changes, Commit, DueAfter, Row, RowKey, Scan, Store, StoreError, StoreStatus};

/// A store, and where its commits are counted.
pub(super) struct CountedStore {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Arc<Metrics>,
}

#[async_trait]
impl Store for CountedStore {
    async fn load(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        self.store.load(keys).await
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        self.store.scan(scan).await
    }

    async fn due(
        &self,
        now: i64,
        after: Option<&DueAfter>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.store.due(now, after, limit).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Changes, StoreError> {
        self.store.changes(after, limit).await
    }

    async fn commit(&self, commit: Commit) -> Result<u64, StoreError> {
        let outcome = self.store.commit(commit).await;
        self.metrics.committed(match &outcome {
            Ok(_) => metrics::Commit::Committed,
            Err(StoreError::Conflict) => metrics::Commit::Conflict,
            Err(_) => metrics::Commit::Failed,
        });
        outcome
    }

    async fn clock(&self) -> Result<i64, StoreError> {
        self.store.clock().await
    }

    async fn wait_hint(&self, after: u64) {
        self.store.wait_hint(after).await;
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.store.status().await
    }
}
