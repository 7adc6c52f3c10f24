//! Those who wait for their record: by its place in the batch that it went out with.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;

use crate::audit::{Hash, Receipt};
use crate::trail::TrailError;

/// Resolves to the record's sequence once it is durable. Dropping it does not take the record back.
#[must_use = "a record is durable only when this says so"]
pub struct Append(pub(super) State);

/// The same, with what the log's own tree knows the record by.
#[must_use = "a record is durable only when this says so"]
pub struct AppendForReceipt(pub(super) Append);

/// Those who wait for one batch, by their record's place in it.
#[derive(Default)]
pub(super) struct Waiters {
    pub(super) outcome: Option<Result<u64, TrailError>>,
    /// The chain value of each record, where somebody asked for one.
    pub(super) hashes: Vec<Hash>,
    pub(super) wakers: Vec<Option<Waker>>,
}

pub(super) enum State {
    Refused(TrailError),
    Waiting { waiters: Arc<Mutex<Waiters>>, place: usize },
}

// === impl Append ===

impl Future for Append {
    type Output = Result<u64, TrailError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &self.0 {
            State::Refused(error) => Poll::Ready(Err(error.clone())),
            State::Waiting { waiters, place } => waiters.lock().poll(*place, context.waker()),
        }
    }
}

// === impl AppendForReceipt ===

impl Future for AppendForReceipt {
    type Output = Result<Receipt, TrailError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let sequence = ready!(Pin::new(&mut self.0).poll(context))?;
        let hash = match &self.0.0 {
            State::Waiting { waiters, place } => waiters.lock().hashes.get(*place).copied(),
            State::Refused(_) => None,
        };
        // The log thread gives one for each record of a batch, or none.
        Poll::Ready(hash.map(|hash| Receipt { sequence, hash }).ok_or(TrailError::Unavailable))
    }
}

// === impl Waiters ===

impl Waiters {
    /// Sets what became of the batch, unless it is known already; whom to wake.
    pub(super) fn settle(&mut self, outcome: Result<u64, TrailError>) -> Vec<Option<Waker>> {
        self.outcome.get_or_insert(outcome);
        std::mem::take(&mut self.wakers)
    }

    pub(super) fn poll(&mut self, place: usize, waker: &Waker) -> Poll<Result<u64, TrailError>> {
        match &self.outcome {
            Some(Ok(first)) => Poll::Ready(Ok(first.saturating_add(place as u64))),
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            None => {
                if self.wakers.len() <= place {
                    self.wakers.resize(place.saturating_add(1), None);
                }
                match self.wakers.get_mut(place) {
                    Some(Some(known)) => known.clone_from(waker),
                    Some(vacant) => *vacant = Some(waker.clone()),
                    None => {}
                }
                Poll::Pending
            }
        }
    }
}
