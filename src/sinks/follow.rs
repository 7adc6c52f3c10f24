//! One sink's thread: reads what is durable, sends it, and remembers how far the sink has it.
//!
//! Holds one batch at a time, so a sink that is slow or gone costs a file and no memory. Sends a record
//! again whenever it is not known to have arrived, never leaves one out unless a best-effort sink
//! refuses it for ever, and never makes the log thread wait: a required sink makes answers wait.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::error::PlaceError;
use super::peer::CONNECT_MAX;
use super::position::{At, Position};
use crate::audit::Record;
use crate::metrics::PlaceCounts;
use crate::trail::{Entry, FrameReader, Needed, Trail};

/// Somebody who takes records.
pub(super) trait Receive: Send {
    /// Whether it can be sent something without connecting first.
    fn is_ready(&self) -> bool;
    /// Connects, or opens what is written to.
    fn make_ready(&mut self) -> impl Future<Output = Result<(), PlaceError>> + Send;
    /// Returns when the connection is lost while nothing is sent.
    fn lost(&mut self) -> impl Future<Output = ()> + Send;
    /// Sends these, and returns when they have arrived as surely as the protocol tells.
    fn deliver(&mut self, entries: &[Entry])
    -> impl Future<Output = Result<(), PlaceError>> + Send;
    /// How far the receiver surely has the log, where a connection that broke may have lost more.
    fn in_doubt(&mut self) -> Option<At> {
        None
    }
    /// Lets go of what is broken.
    fn give_up(&mut self);
}

/// A sink and where it stands.
pub(super) struct Follower<R> {
    pub(super) trail: Trail,
    pub(super) receiver: R,
    pub(super) position: Position,
    pub(super) counts: Arc<PlaceCounts>,
    pub(super) needed: Option<Needed>,
    /// Stands behind the position, unless something failed.
    pub(super) frames: Option<FrameReader>,
}

/// How it goes on after a failure.
pub(super) struct Patience {
    failures: u32,
    wait_ms_max: u64,
}

// === impl Follower ===

impl<R: Receive> Follower<R> {
    /// Until `stop` says so; then what is durable is sent if that is quick.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let wait_ms_max = if self.needed.is_some() { REQUIRED_WAIT_MS } else { WAIT_MS };
        let mut patience = Patience::new(wait_ms_max);
        let mut saved = Instant::now();
        self.counts.took(self.position.at().sequence, 0);
        while !*stop.borrow() {
            if !self.position.is_saved() && saved.elapsed() >= SAVE_EVERY {
                self.save();
                saved = Instant::now();
            }
            let step = tokio::select! {
                step = self.step() => step,
                _ = stop.changed() => break,
            };
            match step {
                Ok(()) => patience.failures = 0,
                Err(error) => {
                    self.failed(&error, patience.failures);
                    tokio::select! {
                        () = sleep(patience.next()) => {}
                        _ = stop.changed() => break,
                    }
                }
            }
        }
        // Its own failures were told; what is not sent now is sent at the next start.
        let _ = timeout(LAST_MAX, self.finish()).await;
        self.save();
    }

    /// Sends one batch, or waits until there is something to do.
    async fn step(&mut self) -> Result<(), PlaceError> {
        if !self.receiver.is_ready() {
            timeout(CONNECT_MAX, self.receiver.make_ready())
                .await
                .map_err(|_| PlaceError::Late)??;
        }
        let mut durable = self.trail.durable();
        let end = *durable.borrow_and_update();
        if self.position.at().sequence < end {
            return self.send_some().await;
        }
        self.caught_up();
        tokio::select! {
            _ = durable.changed() => {}
            () = self.receiver.lost() => self.go_back(),
            () = sleep(SAVE_EVERY) => {}
        }
        Ok(())
    }

    async fn send_some(&mut self) -> Result<(), PlaceError> {
        let mut frames = self.frames.take().unwrap_or_else(|| self.frames_behind());
        for _ in 0..BATCHES_MAX {
            let batch = batch(&mut frames)?;
            let Some(last) = batch.last() else { break };
            let last = last.sequence;
            match self.deliver(&batch).await {
                // Somebody's record is not taken; the others are, one at a time.
                Err(PlaceError::Rejects(_)) if batch.len() > 1 => {
                    for entry in &batch {
                        self.deliver_alone(entry).await?;
                    }
                }
                Err(PlaceError::Rejects(count)) => {
                    for entry in &batch {
                        self.pass_over(entry, PlaceError::Rejects(count))?;
                    }
                }
                delivered => delivered?,
            }
            if last >= *self.trail.durable().borrow() {
                self.caught_up();
                break;
            }
        }
        self.frames = Some(frames);
        Ok(())
    }

    /// What comes after the position, or after what retention has deleted before this sink had it.
    fn frames_behind(&self) -> FrameReader {
        let (after, segments) = (self.position.at().sequence, self.trail.segments());
        let deleted = segments.begins().saturating_sub(1);
        if after < deleted {
            let (sink, records) = (self.counts.name(), deleted.saturating_sub(after));
            tracing::warn!(sink, records, "audit records were deleted before a sink had them");
        }
        segments.frames(after.max(deleted))
    }

    async fn deliver(&mut self, entries: &[Entry]) -> Result<(), PlaceError> {
        let delivering = timeout(DELIVER_MAX, self.receiver.deliver(entries)).await;
        delivering.unwrap_or(Err(PlaceError::Late))?;
        if let Some(last) = entries.last() {
            self.took(last, entries.len() as u64);
        }
        Ok(())
    }

    async fn deliver_alone(&mut self, entry: &Entry) -> Result<(), PlaceError> {
        match self.deliver(std::slice::from_ref(entry)).await {
            Err(error @ PlaceError::Rejects(_)) => self.pass_over(entry, error),
            delivered => delivered,
        }
    }

    /// A required sink must have it all the same; a best-effort one goes on without it.
    fn pass_over(&mut self, entry: &Entry, error: PlaceError) -> Result<(), PlaceError> {
        if self.needed.is_some() {
            return Err(error);
        }
        let (sink, sequence) = (self.counts.name(), entry.sequence);
        tracing::error!(
            sink,
            sequence,
            "a sink refuses an audit record for ever; it is passed over"
        );
        self.counts.rejected(1);
        self.took(entry, 0);
        Ok(())
    }

    fn took(&mut self, last: &Entry, sent: u64) {
        self.position.advance(At { sequence: last.sequence, hash: last.hash });
        self.counts.took(last.sequence, sent);
        if let Some(needed) = &self.needed {
            needed.has(last.sequence);
        }
    }

    fn caught_up(&self) {
        self.counts.answers(true);
        if let Some(needed) = &self.needed {
            needed.has(self.position.at().sequence);
            needed.is_there(true);
        }
    }

    fn failed(&mut self, error: &PlaceError, failures: u32) {
        self.go_back();
        self.counts.failed();
        self.counts.answers(false);
        if let Some(needed) = &self.needed {
            needed.is_there(false);
        }
        let (sink, required) = (self.counts.name(), self.needed.is_some());
        if failures == 0 {
            tracing::warn!(sink, required, %error, "a sink does not take audit records; trying again");
        } else {
            tracing::debug!(sink, required, %error, "a sink still does not take audit records");
        }
    }

    /// The connection is gone, and with it perhaps what it took last.
    fn go_back(&mut self) {
        self.receiver.give_up();
        if let Some(at) = self.receiver.in_doubt() {
            self.position.advance(at);
        }
        self.frames = None;
    }

    async fn finish(&mut self) -> Result<(), PlaceError> {
        if self.frames.is_none() {
            // Something may have been sent by halves.
            self.go_back();
        }
        if !self.receiver.is_ready() {
            self.receiver.make_ready().await?;
        }
        self.send_some().await
    }

    fn save(&mut self) {
        if !self.position.is_saved()
            && let Err(error) = self.position.save()
        {
            // Then more is sent twice after the next start.
            tracing::warn!(sink = self.counts.name(), %error, "cannot keep a sink's position");
        }
    }
}

// === impl Patience ===

impl Patience {
    pub(super) fn new(wait_ms_max: u64) -> Self {
        Self { failures: 0, wait_ms_max }
    }

    /// The first time at once, then twice as long each time, and never in step with others.
    pub(super) fn next(&mut self) -> Duration {
        let doubled = WAIT_MS_FIRST.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let most = doubled.min(self.wait_ms_max);
        Duration::from_millis(rand::rng().random_range(most / 2..=most))
    }
}

/// The next records: as many as are sent together.
fn batch(frames: &mut FrameReader) -> Result<Vec<Entry>, PlaceError> {
    let (mut entries, mut bytes) = (Vec::new(), 0_usize);
    while entries.len() < BATCH_RECORDS_MAX && bytes < BATCH_BYTES_MAX {
        let next = frames.next(|frame| {
            bytes = bytes.saturating_add(frame.payload().len());
            let (sequence, hash) = (frame.sequence(), *frame.hash());
            let record = Record::decode(frame.payload());
            record
                .map(|record| Entry { sequence, hash, record })
                .map_err(|_| crate::trail::TrailError::Broken { sequence })
        })?;
        match next {
            Some(entry) => entries.push(entry?),
            None => break,
        }
    }
    Ok(entries)
}

const BATCH_RECORDS_MAX: usize = 512;
const BATCH_BYTES_MAX: usize = 1024 * 1024;
/// Before the position is looked at again.
const BATCHES_MAX: usize = 64;
const DELIVER_MAX: Duration = Duration::from_secs(30);
/// What is sent at the end takes no longer.
const LAST_MAX: Duration = Duration::from_secs(2);
const SAVE_EVERY: Duration = Duration::from_secs(1);
const WAIT_MS_FIRST: u64 = 50;
const WAIT_MS: u64 = 15_000;
const REQUIRED_WAIT_MS: u64 = 1_000;
