//! The notary: follows what is durable, builds the tree over it, and signs how far the log has come.
//!
//! A thread of its own beside the log's, which it never makes wait. What it writes (full tiles, the
//! unfinished ones of the newest checkpoint, the checkpoints) is derived from the log: missing or
//! damaged tiles are made anew at start. Only a checkpoint says something that the log alone does not:
//! at start the newest one must be a beginning of the log, or the log was cut off or replaced, and
//! nothing starts. While it runs, its own failures are counted and told, and stop nobody.

mod cosigned;
mod folder;
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
    Checkpoint, CheckpointError, Hash, ProveError, Sign, SignedCheckpoint, TILE_HASHES, Tile,
    Tiles, Tree, VerifyingKey, consistency, inclusion, leaf_hash, rotated_key,
};

use cosigned::Cosigned;
use folder::Folder;
use thin::Thinning;

/// The notary, at work. Dropping it ends it after a last checkpoint.
pub struct Notary {
    notarized: Arc<Notarized>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What is signed so far, and proofs about it.
pub struct Notarized {
    trail: Trail,
    folder: Folder,
    signed: Mutex<Option<Arc<Signed>>>,
    failures: AtomicU64,
    signer: Mutex<Signers>,
    cosigned: Cosigned,
    size: watch::Sender<u64>,
}

/// Who signs now, and who will from the log's record of it on.
struct Signers {
    current: Arc<dyn Sign + Send + Sync>,
    next: Option<Arc<dyn Sign + Send + Sync>>,
}

/// A checkpoint and the tree that it is of.
struct Signed {
    checkpoint: SignedCheckpoint,
    tree: Tree,
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

// === impl Notarized ===

impl Notarized {
    /// The newest checkpoint, with those signatures of witnesses that are there already.
    pub fn checkpoint(&self) -> Option<SignedCheckpoint> {
        let newest = self.signed.lock().as_ref().map(|signed| signed.checkpoint.clone())?;
        Some(self.cosigned.of(&newest).unwrap_or(newest))
    }

    /// How many records the newest checkpoint covers, as it grows.
    pub fn size(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }

    /// The key that signs now.
    pub fn key(&self) -> VerifyingKey {
        self.signer.lock().current.key().clone()
    }

    /// How often a tile or a checkpoint could not be written or the log not be read.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The proof that the record `sequence` is in the tree of `size` records (the newest checkpoint's
    /// without one), and that size. Reads a few files.
    pub fn prove_inclusion(
        &self,
        sequence: u64,
        size: Option<u64>,
    ) -> Result<(u64, Vec<Hash>), NotaryError> {
        let signed = self.signed.lock().clone().ok_or(NotaryError::NotYet)?;
        let size = size.unwrap_or(signed.tree.size());
        let index = sequence.checked_sub(1).ok_or(NotaryError::NotYet)?;
        if size > signed.tree.size() {
            return Err(NotaryError::NotYet);
        }
        let proof = inclusion(&mut Reader { notarized: self, tree: &signed.tree }, index, size);
        Ok((size, proof.map_err(unproven)?))
    }

    /// The proof that the tree of `first` records is the beginning of the one of `second` (the newest
    /// checkpoint's without one), and that size. Reads a few files.
    pub fn prove_consistency(
        &self,
        first: u64,
        second: Option<u64>,
    ) -> Result<(u64, Vec<Hash>), NotaryError> {
        let signed = self.signed.lock().clone().ok_or(NotaryError::NotYet)?;
        let second = second.unwrap_or(signed.tree.size());
        if second > signed.tree.size() {
            return Err(NotaryError::NotYet);
        }
        let mut reader = Reader { notarized: self, tree: &signed.tree };
        Ok((second, consistency(&mut reader, first, second).map_err(unproven)?))
    }

    /// A full tile, made anew from the log where its file is missing or too short: files of tiles are
    /// not synced, and may be lost with the machine.
    fn full_tile(&self, tile: Tile) -> Result<Vec<Hash>, NotaryError> {
        if let Ok(hashes) = self.folder.read_full_tile(tile) {
            return Ok(hashes);
        }
        let full = Tile::new(tile.level(), tile.index(), TILE_HASHES as u16)
            .map_err(|_| NotaryError::NoTile)?;
        let first = tile.index().saturating_mul(TILE_HASHES as u64);
        if tile.level() == 0 && first < self.trail.segments().begins().saturating_sub(1) {
            return Err(NotaryError::NoTile);
        }
        let mut hashes = Vec::with_capacity(TILE_HASHES);
        match tile.level().checked_sub(1) {
            None => {
                let mut frames = self.trail.segments().frames(first);
                while hashes.len() < TILE_HASHES
                    && let Some(hash) = frames.next(|frame| leaf_hash(frame.hash()))?
                {
                    hashes.push(hash);
                }
            }
            Some(below) => {
                for index in first..first.saturating_add(TILE_HASHES as u64) {
                    let tile = Tile::new(below, index, TILE_HASHES as u16)
                        .map_err(|_| NotaryError::NoTile)?;
                    let mut tree = Tree::new();
                    let lower = self.full_tile(tile)?;
                    lower.into_iter().for_each(|hash| tree.append(hash, |_, _| ()));
                    hashes.push(tree.root());
                }
            }
        }
        if hashes.len() != TILE_HASHES {
            return Err(NotaryError::NoTile);
        }
        self.folder.write_tile(full, &hashes)?;
        Ok(hashes)
    }

    /// `next` signs from the log's record of it on.
    pub fn prepare(&self, next: Arc<dyn Sign + Send + Sync>) {
        self.signer.lock().next = Some(next);
    }

    /// The signer for `key`, to which the log's own records lead.
    fn signer_of(&self, key: &VerifyingKey) -> Option<Arc<dyn Sign + Send + Sync>> {
        let mut signers = self.signer.lock();
        let is_next = signers.next.as_ref().is_some_and(|next| next.key() == key);
        if is_next && let Some(next) = signers.next.take() {
            signers.current = next;
        }
        (signers.current.key() == key).then(|| Arc::clone(&signers.current))
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

/// Where tiles are for a proof: full ones in files, the unfinished in the tree that was signed.
struct Reader<'a> {
    notarized: &'a Notarized,
    tree: &'a Tree,
}

// === impl Reader ===

impl Tiles for Reader<'_> {
    type Error = NotaryError;

    fn tile(&mut self, tile: Tile) -> Result<Vec<Hash>, NotaryError> {
        let shift = u32::from(tile.level()).saturating_add(1).saturating_mul(8);
        let unfinished = self.tree.size().checked_shr(shift).unwrap_or(0) == tile.index();
        match unfinished {
            true => Ok(self.tree.edge(tile.level()).to_vec()),
            false => self.notarized.full_tile(tile),
        }
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

fn unproven(error: ProveError<NotaryError>) -> NotaryError {
    match error {
        ProveError::Outside => NotaryError::NotYet,
        ProveError::ShortTile => NotaryError::NoTile,
        ProveError::Tile(error) => error,
    }
}

const EVERY: Duration = Duration::from_secs(1);
/// How many records are taken in at once.
const PAGE: u64 = 4_096;
