//! A compressed segment, read as if it were not: Zstandard frames (RFC 8878) of one block of the
//! segment each, and at the end the table of the seekable format, so that any place is found without
//! what is before it. `zstd -d` reads the file too.
//!
//! Never has more than one block in memory.

use std::io;

use parking_lot::Mutex;

use super::disk::LogFile;
use super::place::read_whole;

/// How many bytes of a segment one frame holds.
pub(super) const BLOCK_BYTES: usize = 1024 * 1024;

pub(super) struct Packed {
    file: Box<dyn LogFile>,
    /// Where each block begins, compressed, and the end.
    starts: Vec<u64>,
    length: u64,
    block: Mutex<Option<(usize, Vec<u8>)>>,
}

// === impl Packed ===

impl Packed {
    pub(super) fn open(file: Box<dyn LogFile>) -> io::Result<Self> {
        let end = file.length()?;
        let mut foot = [0; FOOT_BYTES];
        read_whole(&*file, end.saturating_sub(FOOT_BYTES as u64), &mut foot)?;
        let [n0, n1, n2, n3, 0, magic @ ..] = foot else { return Err(damaged()) };
        let blocks = u32::from_le_bytes([n0, n1, n2, n3]) as usize;
        if magic != SEEKABLE_MAGIC || blocks > BLOCKS_MAX {
            return Err(damaged());
        }
        let mut table = vec![0; blocks.saturating_mul(8)];
        let table_bytes = table.len().saturating_add(FOOT_BYTES) as u64;
        read_whole(&*file, end.saturating_sub(table_bytes), &mut table)?;
        let mut starts = vec![0_u64];
        let (mut at, mut length) = (0_u64, 0_u64);
        for [c0, c1, c2, c3, l0, l1, l2, l3] in table.as_chunks::<8>().0 {
            at = at.saturating_add(u32::from_le_bytes([*c0, *c1, *c2, *c3]).into());
            length = length.saturating_add(u32::from_le_bytes([*l0, *l1, *l2, *l3]).into());
            starts.push(at);
        }
        let blocks_end = end.saturating_sub(table_bytes).saturating_sub(8);
        let full = (blocks as u64).saturating_mul(BLOCK_BYTES as u64);
        if at != blocks_end || length > full || length.saturating_add(BLOCK_BYTES as u64) <= full {
            return Err(damaged());
        }
        Ok(Self { file, starts, length, block: Mutex::default() })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if offset >= self.length {
            return Ok(0);
        }
        let number = usize::try_from(offset).unwrap_or(usize::MAX).div_euclid(BLOCK_BYTES);
        let within = usize::try_from(offset).unwrap_or(usize::MAX).rem_euclid(BLOCK_BYTES);
        let mut known = self.block.lock();
        if known.as_ref().is_none_or(|(known, _)| *known != number) {
            *known = Some((number, self.unpack(number)?));
        }
        let bytes = known.as_ref().and_then(|(_, block)| block.get(within..)).unwrap_or_default();
        let read = bytes.len().min(into.len());
        if read == 0 {
            return Err(damaged());
        }
        for (into, byte) in into.iter_mut().zip(bytes) {
            *into = *byte;
        }
        Ok(read)
    }

    fn unpack(&self, number: usize) -> io::Result<Vec<u8>> {
        let ends = self.starts.get(number).zip(self.starts.get(number.saturating_add(1)));
        let (start, end) = ends.ok_or_else(damaged)?;
        let bytes = usize::try_from(end.saturating_sub(*start)).unwrap_or(usize::MAX);
        if bytes > PACKED_BLOCK_BYTES_MAX {
            return Err(damaged());
        }
        let mut packed = vec![0; bytes];
        read_whole(&*self.file, *start, &mut packed)?;
        zstd::bulk::decompress(&packed, BLOCK_BYTES).map_err(|_| damaged())
    }
}

/// The table that ends the file, for blocks of these lengths, compressed and not.
pub(super) fn table(blocks: &[(u32, u32)]) -> Vec<u8> {
    let content = blocks.len().saturating_mul(8).saturating_add(FOOT_BYTES);
    let mut table = Vec::with_capacity(content.saturating_add(8));
    table.extend_from_slice(&SKIPPABLE_MAGIC);
    table.extend_from_slice(&u32::try_from(content).unwrap_or(u32::MAX).to_le_bytes());
    for (packed, plain) in blocks {
        table.extend_from_slice(&packed.to_le_bytes());
        table.extend_from_slice(&plain.to_le_bytes());
    }
    table.extend_from_slice(&u32::try_from(blocks.len()).unwrap_or(u32::MAX).to_le_bytes());
    table.push(0);
    table.extend_from_slice(&SEEKABLE_MAGIC);
    table
}

/// One block, compressed.
pub(super) fn pack(block: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(block, LEVEL)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a compressed segment is damaged")
}

const SKIPPABLE_MAGIC: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();
const SEEKABLE_MAGIC: [u8; 4] = 0x8F92_EAB1_u32.to_le_bytes();
const FOOT_BYTES: usize = 9;
/// Of the largest segment.
const BLOCKS_MAX: usize = 4096;
/// What does not compress grows a little.
const PACKED_BLOCK_BYTES_MAX: usize = 2 * BLOCK_BYTES;
/// Fast: a segment takes a fraction of a second.
const LEVEL: i32 = 3;
