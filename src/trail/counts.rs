//! What the log thread has done, in numbers. Never what it did.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much the log thread has done since the log was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Records made durable.
    pub records: u64,
    /// Batches answered: as many cross-thread wakes of a lane.
    pub batches: u64,
    /// Writes asked of the disk, the rest of a short one included.
    pub writes: u64,
    /// Syncs asked of the disk.
    pub syncs: u64,
    /// Bytes of records made durable.
    pub written_bytes: u64,
    /// Segments given up after an error.
    pub poisoned: u64,
    /// Calls and records refused because no record could be made.
    pub refused: u64,
    /// Segments that are ready to be written after the one that is.
    pub spare_segments: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    records: AtomicU64,
    batches: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
    written_bytes: AtomicU64,
    poisoned: AtomicU64,
}

// === impl Counters ===

impl Counters {
    /// Those that are counted here.
    pub(super) fn now(&self) -> Counts {
        Counts {
            records: self.records.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            poisoned: self.poisoned.load(Ordering::Relaxed),
            ..Counts::default()
        }
    }

    pub(super) fn add_writes(&self, writes: u64) {
        self.writes.fetch_add(writes, Ordering::Relaxed);
    }

    pub(super) fn add_sync(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_batch(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_poisoned(&self) {
        self.poisoned.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_durable(&self, records: u32, bytes: usize) {
        self.records.fetch_add(records.into(), Ordering::Relaxed);
        self.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
