//! A runtime's own way into the log: records gather in its buffer while the batch before them is on
//! its way to the disk.
//!
//! The lane's task, once there is a record, yields once so that every request that is ready joins,
//! hands the buffer over, is woken once when the batch is durable, and wakes its waiters from within
//! the runtime. Never blocks, and never holds a lock over an await.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::writer::{Answer, Batch, Message};
use super::{Shared, TrailError};
use crate::audit::Record;

/// The most bytes of records that wait on one lane, those on their way to the disk included.
pub const MAX_LANE_BYTES: usize = 8 * 1024 * 1024;

/// A runtime's lane. Clones are the same lane.
#[derive(Clone)]
pub struct Lane {
    shared: Arc<LaneShared>,
}

/// Resolves to the record's sequence once it is durable. Dropping it does not take the record back.
#[must_use = "a record is durable only when this says so"]
pub struct Append(State);

/// Encoded records, one after another.
#[derive(Default)]
pub(super) struct Payloads {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

pub(super) struct LaneShared {
    trail: Arc<Shared>,
    sender: SyncSender<Message>,
    gathering: Mutex<Gathering>,
    stirred: Notify,
}

/// The batch that records join now.
struct Gathering {
    payloads: Payloads,
    waiters: Arc<Mutex<Waiters>>,
    /// Those of the batch before it, until it is answered.
    on_their_way: Arc<Mutex<Waiters>>,
    bytes_on_their_way: usize,
    spare: Payloads,
    spare_wakers: Vec<Option<Waker>>,
    /// The task has ended: nothing that came in now would ever leave.
    ended: bool,
}

/// Those who wait for one batch, by their record's place in it.
#[derive(Default)]
struct Waiters {
    outcome: Option<Result<u64, TrailError>>,
    wakers: Vec<Option<Waker>>,
}

enum State {
    Refused(TrailError),
    Waiting { waiters: Arc<Mutex<Waiters>>, place: usize },
}

/// What the lane's task does next.
enum Next {
    HandOver(Payloads),
    Wait,
    End,
}

/// However the task ends, those who wait are told.
struct Running(Arc<LaneShared>);

// === impl Lane ===

impl Lane {
    pub(super) fn new(trail: Arc<Shared>, sender: SyncSender<Message>) -> Self {
        let gathering = Gathering {
            payloads: Payloads::default(),
            waiters: Arc::default(),
            on_their_way: Arc::default(),
            bytes_on_their_way: 0,
            spare: Payloads::default(),
            spare_wakers: Vec::new(),
            ended: false,
        };
        let gathering = Mutex::new(gathering);
        Self { shared: Arc::new(LaneShared { trail, sender, gathering, stirred: Notify::new() }) }
    }

    /// Adds a record to the batch that gathers now. It has been encoded when this returns.
    pub fn append(&self, record: &Record<'_>) -> Append {
        match self.shared.gather(record) {
            Ok((waiters, place)) => Append(State::Waiting { waiters, place }),
            Err(error) => Append(State::Refused(error)),
        }
    }

    /// The lane's task, to be spawned once, on the runtime that the lane belongs to. Ends when the
    /// trail closes.
    pub fn run(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let running = Running::new(&self.shared);
        async move {
            let lane = &running.0;
            loop {
                match lane.next() {
                    Next::End => break,
                    Next::Wait => {
                        lane.stirred.notified().await;
                        // Every request that is ready now joins.
                        tokio::task::yield_now().await;
                    }
                    Next::HandOver(payloads) => {
                        let outcome = lane.hand_over(payloads).await;
                        lane.finish(outcome);
                        // Those just woken answer, and what came meanwhile joins.
                        tokio::task::yield_now().await;
                    }
                }
            }
        }
    }

    pub(super) fn downgrade(&self) -> Weak<LaneShared> {
        Arc::downgrade(&self.shared)
    }
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

// === impl LaneShared ===

impl LaneShared {
    /// Wakes the lane's task to look again.
    pub(super) fn nudge(&self) {
        self.stirred.notify_one();
    }

    fn gather(&self, record: &Record<'_>) -> Result<(Arc<Mutex<Waiters>>, usize), TrailError> {
        let mut gathering = self.gathering.lock();
        if let Some(refusal) = self.trail.refusal() {
            return Err(refusal);
        }
        if gathering.ended {
            return Err(TrailError::Closed);
        }
        let free = MAX_LANE_BYTES.saturating_sub(gathering.bytes_on_their_way);
        let place = gathering.payloads.push(record, free)?;
        let waiters = Arc::clone(&gathering.waiters);
        drop(gathering);
        if place == 0 {
            self.nudge();
        }
        Ok((waiters, place))
    }

    fn next(&self) -> Next {
        let mut gathering = self.gathering.lock();
        if gathering.payloads.ends.is_empty() {
            let closing = self.trail.refusal().is_some();
            gathering.ended = closing;
            return if closing { Next::End } else { Next::Wait };
        }
        let spare = std::mem::take(&mut gathering.spare);
        let wakers = std::mem::take(&mut gathering.spare_wakers);
        let payloads = std::mem::replace(&mut gathering.payloads, spare);
        let fresh = Arc::new(Mutex::new(Waiters { outcome: None, wakers }));
        gathering.on_their_way = std::mem::replace(&mut gathering.waiters, fresh);
        gathering.bytes_on_their_way = payloads.bytes.len();
        Next::HandOver(payloads)
    }

    async fn hand_over(&self, payloads: Payloads) -> Result<u64, TrailError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Batch(Batch { payloads, reply });
        if self.sender.try_send(message).is_err() {
            return Err(self.trail.refusal().unwrap_or(TrailError::Overloaded));
        }
        let Answer { payloads, outcome } =
            answer.await.map_err(|_| self.trail.refusal().unwrap_or(TrailError::Closed))?;
        self.gathering.lock().spare = payloads.emptied();
        outcome
    }

    /// Tells those whose batch was on its way.
    fn finish(&self, outcome: Result<u64, TrailError>) {
        let waiters = Arc::clone(&self.gathering.lock().on_their_way);
        let mut wakers = waiters.lock().settle(outcome);
        wakers.drain(..).flatten().for_each(Waker::wake);
        let mut gathering = self.gathering.lock();
        gathering.bytes_on_their_way = 0;
        gathering.spare_wakers = wakers;
    }

    /// Nothing will be handed over any more: tells everybody who still waits.
    fn end(&self) {
        let refusal = self.trail.refusal().unwrap_or(TrailError::Closed);
        let waiters = {
            let mut gathering = self.gathering.lock();
            gathering.ended = true;
            [Arc::clone(&gathering.on_their_way), Arc::clone(&gathering.waiters)]
        };
        for waiters in waiters {
            let wakers = waiters.lock().settle(Err(refusal.clone()));
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

// === impl Running ===

impl Running {
    fn new(lane: &Arc<LaneShared>) -> Self {
        lane.trail.running_lanes.send_modify(|running| *running = running.saturating_add(1));
        Self(Arc::clone(lane))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
        self.0.trail.running_lanes.send_modify(|running| *running = running.saturating_sub(1));
    }
}

// === impl Waiters ===

impl Waiters {
    /// Sets what became of the batch, unless it is known already; whom to wake.
    fn settle(&mut self, outcome: Result<u64, TrailError>) -> Vec<Option<Waker>> {
        self.outcome.get_or_insert(outcome);
        std::mem::take(&mut self.wakers)
    }

    fn poll(&mut self, place: usize, waker: &Waker) -> Poll<Result<u64, TrailError>> {
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

// === impl Payloads ===

impl Payloads {
    /// Encodes `record` at the end, unless that makes more than `max_bytes`; its place.
    fn push(&mut self, record: &Record<'_>, max_bytes: usize) -> Result<usize, TrailError> {
        let before = self.bytes.len();
        record.encode(&mut self.bytes)?;
        if self.bytes.len() > max_bytes {
            self.bytes.truncate(before);
            return Err(TrailError::Overloaded);
        }
        let place = self.ends.len();
        self.ends.push(self.bytes.len());
        Ok(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let payload = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            payload
        })
    }

    fn emptied(mut self) -> Self {
        if self.bytes.capacity() > KEPT_BUFFER_BYTES {
            return Self::default();
        }
        self.bytes.clear();
        self.ends.clear();
        self
    }
}

/// A bigger buffer is not kept from one batch to the next.
const KEPT_BUFFER_BYTES: usize = 1024 * 1024;
