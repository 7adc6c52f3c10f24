//! The tree, growing: holds its right edge alone, gives every tile as it becomes full, and knows its
//! root at any moment. Never changes what it has given.

use super::tile::{TILE_HASHES, Tile};
use super::{Hash, empty_root, fold, perfect};

/// An RFC 6962 tree of any size, in memory that grows with its height: its right edge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tree {
    size: u64,
    /// The hashes of the unfinished tile of each level; fewer than a tile's.
    edges: Vec<Vec<Hash>>,
}

// === impl Tree ===

impl Tree {
    /// The tree of no entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of `size` entries, from the hashes of the unfinished tile of each level (level 0 first).
    /// None unless they are as many as that size has. Whether they are the right ones shows its root.
    pub fn resume(size: u64, edges: Vec<Vec<Hash>>) -> Option<Self> {
        let mut left = size;
        for edge in &edges {
            if edge.len() as u64 != left & 0xff {
                return None;
            }
            left >>= 8;
        }
        (left == 0).then_some(Self { size, edges })
    }

    /// The tree of `size` entries out of the tiles that `tile` gives, as wide as it is asked or wider. None
    /// where one is missing. Whether they are the right ones shows its root.
    pub fn from_tiles(size: u64, mut tile: impl FnMut(Tile) -> Option<Vec<Hash>>) -> Option<Self> {
        let (mut edges, mut count, mut level) = (Vec::new(), size, 0_u8);
        while count > 0 {
            let edge = match u16::try_from(count & 0xff).ok()? {
                0 => Vec::new(),
                width => {
                    let asked = Tile::new(level, count >> 8, width).ok()?;
                    tile(asked)?.get(..width.into())?.to_vec()
                }
            };
            edges.push(edge);
            count >>= 8;
            level = level.saturating_add(1);
        }
        Self::resume(size, edges)
    }

    /// How many entries it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. `full` is told each tile that became full by it, the lowest first.
    pub fn append(&mut self, leaf: Hash, mut full: impl FnMut(Tile, &[Hash])) {
        self.size = self.size.saturating_add(1);
        let mut hash = leaf;
        for level in 0..=u8::MAX {
            let place = usize::from(level);
            if self.edges.len() <= place {
                self.edges.push(Vec::with_capacity(TILE_HASHES));
            }
            let Some(edge) = self.edges.get_mut(place) else { return };
            edge.push(hash);
            if edge.len() < TILE_HASHES {
                return;
            }
            let shift = u32::from(level).saturating_add(1).saturating_mul(8);
            let after = self.size.checked_shr(shift).unwrap_or(0);
            let index = after.saturating_sub(1);
            if let Ok(tile) = Tile::new(level, index, TILE_HASHES as u16) {
                full(tile, edge);
            }
            hash = perfect(edge);
            edge.clear();
        }
    }

    /// The root over everything so far.
    pub fn root(&self) -> Hash {
        let folded = self.edges.iter().fold(None, |right, edge| fold(edge, right));
        folded.unwrap_or_else(empty_root)
    }

    /// The hashes of the unfinished tile of `level`; none where the level's last tile is full.
    pub fn edge(&self, level: u8) -> &[Hash] {
        self.edges.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// The unfinished tile of each level that has one, the lowest first.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        self.edges.iter().zip(0_u8..).filter_map(|(edge, level)| {
            let shift = u32::from(level).saturating_add(1).saturating_mul(8);
            let index = self.size.checked_shr(shift).unwrap_or(0);
            let tile = Tile::new(level, index, u16::try_from(edge.len()).ok()?).ok()?;
            Some((tile, edge.as_slice()))
        })
    }
}
