//! What is signed so far, for those who ask, and proofs about it: from full tiles in files, and the unfinished
//! ones of the tree that was signed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::NotaryError;
use super::cosigned::Cosigned;
use super::folder::Folder;
use crate::audit::{
    Hash, ProveError, Sign, SignedCheckpoint, TILE_HASHES, Tile, Tiles, Tree, VerifyingKey,
    consistency, inclusion, leaf_hash,
};
use crate::trail::Trail;

/// What is signed so far, and proofs about it.
pub struct Notarized {
    pub(super) trail: Trail,
    pub(super) folder: Folder,
    pub(super) signed: Mutex<Option<Arc<Signed>>>,
    pub(super) failures: AtomicU64,
    pub(super) signer: Mutex<Signers>,
    pub(super) cosigned: Cosigned,
    pub(super) size: watch::Sender<u64>,
}

/// Who signs now, and who will from the log's record of it on.
pub(super) struct Signers {
    pub(super) current: Arc<dyn Sign + Send + Sync>,
    pub(super) next: Option<Arc<dyn Sign + Send + Sync>>,
}

/// A checkpoint and the tree that it is of.
pub(super) struct Signed {
    pub(super) checkpoint: SignedCheckpoint,
    pub(super) tree: Tree,
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

    /// A full tile, made anew from the log where its file is missing or too short: the folder is not
    /// synced, and a name may be lost with the machine.
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
    pub(super) fn signer_of(&self, key: &VerifyingKey) -> Option<Arc<dyn Sign + Send + Sync>> {
        let mut signers = self.signer.lock();
        let is_next = signers.next.as_ref().is_some_and(|next| next.key() == key);
        if is_next && let Some(next) = signers.next.take() {
            signers.current = next;
        }
        (signers.current.key() == key).then(|| Arc::clone(&signers.current))
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

fn unproven(error: ProveError<NotaryError>) -> NotaryError {
    match error {
        ProveError::Outside => NotaryError::NotYet,
        ProveError::ShortTile => NotaryError::NoTile,
        ProveError::Tile(error) => error,
    }
}
