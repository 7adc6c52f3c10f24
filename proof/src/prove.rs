//! Making proofs from tiles: that an entry is in a tree, and that a tree is the beginning of a later
//! one (RFC 6962, sections 2.1.1 and 2.1.2). Reads each tile that it needs, a few for any size.

use super::tile::{MalformedTile, Tile};
use super::{Hash, node_hash, perfect};

/// The most hashes that a proof has: two for each level of a tree of 2⁶⁴ entries.
pub const MAX_PROOF_HASHES: usize = 128;

/// Where tiles are.
pub trait Tiles {
    /// Why a tile cannot be had.
    type Error;

    /// The hashes of `tile`; more of them when the tile has grown since.
    fn tile(&mut self, tile: Tile) -> Result<Vec<Hash>, Self::Error>;
}

/// Why there is no proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProveError<E> {
    /// The entry is not in the tree, or the first tree is larger than the second.
    #[error("outside the tree")]
    Outside,
    /// A tile has fewer hashes than it must have.
    #[error("a tile is too short")]
    ShortTile,
    /// A tile cannot be had.
    #[error("cannot read a tile")]
    Tile(E),
}

/// The proof that entry `index` (from 0) is in the tree of `size` entries.
pub fn inclusion<T: Tiles>(
    tiles: &mut T,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProveError<T::Error>> {
    if index >= size {
        return Err(ProveError::Outside);
    }
    let mut reader = Reader { tiles, size };
    let mut proof = Vec::new();
    let (mut low, mut high) = (0_u64, size);
    while high.saturating_sub(low) > 1 {
        let middle = low.saturating_add(split(high.saturating_sub(low)));
        if index < middle {
            proof.push(reader.range(middle, high)?);
            high = middle;
        } else {
            proof.push(reader.range(low, middle)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `first` entries is the beginning of the one of `second`. Empty where
/// they are the same, or the first has no entries.
pub fn consistency<T: Tiles>(
    tiles: &mut T,
    first: u64,
    second: u64,
) -> Result<Vec<Hash>, ProveError<T::Error>> {
    if first > second {
        return Err(ProveError::Outside);
    }
    if first == second || first == 0 {
        return Ok(Vec::new());
    }
    let mut reader = Reader { tiles, size: second };
    let mut proof = Vec::new();
    let (mut low, mut high) = (0_u64, second);
    // The first tree ends inside low..high, until it ends where that ends.
    while high != first {
        let middle = low.saturating_add(split(high.saturating_sub(low)));
        if first <= middle {
            proof.push(reader.range(middle, high)?);
            high = middle;
        } else {
            proof.push(reader.range(low, middle)?);
            low = middle;
        }
    }
    if low > 0 {
        proof.push(reader.range(low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The root of the first `size` entries.
pub fn root<T: Tiles>(tiles: &mut T, size: u64) -> Result<Hash, ProveError<T::Error>> {
    if size == 0 {
        return Ok(super::empty_root());
    }
    Reader { tiles, size }.range(0, size)
}

struct Reader<'a, T> {
    tiles: &'a mut T,
    size: u64,
}

// === impl Reader ===

impl<T: Tiles> Reader<'_, T> {
    /// The root over the entries from `low` to before `high`, which a step of RFC 6962 has led to.
    fn range(&mut self, low: u64, high: u64) -> Result<Hash, ProveError<T::Error>> {
        let mut nodes = Vec::new();
        let mut at = low;
        while at < high {
            let left = high.saturating_sub(at);
            let width = 1_u64 << left.ilog2();
            nodes.push(self.node(width.trailing_zeros(), at)?);
            at = at.saturating_add(width);
        }
        let folded = nodes.into_iter().rev().reduce(|right, left| node_hash(&left, &right));
        folded.ok_or(ProveError::Outside)
    }

    /// The root of the perfect tree of `height` whose first entry is `first`.
    fn node(&mut self, height: u32, first: u64) -> Result<Hash, ProveError<T::Error>> {
        let outside = |_: MalformedTile| ProveError::Outside;
        let level = u8::try_from(height / 8).map_err(|_| ProveError::Outside)?;
        let place = first >> (height & !7);
        let tile = Tile::holding(level, place, self.size).map_err(outside)?;
        let hashes = self.tiles.tile(tile).map_err(ProveError::Tile)?;
        let start = usize::try_from(place & 0xff).map_err(|_| ProveError::Outside)?;
        let end = start.saturating_add(1 << (height % 8));
        Ok(perfect(hashes.get(start..end).ok_or(ProveError::ShortTile)?))
    }
}

/// The largest power of two below `width`, which is 2 at least.
fn split(width: u64) -> u64 {
    1 << width.saturating_sub(1).max(1).ilog2()
}
