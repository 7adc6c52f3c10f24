//! The one thread that owns the connection: takes requests, and lets commits share a sync.
//!
//! It never waits for whoever asked, and never reorders: a read sees every commit that was sent
//! before it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::Signals;
use super::engine::Engine;
use crate::store::error::StoreError;
use crate::store::rows::Commit;

/// What the thread is asked for.
pub(super) enum Request {
    /// Something that only reads; it sends its own answer.
    Read { work: Box<dyn FnOnce(&Engine) + Send> },
    /// A commit.
    Commit { commit: Commit, reply: Reply<u64> },
    /// The end.
    Close { reply: Reply<()> },
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// The thread's state.
pub(super) struct Worker {
    engine: Engine,
    inbox: mpsc::Receiver<Request>,
    signals: Arc<Signals>,
    /// For its timer only.
    runtime: Runtime,
    /// When the log is to be moved into the database at the latest, once it holds something.
    checkpoint_at: Option<Instant>,
    /// The log could not be emptied. It is tried again by its age, not by its size, so that a full
    /// disk does not cost every request an attempt.
    is_held_back: bool,
}

/// What the thread does next.
enum Next {
    Request(Request),
    CheckpointIsDue,
    NobodyIsLeft,
}

// === impl Request ===

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Request::Read { .. } => "Read",
            Request::Commit { .. } => "Commit",
            Request::Close { .. } => "Close",
        })
    }
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(
        engine: Engine,
        inbox: mpsc::Receiver<Request>,
        signals: Arc<Signals>,
    ) -> Result<Worker, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| StoreError::Unavailable(format!("cannot start a timer: {error}")))?;
        Ok(Worker { engine, inbox, signals, runtime, checkpoint_at: None, is_held_back: false })
    }

    pub(super) fn run(mut self) {
        let mut held_over = None;
        loop {
            let next = held_over.take().map_or_else(|| self.wait(), Next::Request);
            match next {
                Next::Request(Request::Read { work }) => work(&self.engine),
                Next::Request(Request::Commit { commit, reply }) => {
                    held_over = self.commit(commit, reply);
                }
                Next::Request(Request::Close { reply }) => {
                    let result = self.engine.close();
                    self.tell();
                    let _ = reply.send(result);
                    return;
                }
                Next::CheckpointIsDue => {}
                Next::NobodyIsLeft => {
                    // Nobody is left to tell.
                    let _ = self.engine.close();
                    return;
                }
            }
            self.checkpoint_when_due();
        }
    }

    fn wait(&mut self) -> Next {
        let request = match self.checkpoint_at {
            None => Ok(self.runtime.block_on(self.inbox.recv())),
            // The timer must be made inside the runtime.
            Some(deadline) => {
                self.runtime.block_on(async { timeout_at(deadline, self.inbox.recv()).await })
            }
        };
        match request {
            Ok(Some(request)) => Next::Request(request),
            Ok(None) => Next::NobodyIsLeft,
            Err(_) => Next::CheckpointIsDue,
        }
    }

    /// Commits this and what waits right behind it, and returns the first request that is no
    /// commit.
    fn commit(&mut self, commit: Commit, reply: Reply<u64>) -> Option<Request> {
        let mut bytes = commit.bytes();
        let mut commits = vec![commit];
        let mut replies = vec![reply];
        let mut held_over = None;
        while commits.len() < GROUP_COMMITS_MAX && bytes < GROUP_BYTES_MAX {
            match self.inbox.try_recv() {
                Ok(Request::Commit { commit, reply }) => {
                    bytes = bytes.saturating_add(commit.bytes());
                    commits.push(commit);
                    replies.push(reply);
                }
                Ok(other) => {
                    held_over = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let results = self.engine.commit_together(&commits);
        self.tell();
        for (reply, result) in replies.into_iter().zip(results) {
            let _ = reply.send(result);
        }
        held_over
    }

    /// Empties the log after the answers have gone out, so that nobody waits for it.
    fn checkpoint_when_due(&mut self) {
        let log_bytes = self.engine.log_bytes();
        if log_bytes == 0 {
            self.checkpoint_at = None;
            return;
        }
        let now = Instant::now();
        let deadline = now.checked_add(LOG_AGE_MAX).unwrap_or(now);
        let deadline = *self.checkpoint_at.get_or_insert(deadline);
        let is_large = log_bytes >= LOG_BYTES_MAX && !self.is_held_back;
        if is_large || now >= deadline {
            self.checkpoint_at = None;
            self.engine.checkpoint();
            self.is_held_back = self.engine.log_bytes() > 0;
            self.tell();
        }
    }

    fn tell(&self) {
        self.signals.head.announce(self.engine.head());
        if let Some(error) = self.engine.failure() {
            self.signals.failed.send_replace(Some(error));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Nothing here should panic; if something does, whoever waits must learn of it.
        if std::thread::panicking() {
            let failure = StoreError::Failed("the thread of the store has stopped".to_owned());
            self.signals.failed.send_replace(Some(failure));
        }
    }
}

/// How many commits may share one sync.
const GROUP_COMMITS_MAX: usize = 64;
/// A group is closed once its bodies have this many bytes.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The log is moved into the database once it is this large,
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// or this old: so long may overwritten material linger in it.
const LOG_AGE_MAX: Duration = Duration::from_secs(2);
