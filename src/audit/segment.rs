//! The head of a segment: what file of the log this is, whose, and what must stand before it.
//!
//! ```text
//! "bulla-audit-v2" 00 00 ‖ installation_id(16) ‖ u64 first_sequence ‖ u32 attempt ‖ u32 0
//!     ‖ head(32) ‖ 12 × 00 ‖ u32 crc32 of all before it
//! ```
//! Big-endian. `head` is the chain value before `first_sequence`; zeros in the very first header, whose
//! own hash is where the chain begins. Never says what follows: those are frames.

use super::chain::Chain;
use super::frame::HASH_BYTES;

/// A segment header's length.
pub const SEGMENT_HEADER_BYTES: usize = 96;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SegmentHeader {
    installation_id: [u8; 16],
    first_sequence: u64,
    attempt: u32,
    head: [u8; HASH_BYTES],
}

/// The bytes are not the header of a segment of format 2.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a segment of an audit log of format 2")]
pub struct NotASegment;

// === impl SegmentHeader ===

impl SegmentHeader {
    /// The header that an installation's chain begins with, whether or not the segment that it stood in
    /// is still there.
    pub fn first(installation_id: [u8; 16]) -> Self {
        Self { installation_id, first_sequence: 1, attempt: 0, head: [0; HASH_BYTES] }
    }

    /// The header of the segment that goes on from `chain`.
    pub fn following(installation_id: [u8; 16], chain: &Chain, attempt: u32) -> Self {
        let first_sequence = chain.sequence().saturating_add(1);
        if first_sequence == 1 && attempt == 0 {
            return Self::first(installation_id);
        }
        Self { installation_id, first_sequence, attempt, head: *chain.head() }
    }

    /// Reads a header.
    pub fn parse(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, NotASegment> {
        let mut rest = bytes.as_slice();
        let mut take = |count: usize| -> Result<&[u8], NotASegment> {
            let (taken, left) = rest.split_at_checked(count).ok_or(NotASegment)?;
            rest = left;
            Ok(taken)
        };
        let magic = take(16)? == MAGIC;
        let installation_id = take(16)?.try_into().map_err(|_| NotASegment)?;
        let first_sequence = take(8)?.try_into().map_err(|_| NotASegment)?;
        let attempt = take(4)?.try_into().map_err(|_| NotASegment)?;
        take(4)?;
        let head = take(HASH_BYTES)?.try_into().map_err(|_| NotASegment)?;
        let header = Self {
            installation_id,
            first_sequence: u64::from_be_bytes(first_sequence),
            attempt: u32::from_be_bytes(attempt),
            head,
        };
        if magic && header.to_bytes() == *bytes { Ok(header) } else { Err(NotASegment) }
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut written = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        written.extend_from_slice(MAGIC);
        written.extend_from_slice(&self.installation_id);
        written.extend_from_slice(&self.first_sequence.to_be_bytes());
        written.extend_from_slice(&self.attempt.to_be_bytes());
        written.extend_from_slice(&[0; 4]);
        written.extend_from_slice(&self.head);
        written.extend_from_slice(&[0; 12]);
        written.extend_from_slice(&crc32fast::hash(&written).to_be_bytes());
        written.try_into().unwrap_or([0; SEGMENT_HEADER_BYTES])
    }

    /// The installation that the log belongs to.
    pub fn installation_id(&self) -> &[u8; 16] {
        &self.installation_id
    }

    /// The sequence of the first record that it has, or will have.
    pub fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    /// Which file this is of those that begin with the same record: a later one takes the place of all
    /// before it.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The chain before its first record.
    pub fn chain(&self) -> Chain {
        match (self.first_sequence, self.attempt) {
            (1, 0) => Chain::start(&self.to_bytes()),
            (first, _) => Chain::at(self.head, first.saturating_sub(1)),
        }
    }
}

const MAGIC: &[u8; 16] = b"bulla-audit-v2\0\0";

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn a_header_is_what_it_was_and_no_bit_of_it_can_be_another() {
        let chain = SegmentHeader::first([7; 16]).chain();
        let header = SegmentHeader::following([7; 16], &chain, 2);
        assert_eq!(header.chain(), chain);
        for header in [header, SegmentHeader::first([7; 16])] {
            assert_eq!(SegmentHeader::parse(&header.to_bytes()), Ok(header));
            for position in 0..SEGMENT_HEADER_BYTES * 8 {
                let mut bytes = header.to_bytes();
                bytes[position / 8] ^= 1 << (position % 8);
                assert_eq!(SegmentHeader::parse(&bytes), Err(NotASegment));
            }
        }
    }
}
