//! Co-signatures of witnesses (C2SP `tlog-cosignature`, `cosignature/v1`): somebody else saw this
//! checkpoint at a time, and saw that it goes on from the one before. Ed25519 alone (type 4).

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use super::checkpoint::{CheckpointError, MAX_CHECKPOINT_BYTES, SignedCheckpoint};
use super::note::{self, KeyError, Note, NoteError, Signature};

/// A witness's public key, with the name that it signs under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WitnessKey {
    name: String,
    id: [u8; 4],
    public: [u8; note::PUBLIC_BYTES],
}

// === impl WitnessKey ===

impl WitnessKey {
    /// The key of the witness `name`.
    pub fn new(name: &str, public: [u8; note::PUBLIC_BYTES]) -> Result<Self, KeyError> {
        let id = note::key_id(name, ALGORITHM, &public)?;
        Ok(Self { name: name.to_owned(), id, public })
    }

    /// Reads `NAME+ID+KEY`; a line feed may end it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let (name, public) = note::parse_key(line, ALGORITHM)?;
        let key = Self::new(name, public)?;
        if key.to_string() == line { Ok(key) } else { Err(KeyError) }
    }

    /// The name that it signs under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it signed this note, whoever else did.
    pub fn has_signed(&self, note: &[u8]) -> bool {
        self.time_of(note).is_ok()
    }

    fn time_of(&self, note: &[u8]) -> Result<u64, NoteError> {
        let note = Note::parse(note, MAX_CHECKPOINT_BYTES)?;
        let signature = note.signatures.iter().find(|signature| self.is_by(signature));
        self.verify(note.text, signature.ok_or(NoteError::OtherKey)?)
    }

    fn is_by(&self, signature: &Signature<'_>) -> bool {
        signature.name == self.name && signature.id == self.id
    }

    /// When it signed, in seconds since the Unix epoch.
    fn verify(&self, text: &str, signature: &Signature<'_>) -> Result<u64, NoteError> {
        let (time, bytes) = signature.bytes.split_first_chunk().ok_or(NoteError::BadSignature)?;
        let time = u64::from_be_bytes(*time);
        let message = format!("cosignature/v1\ntime {time}\n{text}");
        let verified =
            UnparsedPublicKey::new(&ED25519, self.public).verify(message.as_bytes(), bytes);
        verified.map(|()| time).map_err(|_| NoteError::BadSignature)
    }
}

/// The verifier key: `NAME+ID+KEY`.
impl fmt::Display for WitnessKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        note::show_key(formatter, &self.name, self.id, ALGORITHM, &self.public)
    }
}

// === impl SignedCheckpoint ===

impl SignedCheckpoint {
    /// When the witness signed it, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// It did not, or what stands there in its name does not verify.
    pub fn cosigned_by(&self, witness: &WitnessKey) -> Result<u64, NoteError> {
        witness.time_of(self.as_bytes())
    }

    /// How many of these witnesses signed it.
    pub fn cosignatures(&self, witnesses: &[WitnessKey]) -> usize {
        witnesses.iter().filter(|witness| self.cosigned_by(witness).is_ok()).count()
    }

    /// The same with the witness's signature below it, which `lines` has: what a witness answers.
    ///
    /// # Errors
    /// None of the lines is that witness's, or it does not verify.
    pub fn with_cosignature(
        &self,
        lines: &str,
        witness: &WitnessKey,
    ) -> Result<Self, CheckpointError> {
        let note = Note::parse(self.as_bytes(), MAX_CHECKPOINT_BYTES)
            .map_err(|_| CheckpointError::Malformed)?;
        for line in lines.lines().take(note::MAX_SIGNATURES) {
            let Some(signature) = Signature::parse(line) else { continue };
            if !witness.is_by(&signature) {
                continue;
            }
            witness.verify(note.text, &signature).map_err(|_| CheckpointError::BadSignature)?;
            // An older one of the same witness makes room: a note has one of each.
            let mut bytes = format!("{}\n", note.text);
            for kept in note.signatures.iter().filter(|kept| !witness.is_by(kept)) {
                bytes.push_str(&kept.line());
            }
            bytes.push_str(&signature.line());
            return Ok(self.with_bytes(bytes.into_bytes()));
        }
        Err(CheckpointError::OtherKey)
    }
}

/// Ed25519 with a time, in front of a key and in its id.
const ALGORITHM: u8 = 4;
