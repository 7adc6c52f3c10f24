//! What the program counts about itself, for the page that tells it.

use std::sync::Arc;

use crate::audit::Record;
use crate::metrics::{Metrics, Readings};
use crate::policy::Action;
use crate::trail::Purpose;

use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// Asks.
pub struct ReadMetrics {
    /// How many connections are open, which whoever listens knows.
    pub connections: u64,
}

/// The counters, and what was read elsewhere at the same moment.
pub struct Counted {
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// The rest.
    pub readings: Readings,
}

// === impl ReadMetrics ===

impl UseCase for ReadMetrics {
    type Reply = Counted;

    const ACTION: Action = Action::ReadMetrics;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<Counted, Refusal> {
        let audit = act.office.trail.counts();
        let readings = Readings {
            connections: self.connections,
            audit_records: audit.records,
            audit_syncs: audit.syncs,
            audit_written_bytes: audit.written_bytes,
            audit_available: act.office.trail.takes_records(Purpose::Use),
            audit_spare_segments: audit.spare_segments,
            audit_poisoned_segments: audit.poisoned,
            audit_refused: audit.refused,
            audit_sequence: *act.office.trail.durable().borrow(),
            audit_notary_failures: act.office.notarized.as_ref().map_or(0, |it| it.failures()),
        };
        Ok(Counted { metrics: Arc::clone(&act.office.metrics), readings })
    }
}
