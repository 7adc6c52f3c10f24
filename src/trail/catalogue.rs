//! Which segments there are, and where in them records stand.
//!
//! Small whatever the log's length: a segment is a name; places inside are kept for those that were
//! read last and the one that is written. Never touches a file.

use std::collections::VecDeque;
use std::sync::Arc;

use super::disk::LogFile;
use super::place::Name;
use crate::audit::Chain;

/// Every how many records a segment has a mark.
pub(super) const MARK_INTERVAL: u64 = 1024;

/// All segments, in the order of the log.
#[derive(Default)]
pub(super) struct Catalogue {
    parts: Vec<Part>,
    /// Sealed segments with marks, the one that was read last at the end.
    marked: VecDeque<Name>,
    /// The last durable record.
    durable: u64,
}

/// One segment.
pub(super) struct Part {
    pub(super) name: Name,
    pub(super) packed: bool,
    /// As long as it is written to.
    pub(super) file: Option<Arc<dyn LogFile>>,
    /// As far as it is durable; the file's whole length for one that this run did not write.
    pub(super) length: u64,
    marks: Vec<Mark>,
}

/// A segment that is not written to any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Closed {
    pub(super) name: Name,
    /// Its last record that counts.
    pub(super) last: u64,
    /// The one after it.
    pub(super) next: Name,
}

/// A place between two records: what comes before it, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) chain: Chain,
}

/// Where a record is to be found.
pub(super) struct Found {
    pub(super) name: Name,
    pub(super) packed: bool,
    pub(super) file: Option<Arc<dyn LogFile>>,
    pub(super) length: u64,
    /// The nearest place before it; None for the segment's beginning.
    pub(super) mark: Option<Mark>,
    /// The last durable record that this segment has, as far as is known now.
    pub(super) until: u64,
}

// === impl Part ===

impl Part {
    pub(super) fn new(name: Name, packed: bool) -> Self {
        Self { name, packed, file: None, length: u64::MAX, marks: Vec::new() }
    }
}

// === impl Catalogue ===

impl Catalogue {
    /// `parts` in any order.
    pub(super) fn new(mut parts: Vec<Part>) -> Self {
        parts.sort_by_key(|part| (part.name, part.packed));
        // An original that was not removed yet counts for its copy.
        parts.dedup_by_key(|part| part.name);
        Self { parts, ..Self::default() }
    }

    pub(super) fn names(&self) -> impl DoubleEndedIterator<Item = (Name, bool)> {
        self.parts.iter().map(|part| (part.name, part.packed))
    }

    /// Those that have records that count, but for the last one: what may be compressed.
    pub(super) fn sealed(&self) -> Vec<(Name, u64)> {
        self.parts
            .windows(2)
            .filter_map(|pair| match pair {
                [part, next] if !part.packed && next.name.first > part.name.first => {
                    Some((part.name, next.name.first.saturating_sub(1)))
                }
                _ => None,
            })
            .collect()
    }

    /// Those that have records that count, but for the last one, compressed or not.
    pub(super) fn closed(&self) -> Vec<Closed> {
        let counting = self.parts.windows(2).filter_map(|pair| match pair {
            [part, next] if next.name.first > part.name.first => Some((part.name, next.name.first)),
            _ => None,
        });
        let next_of = |first: u64| {
            let after = self.parts.partition_point(|part| part.name.first <= first);
            after.checked_sub(1).and_then(|at| self.parts.get(at)).map(|part| part.name)
        };
        let closed = counting.filter_map(|(name, first)| {
            Some(Closed { name, last: first.saturating_sub(1), next: next_of(first)? })
        });
        closed.collect()
    }

    /// The first record that is there.
    pub(super) fn begins(&self) -> u64 {
        self.parts.first().map_or(1, |part| part.name.first)
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    pub(super) fn set_durable(&mut self, durable: u64) {
        self.durable = durable;
    }

    /// A new last segment.
    pub(super) fn push(&mut self, part: Part) {
        if let Some(last) = self.parts.last_mut() {
            last.file = None;
            let name = last.name;
            if !last.marks.is_empty() {
                self.read_last(name);
            }
        }
        self.parts.push(part);
    }

    /// The first number that no segment beginning with `first` has.
    pub(super) fn next_attempt(&self, first: u64) -> u32 {
        let attempts = self.parts.iter().filter(|part| part.name.first == first);
        attempts.map(|part| part.name.attempt.saturating_add(1)).max().unwrap_or(0)
    }

    /// The segment that is written has grown.
    pub(super) fn extend(&mut self, marks: impl Iterator<Item = Mark>, length: u64, durable: u64) {
        if let Some(last) = self.parts.last_mut() {
            last.marks.extend(marks);
            last.length = length;
        }
        self.durable = durable;
    }

    pub(super) fn begin(&mut self, name: Name, file: Arc<dyn LogFile>, length: u64) {
        if let Some(part) = self.parts.iter_mut().find(|part| part.name == name) {
            part.file = Some(file);
            part.length = length;
        }
    }

    pub(super) fn set_packed(&mut self, name: Name) {
        if let Some(part) = self.parts.iter_mut().find(|part| part.name == name) {
            part.packed = true;
            part.length = u64::MAX;
        }
    }

    /// Forgets a segment in which no record counts.
    pub(super) fn remove(&mut self, name: Name) {
        self.parts.retain(|part| part.name != name);
    }

    /// Forgets the segments that end before the record `sequence`, which begins one: their names, in
    /// order.
    pub(super) fn remove_before(&mut self, sequence: u64) -> Vec<Name> {
        let count = self.parts.partition_point(|part| part.name.first < sequence);
        self.parts.drain(..count).map(|part| part.name).collect()
    }

    /// Where the record `sequence`, which is durable, is to be found.
    pub(super) fn find(&mut self, sequence: u64) -> Option<Found> {
        let after = self.parts.partition_point(|part| part.name.first <= sequence);
        let at = after.checked_sub(1)?;
        let next = self.parts.get(after).map_or(u64::MAX, |next| next.name.first);
        let part = self.parts.get(at)?;
        let marks_after = part.marks.partition_point(|mark| mark.chain.sequence() < sequence);
        Some(Found {
            name: part.name,
            packed: part.packed,
            file: part.file.clone(),
            length: part.length,
            mark: marks_after.checked_sub(1).and_then(|at| part.marks.get(at)).copied(),
            until: next.saturating_sub(1).min(self.durable),
        })
    }

    /// A place that a reader passed in a sealed segment.
    pub(super) fn mark(&mut self, name: Name, mark: Mark) {
        let Ok(at) = self.parts.binary_search_by_key(&name, |part| part.name) else { return };
        let Some(part) = self.parts.get_mut(at) else { return };
        let last = part.marks.last().map_or(0, |mark| mark.chain.sequence());
        if part.file.is_none() && mark.chain.sequence() > last {
            part.marks.push(mark);
            self.read_last(name);
        }
    }

    fn read_last(&mut self, name: Name) {
        if self.marked.back() == Some(&name) {
            return;
        }
        self.marked.retain(|known| *known != name);
        self.marked.push_back(name);
        if self.marked.len() > MARKED_SEGMENTS_MAX
            && let Some(oldest) = self.marked.pop_front()
            && let Some(part) = self.parts.iter_mut().find(|part| part.name == oldest)
        {
            part.marks = Vec::new();
        }
    }

    #[cfg(test)]
    pub(super) fn marks(&self) -> usize {
        self.parts.iter().map(|part| part.marks.len()).sum()
    }
}

/// Sealed segments whose places are remembered.
const MARKED_SEGMENTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

    use super::*;
    use crate::audit::SegmentHeader;

    fn mark_at(sequence: u64) -> Mark {
        let mut chain = SegmentHeader::first([1; 16]).chain();
        for _ in 0..sequence {
            chain.seal(b"x", &mut Vec::new()).unwrap();
        }
        Mark { offset: sequence, chain }
    }

    #[test]
    fn the_last_attempt_counts_and_one_that_begins_later_ends_it() {
        let name = |first, attempt| Name { first, attempt };
        let names = [name(1, 0), name(11, 0), name(11, 1), name(31, 0)];
        let mut catalogue = Catalogue::new(names.map(|it| Part::new(it, false)).into());
        catalogue.set_durable(40);
        let found =
            |catalogue: &mut Catalogue, at| catalogue.find(at).map(|it| (it.name, it.until));
        assert_eq!(found(&mut catalogue, 1), Some((names[0], 10)));
        assert_eq!(found(&mut catalogue, 11), Some((names[2], 30)));
        assert_eq!(found(&mut catalogue, 35), Some((names[3], 40)));
        assert_eq!(catalogue.next_attempt(11), 2);
        assert_eq!(catalogue.next_attempt(12), 0);
        assert_eq!(catalogue.sealed(), [(names[0], 10), (names[2], 30)]);
    }

    #[test]
    fn j08_marks_do_not_grow_with_the_log() {
        let names: Vec<_> = (0..1_000).map(|n| Name { first: n * 10 + 1, attempt: 0 }).collect();
        let mut catalogue =
            Catalogue::new(names.iter().map(|name| Part::new(*name, false)).collect());
        for name in names {
            for sequence in 1..=3 {
                catalogue.mark(name, mark_at(sequence));
            }
        }
        assert_eq!(catalogue.marks(), MARKED_SEGMENTS_MAX * 3);
    }
}
