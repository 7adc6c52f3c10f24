//! Finding records: with a segment's index what it points at, without one all there is. Either way a
//! record is given because it was read, follows the chain from the place before it, and holds.

use std::io;

use super::catalogue::Found as FoundPart;
use super::index::{Hits, Stretch};
use super::reader::{Bytes, MAX_READ_BYTES, Segments};
use super::{Entry, TrailError};
use crate::audit::{Chain, Frame, MAX_FRAME_BYTES, Query, Record};

/// What was found in a part of the log.
#[derive(Debug, Default)]
pub struct Found {
    /// All records of that part that were asked for.
    pub entries: Vec<Entry>,
    /// The part's last record.
    pub reached: u64,
}

struct Search<'a> {
    segments: &'a Segments,
    query: &'a Query,
    limit: usize,
    found: Found,
    bytes_returned: usize,
    /// How much may still be read, in stretches or so.
    left: u32,
}

/// Looks through the log after `after`, until `limit` records are found, enough was read, or the log
/// ends.
pub(super) fn search(
    segments: &Segments,
    query: &Query,
    after: u64,
    limit: usize,
) -> Result<Found, TrailError> {
    let begins = segments.begins().saturating_sub(1);
    let found = Found { entries: Vec::new(), reached: after.max(begins) };
    let mut search = Search { segments, query, limit, found, bytes_returned: 0, left: READS_MAX };
    while search.goes_on() {
        let found = {
            let mut catalogue = segments.shared.catalogue.lock();
            let sequence = search.found.reached.saturating_add(1);
            match sequence > catalogue.durable() {
                true => break,
                false => catalogue.find(sequence).ok_or(TrailError::Broken { sequence })?,
            }
        };
        if !search.by_index(&found) {
            search.by_reading(found.until)?;
        }
    }
    Ok(search.found)
}

// === impl Search ===

impl Search<'_> {
    fn goes_on(&self) -> bool {
        self.has_room() && self.left > 0
    }

    fn has_room(&self) -> bool {
        self.found.entries.len() < self.limit && self.bytes_returned < MAX_READ_BYTES
    }

    fn pay(&mut self, reads: u32) {
        self.left = self.left.saturating_sub(reads);
    }

    /// Goes on in this segment with its index, if there is one that serves.
    fn by_index(&mut self, part: &FoundPart) -> bool {
        let shared = &self.segments.shared;
        let within = [self.found.reached, part.until];
        let looked = match shared.index.hits(&shared.place, part.name, self.query, within) {
            Ok(None) => return false,
            Ok(Some(hits)) => self.read_hits(part, &hits),
            Err(error) => Err(error),
        };
        self.pay(1);
        if let Err(error) = &looked {
            let name = part.name;
            tracing::warn!(%name, %error, "an index of the audit log does not serve");
            shared.index.forget(name);
        }
        looked.is_ok()
    }

    fn read_hits(&mut self, part: &FoundPart, hits: &Hits) -> io::Result<()> {
        let mut wanted = hits.records.iter().peekable();
        if wanted.peek().is_some() {
            let bytes = Bytes::open(&self.segments.shared.place, part)?;
            let mut buffer = Vec::new();
            let mut nexts = hits.stretches.iter().skip(1);
            for stretch in &hits.stretches {
                let next = nexts.next();
                let end = next.map_or(u32::MAX, |next| next.position);
                let mut here = Vec::new();
                while let Some(place) = wanted.next_if(|place| *place < end) {
                    here.push(place);
                }
                if here.is_empty() {
                    continue;
                }
                if !self.goes_on() {
                    // All before this stretch was looked at.
                    self.reach(part, stretch.position);
                    return Ok(());
                }
                let until = next.map_or(hits.end, |next| next.offset);
                read_stretch(&bytes, stretch, until, &mut buffer)?;
                self.pay(1);
                if !self.take(part, stretch, &here, &buffer)? {
                    return Ok(());
                }
            }
            if wanted.peek().is_some() {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        self.found.reached = hits.last;
        Ok(())
    }

    /// All before this place of the segment was looked at.
    fn reach(&mut self, part: &FoundPart, position: u32) {
        let before = part.name.first.saturating_add(position.into()).saturating_sub(1);
        self.found.reached = self.found.reached.max(before);
    }

    /// Takes the records at these places of a stretch that hold; whether there is room for more.
    fn take(
        &mut self,
        part: &FoundPart,
        stretch: &Stretch,
        places: &[u32],
        bytes: &[u8],
    ) -> io::Result<bool> {
        let before = part.name.first.saturating_add(stretch.position.into()).saturating_sub(1);
        let mut chain = Chain::at(stretch.head, before);
        let mut rest = bytes;
        for place in places {
            let wanted = part.name.first.saturating_add((*place).into());
            while chain.sequence() < wanted {
                let read = Frame::read(rest).ok().flatten().ok_or(io::ErrorKind::InvalidData)?;
                let (frame, taken) = read;
                chain.verify(&frame).map_err(io::Error::other)?;
                rest = rest.get(taken..).unwrap_or_default();
                if frame.sequence() == wanted {
                    let record = Record::decode(frame.payload()).map_err(io::Error::other)?;
                    self.keep(&frame, record);
                }
            }
            self.found.reached = self.found.reached.max(wanted);
            if !self.has_room() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn keep(&mut self, frame: &Frame<'_>, record: Record<'static>) {
        if frame.sequence() > self.found.reached && self.query.holds(&record) {
            self.bytes_returned = self.bytes_returned.saturating_add(frame.payload().len());
            let (sequence, hash) = (frame.sequence(), *frame.hash());
            self.found.entries.push(Entry { sequence, hash, record });
        }
    }

    /// Reads on, some records, none after `until`.
    fn by_reading(&mut self, until: u64) -> Result<(), TrailError> {
        let mut frames = self.segments.frames(self.found.reached);
        while self.found.reached < until && self.goes_on() {
            for _ in 0..RECORDS_OF_A_READ {
                let sequence = self.found.reached.saturating_add(1);
                if sequence > until || !self.has_room() {
                    break;
                }
                let kept = frames.next(|frame| {
                    let record = Record::decode(frame.payload()).ok()?;
                    self.keep(frame, record);
                    Some(())
                })?;
                kept.flatten().ok_or(TrailError::Broken { sequence })?;
                self.found.reached = sequence;
            }
            self.pay(1);
        }
        Ok(())
    }
}

fn read_stretch(
    bytes: &Bytes,
    stretch: &Stretch,
    until: u64,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    let length = usize::try_from(until.saturating_sub(stretch.offset)).unwrap_or(usize::MAX);
    if length > STRETCH_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    into.resize(length, 0);
    bytes.read_whole(stretch.offset, into)
}

/// Longer than any stretch.
const STRETCH_BYTES_MAX: usize = 2 * MAX_FRAME_BYTES;
/// A fraction of a second of work.
const READS_MAX: u32 = 400;
/// As many as a stretch has.
const RECORDS_OF_A_READ: u32 = 256;
