//! Scans: somebody with the right to has gone through a whole store and says what stands there.
//!
//! A scan begins with the server's word, which notes how far the audit log was; the agent opens its
//! view of the store only after that. So what happened before is in what it saw, by the log's order
//! and by nobody's clock.

use std::collections::BTreeMap;

use crate::keys::{ScanId, Timestamp};

/// The scans of one store for blobs of one key: the last that ended and the one under way.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scans {
    /// Under way, or given up without a word.
    pub running: Option<RunningScan>,
    /// The last that ended.
    pub ended: Option<Scan>,
}

/// A scan that was begun.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunningScan {
    /// Drawn at random.
    pub id: ScanId,
    /// Who began it.
    pub principal: String,
    /// When.
    pub begin_time: Timestamp,
    /// The last durable audit record then.
    pub begin_sequence: u64,
}

/// A scan that ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scan {
    /// Its beginning.
    pub begun: RunningScan,
    /// When what it found was reported.
    pub end_time: Timestamp,
    /// What it found.
    pub found: FoundBlobs,
}

/// What stood in the store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FoundBlobs {
    /// Places that were looked at, whatever they held.
    pub rows: u64,
    /// Blobs of the key, by version.
    pub versions: BTreeMap<u32, u64>,
    /// Blobs of other keys.
    pub other_keys: u64,
    /// Places that hold something that is no blob.
    pub unreadable: u64,
    /// Of `versions`, blobs that do not open and that a person has decided to abandon.
    pub abandoned: BTreeMap<u32, u64>,
    /// Where some of the blobs are.
    pub samples: Vec<String>,
}

/// No scan with this id is under way: another was begun since, or it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not the scan that is under way; begin another")]
pub struct NotRunning;

/// The most samples of one scan.
pub const SAMPLES_MAX: usize = 10;
/// The longest sample, in bytes.
pub const SAMPLE_BYTES_MAX: usize = 256;

// === impl Scans ===

impl Scans {
    /// Begins a scan; the one that was under way is given up.
    pub fn begin(&mut self, begun: RunningScan) {
        self.running = Some(begun);
    }

    /// Ends the scan that is under way. Reported once more, the same scan gives the same answer.
    pub fn end(
        &mut self,
        id: ScanId,
        principal: &str,
        end_time: Timestamp,
        found: FoundBlobs,
    ) -> Result<Scan, NotRunning> {
        if let Some(ended) = self.ended.as_ref().filter(|ended| ended.begun.id == id) {
            return Ok(ended.clone());
        }
        let begun = self.running.take_if(|running| running.id == id).ok_or(NotRunning)?;
        let begun = RunningScan { principal: principal.to_owned(), ..begun };
        let scan = Scan { begun, end_time, found };
        self.ended = Some(scan.clone());
        Ok(scan)
    }
}

// === impl Scan ===

impl Scan {
    /// Blobs of `version` that are left, those that were abandoned excepted.
    pub fn remaining(&self, version: u32) -> u64 {
        let count = |of: &BTreeMap<u32, u64>| of.get(&version).copied().unwrap_or(0);
        count(&self.found.versions).saturating_sub(count(&self.found.abandoned))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn begun(id: u8) -> RunningScan {
        RunningScan {
            id: ScanId::from_bytes([id; 16]),
            principal: "spiffe://one.test/agent".into(),
            begin_time: Timestamp::from_unix_ms(5),
            begin_sequence: 7,
        }
    }

    #[test]
    fn g05_a_scan_that_was_given_up_ends_nothing() {
        let mut scans = Scans::default();
        scans.begin(begun(1));
        scans.begin(begun(2));
        let now = Timestamp::from_unix_ms(9);
        let end = |scans: &mut Scans, id: u8| {
            scans.end(ScanId::from_bytes([id; 16]), "agent", now, FoundBlobs::default())
        };
        assert_eq!(end(&mut scans, 1), Err(NotRunning));
        assert_eq!(scans.ended, None);
        let ended = end(&mut scans, 2).unwrap();
        assert_eq!((ended.begun.begin_sequence, ended.end_time), (7, now));
        assert_eq!(scans, Scans { running: None, ended: Some(ended.clone()) });
        assert_eq!(end(&mut scans, 2), Ok(ended), "said twice");
        scans.begin(begun(3));
        assert_eq!(end(&mut scans, 4), Err(NotRunning));
        assert!(scans.running.is_some(), "another's report gives up nothing");
    }

    #[test]
    fn what_was_abandoned_does_not_remain() {
        let found = FoundBlobs {
            versions: BTreeMap::from([(1, 5), (2, 1)]),
            abandoned: BTreeMap::from([(1, 2), (2, 9)]),
            ..FoundBlobs::default()
        };
        let scan = Scan { begun: begun(1), end_time: Timestamp::from_unix_ms(9), found };
        assert_eq!([1, 2, 3].map(|version| scan.remaining(version)), [3, 0, 0]);
    }
}
