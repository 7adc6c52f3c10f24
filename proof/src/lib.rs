//! What it takes to check an audit log of Bulla's, and nothing of the server: the Merkle tree over its
//! records, the tiles that hold the tree, signed checkpoints, and proofs between them.
//!
//! The tree is that of RFC 6962, the tiles are C2SP `tlog-tiles`, a checkpoint is a C2SP
//! `tlog-checkpoint` in a C2SP `signed-note`, so that verifiers and witnesses written by others work.
//! An entry of the tree is the chain value of a record (`docs/audit.md`), which shows nothing of it.
//! Pure: never a file, a clock or a thread, and it never holds a private key.

mod anchored;
mod checkpoint;
mod note;
mod prove;
mod receipt;
mod tile;
mod tree;
mod verify;
mod witness;

pub use anchored::AnchoredNotes;
pub use checkpoint::{
    Checkpoint, CheckpointError, MAX_CHECKPOINT_BYTES, MAX_ORIGIN_BYTES, SignedCheckpoint,
};
pub use note::{KeyError, MAX_SIGNATURES, NoteError, Sign, VerifyingKey};
pub use prove::{MAX_PROOF_HASHES, ProveError, Tiles, consistency, inclusion, root};
pub use receipt::{ItemProof, Items, MalformedReceipt, Receipt};
pub use tile::{MalformedTile, TILE_HASHES, Tile};
pub use tree::Tree;
pub use verify::{NotProven, verify_consistency, verify_inclusion};
pub use witness::WitnessKey;

use sha2::{Digest, Sha256};

/// The length of every hash here, SHA-256.
pub const HASH_BYTES: usize = 32;

/// A SHA-256 value.
pub type Hash = [u8; HASH_BYTES];

/// The leaf of a tree for an entry (RFC 6962, section 2.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// The node above two others (RFC 6962, section 2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    let (_, both) = bytes.split_at_mut(1);
    let (first, second) = both.split_at_mut(HASH_BYTES);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// The root of a tree of no entries (RFC 6962, section 2.1).
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The root of the perfect tree over `hashes`, whose number is a power of two up to a tile's.
fn perfect(hashes: &[Hash]) -> Hash {
    if let [only] = hashes {
        return *only;
    }
    let mut row = [[0; HASH_BYTES]; TILE_HASHES];
    let mut width = hashes.len().min(TILE_HASHES);
    for (into, hash) in row.iter_mut().zip(hashes) {
        *into = *hash;
    }
    while width > 1 {
        width /= 2;
        for place in 0..width {
            let from = place.saturating_mul(2);
            if let Some([left, right]) = row.get(from..from.saturating_add(2)) {
                let node = node_hash(left, right);
                if let Some(into) = row.get_mut(place) {
                    *into = node;
                }
            }
        }
    }
    let [first, ..] = row;
    first
}

/// The root over `hashes` in a row with `right` hanging to the right of them, if anything is there.
fn fold(hashes: &[Hash], right: Option<Hash>) -> Option<Hash> {
    let mut rest = hashes;
    let mut folded = right;
    while !rest.is_empty() {
        let width = 1_usize << rest.len().trailing_zeros();
        let (before, last) = rest.split_at(rest.len().saturating_sub(width));
        let node = perfect(last);
        folded = Some(folded.map_or(node, |right| node_hash(&node, &right)));
        rest = before;
    }
    folded
}
