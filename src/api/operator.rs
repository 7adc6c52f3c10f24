//! The service `Operator`.

use bulla_proto::kms::{self, operator_server};
use tonic::{Request, Response, Status as GrpcStatus};

use super::{Api, render};
use crate::keys::Timestamp;
use crate::metrics::SchedulerReading;
use crate::service::Status;

#[tonic::async_trait]
impl operator_server::Operator for Api {
    async fn status(
        &self,
        request: Request<kms::StatusRequest>,
    ) -> Result<Response<kms::StatusResponse>, GrpcStatus> {
        let connections = (self.connections)();
        self.perform(
            request,
            |_| Ok(Status),
            |reply| kms::StatusResponse {
                program_version: env!("CARGO_PKG_VERSION").to_owned(),
                environment: reply.environment.to_owned(),
                uptime: Some(render::duration(
                    u64::try_from(reply.uptime.as_millis()).unwrap_or(u64::MAX),
                )),
                store_kind: reply.store_kind.to_owned(),
                store_revision: reply.store_revision,
                audit_sequence: reply.audit_sequence,
                connections,
                seal_slot: reply.seal_slot,
                scheduler: Some(scheduler(reply.scheduler)),
            },
        )
        .await
    }
}

fn scheduler(reading: SchedulerReading) -> kms::Scheduler {
    let at = reading.last_turn_unix_ms.and_then(|at| i64::try_from(at).ok());
    kms::Scheduler {
        holds_lease: reading.holds_lease,
        last_turn_time: at.map(|at| render::timestamp(Timestamp::from_unix_ms(at))),
        rotations: reading.rotations,
        due: reading.due,
        deferred: reading.deferred,
    }
}
