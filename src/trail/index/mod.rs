//! The index: which segments have records that are asked for, and where. One file beside each sealed
//! segment, and the one of the segment that is written in memory; both made by a thread of their own
//! that follows what is durable.
//!
//! Derived, and never trusted for what it says: what it points at is read, verified and compared with
//! the question, and where there is no index the segment is read from end to end. A file that is not of
//! its segment (head, last record, last chain value) is made anew. Never in the log thread's way.

mod file;
mod postings;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};

use super::catalogue::{Catalogue, Closed};
use super::gate::Gate;
use super::place::{Kind, Name, Place};
use super::reader::{Bytes, Found, Frames};
use crate::audit::{Query, SEGMENT_HEADER_BYTES, SegmentHeader};

pub(super) use postings::Stretch;

use file::{Head, IndexFile};
use postings::{Postings, hits};

/// What is known of segments.
#[derive(Default)]
pub(super) struct Index {
    /// Files that are of their segments.
    files: Mutex<BTreeMap<Name, Head>>,
    /// Of the segment that is written.
    open: RwLock<Option<(Name, Postings)>>,
    closed: Mutex<bool>,
    changed: Condvar,
}

/// Where records that can be asked for stand in one segment.
pub(super) struct Hits {
    /// Their places in the segment, from 0.
    pub(super) records: roaring::RoaringBitmap,
    pub(super) stretches: Vec<Stretch>,
    /// Where the last stretch ends.
    pub(super) end: u64,
    /// The last record that the index knows of.
    pub(super) last: u64,
}

/// The thread that makes indexes.
pub(super) struct Indexer {
    place: Arc<Place>,
    catalogue: Arc<Mutex<Catalogue>>,
    gate: Arc<Gate>,
    index: Arc<Index>,
    /// Behind the last record that the open segment's index has.
    frames: Option<Frames>,
    /// Those that could not be made are not tried again in this run.
    left: HashSet<Name>,
    tidied: bool,
}

// === impl Index ===

impl Index {
    /// Where records stand that can be asked for, in the segment `name`, after the record `after`; None
    /// where there is no index of them.
    pub(super) fn hits(
        &self,
        place: &Place,
        name: Name,
        query: &Query,
        [after, until]: [u64; 2],
    ) -> io::Result<Option<Hits>> {
        let at = |sequence: u64| u32::try_from(sequence.saturating_sub(name.first));
        let places = |last: u64| -> io::Result<[u32; 2]> {
            let first = at(after.saturating_add(1)).map_err(io::Error::other)?;
            Ok([first, at(last).map_err(io::Error::other)?])
        };
        if let Some((_, postings)) = self.open.read().as_ref().filter(|(open, _)| *open == name) {
            let last = postings.last().min(until);
            if last <= after {
                return Ok(None);
            }
            let (records, stretches) = hits(postings, query, places(last)?)?;
            return Ok(Some(Hits { records, stretches, end: postings.end(), last }));
        }
        let Some(head) = self.files.lock().get(&name).copied() else { return Ok(None) };
        let last = head.chain.sequence().min(until);
        if last <= after {
            return Ok(None);
        }
        let file = IndexFile::open(&*place.disk, &place.index(name), head)?;
        let (records, stretches) = hits(&file, query, places(last)?)?;
        Ok(Some(Hits { records, stretches, end: head.end, last }))
    }

    /// Does without the segment's index, which is not what it should be.
    pub(super) fn forget(&self, name: Name) {
        self.files.lock().remove(&name);
        let mut open = self.open.write();
        if open.as_ref().is_some_and(|(known, _)| *known == name) {
            *open = None;
        }
    }

    /// The latest time of any record of the segment, where it has an index.
    pub(super) fn latest_us(&self, name: Name) -> Option<i64> {
        self.files.lock().get(&name).map(|head| head.times.to_us)
    }

    /// How many segments have an index in a file.
    pub(super) fn count(&self) -> usize {
        self.files.lock().len()
    }

    /// As far as the open segment is indexed.
    pub(super) fn reached(&self) -> u64 {
        self.open.read().as_ref().map_or(0, |(_, postings)| postings.last())
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        *self.closed.lock() = true;
        self.changed.notify_all();
    }

    /// Waits a moment; whether the thread goes on.
    fn goes_on(&self, wait: Duration) -> bool {
        let mut closed = self.closed.lock();
        self.changed.wait_while_for(&mut closed, |closed| !*closed, wait);
        !*closed
    }
}

// === impl Indexer ===

impl Indexer {
    pub(super) fn new(
        place: Arc<Place>,
        catalogue: Arc<Mutex<Catalogue>>,
        gate: Arc<Gate>,
        index: Arc<Index>,
    ) -> Self {
        let left = HashSet::new();
        Self { place, catalogue, gate, index, frames: None, left, tidied: false }
    }

    /// Until the log is closed.
    pub(super) fn run(mut self) {
        // Whoever waits for a reply comes first. Where this is not allowed nothing is lost.
        let _ = rustix::process::nice(NICE);
        let mut busy = true;
        while self.index.goes_on(if busy { Duration::ZERO } else { LOOK_EVERY }) {
            busy = self.turn();
        }
    }

    /// Makes one missing index and goes on with the open one; whether there is more to do now.
    fn turn(&mut self) -> bool {
        let closed = self.catalogue.lock().closed();
        if !std::mem::replace(&mut self.tidied, true)
            && let Err(error) = self.tidy(&closed)
        {
            tracing::warn!(%error, "cannot tidy the audit log's indexes");
        }
        let missing = {
            let mut files = self.index.files.lock();
            files.retain(|name, _| closed.iter().any(|part| part.name == *name));
            let missing =
                |part: &&Closed| !files.contains_key(&part.name) && !self.left.contains(&part.name);
            closed.iter().find(missing).copied()
        };
        if let Some(part) = missing
            && let Err(error) = self.adopt(&part).or_else(|_| self.make(&part))
        {
            let name = part.name;
            tracing::warn!(%name, %error, "cannot make an index of a segment of the audit log");
            self.left.insert(name);
        }
        if let Err(error) = self.follow() {
            tracing::warn!(%error, "cannot index the audit log's last records");
            self.let_go();
        }
        missing.is_some()
    }

    /// Removes indexes of segments that are gone.
    fn tidy(&self, closed: &[Closed]) -> io::Result<()> {
        for file in self.place.disk.list(&self.place.directory)? {
            if let Kind::Index(name) = Kind::of(&file)
                && !closed.iter().any(|part| part.name == name)
            {
                self.place.disk.remove(&self.place.index(name))?;
            }
        }
        Ok(())
    }

    /// Takes the file that is there, if it is of this segment: what follows the segment says how it
    /// ended.
    fn adopt(&self, part: &Closed) -> io::Result<()> {
        let head = Head::read(&*self.place.disk, &self.place.index(part.name))?;
        let fits = head.is_of(&self.header(part.name)?) && head.chain == self.end_of(part)?;
        if !fits {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.index.files.lock().insert(part.name, head);
        Ok(())
    }

    fn make(&mut self, part: &Closed) -> io::Result<()> {
        let header = self.header(part.name)?;
        let is_open = |(name, _): &(Name, Postings)| *name == part.name;
        let known = self.index.open.read().as_ref().is_some_and(is_open);
        let made = if known && let Some(frames) = &mut self.frames {
            frames.set_end(u64::MAX)?;
            let mut open = self.index.open.write();
            let Some((_, postings)) = open.as_mut() else { return Ok(()) };
            self.gate.adds_to(postings, frames, part.last)?;
            file::to_bytes(&header, postings)
        } else {
            let begins = SEGMENT_HEADER_BYTES as u64;
            let mut frames = Frames::new(self.bytes(part.name)?, begins, u64::MAX)?;
            let mut postings = Postings::new(header.chain(), begins);
            self.gate.adds_to(&mut postings, &mut frames, part.last)?;
            file::to_bytes(&header, &postings)
        };
        let (head, bytes) = made;
        if head.chain != self.end_of(part)? {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.place.put(&self.place.index(part.name), &bytes)?;
        self.index.files.lock().insert(part.name, head);
        if known {
            self.let_go();
        }
        Ok(())
    }

    /// Goes on with the index of the segment that is written.
    fn follow(&mut self) -> io::Result<()> {
        let (durable, found) = {
            let mut catalogue = self.catalogue.lock();
            let durable = catalogue.durable();
            (durable, catalogue.find(durable.max(1)))
        };
        let Some(found) = found.filter(|found| found.file.is_some() && durable > 0) else {
            return Ok(());
        };
        let known = self.index.open.read().as_ref().map(|(name, _)| *name);
        if known != Some(found.name) {
            if known.is_some_and(|known| !self.left.contains(&known)) && self.is_missing(known) {
                // It is made into a file first.
                return Ok(());
            }
            let begins = SEGMENT_HEADER_BYTES as u64;
            let bytes = Bytes::open(&self.place, &found)?;
            let header = bytes.header(&self.place, found.name).map_err(io::Error::other)?;
            self.frames = Some(Frames::new(bytes, begins, begins)?);
            let postings = Postings::new(header.chain(), begins);
            *self.index.open.write() = Some((found.name, postings));
        }
        let Some(frames) = &mut self.frames else { return Ok(()) };
        frames.set_end(found.length)?;
        loop {
            let mut open = self.index.open.write();
            let Some((_, postings)) = open.as_mut() else { return Ok(()) };
            let until = found.until.min(postings.last().saturating_add(ADDED_AT_ONCE));
            self.gate.adds_to(postings, frames, until)?;
            if until == found.until {
                return Ok(());
            }
        }
    }

    fn is_missing(&self, name: Option<Name>) -> bool {
        let closed = self.catalogue.lock().closed();
        let files = self.index.files.lock();
        name.is_some_and(|name| {
            closed.iter().any(|part| part.name == name) && !files.contains_key(&name)
        })
    }

    fn let_go(&mut self) {
        self.frames = None;
        *self.index.open.write() = None;
    }

    fn bytes(&self, name: Name) -> io::Result<Bytes> {
        match Bytes::at(&self.place, name, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Bytes::at(&self.place, name, true)
            }
            bytes => bytes,
        }
    }

    fn header(&self, name: Name) -> io::Result<SegmentHeader> {
        self.bytes(name)?.header(&self.place, name).map_err(io::Error::other)
    }

    /// Where the log stands after the segment's last record, as the one after it says.
    fn end_of(&self, part: &Closed) -> io::Result<crate::audit::Chain> {
        Ok(self.header(part.next)?.chain())
    }
}

// === impl Head ===

impl Head {
    fn is_of(&self, header: &SegmentHeader) -> bool {
        self.header == header.to_bytes()
    }
}

// === impl Gate ===

impl Gate {
    /// Adds the records up to `last`, unless the log is closed before. Not verified here: an index that
    /// is wrong costs time and shows nothing.
    fn adds_to(&self, postings: &mut Postings, frames: &mut Frames, last: u64) -> io::Result<()> {
        while postings.last() < last {
            let bytes = match frames.peek()? {
                Found::Frame(frame, bytes)
                    if frame.sequence() == postings.last().saturating_add(1) =>
                {
                    postings.add(&frame, bytes);
                    bytes
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            frames.pass(bytes);
            if postings.last().is_multiple_of(ADDED_AT_ONCE) && self.is_closing() {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        Ok(())
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Records that are added while nobody else can look.
const ADDED_AT_ONCE: u64 = 1024;
/// Behind everything that somebody waits for.
const NICE: i32 = 10;
