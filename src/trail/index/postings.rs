//! What one segment's records can be found by: for each term the records that have it, and the places
//! between records from which the chain can be followed, with the times of the records in between.
//!
//! Built from the segment's frames. Says only where to look: whoever uses it reads what it points at.

use std::collections::HashMap;
use std::io;

use roaring::RoaringBitmap;

use crate::audit::{Chain, Frame, HASH_BYTES, Query, each_term};

/// Some records that stand one after another: where they begin, and of what times they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::trail) struct Stretch {
    /// The first record's place in the segment, from 0.
    pub(in crate::trail) position: u32,
    /// Where its frame stands.
    pub(in crate::trail) offset: u64,
    /// The chain value before it.
    pub(in crate::trail) head: [u8; HASH_BYTES],
    pub(in crate::trail) times: Times,
}

/// The earliest and the latest time of some records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::trail) struct Times {
    pub(in crate::trail) from_us: i64,
    pub(in crate::trail) to_us: i64,
}

/// Where terms are looked up.
pub(in crate::trail) trait Lookup {
    /// The places of the records that have the term.
    fn records_with(&self, term: &[u8]) -> io::Result<RoaringBitmap>;
    /// The times of all records.
    fn times(&self) -> Times;
    /// All stretches, in order.
    fn stretches(&self) -> io::Result<Vec<Stretch>>;
}

/// A segment's, as far as it was read.
pub(in crate::trail) struct Postings {
    pub(super) terms: HashMap<Box<[u8]>, RoaringBitmap>,
    pub(super) stretches: Vec<Stretch>,
    pub(super) chain: Chain,
    pub(super) records: u32,
    /// Where the next frame stands.
    pub(super) end: u64,
    pub(super) times: Times,
}

// === impl Times ===

impl Times {
    /// Of no record.
    pub(super) const NONE: Self = Self { from_us: i64::MAX, to_us: i64::MIN };

    fn add(&mut self, time_us: i64) {
        self.from_us = self.from_us.min(time_us);
        self.to_us = self.to_us.max(time_us);
    }

    /// Whether a record in here can be one that is asked for.
    fn meet(&self, query: &Query) -> bool {
        query.filter.start_us.is_none_or(|start| self.to_us >= start)
            && query.filter.end_us.is_none_or(|end| self.from_us < end)
    }

    /// Whether every record in here is.
    fn are_within(&self, query: &Query) -> bool {
        query.filter.start_us.is_none_or(|start| self.from_us >= start)
            && query.filter.end_us.is_none_or(|end| self.to_us < end)
    }
}

// === impl Postings ===

impl Postings {
    /// Of a segment that begins after `chain`, whose first frame stands at `offset`.
    pub(in crate::trail) fn new(chain: Chain, offset: u64) -> Self {
        Self {
            terms: HashMap::new(),
            stretches: Vec::new(),
            chain,
            records: 0,
            end: offset,
            times: Times::NONE,
        }
    }

    /// Adds the next record, whose frame has so many bytes.
    pub(in crate::trail) fn add(&mut self, frame: &Frame<'_>, bytes: usize) {
        let position = self.records;
        let is_full = self.stretches.last().is_none_or(|last| {
            position.saturating_sub(last.position) >= STRETCH_RECORDS
                || self.end.saturating_sub(last.offset) >= STRETCH_BYTES
        });
        if is_full {
            let (offset, head) = (self.end, *self.chain.head());
            self.stretches.push(Stretch { position, offset, head, times: Times::NONE });
        }
        let time_us = each_term(frame.payload(), |term| {
            if let Some(records) = self.terms.get_mut(term) {
                records.insert(position);
            } else {
                self.terms.insert(term.into(), RoaringBitmap::from_iter([position]));
            }
        });
        self.times.add(time_us);
        if let Some(last) = self.stretches.last_mut() {
            last.times.add(time_us);
        }
        self.chain = Chain::at(*frame.hash(), frame.sequence());
        self.records = position.saturating_add(1);
        self.end = self.end.saturating_add(bytes as u64);
    }

    /// The last record that was added.
    pub(in crate::trail) fn last(&self) -> u64 {
        self.chain.sequence()
    }

    /// Where the last stretch ends.
    pub(in crate::trail) fn end(&self) -> u64 {
        self.end
    }
}

impl Lookup for Postings {
    fn records_with(&self, term: &[u8]) -> io::Result<RoaringBitmap> {
        Ok(self.terms.get(term).cloned().unwrap_or_default())
    }

    fn times(&self) -> Times {
        self.times
    }

    fn stretches(&self) -> io::Result<Vec<Stretch>> {
        Ok(self.stretches.clone())
    }
}

/// The places, from `from` to `to`, of the records that can be asked for, and the stretches where they
/// stand if there are any.
pub(in crate::trail) fn hits(
    lookup: &impl Lookup,
    query: &Query,
    [from, to]: [u32; 2],
) -> io::Result<(RoaringBitmap, Vec<Stretch>)> {
    if !lookup.times().meet(query) {
        return Ok(Default::default());
    }
    let mut hits = RoaringBitmap::new();
    hits.insert_range(from..=to);
    for any in query.terms() {
        let mut records = RoaringBitmap::new();
        for term in any {
            records |= lookup.records_with(&term)?;
        }
        hits &= records;
        if hits.is_empty() {
            return Ok(Default::default());
        }
    }
    let stretches = lookup.stretches()?;
    if !lookup.times().are_within(query) {
        let mut ends = stretches.iter().skip(1).map(|next| next.position);
        for stretch in &stretches {
            let end = ends.next().unwrap_or(u32::MAX);
            if !stretch.times.meet(query) {
                hits.remove_range(stretch.position..end);
            }
        }
    }
    Ok((hits, stretches))
}

/// A stretch is read as a whole for one record in it: a millisecond or so.
const STRETCH_RECORDS: u32 = 256;
const STRETCH_BYTES: u64 = 128 * 1024;
