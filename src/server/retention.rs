//! Retention of the audit log: what is older than the configuration says is deleted, whole segments at a
//! time. First the log says so itself; only when that record is under a signed checkpoint do the files
//! go, so that a shortened log still verifies.
//!
//! Never deletes what the census has not counted or the notary has not signed. Where it is stopped, the
//! next look ends what was begun.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{DELETE_SEGMENTS, Deletion, Filter, Owners, Query};
use crate::clock::Clock;
use crate::custody::Custody;
use crate::policy::PrincipalId;
use crate::service::Refusal;
use crate::trail::{Lane, Notarized, Trail, TrailError};

use super::error::ServerError;

/// What deletes, and what it asks first.
pub(super) struct Retention {
    pub(super) trail: Trail,
    pub(super) lane: Lane,
    pub(super) notarized: Arc<Notarized>,
    pub(super) custody: Arc<Custody>,
    pub(super) clock: Arc<dyn Clock>,
    /// How long records are kept.
    pub(super) days: u32,
}

// === impl Retention ===

impl Retention {
    /// Looks again and again, for as long as the future is polled.
    pub(super) async fn run(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.look().await {
                Ok(0) => {}
                Ok(segments) => tracing::info!(segments, "deleted old segments of the audit log"),
                Err(error) => tracing::warn!(%error, "cannot delete old segments of the audit log"),
            }
        }
    }

    /// Deletes what is due; how many segments.
    async fn look(&self) -> Result<usize, ServerError> {
        let kept_us = i64::from(self.days).saturating_mul(DAY_US);
        let before_us = self.clock.unix_us().saturating_sub(kept_us);
        let signed = self.notarized.checkpoint().map_or(0, |signed| signed.checkpoint().size);
        let until = self.custody.counted_sequence().await?.min(signed);
        let due = self.trail.deletions_due(before_us, until).await.map_err(failed)?;
        let Some(last) = due.last() else { return Ok(0) };
        let said = self.said(last.to).await?;
        for deletion in due.iter().filter(|deletion| !said.contains(deletion)) {
            let mut record = deletion.record(self.clock.unix_us());
            record.principal = PrincipalId::scheduler().to_string().into();
            self.lane.append(&record).await.map_err(failed)?;
        }
        let end = *self.trail.durable().borrow();
        self.until_signed(end).await?;
        for deletion in &due {
            self.trail.delete(*deletion).await.map_err(failed)?;
        }
        Ok(due.len())
    }

    /// The deletions that the log says already and that were not done: a stop came between.
    async fn said(&self, last: u64) -> Result<Vec<Deletion>, ServerError> {
        let filter = Filter { action: Some(DELETE_SEGMENTS.to_owned()), ..Filter::default() };
        let query = Query { owners: Owners::Everybody, filter };
        let (mut said, mut after, end) = (Vec::new(), last, *self.trail.durable().borrow());
        while after < end {
            let found = self.trail.search(&query, after, SAID_AT_ONCE).await.map_err(failed)?;
            said.extend(found.entries.iter().filter_map(|entry| Deletion::of(&entry.record)));
            after = found.reached.max(after.saturating_add(1));
        }
        Ok(said)
    }

    /// Waits until a checkpoint covers the record `sequence`.
    async fn until_signed(&self, sequence: u64) -> Result<(), ServerError> {
        for _ in 0..SIGNED_LOOKS_MAX {
            let signed = self.notarized.checkpoint();
            if signed.is_some_and(|signed| signed.checkpoint().size >= sequence) {
                return Ok(());
            }
            tokio::time::sleep(SIGNED_EVERY).await;
        }
        Err(ServerError::Ended("the wait for a checkpoint"))
    }
}

fn failed(error: TrailError) -> ServerError {
    ServerError::Unended(Refusal::from(error).to_string())
}

const LOOK_EVERY: Duration = Duration::from_secs(600);
const DAY_US: i64 = 24 * 3_600 * 1_000_000;
const SIGNED_EVERY: Duration = Duration::from_millis(250);
/// A minute: a checkpoint is made every second.
const SIGNED_LOOKS_MAX: u32 = 240;
const SAID_AT_ONCE: usize = 1_000;
