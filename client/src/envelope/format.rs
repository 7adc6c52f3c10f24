//! The chunks of sealed data and the keys that they are sealed with, as the suite of the
//! [`Header`] says. Does no I/O and asks no server.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::header::{COMMITMENT_BYTES, DataFailure, Header, Suite, check_wrapped};

/// A data key in the clear: 16 to 64 bytes, mute, wiped on drop.
pub struct DataKey(SecretBox<[u8]>);

/// The length of a data key is not within 16 to 64 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a data key has 16 to 64 bytes, not {bytes}")]
pub struct DataKeyLength {
    /// The length that was given.
    pub bytes: usize,
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

// === impl Chunks ===

impl Chunks {
    /// The cipher and the header for a new message.
    pub(super) fn to_seal(
        suite: Suite,
        data_key: &DataKey,
        wrapped: &[u8],
        aad: &[u8],
    ) -> Result<(Self, Header), DataFailure> {
        check_wrapped(wrapped)?;
        let (chunks, commitment) = derive(suite, data_key, wrapped, aad)?;
        Ok((chunks, Header::new(suite, wrapped, commitment)))
    }

    /// The cipher of a message that exists. Checks the commitment.
    pub(super) fn to_open(
        data_key: &DataKey,
        header: &Header,
        aad: &[u8],
    ) -> Result<Self, DataFailure> {
        let (chunks, commitment) = derive(header.suite, data_key, header.wrapped(), aad)?;
        if bool::from(commitment.as_slice().ct_eq(&header.commitment)) {
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
    suite: Suite,
    data_key: &DataKey,
    wrapped: &[u8],
    aad: &[u8],
) -> Result<(Chunks, [u8; COMMITMENT_BYTES]), DataFailure> {
    let salt = suite.salt(wrapped, aad);
    let mut output = Zeroizing::new([0; 64]);
    Hkdf::<Sha256>::new(Some(&salt), data_key.0.expose_secret())
        .expand(suite.info(), output.as_mut_slice())
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
