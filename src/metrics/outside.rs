//! How each place outside stands that records or checkpoints go to. Names are of the configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Metrics, read};

/// How one sink or one anchor stands.
#[derive(Debug, Default)]
pub struct PlaceCounts {
    name: String,
    up: AtomicU64,
    has: AtomicU64,
    sent: AtomicU64,
    failures: AtomicU64,
    rejected: AtomicU64,
    waits_ms: AtomicU64,
}

// === impl PlaceCounts ===

impl PlaceCounts {
    /// Nothing counted yet.
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), ..Self::default() })
    }

    /// As it is configured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it answered when it was last tried.
    pub fn answers(&self, answers: bool) {
        self.up.store(u64::from(answers), Ordering::Relaxed);
    }

    /// It has the log up to this record, after so many more were sent.
    pub fn took(&self, has: u64, sent: u64) {
        self.has.store(has, Ordering::Relaxed);
        self.sent.fetch_add(sent, Ordering::Relaxed);
    }

    /// It could not be reached, or did not take what was sent.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// It will never take so many of what was sent.
    pub fn rejected(&self, count: u64) {
        self.rejected.fetch_add(count, Ordering::Relaxed);
    }

    /// How long what it does not have yet has waited.
    pub fn waits_ms(&self, waits_ms: u64) {
        self.waits_ms.store(waits_ms, Ordering::Relaxed);
    }

    pub(super) fn is_up(&self) -> u64 {
        read(&self.up)
    }

    pub(super) fn all_up_to(&self) -> u64 {
        read(&self.has)
    }

    pub(super) fn all_sent(&self) -> u64 {
        read(&self.sent)
    }

    pub(super) fn all_failures(&self) -> u64 {
        read(&self.failures)
    }

    pub(super) fn all_rejected(&self) -> u64 {
        read(&self.rejected)
    }

    pub(super) fn waited_ms(&self) -> u64 {
        read(&self.waits_ms)
    }
}

// === impl Metrics ===

impl Metrics {
    /// Shows these too. Said once, at the start.
    pub fn show_places(&self, sinks: Vec<Arc<PlaceCounts>>, anchors: Vec<Arc<PlaceCounts>>) {
        // Whoever comes second has nothing to add: there is one program.
        let _ = self.sinks.set(sinks);
        let _ = self.anchors.set(anchors);
    }
}
