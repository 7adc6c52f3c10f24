//! The standard health service. Needs no right, and says no more than whether to send calls here.

use std::pin::Pin;

use bulla_proto::health::health_check_response::ServingStatus;
use bulla_proto::health::{HealthCheckRequest, HealthCheckResponse, health_server};
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};

/// Whether the server takes calls.
pub type Serving = watch::Receiver<bool>;

#[derive(Clone)]
pub(super) struct Health {
    serving: Serving,
}

// === impl Health ===

impl Health {
    pub(super) fn new(serving: Serving) -> Self {
        Self { serving }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        // Health is nobody's business to record: what it refuses is answered as it is.
        super::understood(&request);
        known(&request.get_ref().service)?;
        Ok(Response::new(answer(*self.serving.borrow())))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        super::understood(&request);
        known(&request.get_ref().service)?;
        let changes = WatchStream::new(self.serving.clone());
        // Ends with the server: the last thing it says is that it serves no more.
        let told = changes.scan(false, |ended, serving| {
            let tell = !std::mem::replace(ended, !serving);
            std::future::ready(tell.then(|| Ok(answer(serving))))
        });
        Ok(Response::new(Box::pin(told)))
    }
}

fn known(service: &str) -> Result<(), Status> {
    if service.is_empty() || service.starts_with("bulla.kms.v1.") {
        Ok(())
    } else {
        Err(Status::not_found("the server has no such service"))
    }
}

fn answer(serving: bool) -> HealthCheckResponse {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}
