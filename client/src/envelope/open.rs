//! Opening one message, from a slice or a stream. Asks no server, and releases nothing before its
//! chunk's tag is verified.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::EnvelopeError;
use super::format::{Chunks, DataKey, Division, SEALED_CHUNK_BYTES, TAG_BYTES, check_last};
use super::header::{DataFailure, FRONT_BYTES, Header};
use super::seal::fill;

/// Opens one message, whose header it has verified.
pub struct Opener {
    pub(super) chunks: Chunks,
    pub(super) header_bytes: u64,
}

// === impl Opener ===

impl Opener {
    /// Checks that the data was sealed with this data key, this header and this associated data.
    /// The data key may come from any blob that wraps it: the one in the header, or a re-wrapped
    /// one that is kept beside the data.
    ///
    /// # Errors
    /// [`DataFailure::Commitment`] if one of the three differs.
    pub fn new(data_key: &DataKey, header: &Header, aad: &[u8]) -> Result<Self, DataFailure> {
        let chunks = Chunks::to_open(data_key, header, aad)?;
        Ok(Self { chunks, header_bytes: header.header_bytes() as u64 })
    }

    /// The plaintext of `body`, which is what follows the header. Nothing is released unless all of
    /// it is verified.
    ///
    /// # Errors
    /// [`DataFailure`]: `Truncated`, `Chunk` or `EmptyLastChunk`.
    pub fn open(self, body: &[u8]) -> Result<Vec<u8>, DataFailure> {
        let division = Division::of(body.len() as u64)?;
        let length = usize::try_from(division.plaintext_bytes()).unwrap_or(usize::MAX);
        let mut plaintext = Zeroizing::new(vec![0; length]);
        let mut free = plaintext.as_mut_slice();
        let mut rest = body;
        let mut counter = 0_u64;
        loop {
            let (chunk, after) = rest.split_at(rest.len().min(SEALED_CHUNK_BYTES));
            let last = after.is_empty();
            if last {
                check_last(counter, chunk.len())?;
            }
            let room = chunk.len().saturating_sub(TAG_BYTES);
            let (part, others) = free.split_at_mut_checked(room).ok_or(DataFailure::Truncated)?;
            self.chunks.open_into(counter, last, chunk, part)?;
            if last {
                return Ok(std::mem::take(&mut plaintext));
            }
            (free, rest) = (others, after);
            counter = counter.checked_add(1).ok_or(DataFailure::Chunk)?;
        }
    }

    /// Opens everything that `reader` gives after the header into `writer`, in constant memory, and
    /// flushes. Gives the length of the plaintext in bytes.
    ///
    /// Each chunk goes out when it is verified, so when this fails, `writer` has the true beginning
    /// of the plaintext and nothing says so but the error. Write to a temporary file, and rename it
    /// when this has succeeded.
    ///
    /// # Errors
    /// [`EnvelopeError::Data`] with `Truncated`, `Chunk` or `EmptyLastChunk`;
    /// [`EnvelopeError::Read`] and [`EnvelopeError::Write`] as the two report.
    pub async fn open_stream(
        self,
        mut reader: impl AsyncRead + Unpin,
        mut writer: impl AsyncWrite + Unpin,
    ) -> Result<u64, EnvelopeError> {
        // One byte more than a chunk tells whether the chunk is the last.
        let mut buffer = Zeroizing::new(vec![0; SEALED_CHUNK_BYTES.saturating_add(1)]);
        let (mut filled, mut counter, mut total) = (0_usize, 0_u64, 0_u64);
        loop {
            filled = fill(&mut reader, &mut buffer, filled).await?;
            let last = filled <= SEALED_CHUNK_BYTES;
            let next = buffer.get(SEALED_CHUNK_BYTES).copied();
            let chunk = buffer.get_mut(..filled.min(SEALED_CHUNK_BYTES)).unwrap_or_default();
            if last {
                check_last(counter, chunk.len())?;
            }
            let length = self.chunks.open(counter, last, chunk)?;
            let plaintext = chunk.get(..length).unwrap_or_default();
            writer.write_all(plaintext).await.map_err(EnvelopeError::Write)?;
            total = total.saturating_add(length as u64);
            if last {
                writer.flush().await.map_err(EnvelopeError::Write)?;
                return Ok(total);
            }
            if let (Some(first), Some(next)) = (buffer.first_mut(), next) {
                *first = next;
            }
            filled = 1;
            counter = counter.checked_add(1).ok_or(DataFailure::Chunk)?;
        }
    }
}

// === impl Header ===

impl Header {
    /// Reads the header of sealed data and not one byte more.
    ///
    /// # Errors
    /// [`EnvelopeError::Data`] as [`Header::split`] gives it; [`EnvelopeError::Read`] as the reader
    /// reports.
    pub async fn read_async(mut reader: impl AsyncRead + Unpin) -> Result<Self, EnvelopeError> {
        let mut front = [0; FRONT_BYTES];
        if fill(&mut reader, &mut front, 0).await? < front.len() {
            return Err(DataFailure::Truncated.into());
        }
        let mut rest = vec![0; Self::rest_bytes(&front)?];
        if fill(&mut reader, &mut rest, 0).await? < rest.len() {
            return Err(DataFailure::Truncated.into());
        }
        Ok(Self::join(&front, &rest)?)
    }
}
