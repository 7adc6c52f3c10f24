//! What lies beside a log, as the notary keeps it and an auditor finds it: tiles, and handovers of the
//! key. Evidence: what it says is believed only when a signature agrees.

use std::fs;
use std::path::Path;

use super::place::HANDOVERS;
use super::segments_in;
use crate::audit::{Hash, TILE_HASHES, Tile};

/// The hashes of the tile `index` of `level`, or of its largest unfinished form.
pub fn read_tile(folder: &Path, level: u8, index: u64) -> Option<Vec<Hash>> {
    let full = Tile::new(level, index, TILE_HASHES as u16).ok()?;
    if let Ok(bytes) = fs::read(folder.join(full.to_string())) {
        return full.read(&bytes).ok();
    }
    let parts = fs::read_dir(folder.join(format!("{full}.p"))).ok()?;
    let widths = parts.filter_map(|part| part.ok()?.file_name().to_str()?.parse().ok());
    let tile = Tile::new(level, index, widths.max()?).ok()?;
    tile.read(&fs::read(folder.join(tile.to_string())).ok()?).ok()
}

/// The details of handovers of the audit key that stood in deleted records, in order; each proves itself.
/// `folder` has the folder `segments`.
pub fn handovers(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(segments_in(folder).join(HANDOVERS)).unwrap_or_default();
    text.lines().take(HANDOVERS_MAX).map(ToOwned::to_owned).collect()
}

const HANDOVERS_MAX: usize = 10_000;
