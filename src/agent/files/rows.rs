//! A scan of a directory. There is no state of a directory that stands still, so when the last file was
//! read the names are listed again, and what has come under a name since is read too, until a list
//! brings nothing new. What was there when the scan began is then counted, wherever it was moved to;
//! what changed meanwhile may be counted twice, which no proof suffers from.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::Directory;
use crate::agent::store::{Entry, Rows, StoreError};

/// A scan under way, on a thread of its own that waits while nobody takes what it read.
pub(super) struct Scan {
    batches: mpsc::Receiver<Result<Vec<Entry>, StoreError>>,
}

// === impl Scan ===

impl Scan {
    pub(super) fn begin(directory: Arc<Directory>) -> Self {
        let (sender, batches) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            let mut batch = Vec::new();
            let last = match directory.read_all(&mut batch, &sender) {
                Ok(()) => Ok(batch),
                Err(error) => Err(error),
            };
            // Nobody listens any more; then nobody needs to know.
            let _ = sender.blocking_send(last);
        });
        Self { batches }
    }
}

#[async_trait]
impl Rows for Scan {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        self.batches.recv().await.transpose()
    }
}

// === impl Directory ===

impl Directory {
    fn read_all(
        &self,
        batch: &mut Vec<Entry>,
        sender: &mpsc::Sender<Result<Vec<Entry>, StoreError>>,
    ) -> Result<(), StoreError> {
        let mut read: HashMap<Vec<u8>, u64> = HashMap::new();
        for _ in 0..LISTS_MAX {
            let mut listed = self.list()?;
            listed.retain(|file| read.get(&file.path) != Some(&file.inode));
            if listed.is_empty() {
                return Ok(());
            }
            for file in listed {
                batch.extend(self.entry(&file.path)?);
                read.insert(file.path, file.inode);
                if batch.len() >= BATCH && sender.blocking_send(Ok(std::mem::take(batch))).is_err()
                {
                    return Ok(());
                }
            }
        }
        Err(StoreError::Failed(format!(
            "files: {} kept changing while it was scanned; scan it when less is written there",
            self.path.display()
        )))
    }
}

const BATCH: usize = 1000;

/// Each list is shorter than the one before, unless more is written than can be read.
const LISTS_MAX: u32 = 100;
