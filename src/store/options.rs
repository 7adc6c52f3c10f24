//! What a store is made with: its clock and its bounds, passed in so that tests can set them.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::rows::{FORMAT, TOMBSTONES_KEPT_REVISIONS};

/// Tells the time in Unix milliseconds.
pub type StoreClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What a store is made with. The default is right for a server.
#[derive(Clone)]
pub struct Options {
    /// The store's clock. By default the machine's.
    pub clock: StoreClock,
    /// For how many revisions a tombstone is told at least.
    pub tombstones_kept: u64,
    /// The format that puts are written in, and the newest that may be replaced. Only a test of
    /// upgrades sets another than [`FORMAT`].
    pub format: u16,
    /// How large the database may grow, in bytes, rounded down to whole pages; `None` for as large
    /// as the disk. The memory store has no such limit.
    pub bytes_max: Option<u64>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Options {
        Options {
            clock: Arc::new(machine_clock_unix_ms),
            tombstones_kept: TOMBSTONES_KEPT_REVISIONS,
            format: FORMAT,
            bytes_max: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("tombstones_kept", &self.tombstones_kept)
            .field("format", &self.format)
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}

/// A clock before 1970 reads as 0, one beyond the range as the end of it.
fn machine_clock_unix_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}
