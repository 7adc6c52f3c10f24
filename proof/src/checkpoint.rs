//! Checkpoints: how large the log was, and the root over all of it, signed (C2SP `tlog-checkpoint`).
//!
//! ```text
//! bulla/<installation uuid>
//! <size>
//! <base64 root>
//! chain <base64 chain value of the last record>
//! time <microseconds since the Unix epoch>
//!
//! — bulla/<installation uuid> <base64 key id and signature>
//! ```
//! Strict: a checkpoint has one form.

use base64::prelude::{BASE64_STANDARD, Engine};

use super::note::{self, Note, NoteError, Sign, VerifyingKey};
use super::{HASH_BYTES, Hash};

/// The longest signed checkpoint, with the signatures of witnesses.
pub const MAX_CHECKPOINT_BYTES: usize = 64 * 1024;

/// The longest origin.
pub const MAX_ORIGIN_BYTES: usize = note::NAME_BYTES_MAX;

/// What a checkpoint says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Whose log.
    pub origin: String,
    /// How many records.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// The chain value after the last of them.
    pub chain: Hash,
    /// When it was signed, in microseconds since the Unix epoch, by the server's clock.
    pub time_us: i64,
}

/// A checkpoint whose signature was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    bytes: Vec<u8>,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CheckpointError {
    /// It is no checkpoint of this form.
    #[error("not a signed checkpoint")]
    Malformed,
    /// It is of another log than the key is.
    #[error("the checkpoint is of another log")]
    OtherLog,
    /// It is signed with another key only.
    #[error("the checkpoint is signed with another key")]
    OtherKey,
    /// The signature under it is wrong.
    #[error("the checkpoint's signature does not verify")]
    BadSignature,
}

// === impl Checkpoint ===

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        let Self { origin, size, root, chain, time_us } = self;
        let (root, chain) = (BASE64_STANDARD.encode(root), BASE64_STANDARD.encode(chain));
        format!("{origin}\n{size}\n{root}\nchain {chain}\ntime {time_us}\n")
    }

    /// Reads what [`Checkpoint::text`] made; no other spelling of it.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        Self::parts(text)
            .filter(|checkpoint| checkpoint.text() == text)
            .ok_or(CheckpointError::Malformed)
    }

    /// Signs it.
    pub fn sign(self, signer: &dyn Sign) -> SignedCheckpoint {
        let bytes = note::sign(&self.text(), signer).into_bytes();
        SignedCheckpoint { checkpoint: self, bytes }
    }

    fn parts(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|origin| note::is_name(origin))?.to_owned();
        let size = lines.next()?.parse().ok()?;
        let root = hash(lines.next()?)?;
        let chain = hash(lines.next()?.strip_prefix("chain ")?)?;
        let time_us = lines.next()?.strip_prefix("time ")?.parse().ok()?;
        Some(Self { origin, size, root, chain, time_us })
    }
}

// === impl SignedCheckpoint ===

impl SignedCheckpoint {
    /// Reads a signed checkpoint, if `key` signed it.
    pub fn open(bytes: &[u8], key: &VerifyingKey) -> Result<Self, CheckpointError> {
        let note =
            Note::parse(bytes, MAX_CHECKPOINT_BYTES).map_err(|_| CheckpointError::Malformed)?;
        let checkpoint = Checkpoint::parse(note.text)?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::OtherLog);
        }
        note.verify(key).map_err(|error| match error {
            NoteError::Malformed => CheckpointError::Malformed,
            NoteError::OtherKey => CheckpointError::OtherKey,
            NoteError::BadSignature => CheckpointError::BadSignature,
        })?;
        Ok(Self { checkpoint, bytes: bytes.to_vec() })
    }

    /// What a checkpoint says, whoever signed it: to know which key to [`SignedCheckpoint::open`] it
    /// with, and nothing else.
    pub fn claimed(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let note = Note::parse(bytes, MAX_CHECKPOINT_BYTES);
        Checkpoint::parse(note.map_err(|_| CheckpointError::Malformed)?.text)
    }

    /// What it says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The same checkpoint with other signatures besides the one that was verified.
    pub(crate) fn with_bytes(&self, bytes: Vec<u8>) -> Self {
        Self { checkpoint: self.checkpoint.clone(), bytes }
    }

    /// The note, with every signature under it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn hash(text: &str) -> Option<Hash> {
    if text.len() > HASH_BYTES.saturating_mul(2) {
        return None;
    }
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}
