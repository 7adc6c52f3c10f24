//! Checkpoints that witnesses have signed too: a few of the newest, and the best of them in a file.
//!
//! Witnesses answer at their own pace, so the newest checkpoint often has no co-signature yet. The best
//! is the newest of those that most witnesses have signed. Never believed by anybody who does not verify
//! it with the witnesses' keys.

use parking_lot::Mutex;

use super::folder::Folder;
use super::{Notarized, NotaryError};
use crate::audit::{CheckpointError, SignedCheckpoint, VerifyingKey, WitnessKey};

/// The newest checkpoints that somebody else signed, oldest first, with how many did.
#[derive(Default)]
pub(super) struct Cosigned(Mutex<Vec<(SignedCheckpoint, usize)>>);

// === impl Cosigned ===

impl Cosigned {
    /// What was kept, if one of `keys` signed it.
    pub(super) fn read(folder: &Folder, keys: &[VerifyingKey]) -> Result<Self, NotaryError> {
        let Some(bytes) = folder.read_cosigned()? else { return Ok(Self::default()) };
        let opened = keys.iter().find_map(|key| SignedCheckpoint::open(&bytes, key).ok());
        Ok(Self(Mutex::new(opened.map(|signed| (signed, 1)).into_iter().collect())))
    }

    /// How many records the newest covers.
    pub(super) fn size(&self) -> u64 {
        self.0.lock().last().map_or(0, |(signed, _)| signed.checkpoint().size)
    }

    /// `signed` with the co-signatures that are known of it.
    pub(super) fn of(&self, signed: &SignedCheckpoint) -> Option<SignedCheckpoint> {
        let known = self.0.lock();
        let same = known.iter().find(|(known, _)| known.checkpoint() == signed.checkpoint());
        same.map(|(known, _)| known.clone())
    }

    fn best(&self) -> Option<SignedCheckpoint> {
        let known = self.0.lock();
        let best = known.iter().max_by_key(|(signed, count)| (*count, signed.checkpoint().size));
        best.map(|(signed, _)| signed.clone())
    }

    fn add(
        &self,
        signed: &SignedCheckpoint,
        lines: &str,
        witness: &WitnessKey,
    ) -> Result<(), CheckpointError> {
        let mut known = self.0.lock();
        let place = known.iter().position(|(known, _)| known.checkpoint() == signed.checkpoint());
        match place.and_then(|place| known.get_mut(place)) {
            Some((known, count)) => {
                let is_new = known.cosigned_by(witness).is_err();
                *known = known.with_cosignature(lines, witness)?;
                *count = count.saturating_add(usize::from(is_new));
            }
            None => {
                known.push((signed.with_cosignature(lines, witness)?, 1));
                known.sort_by_key(|(signed, _)| signed.checkpoint().size);
                if known.len() > KEPT {
                    known.remove(0);
                }
            }
        }
        Ok(())
    }
}

// === impl Notarized ===

impl Notarized {
    /// The checkpoint that most witnesses have signed, of the newest.
    pub fn cosigned(&self) -> Option<SignedCheckpoint> {
        self.cosigned.best()
    }

    /// A witness has answered with `lines` about `signed`, which is this log's.
    ///
    /// # Errors
    /// The witness did not sign it, or the file cannot be written.
    pub fn cosign(
        &self,
        signed: &SignedCheckpoint,
        lines: &str,
        witness: &WitnessKey,
    ) -> Result<(), NotaryError> {
        self.cosigned.add(signed, lines, witness).map_err(NotaryError::Cosignature)?;
        match self.cosigned.best() {
            Some(best) => self.folder.write_cosigned(best.as_bytes()),
            None => Ok(()),
        }
    }
}

/// As many as are signed in a minute.
const KEPT: usize = 64;
