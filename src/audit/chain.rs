//! The hash chain: each value covers the one before it, so that no record can be changed, dropped,
//! added or moved without changing every value after it.
//!
//! `hash_i = SHA-256(hash_{i-1} ‖ u64 sequence ‖ payload)`, with `hash_0 = SHA-256(first segment's
//! header)`, so that a record belongs to one place in one installation's log. (SHA-256: FIPS 180-4.)

use sha2::{Digest, Sha256};

use super::frame::{Frame, HASH_BYTES, MAX_PAYLOAD_BYTES, put_frame};
use super::segment::SEGMENT_HEADER_BYTES;

/// Where a log has come to: how many records, and the chain value after the last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chain {
    head: [u8; HASH_BYTES],
    sequence: u64,
}

/// The frame does not follow: its sequence is not the next one, or its hash is not the chain's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the audit chain is broken at sequence {sequence}")]
pub struct ChainBroken {
    /// The sequence that should have followed.
    pub sequence: u64,
}

/// The payload is empty or too long, or the sequences are used up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the audit log cannot take this payload")]
pub struct ChainFull;

// === impl Chain ===

impl Chain {
    pub(super) fn start(header: &[u8; SEGMENT_HEADER_BYTES]) -> Self {
        Self { head: Sha256::digest(header).into(), sequence: 0 }
    }

    /// A chain that stands at a known place.
    pub fn at(head: [u8; HASH_BYTES], sequence: u64) -> Self {
        Self { head, sequence }
    }

    /// The last record's sequence; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The chain value after the last record.
    pub fn head(&self) -> &[u8; HASH_BYTES] {
        &self.head
    }

    /// Takes the next record: appends its frame to `out` and returns its sequence. On an error neither
    /// the chain nor `out` has changed.
    pub fn seal(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<u64, ChainFull> {
        self.seal_parts([payload, &[]], out)
    }

    /// The same, of a payload in two parts.
    pub fn seal_parts(&mut self, payload: [&[u8]; 2], out: &mut Vec<u8>) -> Result<u64, ChainFull> {
        let [begin, end] = payload;
        let payload_bytes = begin.len().saturating_add(end.len());
        if payload_bytes == 0 || payload_bytes > MAX_PAYLOAD_BYTES {
            return Err(ChainFull);
        }
        let sequence = self.sequence.checked_add(1).ok_or(ChainFull)?;
        let hash = self.next_hash(sequence, payload);
        put_frame(out, sequence, payload, &hash);
        *self = Self { head: hash, sequence };
        Ok(sequence)
    }

    /// Follows the log by one frame, if it is the one that follows.
    pub fn verify(&mut self, frame: &Frame<'_>) -> Result<(), ChainBroken> {
        let sequence = self.sequence.saturating_add(1);
        let hash = self.next_hash(sequence, [frame.payload, &[]]);
        if frame.sequence != sequence || frame.hash != hash {
            return Err(ChainBroken { sequence });
        }
        *self = Self { head: hash, sequence };
        Ok(())
    }

    /// Whether the frame would follow if its hash had been written to the end: of a write that stopped
    /// within the hash, which the checksum does not cover, zeros are left.
    pub fn is_torn(&self, frame: &Frame<'_>) -> bool {
        let sequence = self.sequence.saturating_add(1);
        let hash = self.next_hash(sequence, [frame.payload, &[]]);
        let written = hash.iter().zip(&frame.hash).take_while(|(right, found)| right == found);
        let written = written.count();
        frame.sequence == sequence
            && written < HASH_BYTES
            && frame.hash.iter().skip(written).all(|byte| *byte == 0)
    }

    /// Whether `frame` is the one that follows in all but its sequence.
    pub(super) fn is_renumbered(&self, frame: &Frame<'_>) -> bool {
        let sequence = self.sequence.saturating_add(1);
        frame.sequence != sequence && frame.hash == self.next_hash(sequence, [frame.payload, &[]])
    }

    fn next_hash(&self, sequence: u64, [begin, end]: [&[u8]; 2]) -> [u8; HASH_BYTES] {
        Sha256::new()
            .chain_update(self.head)
            .chain_update(sequence.to_be_bytes())
            .chain_update(begin)
            .chain_update(end)
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::super::SegmentHeader;
    use super::super::{Outcome, Record, RecordItem};
    use super::*;
    use crate::keys::{KeyId, TenantId};

    /// Reads `log` after its header; how many records verified, and whether all did.
    fn verified(log: &[u8]) -> (u64, bool) {
        let header = SegmentHeader::parse(log[..96].try_into().unwrap()).unwrap();
        let mut chain = header.chain();
        let mut rest = &log[96..];
        while !rest.is_empty() {
            match Frame::read(rest) {
                Ok(Some((frame, taken))) if chain.verify(&frame).is_ok() => rest = &rest[taken..],
                _ => return (chain.sequence(), false),
            }
        }
        (chain.sequence(), true)
    }

    fn frames(payloads: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut chain = SegmentHeader::first([9; 16]).chain();
        payloads
            .iter()
            .map(|payload| {
                let mut out = Vec::new();
                chain.seal(payload, &mut out).unwrap();
                out
            })
            .collect()
    }

    fn log(frames: &[&Vec<u8>]) -> Vec<u8> {
        log_of([9; 16], frames)
    }

    fn log_of(installation: [u8; 16], frames: &[&Vec<u8>]) -> Vec<u8> {
        let mut log = SegmentHeader::first(installation).to_bytes().to_vec();
        frames.iter().for_each(|frame| log.extend_from_slice(frame));
        log
    }

    #[test]
    fn h03_a_dropped_moved_repeated_or_foreign_record_breaks_the_chain() {
        let f = frames(&[b"one", b"two", b"three"]);
        let other = frames(&[b"ONE", b"two", b"three"]);
        assert_eq!(verified(&log(&[&f[0], &f[1], &f[2]])), (3, true));
        assert_eq!(verified(&log(&[&f[1], &f[2]])), (0, false));
        assert_eq!(verified(&log(&[&f[0], &f[2]])), (1, false));
        assert_eq!(verified(&log(&[&f[1], &f[0], &f[2]])), (0, false));
        assert_eq!(verified(&log(&[&f[0], &f[0], &f[1]])), (1, false));
        assert_eq!(verified(&log(&[&f[0], &other[1], &f[2]])), (1, false));
        let elsewhere = log_of([8; 16], &[&f[0]]);
        assert_eq!(verified(&elsewhere), (0, false), "another installation's log");
    }

    #[test]
    fn h03_a_record_changed_together_with_its_checksum_breaks_the_chain() {
        let f = frames(&[b"one", b"two"]);
        let mut forged = Vec::new();
        let (frame, _) = Frame::read(&f[0]).unwrap().unwrap();
        Frame { payload: b"0ne", ..frame }.write(&mut forged);
        assert!(Frame::read(&forged).unwrap().is_some(), "the checksum is right");
        assert_eq!(verified(&log(&[&forged, &f[1]])), (0, false));
    }

    #[test]
    fn a_payload_that_is_empty_or_too_long_is_not_taken() {
        let before = SegmentHeader::first([0; 16]).chain();
        let mut chain = before;
        let mut out = Vec::new();
        for bad in [vec![], vec![0; MAX_PAYLOAD_BYTES + 1]] {
            assert_eq!(chain.seal(&bad, &mut out), Err(ChainFull));
        }
        assert_eq!((chain, out.len()), (before, 0));
        assert_eq!(chain.seal(&vec![0; MAX_PAYLOAD_BYTES], &mut out), Ok(1));
        assert_eq!(out.len(), super::super::MAX_FRAME_BYTES);
    }

    /// Two records with every field set and one with none.
    fn golden_records() -> [Record<'static>; 3] {
        let full = Record {
            tenant: Some(TenantId::from_bytes([0x11; 16])),
            principal: "spiffe://demo.bulla/app".into(),
            key: Some(KeyId::from_bytes([0x22; 16])),
            version: 3,
            store: 7,
            context: vec![("table".into(), "customers".into()), ("zone".into(), "ä\n\"".into())],
            request_id: "4bf92f35".into(),
            source_address: "192.0.2.1:40000".into(),
            items: 1,
            detail: "detail".into(),
            id: [0x44; 16],
            credential_kind: "certificate".into(),
            end_user: "someone".into(),
            policies: vec!["role-key-user".into(), "".into()].into(),
            policy_revision: 12,
            approval: "proposal".into(),
            latency_us: 850,
            items_root: Some([0x66; 32]),
            tenant_sequence: 1,
            ..Record::new(1_767_225_600_000_001, "crypto.generate_data_key", Outcome::Succeeded)
        };
        let ended = Record {
            outcome: Outcome::Failed,
            reason: "INVALID_CIPHERTEXT".into(),
            class: "commitment".into(),
            started_sequence: 1,
            id: [0x55; 16],
            tenant_sequence: 2,
            write_position: 1,
            item_details: vec![RecordItem {
                key: Some(KeyId::from_bytes([0x33; 16])),
                version: 1,
                store: 2,
                reason: "INVALID_CIPHERTEXT".into(),
                class: "tag".into(),
                count: 300,
                destination: None,
                wrapped_bytes: 0,
            }],
            ..full.clone()
        };
        [full, ended, Record::new(-1, "connection.refused", Outcome::Refused)]
    }

    #[test]
    fn the_second_format_reads_and_writes_the_golden_segment() {
        let header = SegmentHeader::first([0xa5; 16]);
        let mut chain = header.chain();
        let mut written = header.to_bytes().to_vec();
        for record in golden_records() {
            let mut payload = Vec::new();
            record.encode(&mut payload).unwrap();
            chain.seal(&payload, &mut written).unwrap();
        }
        let golden = include_bytes!("../../tests/golden/audit-v2.seg");
        assert_eq!(hex::encode(&written), hex::encode(golden));
        assert_eq!(verified(golden), (3, true));
        let mut rest = &golden[96..];
        for record in golden_records() {
            let (frame, taken) = Frame::read(rest).unwrap().unwrap();
            assert_eq!(Record::decode(frame.payload()).unwrap(), record);
            rest = &rest[taken..];
        }
    }
}
