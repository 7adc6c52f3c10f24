//! A runtime's own way into the log: records gather in its buffer while the batch before them is on
//! its way to the disk.
//!
//! The lane's task, once there is a record, yields once so that every request that is ready joins,
//! hands the buffer over, is woken once when the batch is durable, and wakes its waiters from within
//! the runtime. Where the disk takes longer than [`ON_ITS_WAY_MAX`] it tells all of them that they have
//! no record, and takes none until the disk has answered: a record may then be durable of which its
//! caller was told the opposite, never the other way round. Never blocks, and never holds a lock over
//! an await.

mod waiters;

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::gate::Purpose;
use super::payloads::{Ids, Payloads};
use super::writer::{Answer, Batch, Message};
use super::{Shared, TrailError};
use crate::audit::{MAX_FRAME_BYTES, Record};

pub use waiters::{Append, AppendForReceipt};

use waiters::{State, Waiters};

/// The most bytes of records that wait on one lane, those on their way to the disk included.
pub const MAX_LANE_BYTES: usize = 8 * 1024 * 1024;

/// How long a batch may be on its way. A record waits for the batch before its own and for its own:
/// less than a second in all.
pub const ON_ITS_WAY_MAX: Duration = Duration::from_millis(450);

/// A runtime's lane. Clones are the same lane.
#[derive(Clone)]
pub struct Lane {
    shared: Arc<LaneShared>,
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
    /// The disk has not answered in time.
    stuck: bool,
    ids: Ids,
    spare: Payloads,
    spare_wakers: Vec<Option<Waker>>,
    /// The task has ended: nothing that came in now would ever leave.
    ended: bool,
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
            stuck: false,
            ids: Ids::new(),
            spare: Payloads::default(),
            spare_wakers: Vec::new(),
            ended: false,
        };
        let gathering = Mutex::new(gathering);
        Self { shared: Arc::new(LaneShared { trail, sender, gathering, stirred: Notify::new() }) }
    }

    /// Whether a record would be taken now of a call that is about to do something: asked before
    /// anything is decided or opened, so that nothing is done that cannot be recorded.
    pub fn ready(&self, purpose: Purpose) -> Result<(), TrailError> {
        self.shared.ready(purpose)
    }

    /// Adds a record to the batch that gathers now. It has been encoded when this returns.
    pub fn append(&self, record: &Record<'_>) -> Append {
        self.add(record, false)
    }

    /// The same, for a caller who wants to be able to find the record again.
    pub fn append_for_receipt(&self, record: &Record<'_>) -> AppendForReceipt {
        AppendForReceipt(self.add(record, true))
    }

    fn add(&self, record: &Record<'_>, wants_hash: bool) -> Append {
        match self.shared.gather(record, wants_hash) {
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
                        lane.hand_over(payloads).await;
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

// === impl LaneShared ===

impl LaneShared {
    /// Wakes the lane's task to look again.
    pub(super) fn nudge(&self) {
        self.stirred.notify_one();
    }

    fn ready(&self, purpose: Purpose) -> Result<(), TrailError> {
        let refusal = self.trail.gate.refusal(purpose).or_else(|| {
            let gathering = self.gathering.lock();
            let bytes = gathering.payloads.bytes().saturating_add(gathering.bytes_on_their_way);
            if gathering.stuck {
                return Some(TrailError::Unavailable);
            }
            let is_full = bytes.saturating_add(MAX_FRAME_BYTES) > MAX_LANE_BYTES;
            is_full.then_some(TrailError::Overloaded)
        });
        match refusal {
            Some(refusal) => Err(self.refuse(refusal)),
            None => Ok(()),
        }
    }

    fn gather(
        &self,
        record: &Record<'_>,
        wants_hash: bool,
    ) -> Result<(Arc<Mutex<Waiters>>, usize), TrailError> {
        let mut gathering = self.gathering.lock();
        let taken = self.take(&mut gathering, record);
        if wants_hash && taken.is_ok() {
            gathering.payloads.want_hashes();
        }
        let waiters = Arc::clone(&gathering.waiters);
        drop(gathering);
        match taken {
            Ok(place) => {
                if place == 0 {
                    self.nudge();
                }
                Ok((waiters, place))
            }
            Err(TrailError::Record(limit)) => Err(TrailError::Record(limit)),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    fn take(&self, gathering: &mut Gathering, record: &Record<'_>) -> Result<usize, TrailError> {
        if let Some(refusal) = self.trail.gate.refusal(Purpose::Manage) {
            return Err(refusal);
        }
        if gathering.ended {
            return Err(TrailError::Closed);
        }
        if gathering.stuck {
            return Err(TrailError::Unavailable);
        }
        let free = MAX_LANE_BYTES.saturating_sub(gathering.bytes_on_their_way);
        let before = gathering.payloads.bytes();
        let id = gathering.ids.next(&*self.trail.random)?;
        let place = gathering.payloads.push(record, &id, free)?;
        let bytes = gathering.payloads.bytes().saturating_sub(before);
        if let Err(full) = self.trail.gate.take_room(bytes) {
            gathering.payloads.pop();
            return Err(full);
        }
        Ok(place)
    }

    /// Counts a call that gets no record.
    fn refuse(&self, refusal: TrailError) -> TrailError {
        if !matches!(refusal, TrailError::Closed) {
            self.trail.gate.refuse(1, &*self.trail.clock);
        }
        refusal
    }

    fn next(&self) -> Next {
        let mut gathering = self.gathering.lock();
        if gathering.payloads.count() == 0 {
            let closing = self.trail.gate.is_closing();
            gathering.ended = closing;
            return if closing { Next::End } else { Next::Wait };
        }
        let spare = std::mem::take(&mut gathering.spare);
        let wakers = std::mem::take(&mut gathering.spare_wakers);
        let payloads = std::mem::replace(&mut gathering.payloads, spare);
        let fresh = Arc::new(Mutex::new(Waiters { wakers, ..Waiters::default() }));
        gathering.on_their_way = std::mem::replace(&mut gathering.waiters, fresh);
        gathering.bytes_on_their_way = payloads.bytes();
        Next::HandOver(payloads)
    }

    /// Sees a batch to its end, however long that takes; those who wait for it are told in time.
    async fn hand_over(&self, payloads: Payloads) {
        let (reply, answer) = oneshot::channel();
        let count = payloads.count() as u64;
        if self.sender.try_send(Message::Batch(Batch { payloads, reply })).is_err() {
            return self.finish(Err(self.lost()), Payloads::default());
        }
        let mut answer = pin!(self.trail.outside.answered(answer, count));
        let in_time = tokio::time::timeout(ON_ITS_WAY_MAX, &mut answer).await;
        let answered = match in_time {
            Ok(answered) => answered,
            Err(_) => {
                self.give_up(count);
                match self.late(&mut answer).await {
                    Some(answered) => answered,
                    None => return,
                }
            }
        };
        match answered {
            Ok(Answer { payloads, outcome }) => {
                if matches!(outcome, Err(TrailError::Unavailable | TrailError::Outside)) {
                    self.trail.gate.refuse(count, &*self.trail.clock);
                }
                self.finish(outcome, payloads);
            }
            Err(_) => self.finish(Err(self.lost()), Payloads::default()),
        }
    }

    /// An answer that is late; None when the log closes before it comes.
    async fn late(
        &self,
        answer: &mut (impl Future<Output = Result<Answer, oneshot::error::RecvError>> + Unpin),
    ) -> Option<Result<Answer, oneshot::error::RecvError>> {
        while !self.trail.gate.is_closing() {
            tokio::select! {
                answered = &mut *answer => return Some(answered),
                () = self.stirred.notified() => {}
            }
        }
        None
    }

    /// Why there will be no answer.
    fn lost(&self) -> TrailError {
        self.trail.gate.refusal(Purpose::Manage).unwrap_or(TrailError::Unavailable)
    }

    /// The disk does not answer: everybody who waits is told so, and nobody else is let in.
    fn give_up(&self, on_their_way: u64) {
        let (waiters, gathered) = {
            let mut gathering = self.gathering.lock();
            gathering.stuck = true;
            let gathered = std::mem::take(&mut gathering.payloads);
            let fresh = Arc::new(Mutex::new(Waiters::default()));
            let waiting = std::mem::replace(&mut gathering.waiters, fresh);
            ([Arc::clone(&gathering.on_their_way), waiting], gathered)
        };
        let refused = on_their_way.saturating_add(gathered.count() as u64);
        self.trail.gate.refuse(refused, &*self.trail.clock);
        self.trail.gate.give_room(gathered.bytes());
        for waiters in waiters {
            let wakers = waiters.lock().settle(Err(TrailError::Unavailable));
            wakers.into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Tells those whose batch was on its way.
    fn finish(&self, outcome: Result<u64, TrailError>, mut payloads: Payloads) {
        let waiters = Arc::clone(&self.gathering.lock().on_their_way);
        let mut wakers = {
            let mut waiters = waiters.lock();
            waiters.hashes = payloads.take_hashes();
            waiters.settle(outcome)
        };
        wakers.drain(..).flatten().for_each(Waker::wake);
        let mut gathering = self.gathering.lock();
        self.trail.gate.give_room(gathering.bytes_on_their_way);
        gathering.bytes_on_their_way = 0;
        gathering.stuck = false;
        gathering.spare_wakers = wakers;
        gathering.spare = payloads.emptied();
    }

    /// Nothing will be handed over any more: tells everybody who still waits.
    fn end(&self) {
        let refusal = self.trail.gate.refusal(Purpose::Manage).unwrap_or(TrailError::Closed);
        let waiters = {
            let mut gathering = self.gathering.lock();
            gathering.ended = true;
            let gathered = gathering.payloads.bytes();
            self.trail.gate.give_room(gathered.saturating_add(gathering.bytes_on_their_way));
            gathering.bytes_on_their_way = 0;
            gathering.payloads = Payloads::default();
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
