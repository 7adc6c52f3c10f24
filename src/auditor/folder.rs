//! What lies beside a copied log: checkpoints and tiles. Evidence to be checked, never believed.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use crate::audit::verify::Signed;
use crate::audit::{Hash, Tile};
use crate::trail::{Notes, handovers, read_tile};

use super::{AuditorError, read_checkpoint, read_failed};

/// The folder `audit` of a copied data directory; none of it need be there.
pub(super) struct Beside {
    folder: PathBuf,
    notes: Option<Notes<BufReader<File>>>,
    /// The newest checkpoint, which is the last of the notes where nobody changed anything.
    newest: Option<Vec<u8>>,
    /// The tile that was read last.
    tile: Option<(u64, Vec<Hash>)>,
}

// === impl Beside ===

impl Beside {
    pub(super) fn open(folder: &Path) -> Result<Self, AuditorError> {
        let path = folder.join("checkpoints");
        let notes = match File::open(&path) {
            Ok(file) => Some(Notes::new(BufReader::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(read_failed(&path, error)),
        };
        let newest = folder.join("checkpoint");
        let newest = newest.exists().then(|| read_checkpoint(&newest)).transpose()?;
        Ok(Self { folder: folder.to_owned(), notes, newest, tile: None })
    }
}

impl Signed for Beside {
    fn kept(&mut self) -> Option<Vec<u8>> {
        // A note that cannot be read ends them, as one that was not finished does.
        let note = self.notes.as_mut().and_then(|notes| notes.next_note().ok().flatten());
        match note {
            Some(note) => {
                if self.newest.as_ref() == Some(&note) {
                    self.newest = None;
                }
                Some(note)
            }
            None => self.newest.take(),
        }
    }

    fn leaf(&mut self, sequence: u64) -> Option<Hash> {
        let place = sequence.checked_sub(1)?;
        let index = place >> 8;
        if self.tile.as_ref().is_none_or(|(known, _)| *known != index) {
            self.tile = Some((index, read_tile(&self.folder, 0, index).unwrap_or_default()));
        }
        let (_, hashes) = self.tile.as_ref()?;
        hashes.get(usize::try_from(place & 0xff).ok()?).copied()
    }

    fn tile(&mut self, tile: Tile) -> Option<Vec<Hash>> {
        read_tile(&self.folder, tile.level(), tile.index())
    }

    fn handovers(&mut self) -> Vec<String> {
        handovers(&self.folder)
    }

    fn progress(&mut self, _: u64) {}
}
