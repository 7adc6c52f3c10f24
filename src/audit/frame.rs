//! A segment's bytes after its header: one frame after another, and zeros after the last.
//!
//! ```text
//! frame   u32 payload_len ‖ u32 crc32 ‖ u64 sequence ‖ payload ‖ hash(32)
//! ```
//! Big-endian. The CRC-32 (IEEE 802.3) is over sequence ‖ payload and tells a torn write from a whole
//! frame; the hash is the chain's and tells a changed record from a true one. Never says whether a
//! frame belongs where it stands: that is [`super::Chain::verify`].

/// The length of a chain value, SHA-256.
pub const HASH_BYTES: usize = 32;
/// The longest frame.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// The longest payload of a frame.
pub const MAX_PAYLOAD_BYTES: usize = MAX_FRAME_BYTES - FRAME_HEADER_BYTES - HASH_BYTES;

/// One whole frame, its checksum right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    pub(super) sequence: u64,
    pub(super) payload: &'a [u8],
    pub(super) hash: [u8; HASH_BYTES],
}

/// The bytes cannot be the beginning of a frame: an impossible length or a wrong checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a whole frame of an audit log")]
pub struct FrameDamaged;

// === impl Frame ===

impl<'a> Frame<'a> {
    /// The frame that `bytes` begin with and how many bytes it takes, or None when `bytes` end before
    /// it does.
    pub fn read(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, FrameDamaged> {
        let Some((frame, claimed)) = Self::split(bytes)? else { return Ok(None) };
        if checksum(frame.sequence, [frame.payload, &[]]) != claimed {
            return Err(FrameDamaged);
        }
        Ok(Some((frame, frame_bytes(frame.payload.len()))))
    }

    /// The frame that `bytes` begin with, its checksum having been looked at before.
    pub(super) fn seen(bytes: &'a [u8]) -> Option<Self> {
        Self::split(bytes).ok().flatten().map(|(frame, _)| frame)
    }

    /// The parts, and what the checksum is said to be.
    fn split(bytes: &'a [u8]) -> Result<Option<(Self, u32)>, FrameDamaged> {
        let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, c0, c1, c2, c3, sequence @ ..] = *header;
        let payload_bytes = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if payload_bytes == 0 || payload_bytes > MAX_PAYLOAD_BYTES {
            return Err(FrameDamaged);
        }
        let Some((payload, rest)) = rest.split_at_checked(payload_bytes) else {
            return Ok(None);
        };
        let Some((hash, _)) = rest.split_first_chunk::<HASH_BYTES>() else {
            return Ok(None);
        };
        let sequence = u64::from_be_bytes(sequence);
        let claimed = u32::from_be_bytes([c0, c1, c2, c3]);
        Ok(Some((Self { sequence, payload, hash: *hash }, claimed)))
    }

    /// The record's place in the log, from 1.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The record, encoded.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The chain value after this record.
    pub fn hash(&self) -> &[u8; HASH_BYTES] {
        &self.hash
    }

    /// Appends the frame's bytes.
    #[cfg(test)]
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_frame(out, self.sequence, [self.payload, &[]], &self.hash);
    }
}

/// Appends a frame whose payload is both parts, one after the other. It is neither empty nor over its
/// limit: the chain, which alone makes frames, has checked.
pub(super) fn put_frame(
    out: &mut Vec<u8>,
    sequence: u64,
    payload: [&[u8]; 2],
    hash: &[u8; HASH_BYTES],
) {
    let [begin, end] = payload;
    let payload_bytes = begin.len().saturating_add(end.len());
    let length = u32::try_from(payload_bytes).unwrap_or(u32::MAX);
    out.reserve(frame_bytes(payload_bytes));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&checksum(sequence, payload).to_be_bytes());
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(begin);
    out.extend_from_slice(end);
    out.extend_from_slice(hash);
}

fn checksum(sequence: u64, [begin, end]: [&[u8]; 2]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&sequence.to_be_bytes());
    crc.update(begin);
    crc.update(end);
    crc.finalize()
}

/// How many bytes the frame of such a payload takes.
pub const fn frame_bytes(payload_bytes: usize) -> usize {
    payload_bytes.saturating_add(FRAME_HEADER_BYTES).saturating_add(HASH_BYTES)
}

/// Length, checksum, sequence.
const FRAME_HEADER_BYTES: usize = 4 + 4 + 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_frame_is_what_it_was_and_every_beginning_of_it_is_incomplete(
            sequence in any::<u64>(),
            payload in proptest::collection::vec(any::<u8>(), 1..200),
            hash in any::<[u8; 32]>(),
            after in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let frame = Frame { sequence, payload: &payload, hash };
            let mut bytes = Vec::new();
            frame.write(&mut bytes);
            let length = bytes.len();
            prop_assert_eq!(length, frame_bytes(payload.len()));
            for end in 0..length {
                prop_assert_eq!(Frame::read(&bytes[..end]), Ok(None));
            }
            bytes.extend_from_slice(&after);
            prop_assert_eq!(Frame::read(&bytes), Ok(Some((frame, length))));
        }

        #[test]
        fn a_flipped_bit_before_the_hash_is_noticed(
            payload in proptest::collection::vec(any::<u8>(), 1..100),
            bit in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = Vec::new();
            Frame { sequence: 5, payload: &payload, hash: [0; 32] }.write(&mut bytes);
            let bit = bit.index((16 + payload.len()) * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            // A longer length leaves the frame incomplete; everything else is damage.
            prop_assert!(matches!(Frame::read(&bytes), Ok(None) | Err(FrameDamaged)));
        }

        #[test]
        fn j05_any_bytes_are_a_frame_or_not(
            bytes in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let _ = Frame::read(&bytes);
        }
    }

    #[test]
    fn an_impossible_length_is_damage() {
        for length in [0, MAX_PAYLOAD_BYTES as u32 + 1, u32::MAX] {
            let mut bytes = [0; 64];
            bytes[..4].copy_from_slice(&length.to_be_bytes());
            assert_eq!(Frame::read(&bytes), Err(FrameDamaged), "{length}");
        }
    }
}
