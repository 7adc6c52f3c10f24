//! The notary's files: `checkpoint`, `checkpoints`, `cosigned`, `key.pub` and `tile/` (C2SP `tlog-tiles`) in one
//! folder, for their owner only. A file is replaced as a whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::NotaryError;
use crate::audit::{Hash, MAX_CHECKPOINT_BYTES, TILE_HASHES, Tile, Tree, VerifyingKey};
use crate::trail::Notes;
use crate::trail::tiles::read_tile;

/// The folder, and which unfinished tiles are in it.
pub(super) struct Folder {
    path: PathBuf,
    edges: Mutex<Vec<Tile>>,
    cosigning: Mutex<()>,
}

// === impl Folder ===

impl Folder {
    /// Opens the folder, or makes it, and takes a half-written note off the end of `checkpoints`.
    pub(super) fn open(path: &Path) -> Result<Self, NotaryError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).map_err(|error| failed("make", path, error))?;
        let folder =
            Self { path: path.to_owned(), edges: Mutex::default(), cosigning: Mutex::default() };
        folder.mend_checkpoints()?;
        Ok(folder)
    }

    pub(super) fn checkpoint_file(&self) -> PathBuf {
        self.path.join("checkpoint")
    }

    /// The newest checkpoint, whoever wrote it.
    pub(super) fn read_checkpoint(&self) -> Result<Option<Vec<u8>>, NotaryError> {
        self.read_note(self.checkpoint_file())
    }

    /// The checkpoint that witnesses have signed, whoever wrote it.
    pub(super) fn read_cosigned(&self) -> Result<Option<Vec<u8>>, NotaryError> {
        self.read_note(self.path.join(COSIGNED))
    }

    pub(super) fn write_cosigned(&self, bytes: &[u8]) -> Result<(), NotaryError> {
        let _writing = self.cosigning.lock();
        self.replace(&self.path.join(COSIGNED), bytes)
    }

    fn read_note(&self, path: PathBuf) -> Result<Option<Vec<u8>>, NotaryError> {
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                let most = MAX_CHECKPOINT_BYTES.saturating_add(1) as u64;
                let read = file.take(most).read_to_end(&mut bytes);
                read.map_err(|error| failed("read", &path, error))?;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    /// Appends it to `checkpoints` and makes it the newest.
    pub(super) fn write_checkpoint(&self, bytes: &[u8]) -> Result<(), NotaryError> {
        let path = self.path.join("checkpoints");
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600);
        let mut note = bytes.to_vec();
        note.push(b'\n');
        let appended = options.open(&path).and_then(|mut file| file.write_all(&note));
        if let Err(error) = appended {
            // The next note must not begin in the middle of this one.
            let _ = self.mend_checkpoints();
            return Err(failed("write", &path, error));
        }
        self.replace(&self.checkpoint_file(), bytes)
    }

    /// Thins `checkpoints` out: those that `keeps` does not name go. Replaced as a whole.
    pub(super) fn thin_checkpoints(
        &self,
        mut keeps: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), NotaryError> {
        let path = self.path.join("checkpoints");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("read", &path, error)),
        };
        let mut notes = Notes::new(BufReader::new(file));
        let (mut kept, mut gone) = (Vec::new(), 0_u64);
        while let Some(note) = notes.next_note().map_err(|error| failed("read", &path, error))? {
            if keeps(&note) {
                kept.extend_from_slice(&note);
                kept.push(b'\n');
            } else {
                gone = gone.saturating_add(1);
            }
        }
        if gone == 0 { Ok(()) } else { self.replace(&path, &kept) }
    }

    /// The public key, for convenience: nobody must trust it because it lies there.
    pub(super) fn publish_key(&self, key: &VerifyingKey) -> Result<(), NotaryError> {
        let (path, line) = (self.path.join("key.pub"), format!("{key}\n"));
        if fs::read(&path).is_ok_and(|found| found == line.as_bytes()) {
            return Ok(());
        }
        self.replace(&path, line.as_bytes())
    }

    pub(super) fn write_tile(&self, tile: Tile, hashes: &[Hash]) -> Result<(), NotaryError> {
        let path = self.path.join(tile.to_string());
        let bytes = Tile::to_bytes(hashes);
        if let Some(parent) = path.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(parent).map_err(|error| failed("make", parent, error))?;
        }
        self.replace(&path, &bytes)
    }

    /// The unfinished tiles of `tree` are there already, from before.
    pub(super) fn remember_edges(&self, tree: &Tree) {
        *self.edges.lock() = tree.partial_tiles().map(|(tile, _)| tile).collect();
    }

    /// Writes the unfinished tiles of `tree` and removes those of the tree before it.
    pub(super) fn write_edges(&self, tree: &Tree) -> Result<(), NotaryError> {
        let mut edges = self.edges.lock();
        let now: Vec<Tile> = tree.partial_tiles().map(|(tile, _)| tile).collect();
        for (tile, hashes) in tree.partial_tiles() {
            if !edges.contains(&tile) || !self.path.join(tile.to_string()).exists() {
                self.write_tile(tile, hashes)?;
            }
        }
        for old in edges.iter().filter(|tile| !now.contains(tile)) {
            // One too many harms nobody.
            let path = self.path.join(old.to_string());
            let _ = fs::remove_file(&path);
            let _ = path.parent().map(fs::remove_dir);
        }
        *edges = now;
        Ok(())
    }

    pub(super) fn read_full_tile(&self, tile: Tile) -> Result<Vec<Hash>, NotaryError> {
        let full = Tile::new(tile.level(), tile.index(), TILE_HASHES as u16);
        let full = full.map_err(|_| NotaryError::NoTile)?;
        let bytes = fs::read(self.path.join(full.to_string())).map_err(|_| NotaryError::NoTile)?;
        full.read(&bytes).map_err(|_| NotaryError::NoTile)
    }

    /// The tree of the largest whole number of tiles in `size`, or of all records before `begins` where
    /// those are more, from the tiles; an empty one where one is missing. Believed by nobody before its
    /// root was compared.
    pub(super) fn tree_before(&self, size: u64, begins: u64) -> Tree {
        let whole = (size & !0xff).max(begins.saturating_sub(1));
        let tree = Tree::from_tiles(whole, |tile| {
            let (level, index) = (tile.level(), tile.index());
            let kept = read_tile(&self.path, level, index);
            let below = level.checked_sub(1).filter(|_| begins == 1);
            // Out of the tiles below where those can be made anew, so that a damaged one is found.
            match below.zip(kept.as_ref()) {
                Some((below, kept)) => {
                    let first = index.saturating_mul(TILE_HASHES as u64);
                    (first..).take(kept.len()).map(|index| self.tile_root(below, index)).collect()
                }
                None => kept,
            }
        });
        tree.unwrap_or_default()
    }

    fn tile_root(&self, level: u8, index: u64) -> Option<Hash> {
        let tile = Tile::new(level, index, TILE_HASHES as u16).ok()?;
        let hashes = self.read_full_tile(tile).ok()?;
        let mut tree = Tree::new();
        hashes.iter().for_each(|hash| tree.append(*hash, |_, _| ()));
        Some(tree.root())
    }

    /// Cuts `checkpoints` off after its last whole note.
    fn mend_checkpoints(&self) -> Result<(), NotaryError> {
        let path = self.path.join("checkpoints");
        let mended = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = match options.read(true).write(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            let length = file.metadata()?.len();
            let tail = length.min(TAIL_BYTES);
            file.seek(SeekFrom::Start(length.saturating_sub(tail)))?;
            let mut bytes = Vec::new();
            (&file).take(tail).read_to_end(&mut bytes)?;
            let whole = last_whole_note(&bytes) as u64;
            if whole < tail {
                file.set_len(length.saturating_sub(tail).saturating_add(whole))?;
            }
            Ok(())
        };
        mended().map_err(|error| failed("mend", &path, error))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), NotaryError> {
        let written = || -> io::Result<()> {
            let fresh = path.with_extension("new");
            let mut options = OpenOptions::new();
            options.create(true).write(true).truncate(true).mode(0o600);
            let mut file = options.open(&fresh)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&fresh, path)
        };
        written().map_err(|error| failed("write", path, error))
    }
}

/// Where the last whole note in `tail` ends: after an empty line that follows a signature.
fn last_whole_note(tail: &[u8]) -> usize {
    let mut end = 0;
    let mut at = 0;
    let mut signed = false;
    for line in tail.split_inclusive(|byte| *byte == b'\n') {
        at = line.len().saturating_add(at);
        if signed && line == b"\n" {
            end = at;
        }
        signed = line.starts_with("\u{2014} ".as_bytes()) && line.ends_with(b"\n");
    }
    end
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> NotaryError {
    NotaryError::Io { doing, path: path.to_owned(), source }
}

const COSIGNED: &str = "cosigned";
/// Longer than the longest note, with the beginning of the one before it.
const TAIL_BYTES: u64 = 2 * MAX_CHECKPOINT_BYTES as u64;
