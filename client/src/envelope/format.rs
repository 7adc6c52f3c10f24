//! The bytes of sealed data, format `bulla-data-v1`: the header, the chunks, the ways in which they
//! can be wrong. Does no I/O and asks no server.
//!
//! ```text
//! D      = magic D7 42 55 02 ‖ suite 01 ‖ 00 ‖ u16 length ‖ wrapped data key
//! salt   = SHA-256( D ‖ u64 |aad| ‖ aad )
//! K ‖ C  = HKDF-SHA-256(data key, salt, "bulla-data-v1", 64 B)
//! sealed = D ‖ C ‖ chunks of 64 KiB: AES-256-GCM(K, nonce = u88 counter ‖ last? 01 : 00)
//! ```
//!
//! `K` and every nonce follow from the data key, `D` and the aad. One data key therefore seals one
//! message: a second one would repeat its nonces. [`Sealer`](super::Sealer) consumes its data key.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretBox};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// What is wrong with sealed data. Each is found before any byte that it concerns is released.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataFailure {
    /// It does not begin as sealed data does.
    #[error("this is no data sealed by bulla")]
    Magic,
    /// It was sealed by a suite that this client does not know.
    #[error("the data is sealed with a suite that this client does not know")]
    Suite,
    /// The reserved byte is not zero.
    #[error("the data's header has a reserved byte that is not zero")]
    Reserved,
    /// The length of the wrapped data key is not within 107 to 4202 bytes.
    #[error("the data's wrapped key is not of a possible length")]
    WrappedLength,
    /// It ends too early.
    #[error("the data is cut short")]
    Truncated,
    /// The data key, the header or the aad is not the one that it was sealed with.
    #[error("the data was sealed under another data key, header or associated data")]
    Commitment,
    /// A chunk was changed, moved, dropped or added.
    #[error("a chunk of the data was changed, moved, dropped or added")]
    Chunk,
    /// An empty chunk follows others.
    #[error("the data ends with an empty chunk after others")]
    EmptyLastChunk,
}

/// A data key in the clear: 16 to 64 bytes, mute, wiped on drop.
pub struct DataKey(SecretBox<[u8]>);

/// The length of a data key is not within 16 to 64 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a data key has 16 to 64 bytes, not {bytes}")]
pub struct DataKeyLength {
    /// The length that was given.
    pub bytes: usize,
}

/// The front of sealed data, parsed: the wrapped data key and the commitment. Not secret, and not
/// yet authenticated: [`Opener::new`](super::Opener::new) does that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// `D ‖ C`.
    bytes: Vec<u8>,
}

/// The cipher of one message's chunks.
pub(super) struct Chunks(Aes256Gcm);

/// How a body of sealed chunks divides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Division {
    /// How many chunks there are, at least one.
    pub(super) chunks: u64,
    /// The length of the last one, tag included: 1 to [`SEALED_CHUNK_BYTES`].
    pub(super) last_bytes: usize,
}

// === impl DataFailure ===

impl DataFailure {
    /// The stable name of the failure, as in the known answers.
    pub fn class(self) -> &'static str {
        match self {
            Self::Magic => "magic",
            Self::Suite => "suite",
            Self::Reserved => "reserved",
            Self::WrappedLength => "wrapped_length",
            Self::Truncated => "truncated",
            Self::Commitment => "commitment",
            Self::Chunk => "chunk",
            Self::EmptyLastChunk => "empty_last_chunk",
        }
    }
}

// === impl DataKey ===

impl DataKey {
    /// Takes the bytes of a data key and wipes where they were.
    ///
    /// # Errors
    /// [`DataKeyLength`] unless there are 16 to 64.
    pub fn from_bytes(mut bytes: Vec<u8>) -> Result<Self, DataKeyLength> {
        if !(16..=64).contains(&bytes.len()) {
            let length = bytes.len();
            bytes.zeroize();
            return Err(DataKeyLength { bytes: length });
        }
        let boxed: Box<[u8]> = Box::from(bytes.as_slice());
        bytes.zeroize();
        Ok(Self(SecretBox::new(boxed)))
    }
}

// === impl Header ===

impl Header {
    /// Divides sealed data into its header and its chunks.
    ///
    /// # Errors
    /// [`DataFailure`]: `Truncated`, `Magic`, `Suite`, `Reserved` or `WrappedLength`.
    pub fn split(sealed: &[u8]) -> Result<(Self, &[u8]), DataFailure> {
        let (front, rest) = sealed.split_first_chunk().ok_or(DataFailure::Truncated)?;
        let rest_bytes = Self::rest_bytes(front)?;
        let (rest, body) = rest.split_at_checked(rest_bytes).ok_or(DataFailure::Truncated)?;
        Ok((Self { bytes: [front.as_slice(), rest].concat() }, body))
    }

    /// Joins the first bytes of sealed data and those that [`Header::rest_bytes`] asked for.
    pub(super) fn join(front: &[u8; FRONT_BYTES], rest: &[u8]) -> Result<Self, DataFailure> {
        Ok(Self::split(&[front.as_slice(), rest].concat())?.0)
    }

    /// How many bytes of header follow the first eight.
    pub(super) fn rest_bytes(front: &[u8; FRONT_BYTES]) -> Result<usize, DataFailure> {
        let [m0, m1, m2, m3, suite, reserved, high, low] = *front;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(DataFailure::Magic);
        }
        if suite != SUITE {
            return Err(DataFailure::Suite);
        }
        if reserved != 0 {
            return Err(DataFailure::Reserved);
        }
        let wrapped_bytes = usize::from(u16::from_be_bytes([high, low]));
        if !WRAPPED_BYTES.contains(&wrapped_bytes) {
            return Err(DataFailure::WrappedLength);
        }
        Ok(wrapped_bytes.saturating_add(COMMITMENT_BYTES))
    }

    /// The wrapped data key that the data was sealed with. It never changes: the data's keys are
    /// derived from it, so a re-wrapped copy is kept beside the data, not in it.
    pub fn wrapped(&self) -> &[u8] {
        self.d().get(FRONT_BYTES..).unwrap_or_default()
    }

    /// The length in bytes of this header within the sealed data.
    pub fn header_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn d(&self) -> &[u8] {
        self.bytes.get(..self.bytes.len().saturating_sub(COMMITMENT_BYTES)).unwrap_or_default()
    }

    fn commitment(&self) -> &[u8] {
        self.bytes.get(self.d().len()..).unwrap_or_default()
    }
}

// === impl Chunks ===

impl Chunks {
    /// The cipher and the header for a new message.
    pub(super) fn to_seal(
        data_key: &DataKey,
        wrapped: &[u8],
        aad: &[u8],
    ) -> Result<(Self, Header), DataFailure> {
        if !WRAPPED_BYTES.contains(&wrapped.len()) {
            return Err(DataFailure::WrappedLength);
        }
        let length = u16::try_from(wrapped.len()).map_err(|_| DataFailure::WrappedLength)?;
        let front = [MAGIC.as_slice(), &[SUITE, 0], &length.to_be_bytes()].concat();
        let d = [front.as_slice(), wrapped].concat();
        let (chunks, commitment) = derive(data_key, &d, aad)?;
        Ok((chunks, Header { bytes: [d.as_slice(), commitment.as_slice()].concat() }))
    }

    /// The cipher of a message that exists. Checks the commitment.
    pub(super) fn to_open(
        data_key: &DataKey,
        header: &Header,
        aad: &[u8],
    ) -> Result<Self, DataFailure> {
        let (chunks, commitment) = derive(data_key, header.d(), aad)?;
        if bool::from(commitment.as_slice().ct_eq(header.commitment())) {
            Ok(chunks)
        } else {
            Err(DataFailure::Commitment)
        }
    }

    /// Seals in place; the tag follows the chunk.
    pub(super) fn seal(
        &self,
        counter: u64,
        last: bool,
        chunk: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], DataFailure> {
        let nonce = nonce(counter, last).into();
        let tag = self.0.encrypt_inout_detached(&nonce, &[], chunk.into());
        tag.map(Into::into).map_err(|_| DataFailure::Chunk)
    }

    /// Verifies the tag at the end of `chunk`, and only then opens what is before it, in place.
    /// Gives the length of the plaintext.
    pub(super) fn open(
        &self,
        counter: u64,
        last: bool,
        chunk: &mut [u8],
    ) -> Result<usize, DataFailure> {
        let (body, tag) = chunk.split_last_chunk_mut().ok_or(DataFailure::Truncated)?;
        let (nonce, tag): (_, [u8; TAG_BYTES]) = (nonce(counter, last).into(), *tag);
        let opened = self.0.decrypt_inout_detached(&nonce, &[], (&mut *body).into(), &tag.into());
        opened.map(|()| body.len()).map_err(|_| DataFailure::Chunk)
    }

    /// The same as [`Chunks::open`], into a buffer of exactly the plaintext's length.
    pub(super) fn open_into(
        &self,
        counter: u64,
        last: bool,
        chunk: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), DataFailure> {
        let (body, tag) = chunk.split_last_chunk().ok_or(DataFailure::Truncated)?;
        let (nonce, tag): (_, [u8; TAG_BYTES]) = (nonce(counter, last).into(), *tag);
        let buffer = InOutBuf::new(body, plaintext).map_err(|_| DataFailure::Chunk)?;
        let opened = self.0.decrypt_inout_detached(&nonce, &[], buffer, &tag.into());
        opened.map_err(|_| DataFailure::Chunk)
    }
}

// === impl Division ===

impl Division {
    /// How `body_bytes` of chunks divide.
    ///
    /// # Errors
    /// `Truncated` when there is not even a first byte.
    pub(super) fn of(body_bytes: u64) -> Result<Self, DataFailure> {
        let before_last = body_bytes.checked_sub(1).ok_or(DataFailure::Truncated)?;
        let (full, rest) = divide(before_last, SEALED_CHUNK_BYTES);
        Ok(Self { chunks: full.saturating_add(1), last_bytes: rest.saturating_add(1) })
    }

    /// # Errors
    /// `Truncated` or `EmptyLastChunk`.
    pub(super) fn check_last(&self) -> Result<(), DataFailure> {
        check_last(self.chunks.saturating_sub(1), self.last_bytes)
    }

    /// The length of the whole plaintext in bytes.
    pub(super) fn plaintext_bytes(&self) -> u64 {
        let full = self.chunks.saturating_sub(1).saturating_mul(CHUNK_BYTES as u64);
        full.saturating_add(self.last_bytes.saturating_sub(TAG_BYTES) as u64)
    }
}

/// Whether a last chunk of this length, tag included, may be there after `counter` others.
pub(super) fn check_last(counter: u64, sealed_bytes: usize) -> Result<(), DataFailure> {
    match sealed_bytes {
        0..TAG_BYTES => Err(DataFailure::Truncated),
        TAG_BYTES if counter > 0 => Err(DataFailure::EmptyLastChunk),
        _ => Ok(()),
    }
}

/// How often `part` goes into `total`, and what is left.
pub(super) fn divide(total: u64, part: usize) -> (u64, usize) {
    let quotient = total.checked_div(part as u64).unwrap_or_default();
    let rest = total.checked_rem(part as u64).unwrap_or_default();
    (quotient, usize::try_from(rest).unwrap_or_default())
}

fn derive(
    data_key: &DataKey,
    d: &[u8],
    aad: &[u8],
) -> Result<(Chunks, [u8; COMMITMENT_BYTES]), DataFailure> {
    let salt = Sha256::new()
        .chain_update(d)
        .chain_update((aad.len() as u64).to_be_bytes())
        .chain_update(aad)
        .finalize();
    let mut output = Zeroizing::new([0; 64]);
    Hkdf::<Sha256>::new(Some(&salt), data_key.0.expose_secret())
        .expand(INFO, output.as_mut_slice())
        .map_err(|_| DataFailure::Commitment)?;
    let (key, commitment) =
        output.split_first_chunk::<COMMITMENT_BYTES>().ok_or(DataFailure::Commitment)?;
    let commitment = commitment.try_into().map_err(|_| DataFailure::Commitment)?;
    Ok((Chunks(Aes256Gcm::new(key.into())), commitment))
}

/// u88 counter, big-endian, then 01 for the last chunk and 00 for the others.
fn nonce(counter: u64, last: bool) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = counter.to_be_bytes();
    [0, 0, 0, a, b, c, d, e, f, g, h, u8::from(last)]
}

/// How much plaintext a chunk holds at most.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// The tag of AES-GCM (NIST SP 800-38D).
pub(super) const TAG_BYTES: usize = 16;
/// A whole chunk with its tag.
pub(super) const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Magic, suite, reserved byte and length.
pub(super) const FRONT_BYTES: usize = 8;
const MAGIC: [u8; 4] = [0xd7, 0x42, 0x55, 0x02];
const SUITE: u8 = 1;
const WRAPPED_BYTES: std::ops::RangeInclusive<usize> = 107..=4202;
const COMMITMENT_BYTES: usize = 32;
const INFO: &[u8] = b"bulla-data-v1";
