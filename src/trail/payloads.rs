//! Encoded records, one after another, and whose they are. Never a record without an id.

use super::TrailError;
use crate::audit::{Hash, MAX_FRAME_BYTES, Record};
use crate::crypto::Random;
use crate::keys::TenantId;

#[derive(Default)]
pub(super) struct Payloads {
    bytes: Vec<u8>,
    ends: Vec<(usize, Option<TenantId>)>,
    wants_hashes: bool,
    /// What the log thread gave for each record, where it was wanted.
    hashes: Vec<Hash>,
}

/// Random ids, drawn many at a time.
pub(super) struct Ids {
    drawn: [[u8; 16]; IDS_DRAWN],
    used: usize,
}

// === impl Payloads ===

impl Payloads {
    /// Encodes `record` at the end, unless that makes more than `max_bytes`; its place.
    pub(super) fn push(
        &mut self,
        record: &Record<'_>,
        id: &[u8; 16],
        max_bytes: usize,
    ) -> Result<usize, TrailError> {
        let before = self.bytes.len();
        record.encode_as(id, &mut self.bytes)?;
        if self.bytes.len() > max_bytes {
            self.bytes.truncate(before);
            return Err(TrailError::Overloaded);
        }
        let place = self.ends.len();
        self.ends.push((self.bytes.len(), record.tenant));
        Ok(place)
    }

    /// Takes the last one back.
    pub(super) fn pop(&mut self) {
        self.ends.pop();
        self.bytes.truncate(self.bytes());
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes they are together.
    pub(super) fn bytes(&self) -> usize {
        self.ends.last().map_or(0, |(end, _)| *end)
    }

    /// Asks the log thread for the chain value of each record.
    pub(super) fn want_hashes(&mut self) {
        self.wants_hashes = true;
    }

    pub(super) fn wants_hashes(&self) -> bool {
        self.wants_hashes
    }

    pub(super) fn give_hashes(&mut self, hashes: Vec<Hash>) {
        self.hashes = hashes;
    }

    pub(super) fn take_hashes(&mut self) -> Vec<Hash> {
        std::mem::take(&mut self.hashes)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<TenantId>)> {
        let mut start = 0;
        self.ends.iter().map(move |(end, tenant)| {
            let payload = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            (payload, *tenant)
        })
    }

    pub(super) fn emptied(mut self) -> Self {
        if self.bytes.capacity() > KEPT_BUFFER_BYTES {
            return Self::default();
        }
        self.bytes.clear();
        self.ends.clear();
        self.wants_hashes = false;
        self.hashes.clear();
        self
    }
}

// === impl Ids ===

impl Ids {
    pub(super) fn new() -> Self {
        Self { drawn: [[0; 16]; IDS_DRAWN], used: IDS_DRAWN }
    }

    pub(super) fn next(&mut self, random: &dyn Random) -> Result<[u8; 16], TrailError> {
        if self.used >= IDS_DRAWN {
            random.fill(self.drawn.as_flattened_mut()).map_err(|_| TrailError::Unavailable)?;
            self.used = 0;
        }
        let id = self.drawn.get(self.used).copied().ok_or(TrailError::Unavailable)?;
        self.used = self.used.saturating_add(1);
        Ok(id)
    }
}

const IDS_DRAWN: usize = 64;
/// A bigger buffer is not kept from one batch to the next.
const KEPT_BUFFER_BYTES: usize = 4 * MAX_FRAME_BYTES;
