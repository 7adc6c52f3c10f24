//! gRPC: parse a request into types that cannot be wrong, have it performed, render the reply.
//!
//! [`methods`] is the table of everything that can be called, [`Front`] the way in, `errors` the one
//! place that speaks gRPC codes. Nothing here decides, opens or stores anything.

mod access;
mod approvals;
mod audit;
mod campaigns;
mod census;
mod counting;
mod crypto;
mod detached;
mod echo;
mod errors;
mod front;
mod health;
mod keys;
mod ladder;
pub mod methods;
mod metrics;
mod operator;
mod parse;
mod render;
mod rotation;
mod schedule;
mod tenants;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use crate::auth::Peer;
use crate::policy::Action;
use crate::service::{Caller, Change, Desk, Refusal, UseCase};

pub use errors::status;
pub use front::{Ended, Front, FrontBody};
pub use health::Serving;

/// The services, at one desk.
#[derive(Clone)]
pub struct Api {
    desk: Desk,
    connections: Arc<dyn Fn() -> u64 + Send + Sync>,
    serving: Serving,
}

/// Whether a call has been recorded; set by whatever hands it to the desk, so that [`Front`] can
/// record what never got so far.
#[derive(Clone, Debug, Default)]
struct Recorded(Arc<AtomicBool>);

// === impl Api ===

impl Api {
    /// The services at `desk`. `connections` tells how many there are, for status.
    /// `serving` turns false when the server drains.
    pub fn new(
        desk: Desk,
        connections: Arc<dyn Fn() -> u64 + Send + Sync>,
        serving: Serving,
    ) -> Self {
        Self { desk, connections, serving }
    }

    /// `replies` until the server drains; then one last error that sends the caller elsewhere.
    fn until_draining<R: Send + 'static>(
        &self,
        replies: impl Stream<Item = Result<R, Status>> + Send + 'static,
    ) -> Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>> {
        let mut serving = self.serving.clone();
        let draining = async move {
            // A sender that is gone means that the program ends.
            let _ = serving.wait_for(|serving| !*serving).await;
        };
        let is_draining = self.serving.clone();
        let last = stream::once(async { Err(errors::draining()) })
            .take_while(move |_| std::future::ready(!*is_draining.borrow()));
        Box::pin(replies.take_until(Box::pin(draining)).chain(last))
    }

    async fn perform<M, U: UseCase, R>(
        &self,
        request: Request<M>,
        parse: impl FnOnce(M) -> Result<U, Refusal>,
        render: impl FnOnce(U::Reply) -> R,
    ) -> Result<Response<R>, Status> {
        let caller = taken(&request)?;
        let asked = parse(request.into_inner());
        match self.desk.perform(&caller, asked).await {
            Ok(reply) => Ok(Response::new(render(reply))),
            Err(refusal) => Err(status(&refusal)),
        }
    }

    async fn change<M, C: Change, R>(
        &self,
        action: Action,
        request: Request<M>,
        parse: impl FnOnce(M) -> Result<C, Refusal>,
        render: impl FnOnce(C::Reply) -> R,
    ) -> Result<Response<R>, Status> {
        let caller = taken(&request)?;
        let asked = parse(request.into_inner());
        match self.desk.perform_change(&caller, action, asked).await {
            Ok(reply) => Ok(Response::new(render(reply))),
            Err(refusal) => Err(status(&refusal)),
        }
    }
}

// === impl Recorded ===

impl Recorded {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The message was understood: whatever is answered now is not for [`Front`] to record.
fn understood<M>(request: &Request<M>) {
    if let Some(recorded) = request.extensions().get::<Recorded>() {
        recorded.0.store(true, Ordering::Release);
    }
}

/// The caller of a request that is now handed to the desk, which records it.
fn taken<M>(request: &Request<M>) -> Result<Caller, Status> {
    let peer = request.extensions().get::<Arc<Peer>>();
    let caller = peer.map(|peer| Caller::remote(Arc::clone(peer.subject()), peer.address()));
    understood(request);
    caller.ok_or_else(errors::unauthenticated)
}
