//! Receipts: by what a caller finds the record of its call again, and what a call that made several
//! blobs says about each of them.

use std::fmt;

use super::prove::{ProveError, Tiles, inclusion};
use super::tile::{TILE_HASHES, Tile};
use super::tree::Tree;
use super::verify::{NotProven, verify_inclusion};
use super::{Hash, leaf_hash, perfect};

/// Where the record of a call stands in the log, and the chain value that it has there.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Receipt {
    /// The record's place in the log, from 1.
    pub sequence: u64,
    /// Its chain value, which covers the record and all before it.
    pub hash: Hash,
}

/// The text is no receipt.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a receipt of the form SEQUENCE:HASH, the hash in 64 lower-case hexadecimal digits")]
pub struct MalformedReceipt;

/// The blobs that one call made, as a tree (RFC 6962): its root stands in the call's record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Items {
    leaves: Vec<Hash>,
}

/// That a blob is one of those that a call made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ItemProof {
    /// Which of them, from 0.
    pub index: u64,
    /// How many there were.
    pub count: u64,
    /// The hashes, in the order of RFC 6962, section 2.1.1.
    pub hashes: Vec<Hash>,
}

// === impl Receipt ===

impl Receipt {
    /// Reads what [`fmt::Display`] wrote; no other spelling of it.
    ///
    /// # Errors
    /// [`MalformedReceipt`] for anything else.
    pub fn parse(text: &str) -> Result<Self, MalformedReceipt> {
        let (sequence, digits) = text.split_once(':').ok_or(MalformedReceipt)?;
        let sequence = sequence.parse().map_err(|_| MalformedReceipt)?;
        let mut hash = Hash::default();
        hex::decode_to_slice(digits, &mut hash).map_err(|_| MalformedReceipt)?;
        let receipt = Self { sequence, hash };
        if receipt.to_string() == text { Ok(receipt) } else { Err(MalformedReceipt) }
    }
}

/// `SEQUENCE:HASH`, the hash in hexadecimal digits.
impl fmt::Display for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.sequence, hex::encode(self.hash))
    }
}

// === impl Items ===

impl Items {
    /// Of these blobs, in the order of the reply.
    pub fn of<'b>(blobs: impl IntoIterator<Item = &'b [u8]>) -> Self {
        Self { leaves: blobs.into_iter().map(leaf_hash).collect() }
    }

    /// The root over them.
    pub fn root(&self) -> Hash {
        if let [only] = self.leaves.as_slice() {
            return *only;
        }
        let mut tree = Tree::new();
        self.leaves.iter().for_each(|leaf| tree.append(*leaf, |_, _| ()));
        tree.root()
    }

    /// That blob `index` (from 0) is one of them. None where there is no such blob.
    pub fn prove(&self, index: u64) -> Option<ItemProof> {
        let count = self.leaves.len() as u64;
        let hashes = inclusion(&mut Leaves(&self.leaves), index, count).ok()?;
        Some(ItemProof { index, count, hashes })
    }
}

// === impl ItemProof ===

impl ItemProof {
    /// Whether `blob` is one of those whose root is `items_root`.
    ///
    /// # Errors
    /// [`NotProven`] where it is not shown to be.
    pub fn verify(&self, blob: &[u8], items_root: &Hash) -> Result<(), NotProven> {
        verify_inclusion(&leaf_hash(blob), self.index, self.count, &self.hashes, items_root)
    }
}

/// Leaves in a row, read as tiles of any level.
struct Leaves<'l>(&'l [Hash]);

impl Tiles for Leaves<'_> {
    type Error = ProveError<()>;

    fn tile(&mut self, tile: Tile) -> Result<Vec<Hash>, Self::Error> {
        let outside = || ProveError::Outside;
        let each = 1_usize.checked_shl(u32::from(tile.level()).saturating_mul(8));
        let each = each.ok_or_else(outside)?;
        let first = usize::try_from(tile.index()).ok().and_then(|it| it.checked_mul(TILE_HASHES));
        let first = first.and_then(|first| first.checked_mul(each)).ok_or_else(outside)?;
        let under = self.0.get(first..).ok_or_else(outside)?;
        let rows = under.chunks_exact(each).take(tile.width());
        Ok(rows.map(root_of).collect())
    }
}

/// The root over a whole number of tiles, or over the leaves of one.
fn root_of(leaves: &[Hash]) -> Hash {
    if leaves.len() <= TILE_HASHES {
        return perfect(leaves);
    }
    let above: Vec<Hash> = leaves.chunks(TILE_HASHES).map(perfect).collect();
    root_of(&above)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn blobs(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|n| format!("blob {n}").into_bytes()).collect()
    }

    #[test]
    fn h01_each_blob_of_a_batch_is_proven_and_no_other_is() {
        for count in [1, 2, 3, 7, 100, 255, 256, 257, 512, 999, 1000] {
            let blobs = blobs(count);
            let items = Items::of(blobs.iter().map(Vec::as_slice));
            let root = items.root();
            for (index, blob) in blobs.iter().enumerate() {
                let proof = items.prove(index as u64).unwrap();
                assert_eq!(proof.verify(blob, &root), Ok(()), "{index} of {count}");
                assert_eq!(proof.verify(b"another", &root), Err(NotProven));
                let elsewhere = ItemProof { index: proof.index ^ 1, ..proof };
                assert_eq!(elsewhere.verify(blob, &root), Err(NotProven), "{index} of {count}");
            }
            assert_eq!(items.prove(count as u64), None);
        }
        assert_eq!(Items::of([]).prove(0), None);
    }

    #[test]
    fn a_receipt_has_one_spelling() {
        let receipt = Receipt { sequence: 42, hash: [0xab; 32] };
        let text = receipt.to_string();
        assert_eq!(Receipt::parse(&text), Ok(receipt));
        let long = format!("{text}0");
        let upper = text.to_uppercase();
        for bad in ["", ":", "42:", &text[..20], &long, &upper, &format!("0{text}"), "+1:ab"] {
            assert_eq!(Receipt::parse(bad), Err(MalformedReceipt), "{bad}");
        }
    }
}
