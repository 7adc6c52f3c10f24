//! A store in memory, in which somebody else may change things at the worst moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bulla::agent::{Context, Entry, Held, Move, Outcome, Place, Rows, Store, StoreError};
use parking_lot::Mutex;

use super::fake::{KEY, blob, context_of};

/// Called before each write with everything that there is.
type Meddler = Box<dyn FnMut(&mut BTreeMap<u64, Row>) + Send>;

#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) held: Held,
    pub(crate) context: Context,
}

#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) rows: Mutex<BTreeMap<u64, Row>>,
    pub(crate) meddler: Mutex<Option<Meddler>>,
    /// Up to which row all is settled, and the most that was ever read and not settled.
    settled: AtomicU64,
    pub(crate) under_way_max: AtomicU64,
    /// Writes fail from this one on.
    pub(crate) writes_left: Mutex<Option<usize>>,
}

impl Memory {
    /// Rows from 1 on under version 1.
    pub(crate) fn with(rows: u64) -> Arc<Self> {
        let rows = (1..=rows).map(|id| (id, row(id, 1))).collect();
        Arc::new(Self { rows: Mutex::new(rows), ..Self::default() })
    }

    pub(crate) fn meddle(&self, meddler: impl FnMut(&mut BTreeMap<u64, Row>) + Send + 'static) {
        *self.meddler.lock() = Some(Box::new(meddler));
    }
}

/// A row whose blob opens to its id.
pub(crate) fn row(id: u64, version: u32) -> Row {
    let context = context_of(&[("id", &id.to_string())]);
    Row { held: Held::Bytes(blob(KEY, version, 0, &context, id, 0)), context }
}

fn entry(id: u64, row: &Row) -> Entry {
    Entry {
        place: Place::new(id.to_be_bytes().to_vec()).unwrap(),
        name: format!("id={id}"),
        held: row.held.clone(),
        context: Ok(row.context.clone()),
    }
}

fn id_of(place: &Place) -> u64 {
    place.as_bytes().try_into().map_or(0, u64::from_be_bytes)
}

#[async_trait]
impl Store for Memory {
    fn identity(&self) -> &str {
        "memory"
    }

    async fn total(&self) -> Result<u64, StoreError> {
        Ok(self.rows.lock().len() as u64)
    }

    async fn read(&self, after: &Place, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let rows = self.rows.lock();
        let next = rows.range(id_of(after) + 1..).take(limit);
        let entries: Vec<Entry> = next.map(|(id, row)| entry(*id, row)).collect();
        // Ids are dense, so the difference of two is how many are between them.
        let read = entries.last().map_or(0, |entry| id_of(&entry.place));
        let under_way = read.saturating_sub(self.settled.load(Ordering::Relaxed));
        self.under_way_max.fetch_max(under_way, Ordering::Relaxed);
        Ok(entries)
    }

    async fn read_one(&self, place: &Place) -> Result<Option<Entry>, StoreError> {
        let id = id_of(place);
        Ok(self.rows.lock().get(&id).map(|row| entry(id, row)))
    }

    async fn replace(&self, moves: &[Move]) -> Result<Vec<Outcome>, StoreError> {
        if let Some(left) = &mut *self.writes_left.lock() {
            *left = left.checked_sub(1).ok_or(StoreError::Failed("disk full".into()))?;
        }
        let mut rows = self.rows.lock();
        if let Some(meddler) = &mut *self.meddler.lock() {
            meddler(&mut rows);
        }
        let outcome = |moved: &Move| match rows.get_mut(&id_of(&moved.entry.place)) {
            Some(row) if row.held == moved.entry.held => {
                row.held = moved.new.clone();
                Outcome::Replaced
            }
            _ => Outcome::Changed,
        };
        Ok(moves.iter().map(outcome).collect())
    }

    async fn settled(&self, place: &Place) -> Result<(), StoreError> {
        self.settled.fetch_max(id_of(place), Ordering::Relaxed);
        Ok(())
    }

    async fn scan(&self) -> Result<Box<dyn Rows>, StoreError> {
        let rows = self.rows.lock();
        Ok(Box::new(Batches(rows.iter().map(|(id, row)| entry(*id, row)).collect())))
    }
}

struct Batches(Vec<Entry>);

#[async_trait]
impl Rows for Batches {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let rest = self.0.split_off(self.0.len().min(1000));
        Ok(Some(std::mem::replace(&mut self.0, rest)))
    }
}
