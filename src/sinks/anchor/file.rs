//! An anchor that is a file on another volume: checkpoints, one after another as in `checkpoints`,
//! appended and synced. Never shortened and never replaced. At the start each of the newest must be on
//! the log: whoever put an older or another copy of the whole directory in place is found here (H03).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Take;
use crate::audit::{
    AnchoredNotes, CheckpointError, SignedCheckpoint, VerifyingKey, verify_consistency,
};
use crate::sinks::error::{OutsideError, PlaceError};
use crate::trail::{Notarized, NotaryError};

/// The file.
pub(in crate::sinks) struct FileAnchor {
    path: PathBuf,
}

// === impl FileAnchor ===

impl FileAnchor {
    /// The file at `path`, once what it says was found to be this log's beginning.
    pub(in crate::sinks) fn open(path: &Path, notarized: &Notarized) -> Result<Self, OutsideError> {
        let unusable = |error: io::Error| OutsideError::File {
            setting: "audit.anchors.path",
            path: path.to_owned(),
            problem: error.to_string(),
        };
        let text = match newest(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(unusable(error)),
        };
        let key = notarized.key();
        for note in AnchoredNotes::new(&text) {
            on_the_log(path, note.as_bytes(), &key, notarized)?;
        }
        Ok(Self { path: path.to_owned() })
    }

    fn append(&self, note: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).read(true).mode(0o600).open(&self.path)?;
        let mut bytes = Vec::new();
        if !ends_well(&mut file)? {
            // What was not finished ends here, and is no note.
            bytes.extend_from_slice(b"\n\n");
        }
        bytes.extend_from_slice(note);
        bytes.push(b'\n');
        file.write_all(&bytes)?;
        file.sync_data()
    }
}

impl Take for FileAnchor {
    async fn take(&mut self, signed: &SignedCheckpoint) -> Result<(), PlaceError> {
        Ok(self.append(signed.as_bytes())?)
    }
}

/// That the log goes on from this checkpoint. One that another key signed may be of before that key
/// was changed, or of after a change that this copy knows nothing of: what it says must be so as well.
fn on_the_log(
    path: &Path,
    note: &[u8],
    key: &VerifyingKey,
    notarized: &Notarized,
) -> Result<(), OutsideError> {
    let then = match SignedCheckpoint::open(note, key) {
        Ok(anchored) => anchored.checkpoint().clone(),
        // A piece, or of an installation that has its checkpoints in the same file.
        Err(CheckpointError::Malformed | CheckpointError::OtherLog) => return Ok(()),
        Err(CheckpointError::OtherKey) => match SignedCheckpoint::claimed(note) {
            Ok(claimed) => claimed,
            Err(_) => return Ok(()),
        },
        Err(error @ CheckpointError::BadSignature) => {
            return Err(OutsideError::File {
                setting: "audit.anchors.path",
                path: path.to_owned(),
                problem: error.to_string(),
            });
        }
    };
    let now = notarized.checkpoint();
    let found = now.as_ref().map_or(0, |now| now.checkpoint().size);
    let (path, signed) = (path.to_owned(), then.size);
    let Some(now) = now.filter(|_| signed <= found) else {
        return Err(OutsideError::RolledBack { path, signed, found });
    };
    let proof = match notarized.prove_consistency(signed, Some(found)) {
        Err(NotaryError::NotYet) if signed == 0 || signed == found => Vec::new(),
        proof => proof?.1,
    };
    let goes_on = verify_consistency(signed, &then.root, found, &now.checkpoint().root, &proof);
    goes_on.map_err(|_| OutsideError::Forked { path, signed })
}

/// The end of the file, from a note's beginning on.
fn newest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = fs::metadata(path)?.len();
    let begins = length.saturating_sub(CHECKED_BYTES);
    file.seek(SeekFrom::Start(begins))?;
    let mut bytes = Vec::new();
    file.take(CHECKED_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(match begins {
        0 => text,
        // The first may be the end of one.
        _ => text.split_once("\n\n").map(|(_, rest)| rest.to_owned()).unwrap_or_default(),
    })
}

fn ends_well(file: &mut File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(true);
    }
    let mut end = [0; 2];
    file.seek(SeekFrom::Start(length.saturating_sub(2)))?;
    Ok(file.read_exact(&mut end).is_ok() && end == *b"\n\n")
}

/// How much of the file is checked at the start: about 10,000 checkpoints, those of some hours.
const CHECKED_BYTES: u64 = 4 * 1024 * 1024;
