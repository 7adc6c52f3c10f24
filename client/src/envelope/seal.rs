//! Sealing one message under one data key, from a slice or a stream. Asks no server, and cannot use
//! a data key twice.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::EnvelopeError;
use super::format::{CHUNK_BYTES, Chunks, DataKey, TAG_BYTES};
use super::header::{DataFailure, Header, Suite};

/// Seals one message, and is used up by it.
///
/// ```
/// # use bulla_client::{DataFailure, DataKey, Header, Opener, Sealer};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let wrapped = [0; 138]; // What the server returned beside the data key.
/// let sealed = Sealer::new(DataKey::from_bytes(vec![7; 32])?, &wrapped, b"")?.seal(b"hello")?;
///
/// let (header, body) = Header::split(&sealed)?;
/// let data_key = DataKey::from_bytes(vec![7; 32])?; // What the server opens `wrapped` to.
/// assert_eq!(Opener::new(&data_key, &header, b"")?.open(body)?, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct Sealer {
    chunks: Chunks,
    header: Header,
}

// === impl Sealer ===

impl Sealer {
    /// Takes a data key that has sealed nothing yet, its wrapped form, and associated data that
    /// must be given again to open. The data key seals one message only, so that each message can
    /// be destroyed, moved and counted by itself.
    ///
    /// # Errors
    /// [`DataFailure::WrappedLength`] unless `wrapped` has 107 to 4202 bytes;
    /// [`DataFailure::Random`] if the operating system gives no randomness.
    pub fn new(data_key: DataKey, wrapped: &[u8], aad: &[u8]) -> Result<Self, DataFailure> {
        Self::of(Suite::fresh()?, data_key, wrapped, aad)
    }

    /// What was sealed before is of suite 01, and known answers have random bytes that are known.
    pub(super) fn of(
        suite: Suite,
        data_key: DataKey,
        wrapped: &[u8],
        aad: &[u8],
    ) -> Result<Self, DataFailure> {
        let (chunks, header) = Chunks::to_seal(suite, &data_key, wrapped, aad)?;
        Ok(Self { chunks, header })
    }

    /// The sealed form of `plaintext`.
    ///
    /// # Errors
    /// [`DataFailure::Chunk`] if the cipher refuses, which it does for no length that fits here.
    pub fn seal(self, plaintext: &[u8]) -> Result<Vec<u8>, DataFailure> {
        let pieces = plaintext.len().div_ceil(CHUNK_BYTES).max(1);
        let tags = pieces.saturating_mul(TAG_BYTES);
        let length = self.header.header_bytes().saturating_add(plaintext.len());
        let mut sealed = Vec::with_capacity(length.saturating_add(tags));
        sealed.extend_from_slice(&self.header.to_bytes());
        let mut rest = plaintext;
        let mut counter = 0_u64;
        loop {
            let (chunk, after) = rest.split_at(rest.len().min(CHUNK_BYTES));
            let start = sealed.len();
            sealed.extend_from_slice(chunk);
            let fresh = sealed.get_mut(start..).unwrap_or_default();
            let tag = self.chunks.seal(counter, after.is_empty(), fresh)?;
            sealed.extend_from_slice(&tag);
            if after.is_empty() {
                return Ok(sealed);
            }
            rest = after;
            counter = counter.checked_add(1).ok_or(DataFailure::Chunk)?;
        }
    }

    /// Seals everything that `reader` gives into `writer`, in constant memory, and flushes. Gives
    /// the length of the plaintext in bytes. What was written before an error does not open.
    ///
    /// # Errors
    /// [`EnvelopeError::Read`] and [`EnvelopeError::Write`] as the two report.
    pub async fn seal_stream(
        self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
    ) -> Result<u64, EnvelopeError> {
        writer.write_all(&self.header.to_bytes()).await.map_err(EnvelopeError::Write)?;
        // One byte more than a chunk tells whether the chunk is the last.
        let mut buffer = Zeroizing::new(vec![0; CHUNK_BYTES.saturating_add(1)]);
        let (mut filled, mut counter, mut total) = (0_usize, 0_u64, 0_u64);
        loop {
            filled = fill(&mut reader, &mut buffer, filled).await?;
            let last = filled <= CHUNK_BYTES;
            let chunk = buffer.get_mut(..filled.min(CHUNK_BYTES)).unwrap_or_default();
            total = total.saturating_add(chunk.len() as u64);
            let tag = self.chunks.seal(counter, last, chunk)?;
            writer.write_all(chunk).await.map_err(EnvelopeError::Write)?;
            writer.write_all(&tag).await.map_err(EnvelopeError::Write)?;
            if last {
                writer.flush().await.map_err(EnvelopeError::Write)?;
                return Ok(total);
            }
            buffer.copy_within(CHUNK_BYTES.., 0);
            filled = 1;
            counter = counter.checked_add(1).ok_or(DataFailure::Chunk)?;
        }
    }
}

/// Reads until `buffer` is full or `reader` has ended; `filled` bytes are there already.
pub(super) async fn fill(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    mut filled: usize,
) -> Result<usize, EnvelopeError> {
    while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
        match reader.read(free).await.map_err(EnvelopeError::Read)? {
            0 => break,
            read => filled = filled.saturating_add(read),
        }
    }
    Ok(filled)
}
