//! The notary: follows what is durable, builds the tree over it, and signs how far the log has come.
//!
//! A thread of its own beside the log's, which it never makes wait. What it writes (full tiles, the
//! unfinished ones of the newest checkpoint, the checkpoints) is derived from the log: missing or
//! damaged tiles are made anew at start. Only a checkpoint says something that the log alone does not:
//! at start the newest one must be a beginning of the log, or the log was cut off or replaced, and
//! nothing starts. While it runs, its own failures are counted and told, and stop nobody.

mod cosigned;
mod folder;
mod notarized;
mod thin;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{FrameReader, Trail, TrailError};
use crate::audit::{
    Checkpoint, CheckpointError, Hash, Sign, SignedCheckpoint, Tile, Tree, VerifyingKey, leaf_hash,
    rotated_key,
};

pub use notarized::Notarized;

use cosigned::Cosigned;
use folder::Folder;
use notarized::{Signed, Signers};
use thin::Thinning;

/// The notary, at work. Dropping it ends it after a last checkpoint.
pub struct Notary {
    notarized: Arc<Notarized>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why the notary does not start, or cannot prove something.
#[derive(Debug, thiserror::Error)]
pub enum NotaryError {
    /// Its files cannot be used.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Trail(#[from] TrailError),
    /// The newest checkpoint is not believed.
    #[error(
        "{source}: {path}; it was changed or comes from another installation; compare it with a copy kept elsewhere before you move it away"
    )]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: CheckpointError,
    },
    /// The log ends before its newest checkpoint.
    #[error(
        "the audit log was cut off: its newest checkpoint covers {signed} records, and it has {found}; put the whole log back"
    )]
    CutOff {
        /// By the checkpoint.
        signed: u64,
        /// In the log.
        found: u64,
    },
    /// The log is not the one that was signed.
    #[error(
        "the audit log is not the one that was signed: its first {signed} records are others than its newest checkpoint says; find the first with: bulla audit verify --directory DIR --public-key FILE"
    )]
    Forked {
        /// By the checkpoint.
        signed: u64,
    },
    /// A witness did not sign what it was shown.
    #[error("the witness's signature is not taken: {0}")]
    Cosignature(CheckpointError),
    /// Nothing is signed yet, or not as much as was asked for.
    #[error("no checkpoint covers that record yet")]
    NotYet,
    /// Tiles over deleted records are missing, and nothing is left to make them of.
    #[error(
        "tiles over the deleted records before {first} are missing from the audit log's tree; put the folder tile back from a copy"
    )]
    TilesGone {
        /// The first record that is there.
        first: u64,
    },
    /// A tile is missing or too short.
    #[error("a tile of the audit log's tree is missing; restart to have it made anew")]
    NoTile,
}

/// What the thread works with.
struct Work {
    trail: Trail,
    /// Stands behind the tree's last record.
    frames: FrameReader,
    notarized: Arc<Notarized>,
    tree: Tree,
    head: Hash,
    /// What the log's own records say the key is.
    key: VerifyingKey,
    now_us: Box<dyn Fn() -> i64 + Send>,
    signed_size: u64,
    thinned_us: i64,
}

// === impl Notary ===

impl Notary {
    /// Checks the newest checkpoint in `folder` against the log, makes missing tiles anew, signs where
    /// the log stands, and goes on doing so each second while it grows.
    ///
    /// # Errors
    /// The checkpoint is not this log's beginning, or a file cannot be used.
    pub fn start(
        folder: &Path,
        trail: Trail,
        current: Arc<dyn Sign + Send + Sync>,
        next: Option<Arc<dyn Sign + Send + Sync>>,
        now_us: Box<dyn Fn() -> i64 + Send>,
    ) -> Result<Self, NotaryError> {
        let folder = Folder::open(folder)?;
        folder.publish_key(current.key())?;
        let mut keys = vec![current.key().clone()];
        keys.extend(next.as_ref().map(|next| next.key().clone()));
        let cosigned = Cosigned::read(&folder, &keys)?;
        let (signed, found) = (cosigned.size(), *trail.durable().borrow());
        if signed > found {
            return Err(NotaryError::CutOff { signed, found });
        }
        let notarized = Arc::new(Notarized {
            trail: trail.clone(),
            folder,
            signed: Mutex::new(None),
            failures: AtomicU64::new(0),
            signer: Mutex::new(Signers { current, next }),
            cosigned,
            size: watch::Sender::new(0),
        });
        let (tree, head, key) = resume(&trail, &notarized.folder, keys)?;
        notarized.folder.remember_edges(&tree);
        let (notarized_too, signed_size, thinned_us) = (Arc::clone(&notarized), 0, i64::MIN);
        let frames = trail.segments().frames(tree.size());
        let mut work = Work {
            trail,
            frames,
            notarized: notarized_too,
            tree,
            head,
            key,
            now_us,
            signed_size,
            thinned_us,
        };
        work.follow()?;
        let (stop, stopped) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("bulla-notary".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    work.turn();
                }
                work.turn();
            })
            .map_err(|source| NotaryError::Io {
                doing: "start the thread that signs",
                path: PathBuf::new(),
                source,
            })?;
        Ok(Self { notarized, stop: Some(stop), thread: Some(thread) })
    }

    /// What is signed, for those who ask.
    pub fn notarized(&self) -> Arc<Notarized> {
        Arc::clone(&self.notarized)
    }
}

impl Drop for Notary {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was told by the thread.
            let _ = thread.join();
        }
    }
}

// === impl Work ===

impl Work {
    /// One second's work. What fails is tried again in the next.
    fn turn(&mut self) {
        if let Err(error) = self.follow().and_then(|()| self.thin()) {
            self.notarized.failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "the audit log's checkpoint is late");
        }
    }

    /// Once an hour: old checkpoints go, but for one an hour and those at segments' ends.
    fn thin(&mut self) -> Result<(), NotaryError> {
        let now_us = (self.now_us)();
        if now_us < self.thinned_us.saturating_add(thin::EVERY_US) {
            return Ok(());
        }
        self.thinned_us = now_us;
        let mut thinning = Thinning::new(now_us, self.trail.segments().ends());
        self.notarized.folder.thin_checkpoints(|note| thinning.keeps(note))
    }

    /// Takes in what has become durable, and signs it: at each segment's end, and where it ends now.
    fn follow(&mut self) -> Result<(), NotaryError> {
        let segments = self.trail.segments();
        let durable = *self.trail.durable().borrow();
        while self.tree.size() < durable {
            let end = segments.end_of(self.tree.size().saturating_add(1)).unwrap_or(durable);
            while self.tree.size() < end {
                if let Err(error) = self.take_in(end) {
                    // Whatever it has passed was not taken in.
                    self.frames = segments.frames(self.tree.size());
                    return Err(error);
                }
            }
            self.sign()?;
        }
        if self.tree.size() > self.signed_size {
            self.sign()?;
        }
        Ok(())
    }

    /// Takes in some records, none after `end`; a tile is written before the tree counts what is after
    /// it.
    fn take_in(&mut self, end: u64) -> Result<(), NotaryError> {
        let (mut tree, mut head, mut key) = (self.tree.clone(), self.head, self.key.clone());
        let mut full: Vec<(Tile, Vec<Hash>)> = Vec::new();
        let until = end.min(tree.size().saturating_add(PAGE));
        while tree.size() < until {
            let taken = self.frames.next(|frame| {
                head = *frame.hash();
                tree.append(leaf_hash(&head), |tile, hashes| full.push((tile, hashes.to_vec())));
                if let Some(next) = rotated_key(frame.payload(), &key) {
                    key = next;
                }
            })?;
            taken.ok_or(NotaryError::NotYet)?;
        }
        for (tile, hashes) in full {
            self.notarized.folder.write_tile(tile, &hashes)?;
        }
        (self.tree, self.head, self.key) = (tree, head, key);
        Ok(())
    }

    fn sign(&mut self) -> Result<(), NotaryError> {
        let signer = self.notarized.signer_of(&self.key).ok_or(NotaryError::NotYet)?;
        let checkpoint = Checkpoint {
            origin: signer.key().name().to_owned(),
            size: self.tree.size(),
            root: self.tree.root(),
            chain: self.head,
            time_us: (self.now_us)(),
        };
        let signed = checkpoint.sign(&*signer);
        let folder = &self.notarized.folder;
        folder.write_edges(&self.tree)?;
        folder.publish_key(signer.key())?;
        folder.write_checkpoint(signed.as_bytes())?;
        self.signed_size = self.tree.size();
        let signed = Signed { checkpoint: signed, tree: self.tree.clone() };
        *self.notarized.signed.lock() = Some(Arc::new(signed));
        self.notarized.size.send_replace(self.signed_size);
        Ok(())
    }
}

/// The tree as far as the newest checkpoint goes, which must be this log's beginning.
/// Gives the key that it is signed with, of `keys`: while the key is changed that can be either.
fn resume(
    trail: &Trail,
    folder: &Folder,
    keys: Vec<VerifyingKey>,
) -> Result<(Tree, Hash, VerifyingKey), NotaryError> {
    let mut keys = keys.into_iter();
    let mut key = keys.next().ok_or(NotaryError::NotYet)?;
    let Some(bytes) = folder.read_checkpoint()? else {
        return Ok((Tree::new(), [0; 32], key));
    };
    let mut opened = SignedCheckpoint::open(&bytes, &key);
    for next in keys {
        if opened == Err(CheckpointError::OtherKey) {
            opened = SignedCheckpoint::open(&bytes, &next);
            key = next;
        }
    }
    let signed = opened
        .map_err(|source| NotaryError::Checkpoint { path: folder.checkpoint_file(), source })?;
    let checkpoint = signed.checkpoint();
    let found = *trail.durable().borrow();
    if checkpoint.size > found {
        return Err(NotaryError::CutOff { signed: checkpoint.size, found });
    }
    // From the tiles if they say what was signed, and from the log's first record otherwise.
    let begins = trail.segments().begins();
    let trees = [Some(folder.tree_before(checkpoint.size, begins)), (begins == 1).then(Tree::new)];
    for tree in trees.into_iter().flatten() {
        let (tree, head) = grown(trail, folder, tree, checkpoint.size)?;
        if head != checkpoint.chain {
            break;
        }
        if tree.root() == checkpoint.root {
            return Ok((tree, head, key));
        }
    }
    match folder.tree_before(checkpoint.size, begins).size() {
        0 if begins > 1 => Err(NotaryError::TilesGone { first: begins }),
        _ => Err(NotaryError::Forked { signed: checkpoint.size }),
    }
}

/// `tree`, grown to `size` records of the log, its tiles written.
fn grown(
    trail: &Trail,
    folder: &Folder,
    mut tree: Tree,
    size: u64,
) -> Result<(Tree, Hash), NotaryError> {
    let mut head = [0; 32];
    // Of the last record at least the chain value is read.
    let mut frames = trail.segments().frames(tree.size().min(size.saturating_sub(1)));
    let mut after = 0;
    while after < size {
        let mut written = Ok(());
        let taken = frames.next(|frame| {
            (after, head) = (frame.sequence(), *frame.hash());
            if after > tree.size() {
                tree.append(leaf_hash(&head), |tile, hashes| {
                    if written.is_ok() {
                        written = folder.write_tile(tile, hashes);
                    }
                });
            }
        })?;
        written?;
        if taken.is_none() {
            break;
        }
    }
    Ok((tree, head))
}

const EVERY: Duration = Duration::from_secs(1);
/// How many records are taken in at once.
const PAGE: u64 = 4_096;
