//! A scan: one read transaction, on a thread of its own that waits while nobody takes what it read.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::failed;
use super::layout::Layout;
use crate::agent::store::{Entry, Rows, StoreError};

/// The rows of one moment.
pub(super) struct Snapshot {
    batches: mpsc::Receiver<Result<Vec<Entry>, StoreError>>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Begins the transaction: what is committed when this returns is in it.
    pub(super) async fn open(
        connection: Connection,
        layout: Arc<Layout>,
    ) -> Result<Self, StoreError> {
        let (sender, mut batches) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = read_all(&connection, &layout, &sender) {
                // Nobody listens any more; then nobody needs to know.
                let _ = sender.blocking_send(Err(error));
            }
        });
        // The first message is empty and says that the transaction has begun.
        match batches.recv().await {
            Some(Ok(_)) => Ok(Self { batches }),
            Some(Err(error)) => Err(error),
            None => Err(StoreError::Failed("sqlite: the scan did not begin".to_owned())),
        }
    }
}

#[async_trait]
impl Rows for Snapshot {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        self.batches.recv().await.transpose()
    }
}

fn read_all(
    connection: &Connection,
    layout: &Layout,
    sender: &mpsc::Sender<Result<Vec<Entry>, StoreError>>,
) -> Result<(), StoreError> {
    let scan = |error| failed("scan", &error);
    // The first read takes the snapshot.
    connection
        .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;")
        .map_err(|error| failed("begin a scan", &error))?;
    let mut batch = Vec::new();
    if sender.blocking_send(Ok(Vec::new())).is_err() {
        return Ok(());
    }
    let mut statement = connection.prepare(&layout.all()).map_err(scan)?;
    let mut rows = statement.query([]).map_err(scan)?;
    while let Some(row) = rows.next().map_err(scan)? {
        batch.push(layout.entry(row)?);
        if batch.len() == BATCH && sender.blocking_send(Ok(std::mem::take(&mut batch))).is_err() {
            return Ok(());
        }
    }
    if !batch.is_empty() {
        let _ = sender.blocking_send(Ok(batch));
    }
    Ok(())
}

const BATCH: usize = 1000;
