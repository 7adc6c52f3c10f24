//! gRPC: parse a request into types that cannot be wrong, have it performed, render the reply.
//!
//! [`methods`] is the table of everything that can be called, [`Front`] the way in, `errors` the one
//! place that speaks gRPC codes. Nothing here decides, opens or stores anything.

mod access;
mod access_parse;
mod access_render;
mod accounts;
mod approvals;
mod audit;
mod campaigns;
mod census;
mod counting;
mod crypto;
mod delivery;
mod detached;
mod echo;
mod errors;
mod front;
mod health;
mod identity;
mod keys;
mod ladder;
pub mod methods;
mod metrics;
mod operator;
mod parse;
mod rehearsal;
mod render;
mod rotation;
mod schedule;
mod tenants;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use crate::policy::Action;
use crate::service::{Asks, Caller, Change, Desk, Refusal, UseCase};

use rehearsal::{Asked, Rehearsal};

pub use audit::record_filter;
pub use errors::status;
pub use front::{Ended, Front, FrontBody};
pub use health::Serving;
pub use identity::{Identity, MayTry, OnUnknown};
pub use render::record;

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

    async fn change<M: Asked, C: Change, R>(
        &self,
        action: Action,
        request: Request<M>,
        parse: impl FnOnce(M) -> Result<C, Refusal>,
        render: impl FnOnce(C::Reply) -> R,
    ) -> Result<Response<R>, Status> {
        let rehearsal = Rehearsal::of(&request);
        let caller = caller_of(&request)?.asking(Asks {
            digest: rehearsal::digest(action, request.get_ref()),
            approval: rehearsal::approval(&request)?,
        });
        if let Some(rehearsal) = rehearsal {
            let summary = rehearsal::summary(request.get_ref());
            let asked = parse(request.into_inner());
            let considered = self.desk.consider(&caller, action, asked).await;
            return Err(rehearsal.ended(considered, summary));
        }
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

/// The caller of a request that is now handed to the desk, which records it. What is only considered gets
/// no further: nothing but a change knows how to stop in time.
fn taken<M>(request: &Request<M>) -> Result<Caller, Status> {
    match Rehearsal::of(request) {
        Some(_) => Err(errors::unknown_method()),
        None => caller_of(request),
    }
}

fn caller_of<M>(request: &Request<M>) -> Result<Caller, Status> {
    // One that is malformed is left for `Front` to record, as any request that is no valid one.
    let revision = access_parse::at_least_revision(request.metadata());
    let revision = revision.ok_or_else(errors::malformed)?;
    let caller = request.extensions().get::<Caller>().cloned();
    understood(request);
    caller.map(|caller| caller.at_least(revision)).ok_or_else(errors::unauthenticated)
}
