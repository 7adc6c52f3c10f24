//! Signed notes (C2SP `signed-note`): a text, and lines under it that say who signed it. Ed25519 alone
//! (RFC 8032). Parsing is strict: one text has one form, and a signature that is there twice or by
//! nobody is no signature.

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

/// The most signatures under a note: the log's own, and those of witnesses.
pub const MAX_SIGNATURES: usize = 16;

/// Somebody's public key, with the name that it signs under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifyingKey {
    name: String,
    id: [u8; 4],
    public: [u8; PUBLIC_BYTES],
}

/// Signs with a key that this crate never sees.
pub trait Sign {
    /// The public part.
    fn key(&self) -> &VerifyingKey;
    /// The Ed25519 signature of `message`.
    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES];
}

/// The text is no verifier key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a verifier key of the form NAME+ID+KEY")]
pub struct KeyError;

/// Why a note is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoteError {
    /// It is no note.
    #[error("not a signed note")]
    Malformed,
    /// Nobody with this key signed it.
    #[error("not signed with this key")]
    OtherKey,
    /// It says that it is signed with this key, and is not.
    #[error("the signature does not verify")]
    BadSignature,
}

/// A note, parsed. That it parses says nothing about who signed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Note<'a> {
    /// With the line feed that ends it.
    pub(crate) text: &'a str,
    pub(crate) signatures: Vec<Signature<'a>>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Signature<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: [u8; 4],
    pub(crate) bytes: Vec<u8>,
}

// === impl VerifyingKey ===

impl VerifyingKey {
    /// The key of `name`, which has no space, plus sign or control character.
    pub fn new(name: &str, public: [u8; PUBLIC_BYTES]) -> Result<Self, KeyError> {
        let id = key_id(name, ALGORITHM, &public)?;
        Ok(Self { name: name.to_owned(), id, public })
    }

    /// Reads `NAME+ID+KEY`; a line feed may end it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let (name, public) = parse_key(line, ALGORITHM)?;
        let key = Self::new(name, public)?;
        if key.to_string() == line { Ok(key) } else { Err(KeyError) }
    }

    /// The name that it signs under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Ed25519 public key.
    pub fn public(&self) -> &[u8; PUBLIC_BYTES] {
        &self.public
    }

    /// Whether it signed `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(message, signature).is_ok()
    }
}

/// The verifier key: `NAME+ID+KEY`.
impl fmt::Display for VerifyingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        show_key(formatter, &self.name, self.id, ALGORITHM, &self.public)
    }
}

// === impl Note ===

impl<'a> Note<'a> {
    /// Reads a note of at most `bytes_max`.
    pub(crate) fn parse(bytes: &'a [u8], bytes_max: usize) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed;
        if bytes.len() > bytes_max {
            return Err(malformed);
        }
        let note = std::str::from_utf8(bytes).map_err(|_| malformed)?;
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(malformed);
        }
        let at = note.rfind("\n\n").ok_or(malformed)?;
        let (text, signatures) = note.split_at_checked(at.saturating_add(1)).ok_or(malformed)?;
        let signatures = signatures.strip_prefix('\n').ok_or(malformed)?;
        let lines = signatures.strip_suffix('\n').ok_or(malformed)?;
        let mut found: Vec<Signature<'a>> = Vec::new();
        for line in lines.split('\n') {
            let signature = Signature::parse(line).ok_or(malformed)?;
            let twice = found.iter().any(|s| s.name == signature.name && s.id == signature.id);
            if twice || found.len() == MAX_SIGNATURES {
                return Err(malformed);
            }
            found.push(signature);
        }
        Ok(Self { text, signatures: found })
    }

    /// Whether `key` signed it.
    pub(crate) fn verify(&self, key: &VerifyingKey) -> Result<(), NoteError> {
        let mine = self.signatures.iter().find(|s| s.name == key.name && s.id == key.id);
        let signature = mine.ok_or(NoteError::OtherKey)?;
        match key.verify(self.text.as_bytes(), &signature.bytes) {
            true => Ok(()),
            false => Err(NoteError::BadSignature),
        }
    }
}

/// `text`, which ends with a line feed, signed.
pub(crate) fn sign(text: &str, signer: &dyn Sign) -> String {
    let key = signer.key();
    let bytes = signer.sign(text.as_bytes()).to_vec();
    format!("{text}\n{}", Signature { name: &key.name, id: key.id, bytes }.line())
}

/// The id of a key of `name`: the beginning of SHA-256(name ‖ 0A ‖ algorithm ‖ key).
pub(crate) fn key_id(name: &str, algorithm: u8, public: &[u8]) -> Result<[u8; 4], KeyError> {
    if !is_name(name) {
        return Err(KeyError);
    }
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update(b"\n")
        .chain_update([algorithm])
        .chain_update(public)
        .finalize();
    digest.first_chunk().copied().ok_or(KeyError)
}

/// The name and the key of `NAME+ID+KEY`. Whether the id is the key's is not looked at.
pub(crate) fn parse_key(line: &str, algorithm: u8) -> Result<(&str, [u8; PUBLIC_BYTES]), KeyError> {
    if line.len() > KEY_BYTES_MAX {
        return Err(KeyError);
    }
    let mut parts = line.splitn(3, '+');
    let (name, _, key) = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(id), Some(key)) => (name, id, key),
        _ => return Err(KeyError),
    };
    let bytes = BASE64_STANDARD.decode(key).map_err(|_| KeyError)?;
    match bytes.split_first() {
        Some((first, public)) if *first == algorithm => {
            Ok((name, public.try_into().map_err(|_| KeyError)?))
        }
        _ => Err(KeyError),
    }
}

/// `NAME+ID+KEY`.
pub(crate) fn show_key(
    formatter: &mut fmt::Formatter<'_>,
    name: &str,
    id: [u8; 4],
    algorithm: u8,
    public: &[u8],
) -> fmt::Result {
    let mut key = vec![algorithm];
    key.extend_from_slice(public);
    write!(formatter, "{name}+{}+{}", hex::encode(id), BASE64_STANDARD.encode(key))
}

// === impl Signature ===

impl<'a> Signature<'a> {
    /// `— NAME BASE64(id ‖ signature)`. Another kind of signature (a witness's) is longer.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let decoded = BASE64_STANDARD.decode(encoded).ok()?;
        let (id, bytes) = decoded.split_first_chunk()?;
        let well = is_name(name) && !bytes.is_empty() && bytes.len() <= SIGNATURE_BYTES_MAX;
        well.then(|| Self { name, id: *id, bytes: bytes.to_vec() })
    }

    /// As [`Signature::parse`] reads it, with its line feed.
    pub(crate) fn line(&self) -> String {
        let bytes = [&self.id[..], &self.bytes].concat();
        format!("\u{2014} {} {}\n", self.name, BASE64_STANDARD.encode(bytes))
    }
}

/// A name of a key, as the specification has it, and not too long.
pub(crate) fn is_name(name: &str) -> bool {
    let well = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(well)
}

/// Ed25519, in front of a key and in its id.
const ALGORITHM: u8 = 1;
pub(crate) const PUBLIC_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
/// A post-quantum witness's signature is a few thousand bytes long.
const SIGNATURE_BYTES_MAX: usize = 5_000;
pub(crate) const NAME_BYTES_MAX: usize = 255;
const KEY_BYTES_MAX: usize = NAME_BYTES_MAX + 1 + 8 + 1 + 44;
