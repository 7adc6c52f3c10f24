//! The log thread: takes what all lanes have handed over, chains it, writes it once, syncs it once, and
//! answers each lane once. Never retries a sync, and never writes after an error that it does not
//! understand.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::oneshot;

use super::lane::Payloads;
use super::reader::{INDEX_INTERVAL, Mark};
use super::{Shared, TrailError};
use crate::audit::{Chain, ChainFull};

/// What the log thread is told.
pub(super) enum Message {
    Batch(Batch),
    Close,
}

/// Records that one lane hands over together.
pub(super) struct Batch {
    pub(super) payloads: Payloads,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// What became of a batch, and its buffers to use again.
pub(super) struct Answer {
    pub(super) payloads: Payloads,
    /// The sequence of its first record; the others follow it without a gap.
    pub(super) outcome: Result<u64, TrailError>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    messages: Receiver<Message>,
    /// As far as the file is durable.
    chain: Chain,
    length: u64,
    frames: Vec<u8>,
    /// Whether the thread is to end well.
    closed: bool,
}

/// What a round would make of the log.
struct Round {
    chain: Chain,
    firsts: Vec<u64>,
    marks: Vec<Mark>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, chain: Chain) -> (Self, SyncSender<Message>) {
        let (sender, messages) = sync_channel(MAX_MESSAGES);
        let length = shared.index.lock().length();
        (Self { shared, messages, chain, length, frames: Vec::new(), closed: false }, sender)
    }

    /// Until it is told to close or nobody is left to tell it anything.
    pub(super) fn run(mut self) {
        let mut batches = Vec::new();
        while !self.closed {
            match self.messages.recv() {
                Ok(message) => self.take(message, &mut batches),
                Err(_) => self.closed = true,
            }
            while let Ok(message) = self.messages.try_recv() {
                self.take(message, &mut batches);
            }
            if !batches.is_empty() {
                self.round(&mut batches);
            }
        }
    }

    fn take(&mut self, message: Message, batches: &mut Vec<Batch>) {
        match message {
            Message::Batch(batch) => batches.push(batch),
            Message::Close => self.closed = true,
        }
    }

    /// Makes `batches` durable together, or none of them, and answers them all.
    fn round(&mut self, batches: &mut Vec<Batch>) {
        let outcome = match self.shared.poisoned.load(Ordering::Acquire) {
            true => Err(self.shared.refusal().unwrap_or(TrailError::Closed)),
            false => self.make_durable(batches),
        };
        let counters = &self.shared.counters;
        let mut firsts = match &outcome {
            Ok(firsts) => firsts.iter(),
            Err(_) => [].iter(),
        };
        for Batch { payloads, reply } in batches.drain(..) {
            let outcome = match (&outcome, firsts.next()) {
                (Ok(_), Some(first)) => Ok(*first),
                (Ok(_), None) => Err(TrailError::Closed),
                (Err(error), _) => Err(error.clone()),
            };
            counters.batches.fetch_add(1, Ordering::Relaxed);
            // Nobody listens when the lane's runtime has gone.
            let _ = reply.send(Answer { payloads, outcome });
        }
    }

    fn make_durable(&mut self, batches: &[Batch]) -> Result<Vec<u64>, TrailError> {
        let round = self.chain_up(batches).map_err(|full| {
            self.poison(io::Error::other(full)) // lanes check every payload: this cannot be
        })?;
        self.write()?;
        self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.shared.file.sync().map_err(|error| self.poison(error))?;
        let records = round.chain.sequence().saturating_sub(self.chain.sequence());
        self.shared.counters.records.fetch_add(records, Ordering::Relaxed);
        let written_bytes = length_as_u64(&self.frames);
        self.shared.counters.written_bytes.fetch_add(written_bytes, Ordering::Relaxed);
        self.length = self.length.saturating_add(written_bytes);
        self.chain = round.chain;
        self.shared.index.lock().extend(round.marks, self.length);
        self.shared.durable.send_replace(self.chain.sequence());
        if self.frames.capacity() > KEPT_BUFFER_BYTES {
            self.frames = Vec::new();
        }
        Ok(round.firsts)
    }

    /// Fills `frames`.
    fn chain_up(&mut self, batches: &[Batch]) -> Result<Round, ChainFull> {
        let mut round = Round {
            chain: self.chain,
            firsts: Vec::with_capacity(batches.len()),
            marks: Vec::new(),
        };
        self.frames.clear();
        for batch in batches {
            round.firsts.push(round.chain.sequence().saturating_add(1));
            for payload in batch.payloads.iter() {
                round.chain.seal(payload, &mut self.frames)?;
                if round.chain.sequence().is_multiple_of(INDEX_INTERVAL) {
                    let offset = self.length.saturating_add(length_as_u64(&self.frames));
                    round.marks.push(Mark { offset, chain: round.chain });
                }
            }
        }
        Ok(round)
    }

    /// Writes `frames` after what is durable.
    fn write(&mut self) -> Result<(), TrailError> {
        let mut offset = self.length;
        let mut rest = self.frames.as_slice();
        while !rest.is_empty() {
            self.shared.counters.writes.fetch_add(1, Ordering::Relaxed);
            let error = match self.shared.file.write_at(offset, rest) {
                Ok(written) if written > 0 => {
                    rest = rest.get(written..).unwrap_or_default();
                    offset = offset.saturating_add(written as u64);
                    continue;
                }
                Ok(_) => io::ErrorKind::WriteZero.into(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Err(match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => self.cut_back(),
                _ => self.poison(error),
            });
        }
        Ok(())
    }

    /// Takes back what a full disk let through.
    fn cut_back(&self) -> TrailError {
        match self.shared.file.truncate(self.length) {
            Ok(()) => TrailError::Full,
            Err(error) => self.poison(error),
        }
    }

    fn poison(&self, error: io::Error) -> TrailError {
        let error = TrailError::Failed(Arc::new(error));
        self.shared.poison(error.clone());
        error
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.closed {
            self.poison(io::Error::other("the log thread ended"));
        }
    }
}

fn length_as_u64(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// More than there can be lanes, each of which has one batch on its way at most.
const MAX_MESSAGES: usize = 1024;
/// A bigger buffer is not kept from one round to the next.
const KEPT_BUFFER_BYTES: usize = 4 * 1024 * 1024;
