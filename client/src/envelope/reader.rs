//! Reading sealed data at any offset, as `std::io::Read` and `Seek` over the plaintext. Verifies
//! each chunk before it releases a byte of it. Blocks, as `std::io` does.

use std::io::{self, Read, Seek, SeekFrom};

use zeroize::{Zeroize, Zeroizing};

use super::EnvelopeError;
use super::format::{CHUNK_BYTES, Division, SEALED_CHUNK_BYTES, divide};
use super::header::{DataFailure, FRONT_BYTES, Header};
use super::open::Opener;

/// The plaintext of sealed data in a file, readable from any offset.
///
/// The sealed data is all that `R` holds, from offset 0 to its end. The end is verified when the
/// reader is made: the last chunk must be there and be marked as the last, so sealed data that was
/// cut short or extended is refused at once, before anything of it is read. Every other chunk is
/// verified when it is first needed. What that promises: each byte that is read is the byte that
/// was sealed at that offset, and the length is the length that was sealed. What it cannot promise:
/// that chunks which were never read are whole. If `R` is changed after the reader was made, reads
/// give old chunks, or an error, and never bytes that were not sealed there.
///
/// One chunk of plaintext (64 KiB) is held, and wiped on drop.
pub struct SealedReader<R> {
    inner: R,
    opener: Opener,
    division: Division,
    position: u64,
    buffer: Zeroizing<Vec<u8>>,
    /// The chunk whose plaintext is in `buffer`.
    held: Option<u64>,
}

// === impl SealedReader ===

impl<R: Read + Seek> SealedReader<R> {
    /// Verifies the end of the sealed data.
    ///
    /// When the end is wrong, all that is before it is verified too, so that the class of the
    /// failure is the one that reading from the front would give.
    ///
    /// # Errors
    /// [`EnvelopeError::Data`] with `Truncated`, `Chunk` or `EmptyLastChunk`;
    /// [`EnvelopeError::Read`] as `inner` reports.
    pub fn new(opener: Opener, mut inner: R) -> Result<Self, EnvelopeError> {
        let end = inner.seek(SeekFrom::End(0)).map_err(EnvelopeError::Read)?;
        let body_bytes = end.checked_sub(opener.header_bytes).ok_or(DataFailure::Truncated)?;
        let division = Division::of(body_bytes)?;
        let buffer = Zeroizing::new(Vec::with_capacity(SEALED_CHUNK_BYTES));
        let mut this = Self { inner, opener, division, position: 0, buffer, held: None };
        let last = division.chunks.saturating_sub(1);
        if let Err(failure) = division.check_last() {
            for chunk in 0..last {
                this.hold(chunk)?;
            }
            return Err(failure.into());
        }
        this.hold(last)?;
        Ok(this)
    }

    /// The length of the plaintext in bytes.
    pub fn plaintext_bytes(&self) -> u64 {
        self.division.plaintext_bytes()
    }

    /// Reads at an offset of the plaintext, in bytes, without moving the position. Gives 0 at the
    /// end, and otherwise at least one byte and at most the rest of one chunk.
    ///
    /// # Errors
    /// As `inner` reports; of kind `InvalidData` with a [`DataFailure`] inside when the data is
    /// wrong.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset >= self.plaintext_bytes() || buffer.is_empty() {
            return Ok(0);
        }
        let (chunk, within) = divide(offset, CHUNK_BYTES);
        self.hold(chunk)?;
        let found = self.buffer.get(within..).unwrap_or_default();
        let length = found.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), found.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }

    /// Has the verified plaintext of `chunk` in the buffer, or nothing there.
    fn hold(&mut self, chunk: u64) -> Result<(), EnvelopeError> {
        if self.held == Some(chunk) {
            return Ok(());
        }
        self.held = None;
        let opened = self.load(chunk);
        match opened {
            Ok(length) => {
                self.buffer.truncate(length);
                self.held = Some(chunk);
            }
            Err(_) => self.buffer.zeroize(),
        }
        opened.map(|_| ())
    }

    fn load(&mut self, chunk: u64) -> Result<usize, EnvelopeError> {
        let last = chunk == self.division.chunks.saturating_sub(1);
        let length = if last { self.division.last_bytes } else { SEALED_CHUNK_BYTES };
        let before = chunk.checked_mul(SEALED_CHUNK_BYTES as u64).ok_or(DataFailure::Truncated)?;
        let start = before.checked_add(self.opener.header_bytes).ok_or(DataFailure::Truncated)?;
        self.inner.seek(SeekFrom::Start(start)).map_err(EnvelopeError::Read)?;
        self.buffer.resize(length, 0);
        self.inner.read_exact(&mut self.buffer).map_err(or_truncated)?;
        Ok(self.opener.chunks.open(chunk, last, &mut self.buffer)?)
    }
}

impl<R: Read + Seek> Read for SealedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.read_at(self.position, buffer)?;
        self.position = self.position.saturating_add(length as u64);
        Ok(length)
    }
}

impl<R: Read + Seek> Seek for SealedReader<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.plaintext_bytes().checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        let before_start = || io::Error::new(io::ErrorKind::InvalidInput, "seek before the start");
        self.position = position.ok_or_else(before_start)?;
        Ok(self.position)
    }
}

// === impl Header ===

impl Header {
    /// Reads the header at the reader's place, and not one byte more. Blocks.
    ///
    /// # Errors
    /// [`EnvelopeError::Data`] as [`Header::split`] gives it; [`EnvelopeError::Read`] as the reader
    /// reports.
    pub fn read(mut reader: impl Read) -> Result<Self, EnvelopeError> {
        let mut front = [0; FRONT_BYTES];
        reader.read_exact(&mut front).map_err(or_truncated)?;
        let mut rest = vec![0; Self::rest_bytes(&front)?];
        reader.read_exact(&mut rest).map_err(or_truncated)?;
        Ok(Self::join(&front, &rest)?)
    }
}

fn or_truncated(error: io::Error) -> EnvelopeError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => DataFailure::Truncated.into(),
        _ => EnvelopeError::Read(error),
    }
}
