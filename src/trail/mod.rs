//! The audit log on disk: one growing file of chained frames, made durable a batch at a time.
//!
//! Requests add records to a [`Lane`] of their own runtime; one log thread hashes, writes and syncs
//! what all lanes have handed over, and wakes each lane once. A waiter learns its record's sequence
//! only when the record is on disk. Never syncs a file again whose sync or write has failed: the trail
//! is then poisoned, [`Trail::failed`] resolves, and the server must stop. A full disk is not a
//! failure: what was half written is cut off, its waiters are told, and the next batch tries again.

mod disk;
mod lane;
mod reader;
mod recovery;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::audit::{HASH_BYTES, LogHeader, OverLimit, Record};

pub use disk::{Disk, LogFile, RealDisk};
pub use lane::{Append, Lane, MAX_LANE_BYTES};
pub use reader::MAX_READ_BYTES;

use lane::LaneShared;
use reader::Index;
use writer::{Message, Writer};

/// The audit log, open. Clones are the same log.
#[derive(Clone)]
pub struct Trail {
    handle: Arc<Handle>,
}

/// What was found when the log was opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recovery {
    /// Whether there was no log and a new one was made. Where the rest of an installation exists
    /// already, a new log means that the old one was taken away.
    pub created: bool,
    /// The last whole record's sequence, 0 for none.
    pub sequence: u64,
    /// The chain value after it.
    pub head: [u8; HASH_BYTES],
    /// How many bytes of a batch that was never acknowledged were cut off the end.
    pub torn_bytes: u64,
}

/// One record as it stands in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its place, dense from 1.
    pub sequence: u64,
    /// The chain value after it.
    pub hash: [u8; HASH_BYTES],
    /// The record.
    pub record: Record<'static>,
}

/// How much the log thread has done since the log was opened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Records made durable.
    pub records: u64,
    /// Batches answered: as many cross-thread wakes of a lane.
    pub batches: u64,
    /// Writes asked of the disk, the rest of a short one included.
    pub writes: u64,
    /// Syncs asked of the disk.
    pub syncs: u64,
    /// Bytes of records made durable.
    pub written_bytes: u64,
}

/// The log cannot be opened, read or added to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrailError {
    /// More than [`MAX_LANE_BYTES`] wait on this lane. The record was not taken.
    #[error("too many audit records are waiting for the disk")]
    Overloaded,
    /// The disk or the quota is full. The record was not written; a later one may be.
    #[error("the audit log's disk is full")]
    Full,
    /// A write or sync failed. The record may or may not be on disk, and no other will be taken.
    #[error("the audit log failed; restart once its disk is repaired")]
    Failed(#[source] Arc<io::Error>),
    /// The log was closed before the record was written.
    #[error("the audit log is closed")]
    Closed,
    /// The record is over a limit. It was not taken.
    #[error(transparent)]
    Record(#[from] OverLimit),
    /// The log cannot be opened or read.
    #[error("cannot {doing} the audit log")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has it open.
    #[error("the audit log is in use by another process")]
    Locked,
    /// Others than the owner may read or write it.
    #[error("the audit log may be read or written by others than its owner; set its mode to 0600")]
    Exposed,
    /// The file is something else.
    #[error("the file is not an audit log of format 1")]
    NotALog,
    /// The log belongs to another installation.
    #[error("the audit log belongs to another installation")]
    OtherInstallation,
    /// A record was changed, damaged, moved or taken out.
    #[error("the audit log's chain is broken at sequence {sequence}")]
    Broken {
        /// The first sequence that is not as it was written.
        sequence: u64,
    },
}

/// What holders of a [`Trail`] share. Not held by the log thread, which ends when they are gone.
struct Handle {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the log thread, the lanes and the readers share.
struct Shared {
    file: Box<dyn LogFile>,
    closing: AtomicBool,
    durable: watch::Sender<u64>,
    failure: watch::Sender<Option<TrailError>>,
    poisoned: AtomicBool,
    index: Mutex<Index>,
    lanes: Mutex<Vec<std::sync::Weak<LaneShared>>>,
    running_lanes: watch::Sender<usize>,
    readers: Semaphore,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    records: AtomicU64,
    batches: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
    written_bytes: AtomicU64,
}

// === impl Trail ===

impl Trail {
    /// Opens the log at `path`, or makes a new one, and starts the log thread.
    ///
    /// The whole chain is verified, in constant memory. A torn end (bytes after the last whole record
    /// with no whole record after them) is cut off and reported: nobody was told that it was durable.
    /// Any other damage is [`TrailError::Broken`] and nothing is changed.
    pub fn open(
        path: &Path,
        installation_id: [u8; 16],
        disk: &dyn Disk,
    ) -> Result<(Self, Recovery), TrailError> {
        let file = disk.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => TrailError::Locked,
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => {
                TrailError::Exposed
            }
            _ => TrailError::io("open", error),
        })?;
        let recovered = recovery::recover(&*file, LogHeader::new(installation_id))?;
        let recovery = Recovery {
            created: recovered.created,
            sequence: recovered.chain.sequence(),
            head: *recovered.chain.head(),
            torn_bytes: recovered.torn_bytes,
        };
        let shared = Arc::new(Shared {
            file,
            closing: AtomicBool::new(false),
            durable: watch::Sender::new(recovery.sequence),
            failure: watch::Sender::new(None),
            poisoned: AtomicBool::new(false),
            index: Mutex::new(recovered.index),
            lanes: Mutex::new(Vec::new()),
            running_lanes: watch::Sender::new(0),
            readers: Semaphore::new(MAX_READERS),
            counters: Counters::default(),
        });
        let (writer, sender) = Writer::new(Arc::clone(&shared), recovered.chain);
        let thread = std::thread::Builder::new()
            .name("bulla-log".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| TrailError::io("start the thread of", error))?;
        let handle = Handle { shared, sender, thread: Mutex::new(Some(thread)) };
        Ok((Self { handle: Arc::new(handle) }, recovery))
    }

    /// A new lane, for one runtime. Spawn [`Lane::run`] on that runtime; without it nothing moves.
    pub fn lane(&self) -> Lane {
        let lane = Lane::new(Arc::clone(&self.handle.shared), self.handle.sender.clone());
        let mut lanes = self.handle.shared.lanes.lock();
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.push(lane.downgrade());
        lane
    }

    /// Durable records after the sequence `after`, oldest first: at most `limit` of them and at most
    /// about [`MAX_READ_BYTES`]; one at least, if there is one. Runs on a blocking thread, few at a
    /// time, and verifies the chain on its way.
    pub async fn read(&self, after: u64, limit: usize) -> Result<Vec<Entry>, TrailError> {
        let shared = Arc::clone(&self.handle.shared);
        let _permit = self.handle.shared.readers.acquire().await.map_err(|_| TrailError::Closed)?;
        tokio::task::spawn_blocking(move || {
            reader::read(&*shared.file, &shared.index, after, limit)
        })
        .await
        .map_err(|_| TrailError::Closed)?
    }

    /// The last durable sequence, as it grows.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.handle.shared.durable.subscribe()
    }

    /// Resolves when the log has failed for good. The server must then stop.
    pub async fn failed(&self) -> TrailError {
        let mut failure = self.handle.shared.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(failure) => failure.clone().unwrap_or(TrailError::Closed),
            Err(_) => TrailError::Closed,
        }
    }

    /// How much the log thread has done.
    pub fn counts(&self) -> Counts {
        let counters = &self.handle.shared.counters;
        Counts {
            records: counters.records.load(Ordering::Relaxed),
            batches: counters.batches.load(Ordering::Relaxed),
            writes: counters.writes.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            written_bytes: counters.written_bytes.load(Ordering::Relaxed),
        }
    }

    /// Whether records are taken: not any more once a write or sync has failed, or while it closes.
    pub fn takes_records(&self) -> bool {
        self.handle.shared.refusal().is_none()
    }

    /// Takes no more records, waits until the running lanes have handed over what they hold and the
    /// log thread has made it durable, and ends the thread. The lanes' runtimes must still run.
    pub async fn close(&self) {
        let shared = &self.handle.shared;
        shared.closing.store(true, Ordering::SeqCst);
        let lanes: Vec<_> = shared.lanes.lock().iter().filter_map(|lane| lane.upgrade()).collect();
        lanes.iter().for_each(|lane| lane.nudge());
        let mut running = shared.running_lanes.subscribe();
        // The sender lives in `shared`, so this can only end by the count reaching zero.
        let _ = running.wait_for(|running| *running == 0).await;
        // A send fails only when the thread has ended already.
        let _ = self.handle.sender.try_send(Message::Close);
        let thread = self.handle.thread.lock().take();
        if let Some(thread) = thread {
            // A panic of the log thread has told everybody who waited for it already.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Why no record is taken any more, if none is.
    fn refusal(&self) -> Option<TrailError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Some(self.failure.borrow().clone().unwrap_or(TrailError::Closed));
        }
        self.closing.load(Ordering::SeqCst).then_some(TrailError::Closed)
    }

    fn poison(&self, error: TrailError) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(error);
            }
            first
        });
        self.poisoned.store(true, Ordering::Release);
    }
}

// === impl TrailError ===

impl TrailError {
    fn io(doing: &'static str, error: io::Error) -> Self {
        Self::Io { doing, source: Arc::new(error) }
    }
}

/// How many reads run at once.
const MAX_READERS: usize = 4;
