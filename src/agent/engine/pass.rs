//! One time through the store: read → re-wrap → write, each at its own speed, with a few loads between
//! them and never more.
//!
//! A load is the unit of everything: one message, one write, one place. Loads stay in order, so when one
//! is written, everything before its end has been dealt with.

use std::time::Duration;

use bulla_client::kms::{self, re_encrypt_result::Outcome as Reply};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Run;
use super::pace::Pace;
use super::patience::Patience;
use super::subject::{Content, Orders};
use super::tally::Dealt;
use crate::agent::board::{Replies, ServerError};
use crate::agent::error::AgentError;
use crate::agent::store::{Entry, Move, Outcome, Place};

/// A piece of the store.
#[derive(Default)]
struct Load {
    /// Its end.
    place: Place,
    seen: u64,
    /// What is to be moved of it.
    entries: Vec<Entry>,
    /// For the server, in step with `entries`.
    requests: Vec<kms::ReEncryptRequest>,
    bytes: usize,
    problems: Vec<kms::Problem>,
    /// When they were asked to be re-wrapped.
    asked: Option<Instant>,
}

// === impl Run ===

impl Run<'_> {
    /// Goes through the store from the place that is kept. The server's answer to the end of the pass.
    pub(super) async fn pass(&self) -> Result<kms::ReportProgressResponse, AgentError> {
        let (pass, standing) = {
            let tally = self.tally.lock();
            (tally.pass(), tally.standing())
        };
        self.agent.watcher.began(self.agent.store.identity(), pass, standing);
        if self.orders.borrow().paused {
            self.agent.watcher.paused(true);
        }
        let through = async {
            self.go_through().await?;
            self.tally.lock().end_pass();
            self.hurry.notify_one();
            Ok(())
        };
        let ((), answer) = tokio::try_join!(through, self.report_pass())?;
        self.agent.watcher.pass_ended(pass, self.tally.lock().standing());
        Ok(answer)
    }

    /// Begins again where it stopped, whenever the server or the store was away for a while. What was
    /// being written then is read again, and is moved unless it is there.
    async fn go_through(&self) -> Result<(), AgentError> {
        let mut patience = Patience::new(self.agent.timing.patience);
        loop {
            let from = self.tally.lock().place();
            match self.go_on_from(from.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if self.tally.lock().place() != from {
                        patience.renew();
                    }
                    self.agent.wait_after(error, &mut patience).await?;
                }
            }
        }
    }

    async fn go_on_from(&self, place: Place) -> Result<(), AgentError> {
        let (read, to_send) = mpsc::channel(LOADS_MAX);
        let (ask, requests) = mpsc::channel(LOADS_MAX);
        let (sent, to_write) = mpsc::channel(LOADS_MAX);
        let replies = self.agent.mover.open(requests).await?;
        tokio::try_join!(
            self.read(place, read),
            self.send(to_send, ask, sent),
            self.write(to_write, replies),
        )?;
        Ok(())
    }

    /// Reads to the end of the store.
    async fn read(&self, place: Place, read: mpsc::Sender<Load>) -> Result<(), AgentError> {
        let mut after = place;
        loop {
            let orders = self.orders.borrow().clone();
            let entries = self.agent.store.read(&after, orders.batch()).await?;
            let Some(last) = entries.last() else { return Ok(()) };
            after = last.place.clone();
            let mut load = Load::default();
            for entry in entries {
                if load.bytes >= LOAD_BYTES_MAX
                    && read.send(std::mem::take(&mut load)).await.is_err()
                {
                    return Ok(());
                }
                self.sort(entry, &orders, &mut load);
            }
            // Nobody takes it when a later step has failed, and that one says why.
            if read.send(load).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Takes an entry into a load: to be moved, a problem, or nothing to do.
    fn sort(&self, entry: Entry, orders: &Orders, load: &mut Load) {
        load.place = entry.place.clone();
        load.seen = load.seen.saturating_add(1);
        let (version, reason) = match self.subject.look(&entry) {
            Content::Ours(version, blob) if self.subject.moves(version) => match &entry.context {
                Ok(context) if !orders.abandons(&entry) => {
                    let pairs =
                        context.iter().map(|(key, value)| key.len().saturating_add(value.len()));
                    let context_bytes = pairs.fold(0, usize::saturating_add);
                    load.bytes =
                        load.bytes.saturating_add(blob.len().saturating_add(context_bytes));
                    load.requests.push(kms::ReEncryptRequest {
                        ciphertext: blob,
                        source_encryption_context: context.clone(),
                        store: Some(orders.store),
                        ..Default::default()
                    });
                    load.entries.push(entry);
                    return;
                }
                Ok(_) => return,
                Err(why) => (version, why.reason()),
            },
            Content::Ours(..) | Content::Foreign => return,
            Content::NoBlob(reason) => (0, reason.to_owned()),
        };
        if !orders.abandons(&entry) {
            load.problems.push(problem(&entry, version, reason));
        }
    }

    /// Has loads re-wrapped, no faster than the campaign allows and not while it is paused.
    async fn send(
        &self,
        mut loads: mpsc::Receiver<Load>,
        ask: mpsc::Sender<kms::ReEncryptStreamRequest>,
        sent: mpsc::Sender<Load>,
    ) -> Result<(), AgentError> {
        let mut pace = Pace::new();
        let mut orders = self.orders.subscribe();
        while let Some(mut load) = loads.recv().await {
            if !load.requests.is_empty() {
                let rate = match orders.wait_for(|orders| !orders.paused).await {
                    Ok(orders) => orders.rate_per_second,
                    Err(_) => return Ok(()),
                };
                pace.take(load.requests.len(), rate).await;
                let requests = std::mem::take(&mut load.requests);
                let message = kms::ReEncryptStreamRequest { requests };
                load.asked = Some(Instant::now());
                // A stream that has ended is noticed, with its reason, where its replies are read.
                let _ = ask.send(message).await;
            }
            if sent.send(load).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes what was re-wrapped, and counts what is done.
    async fn write(
        &self,
        mut loads: mpsc::Receiver<Load>,
        mut replies: Replies,
    ) -> Result<(), AgentError> {
        let mut without_blob: usize = 0;
        let mut loads_unreported: u32 = 0;
        while let Some(mut load) = loads.recv().await {
            let mut dealt = Dealt {
                place: load.place.clone(),
                seen: load.seen,
                problems: std::mem::take(&mut load.problems),
                ..Dealt::default()
            };
            if !load.entries.is_empty() {
                let results = next_results(&mut replies, load.entries.len()).await?;
                // RetireCheck rests on this: a blob that was held for long is thrown away, and its
                // place is gone through again.
                if load.asked.is_some_and(|asked| asked.elapsed() > HELD_MAX) {
                    return Err(ServerError::too_late().into());
                }
                let changed = self.put(load.entries, results, &mut dealt).await?;
                self.move_again(changed, &mut dealt).await?;
            }
            without_blob = without_blob.saturating_add(
                dealt.problems.iter().filter(|problem| problem.version == 0).count(),
            );
            let last = dealt.problems.last().map(|problem| problem.place.clone());
            dealt.problems.iter().for_each(|problem| self.agent.watcher.problem(problem));
            self.agent.store.settled(&load.place).await?;
            self.tally.lock().deal(dealt);
            self.agent.watcher.advanced(self.tally.lock().standing());
            if without_blob > WITHOUT_BLOB_MAX {
                return Err(AgentError::NoBlobs(WITHOUT_BLOB_MAX, last.unwrap_or_default()));
            }
            loads_unreported = loads_unreported.saturating_add(1);
            if loads_unreported >= LOADS_A_REPORT {
                loads_unreported = 0;
                self.hurry.notify_one();
            }
            // Problems are held until the server has them; more than it takes at once are not piled up.
            while self.tally.lock().is_behind() {
                self.hurry.notify_one();
                self.reported.notified().await;
            }
        }
        Ok(())
    }

    /// Writes one load. What somebody else changed meanwhile comes back.
    async fn put(
        &self,
        entries: Vec<Entry>,
        results: Vec<kms::ReEncryptResult>,
        dealt: &mut Dealt,
    ) -> Result<Vec<Place>, AgentError> {
        let mut moves = Vec::with_capacity(entries.len());
        for (entry, result) in entries.into_iter().zip(results) {
            match result.outcome {
                Some(Reply::Moved(moved)) => {
                    let new = entry.held.with(moved.ciphertext);
                    moves.push(Move { entry, new });
                }
                Some(Reply::Refusal(refusal)) if OF_THE_BLOB.contains(&refusal.reason.as_str()) => {
                    let version = match self.subject.look(&entry) {
                        Content::Ours(version, _) => version,
                        Content::Foreign | Content::NoBlob(_) => 0,
                    };
                    dealt.problems.push(problem(&entry, version, refusal.reason));
                }
                Some(Reply::Refusal(refusal)) => {
                    let error = ServerError::refused(refusal);
                    return Err(match error.passes {
                        true => error.into(),
                        false => AgentError::NotMovable(error),
                    });
                }
                None => return Err(AgentError::Answer("a result without an outcome")),
            }
        }
        if moves.is_empty() {
            return Ok(Vec::new());
        }
        let outcomes = self.agent.store.replace(&moves).await?;
        let mut changed = Vec::new();
        for (moved, outcome) in moves.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Replaced => dealt.moved = dealt.moved.saturating_add(1),
                Outcome::Changed => changed.push(moved.entry.place),
            }
        }
        Ok(changed)
    }

    /// Reads what changed again, and moves it if it is still to be moved. What keeps changing is left
    /// to the next pass; the scan finds it.
    async fn move_again(&self, places: Vec<Place>, dealt: &mut Dealt) -> Result<(), AgentError> {
        let mut places = places;
        for _ in 0..AGAIN_MAX {
            let orders = self.orders.borrow().clone();
            let mut load = Load::default();
            for place in std::mem::take(&mut places) {
                dealt.changed = dealt.changed.saturating_add(1);
                if let Some(entry) = self.agent.store.read_one(&place).await? {
                    self.sort(entry, &orders, &mut load);
                }
            }
            dealt.problems.append(&mut load.problems);
            if load.entries.is_empty() {
                return Ok(());
            }
            let (ask, requests) = mpsc::channel(1);
            let mut replies = self.agent.mover.open(requests).await?;
            let _ = ask.send(kms::ReEncryptStreamRequest { requests: load.requests }).await;
            let results = next_results(&mut replies, load.entries.len()).await?;
            places = self.put(load.entries, results, dealt).await?;
        }
        Ok(())
    }
}

/// The reply to one load.
async fn next_results(
    replies: &mut Replies,
    count: usize,
) -> Result<Vec<kms::ReEncryptResult>, AgentError> {
    let reply = replies.next().await.unwrap_or_else(|| Err(ServerError::cut_off()))?;
    if reply.results.len() != count {
        return Err(AgentError::Answer("another number of results than of blobs"));
    }
    Ok(reply.results)
}

fn problem(entry: &Entry, version: u32, reason: String) -> kms::Problem {
    kms::Problem {
        place: entry.name.clone(),
        digest: entry.held.digest().to_vec(),
        version,
        reason,
        ..Default::default()
    }
}

/// Refusals that are about one blob; all others are about the key, the caller or the server.
const OF_THE_BLOB: [&str; 4] =
    ["INVALID_CIPHERTEXT", "CONTEXT_TOO_LARGE", "INVALID_ARGUMENT", "TOO_LARGE"];

/// How long a re-wrapped blob may wait to be written: well below the 60 seconds after which the server
/// takes it for written or thrown away, so that the write itself has time.
const HELD_MAX: Duration = Duration::from_secs(30);

/// Between two steps; each of at most 1000 blobs.
const LOADS_MAX: usize = 3;

/// A message has room for 1 MiB; one more entry and the framing of all must fit.
const LOAD_BYTES_MAX: usize = 768 * 1024;

/// A report for every so many loads, whatever the time.
const LOADS_A_REPORT: u32 = 50;

const AGAIN_MAX: u32 = 3;

/// More than this and the connector names the wrong column.
const WITHOUT_BLOB_MAX: usize = 1000;
