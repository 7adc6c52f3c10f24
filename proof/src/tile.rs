//! Tiles: the tree cut into pieces of 8 levels (C2SP `tlog-tiles`). What each is called and holds.

use std::fmt::{self, Write};

use super::{HASH_BYTES, Hash};

/// How many hashes a full tile has: a tile is 8 levels high.
pub const TILE_HASHES: usize = 256;

/// The name of one tile. A partial one holds the first `width` hashes of what will be a full one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

/// The path is no tile's, or the bytes are not as many hashes as the tile has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a tile")]
pub struct MalformedTile;

// === impl Tile ===

impl Tile {
    /// The tile at `level` (0 to 7: with 8, a tree would have more entries than 64 bits count) and
    /// `index` with `width` hashes, 1 to 256.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, MalformedTile> {
        let full = usize::from(width) <= TILE_HASHES;
        if level > LEVEL_MAX || index > INDEX_MAX || width == 0 || !full {
            return Err(MalformedTile);
        }
        Ok(Self { level, index, width })
    }

    /// The tile that holds hash `place` of `level` in a tree of `size` entries, as wide as that tree
    /// lets it be.
    pub fn holding(level: u8, place: u64, size: u64) -> Result<Self, MalformedTile> {
        let shift = u32::from(level).checked_mul(8).ok_or(MalformedTile)?;
        let hashes = size.checked_shr(shift).unwrap_or(0);
        let index = place >> 8;
        let first = index << 8;
        let width = hashes.saturating_sub(first).min(TILE_HASHES as u64);
        if place >= hashes {
            return Err(MalformedTile);
        }
        Self::new(level, index, u16::try_from(width).map_err(|_| MalformedTile)?)
    }

    /// Which level, 0 over the leaves.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Which tile of its level, from the left.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes it has.
    pub fn width(&self) -> usize {
        self.width.into()
    }

    /// Whether it will never change.
    pub fn is_full(&self) -> bool {
        self.width() == TILE_HASHES
    }

    /// The path of the bundle of entries under this tile of level 0: `tile/entries/<N>`.
    pub fn entries_path(&self) -> String {
        let mut path = "tile/entries".to_owned();
        self.push_index(&mut path);
        path
    }

    /// Reads a path that [`fmt::Display`] made; no other spelling of it.
    pub fn parse(path: &str) -> Result<Self, MalformedTile> {
        if path.len() > PATH_BYTES_MAX {
            return Err(MalformedTile);
        }
        let rest = path.strip_prefix("tile/").ok_or(MalformedTile)?;
        let (level, rest) = rest.split_once('/').ok_or(MalformedTile)?;
        let (rest, width) = match rest.split_once(".p/") {
            Some((rest, width)) => (rest, width.parse().map_err(|_| MalformedTile)?),
            None => (rest, TILE_HASHES as u16),
        };
        let mut index = 0_u64;
        for part in rest.split('/') {
            let digits = part.strip_prefix('x').unwrap_or(part);
            let part: u64 = digits.parse().map_err(|_| MalformedTile)?;
            index = index.checked_mul(1_000).ok_or(MalformedTile)?;
            index = index.checked_add(part).ok_or(MalformedTile)?;
        }
        let tile = Self::new(level.parse().map_err(|_| MalformedTile)?, index, width)?;
        if tile.to_string() == path { Ok(tile) } else { Err(MalformedTile) }
    }

    /// Its bytes: one hash after another.
    pub fn to_bytes(hashes: &[Hash]) -> Vec<u8> {
        hashes.concat()
    }

    /// The hashes in `bytes`, if they are as many as this tile has.
    pub fn read(&self, bytes: &[u8]) -> Result<Vec<Hash>, MalformedTile> {
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        if !rest.is_empty() || hashes.len() != self.width() {
            return Err(MalformedTile);
        }
        Ok(hashes.to_vec())
    }

    /// Three digits a folder, an `x` before all but the last.
    fn push_index(&self, path: &mut String) {
        let mut parts = Vec::new();
        let mut rest = self.index;
        loop {
            parts.push(rest % 1_000);
            rest /= 1_000;
            if rest == 0 {
                break;
            }
        }
        for (place, part) in parts.iter().enumerate().rev() {
            let mark = if place > 0 { "x" } else { "" };
            // Writing to a string does not fail.
            let _ = write!(path, "/{mark}{part:03}");
        }
        if !self.is_full() {
            let _ = write!(path, ".p/{}", self.width);
        }
    }
}

/// The path: `tile/<L>/<N>`, and `.p/<W>` after a partial one's.
impl fmt::Display for Tile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = format!("tile/{}", self.level);
        self.push_index(&mut path);
        formatter.write_str(&path)
    }
}

const LEVEL_MAX: u8 = 7;
/// 2⁶⁴ leaves fill 2⁵⁶ tiles.
const INDEX_MAX: u64 = (1 << 56) - 1;
const PATH_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_is_as_the_specification_writes_it() {
        let tile = Tile::new(0, 1_234_067, 256).unwrap();
        assert_eq!(tile.to_string(), "tile/0/x001/x234/067");
        assert_eq!(tile.entries_path(), "tile/entries/x001/x234/067");
        assert_eq!(Tile::new(3, 0, 17).unwrap().to_string(), "tile/3/000.p/17");
    }

    #[test]
    fn another_spelling_of_a_path_is_refused() {
        for path in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/0/0",
            "tile/0/x000/001",
            "tile/8/000",
            "tile/0/x001/x234",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "/tile/0/000",
            "tile/0/000/",
            "tile/0/x+01/002",
            "tile/-0/000",
            "tile/0/000.p/",
            "tile/entries/000",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Tile::parse(path), Err(MalformedTile), "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_path_is_what_it_was(level in 0_u8..8, index in 0_u64..=INDEX_MAX, width in 1_u16..=256) {
            let tile = Tile::new(level, index, width).unwrap();
            prop_assert_eq!(Tile::parse(&tile.to_string()), Ok(tile));
        }

        #[test]
        fn j05_any_text_is_a_path_or_not(path in ".{0,80}") {
            if let Ok(tile) = Tile::parse(&path) {
                prop_assert_eq!(tile.to_string(), path);
            }
        }
    }
}
