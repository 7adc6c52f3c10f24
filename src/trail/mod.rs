//! The audit log on disk: segments of chained frames, made durable a batch at a time.
//!
//! Requests add records to a [`Lane`] of their own runtime; one log thread hashes, writes and syncs
//! what all lanes have handed over, and wakes each lane once. A waiter learns its record's sequence
//! only when the record is on disk, and within a second that it is not. Never syncs a file again whose
//! sync or write has failed: the segment is given up, and what was not acknowledged is written to
//! another. Where that fails too, calls are refused until the disk is back; service then goes on by
//! itself, and a record says how many there were.

mod catalogue;
mod copied;
mod counts;
mod disk;
mod error;
mod gate;
mod index;
mod lane;
mod ledger;
mod needed;
mod notary;
mod notes;
mod packed;
mod packer;
mod payloads;
mod place;
mod reader;
mod reading;
mod recovery;
mod retention;
mod search;
mod spare;
mod tenants;
mod tiles;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::audit::{HASH_BYTES, Record};
use crate::clock::{Clock, SystemClock};
use crate::crypto::{OsRandom, Random};

pub use copied::{CopiedSegment, CopiedSegments};
pub use counts::Counts;
pub use disk::{Disk, LogFile, RealDisk};
pub use error::TrailError;
pub use gate::{MAX_WAITING_BYTES, Purpose};
pub use lane::{Append, AppendForReceipt, Lane, MAX_LANE_BYTES, ON_ITS_WAY_MAX};
pub use needed::{Need, Needed};
pub use notary::{Notarized, Notary, NotaryError};
pub use notes::Notes;
pub use reader::{FrameReader, MAX_READ_BYTES, Segments};
pub use search::Found;
pub use tiles::{handovers, read_tile};

use catalogue::Catalogue;
use counts::Counters;
use gate::Gate;
use index::{Index, Indexer};
use lane::LaneShared;
use ledger::Ledger;
use needed::Outside;
use packer::Packer;
use place::{Kind, Place};
use recovery::Recovered;
use spare::Spares;
use writer::{Message, Writer};

/// A segment's size where nothing else is said.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// The smallest segment.
pub const MIN_SEGMENT_BYTES: u64 = 1024 * 1024;
/// The largest segment.
pub const MAX_SEGMENT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// What a log works with, all of it passed in.
#[derive(Clone)]
pub struct TrailOptions {
    /// Where files are.
    pub disk: Arc<dyn Disk>,
    /// What time it is, for records of the log's own.
    pub clock: Arc<dyn Clock>,
    /// Where records' ids come from.
    pub random: Arc<dyn Random>,
    /// The size of a new segment: [`MIN_SEGMENT_BYTES`] to [`MAX_SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// How long after a failure the disk is tried again.
    pub try_again: Duration,
}

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
    /// How many bytes of a batch that was never acknowledged were left behind at the end. The log's
    /// next record says so too.
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

/// What holders of a [`Trail`] share. Not held by the threads, which end when they are gone.
struct Handle {
    shared: Arc<Shared>,
    sender: SyncSender<Message>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the log thread, the lanes and the readers share.
struct Shared {
    place: Arc<Place>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    gate: Arc<Gate>,
    spares: Arc<Spares>,
    catalogue: Arc<Mutex<Catalogue>>,
    index: Arc<Index>,
    /// Held while sealed segments are replaced or removed.
    tidying: Arc<Mutex<()>>,
    counters: Arc<Counters>,
    durable: watch::Sender<u64>,
    outside: Outside,
    /// The log thread has ended.
    ended: watch::Sender<bool>,
    lanes: Mutex<Vec<std::sync::Weak<LaneShared>>>,
    running_lanes: watch::Sender<usize>,
    readers: Semaphore,
    _lock: Box<dyn Send + Sync>,
}

// === impl Trail ===

impl Trail {
    /// Opens the log in `directory`, or makes a new one, and starts its threads.
    ///
    /// The last segments are verified, in constant memory. A torn end (bytes after the last whole
    /// record that no later write came after) is left behind and reported: nobody was told that it was
    /// durable. Any other damage is [`TrailError::Broken`] and nothing is changed. To verify the whole
    /// log, read it: [`Trail::segments`].
    pub fn open(
        directory: &Path,
        installation_id: [u8; 16],
        options: &TrailOptions,
    ) -> Result<(Self, Recovery), TrailError> {
        let (place, lock, names) = prepare(directory, installation_id, options)?;
        let recovered = recovery::recover(&place, &names)?;
        let gate = Arc::new(Gate::default());
        let spares = Arc::new(Spares::new(Arc::clone(&place), Arc::clone(&gate)));
        spares.adopt(&names).map_err(|error| TrailError::io("tidy", error))?;
        let Recovered { created, chain, catalogue, tenants, active, torn_bytes } = recovered;
        let recovery =
            Recovery { created, sequence: chain.sequence(), head: *chain.head(), torn_bytes };
        let shared = Arc::new(Shared {
            place,
            clock: Arc::clone(&options.clock),
            random: Arc::clone(&options.random),
            gate,
            spares,
            catalogue: Arc::new(Mutex::new(catalogue)),
            index: Arc::default(),
            tidying: Arc::default(),
            counters: Arc::default(),
            durable: watch::Sender::new(recovery.sequence),
            outside: Outside::default(),
            ended: watch::Sender::new(false),
            lanes: Mutex::new(Vec::new()),
            running_lanes: watch::Sender::new(0),
            readers: Semaphore::new(MAX_READERS),
            _lock: lock,
        });
        let (packer, errands) = Packer::new(
            Arc::clone(&shared.place),
            Arc::clone(&shared.catalogue),
            Arc::clone(&shared.gate),
            Arc::clone(&shared.tidying),
        );
        let indexer = Indexer::new(
            Arc::clone(&shared.place),
            Arc::clone(&shared.catalogue),
            Arc::clone(&shared.gate),
            Arc::clone(&shared.index),
        );
        let is_open = active.is_some();
        let ledger = Ledger::new(&shared, errands, active);
        let (mut writer, sender) = Writer::new(Arc::clone(&shared), ledger, chain, tenants);
        let begin = |error| TrailError::io("begin", error);
        if !is_open {
            shared.spares.make_now().map_err(begin)?;
            writer.begin().map_err(begin)?;
        }
        if torn_bytes > 0 {
            writer.note_cut(torn_bytes);
        }
        let spares = Arc::clone(&shared.spares);
        let threads = vec![
            started("bulla-log", move || writer.run())?,
            started("bulla-log-next", move || spares.run())?,
            started("bulla-log-pack", move || packer.run())?,
            started("bulla-log-index", move || indexer.run())?,
        ];
        let handle = Handle { shared, sender, threads: Mutex::new(threads) };
        Ok((Self { handle: Arc::new(handle) }, recovery))
    }

    /// Whether there is a log in `directory`.
    pub fn is_at(directory: &Path) -> bool {
        RealDisk.list(&segments_in(directory)).is_ok_and(|names| {
            names.iter().any(|name| matches!(Kind::of(name), Kind::Plain(_) | Kind::Packed(_)))
        })
    }

    /// A new lane, for one runtime. Spawn [`Lane::run`] on that runtime; without it nothing moves.
    pub fn lane(&self) -> Lane {
        let lane = Lane::new(Arc::clone(&self.handle.shared), self.handle.sender.clone());
        let mut lanes = self.handle.shared.lanes.lock();
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.push(lane.downgrade());
        lane
    }

    /// The log's frames, for those who read it as a whole.
    pub fn segments(&self) -> Segments {
        Segments { shared: Arc::clone(&self.handle.shared) }
    }

    /// Whose log it is.
    pub fn installation_id(&self) -> [u8; 16] {
        self.handle.shared.place.installation_id
    }

    /// The last durable sequence, as it grows.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.handle.shared.durable.subscribe()
    }

    /// How much the log thread has done.
    pub fn counts(&self) -> Counts {
        let shared = &self.handle.shared;
        Counts {
            refused: shared.gate.refused(),
            spare_segments: shared.spares.ready(),
            ..shared.counters.now()
        }
    }

    /// From now on somebody outside is needed as well. Until it says that it is there, calls are refused.
    pub fn need(&self, need: Need) -> Needed {
        Needed::new(&self.handle.shared, need)
    }

    /// How many bytes of records wait for the disk.
    pub fn waiting_bytes(&self) -> usize {
        self.handle.shared.gate.waiting_bytes()
    }

    /// Whether records of such calls are taken now.
    pub fn takes_records(&self, purpose: Purpose) -> bool {
        self.handle.shared.gate.refusal(purpose).is_none()
    }

    /// Takes no more records, waits until the running lanes have handed over what they hold and the
    /// log thread has made it durable, and ends the threads: all of it within twice [`CLOSE_MAX`],
    /// whatever the disk does. The lanes' runtimes must still run.
    pub async fn close(&self) {
        let shared = &self.handle.shared;
        shared.gate.close();
        let lanes: Vec<_> = shared.lanes.lock().iter().filter_map(|lane| lane.upgrade()).collect();
        lanes.iter().for_each(|lane| lane.nudge());
        let mut running = shared.running_lanes.subscribe();
        let mut ended = shared.ended.subscribe();
        let closing = async {
            // The senders live in `shared`, so these can only end by what is waited for.
            let _ = running.wait_for(|running| *running == 0).await;
            // A send fails only when the thread has ended already, or so much waits that it is stuck.
            let _ = self.handle.sender.try_send(Message::Close);
            let _ = ended.wait_for(|ended| *ended).await;
        };
        let closed = tokio::time::timeout(CLOSE_MAX, closing).await;
        self.handle.end();
        let threads = std::mem::take(&mut *self.handle.threads.lock());
        // A panic of a thread has told everybody who waited for it already.
        let joining = tokio::task::spawn_blocking(|| {
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        // With the log thread ended the others end as soon as the disk lets them.
        if closed.is_err() || tokio::time::timeout(CLOSE_MAX, joining).await.is_err() {
            tracing::error!("the audit log's disk does not answer; closing without it");
        }
    }
}

// === impl Handle ===

impl Handle {
    /// Ends the threads that are beside the log thread, as far as the disk lets them.
    fn end(&self) {
        self.shared.gate.close();
        self.shared.spares.close();
        self.shared.index.close();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

// === impl TrailOptions ===

impl Default for TrailOptions {
    fn default() -> Self {
        Self {
            disk: Arc::new(RealDisk),
            clock: Arc::new(SystemClock),
            random: Arc::new(OsRandom),
            segment_bytes: SEGMENT_BYTES,
            try_again: Duration::from_secs(1),
        }
    }
}

/// How many reads run at once.
const MAX_READERS: usize = 4;

/// Makes the directories, keeps other processes out, and lists what is there.
#[allow(clippy::type_complexity)]
fn prepare(
    directory: &Path,
    installation_id: [u8; 16],
    options: &TrailOptions,
) -> Result<(Arc<Place>, Box<dyn Send + Sync>, Vec<String>), TrailError> {
    let disk = &options.disk;
    let opened = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock => TrailError::Locked,
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => TrailError::Exposed,
        _ => TrailError::io("open", error),
    };
    let segments = segments_in(directory);
    disk.make_directory(directory).map_err(opened)?;
    disk.make_directory(&segments).map_err(opened)?;
    let lock = disk.lock(&directory.join("lock")).map_err(opened)?;
    let names = disk.list(&segments).map_err(opened)?;
    let place = Place {
        disk: Arc::clone(disk),
        directory: segments,
        installation_id,
        segment_bytes: options.segment_bytes.clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES),
        try_again: options.try_again,
    };
    Ok((Arc::new(place), lock, names))
}

fn started(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, TrailError> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(work).map_err(|error| TrailError::io("start a thread of", error))
}

fn segments_in(directory: &Path) -> PathBuf {
    directory.join("segments")
}

/// How long closing waits for the disk, twice.
pub const CLOSE_MAX: Duration = Duration::from_secs(5);
