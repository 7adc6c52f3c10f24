//! The log thread: takes what all lanes have handed over, chains it, writes it once, syncs it once, and
//! answers each lane once. What it cannot make durable in two segments it refuses, and tries again by
//! itself until the disk is back. Never syncs a file again whose write or sync has failed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use tokio::sync::oneshot;

use super::catalogue::{MARK_INTERVAL, Mark};
use super::ledger::Ledger;
use super::payloads::Payloads;
use super::tenants::Tenants;
use super::{Shared, TrailError};
use crate::audit::{Chain, Outcome, Record, clip, frame_bytes, put_place};
use crate::keys::TenantId;

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
    ledger: Ledger,
    /// As far as the log is durable.
    chain: Chain,
    tenants: Tenants,
    piece: Piece,
    /// What the log has to say itself.
    notes: VecDeque<Record<'static>>,
    looked: Instant,
    closed: bool,
}

/// What goes to the disk in one write.
#[derive(Default)]
struct Piece {
    frames: Vec<u8>,
    chain: Option<Chain>,
    records: u32,
    marks: Vec<Mark>,
    place: Vec<u8>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        ledger: Ledger,
        chain: Chain,
        tenants: Tenants,
    ) -> (Self, SyncSender<Message>) {
        let (sender, messages) = sync_channel(MAX_MESSAGES);
        let writer = Self {
            shared,
            messages,
            ledger,
            chain,
            tenants,
            piece: Piece::default(),
            notes: VecDeque::new(),
            looked: Instant::now(),
            closed: false,
        };
        (writer, sender)
    }

    /// Begins a segment where none is open.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.ledger.ready(&self.chain, &self.tenants)
    }

    /// Leaves word in the log of bytes that were cut off its end at the start.
    pub(super) fn note_cut(&mut self, torn_bytes: u64) {
        self.note("audit.cut", format!("torn_bytes={torn_bytes}"));
    }

    /// Until it is told to close or nobody is left to tell it anything.
    pub(super) fn run(mut self) {
        let mut batches = Vec::new();
        self.look();
        while !self.closed {
            match self.messages.recv_timeout(self.shared.place.try_again) {
                Ok(message) => self.take(message, &mut batches),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.closed = true,
            }
            while let Ok(message) = self.messages.try_recv() {
                self.take(message, &mut batches);
            }
            if !batches.is_empty() {
                self.round(&mut batches);
            }
            if self.closed || self.looked.elapsed() >= self.shared.place.try_again {
                self.look();
            }
        }
    }

    fn take(&mut self, message: Message, batches: &mut Vec<Batch>) {
        match message {
            Message::Batch(batch) => batches.push(batch),
            Message::Close => self.closed = true,
        }
    }

    /// Makes `batches` durable together, or answers that it could not.
    fn round(&mut self, batches: &mut Vec<Batch>) {
        let outcome = self.make_durable(batches);
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
            self.shared.counters.add_batch();
            // Nobody listens when the lane's runtime has gone.
            let _ = reply.send(Answer { payloads, outcome });
        }
    }

    fn make_durable(&mut self, batches: &mut [Batch]) -> Result<Vec<u64>, TrailError> {
        let mut firsts = Vec::with_capacity(batches.len());
        for Batch { payloads, .. } in batches {
            firsts.push(self.piece.chain.unwrap_or(self.chain).sequence().saturating_add(1));
            let wants_hashes = payloads.wants_hashes();
            let mut hashes = Vec::new();
            for (payload, tenant) in payloads.iter() {
                self.put(payload, tenant)?;
                if wants_hashes {
                    hashes.push(*self.piece.chain.unwrap_or(self.chain).head());
                }
            }
            payloads.give_hashes(hashes);
        }
        self.flush()?;
        Ok(firsts)
    }

    /// Adds a record to the piece, having made durable what it has no room beside.
    fn put(&mut self, payload: &[u8], tenant: Option<TenantId>) -> Result<(), TrailError> {
        let bytes = frame_bytes(payload.len()).saturating_add(PLACE_BYTES_MAX);
        let with = self.piece.frames.len().saturating_add(bytes);
        let fits = with as u64 <= self.ledger.room() && with <= PIECE_BYTES_MAX;
        if !fits && !self.piece.frames.is_empty() {
            self.flush()?;
        }
        if bytes as u64 > self.ledger.room() {
            self.ledger.seal();
        }
        let piece = &mut self.piece;
        let mut chain = piece.chain.unwrap_or(self.chain);
        piece.place.clear();
        put_place(&mut piece.place, self.tenants.next(tenant), piece.records);
        let sealed = chain.seal_parts([payload, &piece.place], &mut piece.frames);
        if sealed.is_err() {
            // Lanes check every payload: this cannot be.
            self.drop_piece();
            return Err(TrailError::Unavailable);
        }
        piece.chain = Some(chain);
        piece.records = piece.records.saturating_add(1);
        if chain.sequence().is_multiple_of(MARK_INTERVAL) {
            // From the piece's beginning: where that will be is not known before it is written.
            piece.marks.push(Mark { offset: piece.frames.len() as u64, chain });
        }
        Ok(())
    }

    /// Makes the piece durable, in another segment if this one fails.
    fn flush(&mut self) -> Result<(), TrailError> {
        if self.piece.frames.is_empty() {
            return Ok(());
        }
        for _ in 0..SEGMENTS_TRIED {
            let added = self
                .ledger
                .ready(&self.chain, &self.tenants)
                .and_then(|()| self.ledger.add(&self.piece.frames));
            match added {
                Ok(()) => {
                    self.keep_piece();
                    return Ok(());
                }
                Err(error) => self.poison(&error),
            }
        }
        self.drop_piece();
        self.shared.gate.shut(true);
        Err(TrailError::Unavailable)
    }

    fn keep_piece(&mut self) {
        let piece = &mut self.piece;
        let chain = piece.chain.take().unwrap_or(self.chain);
        self.tenants.keep();
        self.shared.counters.add_durable(piece.records, piece.frames.len());
        let began = self.ledger.used().saturating_sub(piece.frames.len() as u64);
        let marks = piece
            .marks
            .drain(..)
            .map(|mark| Mark { offset: mark.offset.saturating_add(began), ..mark });
        self.shared.catalogue.lock().extend(marks, self.ledger.used(), chain.sequence());
        self.chain = chain;
        self.shared.gate.shut(false);
        self.shared.durable.send_replace(chain.sequence());
        self.clear_piece();
    }

    fn drop_piece(&mut self) {
        self.tenants.take_back();
        self.clear_piece();
    }

    fn clear_piece(&mut self) {
        let piece = &mut self.piece;
        (piece.chain, piece.records) = (None, 0);
        piece.marks.clear();
        piece.frames.clear();
        if piece.frames.capacity() > KEPT_BUFFER_BYTES {
            piece.frames = Vec::new();
        }
    }

    fn poison(&mut self, error: &io::Error) {
        let Some(name) = self.ledger.poison(self.chain.sequence()) else { return };
        tracing::error!(%name, %error, "a segment of the audit log failed and is given up");
        self.shared.counters.add_poisoned();
        self.note("audit.segment_poisoned", format!("segment={name} error={error}"));
    }

    /// What is done once in a while, whether or not there is a batch: a new segment where the last one
    /// failed, and what the log has to say itself.
    fn look(&mut self) {
        self.looked = Instant::now();
        if let Err(error) = self.ledger.in_place() {
            self.poison(&error);
        }
        if !self.ledger.is_open() {
            let began = self.ledger.ready(&self.chain, &self.tenants);
            let was_shut = self.shared.gate.is_shut();
            self.shared.gate.shut(began.is_err());
            match began {
                Ok(()) if was_shut => tracing::info!("the audit log takes records again"),
                Ok(()) => {}
                Err(error) if !was_shut => {
                    tracing::error!(%error, "the audit log cannot be written; calls are refused");
                }
                Err(_) => return,
            }
        }
        if self.shared.gate.is_shut() {
            return;
        }
        let untold = self.shared.gate.take_untold();
        if let Some(untold) = untold {
            let detail = format!("refused={} since_us={}", untold.count, untold.since_us);
            self.note("audit.gap", detail);
        }
        if self.tell().is_err() {
            if let Some(untold) = untold {
                self.notes.retain(|note| note.action != "audit.gap");
                self.shared.gate.put_back(untold);
            }
            return;
        }
        self.notes.clear();
    }

    fn tell(&mut self) -> Result<(), TrailError> {
        let notes: Vec<_> = self.notes.iter().cloned().collect();
        for note in notes {
            let mut payload = Vec::new();
            if note.encode(&mut payload).is_ok() {
                self.put(&payload, None)?;
            }
        }
        self.flush()
    }

    fn note(&mut self, action: &'static str, detail: String) {
        let mut id = [0; 16];
        if self.shared.random.fill(&mut id).is_err() {
            id = [0; 16]; // a record without an id is better than none
        }
        if self.notes.len() >= NOTES_MAX {
            self.notes.pop_front();
        }
        let detail = clip(&detail, crate::audit::MAX_DETAIL_BYTES).into_owned().into();
        let now = self.shared.clock.unix_us();
        self.notes.push_back(Record { id, detail, ..Record::new(now, action, Outcome::Succeeded) });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // However the thread ends, nobody waits for it in vain.
        self.shared.gate.close();
        self.shared.ended.send_replace(true);
    }
}

/// More than there can be lanes, each of which has one batch on its way at most.
const MAX_MESSAGES: usize = 1024;
/// A bigger buffer is not kept from one round to the next.
const KEPT_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// What is written at once.
const PIECE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest that a payload grows by here.
const PLACE_BYTES_MAX: usize = 20;
/// The one that is open and a new one.
const SEGMENTS_TRIED: usize = 2;
const NOTES_MAX: usize = 16;
