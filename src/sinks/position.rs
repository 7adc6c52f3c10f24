//! How far a sink has the log: one small file, replaced as a whole. Never believed before the log was
//! found to have just that record: a log that does not is not the one that was sent.
//!
//! ```text
//! bulla-audit-position-v1
//! <installation id, hex>
//! <sequence>
//! <chain value of that record, hex>
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::OutsideError;
use crate::audit::Hash;
use crate::trail::Trail;

/// Where one sink stands.
pub(super) struct Position {
    path: PathBuf,
    installation_id: [u8; 16],
    at: At,
    saved: u64,
}

/// A record that the sink has, and all before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct At {
    pub(super) sequence: u64,
    pub(super) hash: Hash,
}

// === impl Position ===

impl Position {
    /// Where the sink `name` stands in this log: at its beginning where nothing is known.
    pub(super) fn open(folder: &Path, name: &str, trail: &Trail) -> Result<Self, OutsideError> {
        let installation_id = trail.installation_id();
        let path = folder.join(format!("{name}.position"));
        let failed = |error| OutsideError::System("use the folder of the sinks' positions", error);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let at = match fs::read_to_string(&path) {
            Ok(text) => parsed(&text, installation_id).ok_or_else(|| OutsideError::File {
                setting: "audit.sinks",
                path: path.clone(),
                problem: "is no position of this log; remove it to have everything sent again"
                    .to_owned(),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                At { sequence: 0, hash: [0; 32] }
            }
            Err(error) => return Err(failed(error)),
        };
        // A record that retention has deleted since cannot be compared with anything.
        let is_there = at.sequence >= trail.segments().begins();
        if is_there && found(trail, at.sequence)? != Some(at.hash) {
            let (name, sequence) = (name.to_owned(), at.sequence);
            return Err(OutsideError::NotWhatWasSent { name, sequence, path });
        }
        Ok(Self { path, installation_id, at, saved: at.sequence })
    }

    pub(super) fn at(&self) -> At {
        self.at
    }

    pub(super) fn advance(&mut self, at: At) {
        self.at = at;
    }

    pub(super) fn is_saved(&self) -> bool {
        self.saved == self.at.sequence
    }

    /// Makes it durable.
    pub(super) fn save(&mut self) -> io::Result<()> {
        let At { sequence, hash } = self.at;
        let (id, hash) = (hex::encode(self.installation_id), hex::encode(hash));
        let fresh = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(format!("{FORMAT}\n{id}\n{sequence}\n{hash}\n").as_bytes())?;
        file.sync_data()?;
        fs::rename(&fresh, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        self.saved = sequence;
        Ok(())
    }
}

fn parsed(text: &str, installation_id: [u8; 16]) -> Option<At> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    let format = lines.next()? == FORMAT;
    let own = lines.next()? == hex::encode(installation_id);
    let sequence: u64 = lines.next()?.parse().ok()?;
    let hash = hex::decode(lines.next()?).ok()?.try_into().ok()?;
    (format && own && lines.next().is_none()).then_some(At { sequence, hash })
}

/// The chain value of a record, if the log has it.
fn found(trail: &Trail, sequence: u64) -> Result<Option<Hash>, OutsideError> {
    let mut frames = trail.segments().frames(sequence.saturating_sub(1));
    Ok(frames.next(|frame| *frame.hash())?)
}

const FORMAT: &str = "bulla-audit-position-v1";
