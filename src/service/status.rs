//! How the running program stands.

use std::time::Duration;

use crate::audit::Record;
use crate::metrics::SchedulerReading;
use crate::policy::Action;

use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// Asks.
pub struct Status;

/// The answer.
pub struct StatusReply {
    /// `production`, `staging` or `development`.
    pub environment: &'static str,
    /// How long it has run.
    pub uptime: Duration,
    /// `memory` or `sqlite`.
    pub store_kind: &'static str,
    /// The store's latest revision.
    pub store_revision: u64,
    /// The last durable audit record.
    pub audit_sequence: u64,
    /// The slot that opened the root key.
    pub seal_slot: String,
    /// What happens by itself.
    pub scheduler: SchedulerReading,
}

// === impl Status ===

impl UseCase for Status {
    type Reply = StatusReply;

    const ACTION: Action = Action::Status;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<StatusReply, Refusal> {
        let store = act.custody.store_status().await?;
        Ok(StatusReply {
            environment: act.office.environment,
            uptime: act.office.started.elapsed(),
            store_kind: store.kind,
            store_revision: store.head,
            audit_sequence: *act.office.trail.durable().borrow(),
            seal_slot: act.custody.seal_kind().to_owned(),
            scheduler: act.office.metrics.scheduler(),
        })
    }
}
