//! A scan: one read-only transaction over one snapshot, read through a cursor.

use async_trait::async_trait;
use tokio_postgres::{Client, Statement};

use super::catalog::Layout;
use super::failed;
use crate::agent::store::{Entry, Rows, StoreError};

/// The rows of one moment. Its connection is its own, and ends the transaction with itself.
pub(super) struct Snapshot {
    client: Client,
    layout: Layout,
    fetch: Statement,
}

// === impl Snapshot ===

impl Snapshot {
    /// Takes the snapshot: what is committed when this returns is in it.
    pub(super) async fn open(
        client: Client,
        layout: Layout,
        select: &str,
    ) -> Result<Self, StoreError> {
        let begin = format!(
            "SET enable_seqscan = on; SET cursor_tuple_fraction = 1;\
             BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\
             DECLARE bulla_scan NO SCROLL CURSOR FOR {select}"
        );
        let begun = client.batch_execute(&begin).await;
        begun.map_err(|error| failed("begin a scan", &error))?;
        let fetch = client.prepare("FETCH FORWARD 1000 FROM bulla_scan").await;
        let fetch = fetch.map_err(|error| failed("begin a scan", &error))?;
        Ok(Self { client, layout, fetch })
    }
}

#[async_trait]
impl Rows for Snapshot {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        let rows = self.client.query(&self.fetch, &[]).await;
        let rows = rows.map_err(|error| failed("scan", &error))?;
        if rows.is_empty() {
            return Ok(None);
        }
        rows.iter().map(|row| self.layout.entry(row)).collect::<Result<_, _>>().map(Some)
    }
}
