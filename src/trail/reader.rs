//! Reading the log back: frames in constant memory across segments, compressed ones too, and pages.
//! Verifies the chain on its way, and never reads past what is durable.

use std::io;
use std::sync::Arc;

use super::catalogue::{Found as FoundPart, MARK_INTERVAL, Mark};
use super::disk::LogFile;
use super::packed::Packed;
use super::place::{Name, Place};
use super::{Entry, Shared, TrailError};
use crate::audit::{Chain, Frame, MAX_FRAME_BYTES, Record, SEGMENT_HEADER_BYTES, SegmentHeader};

/// About how many bytes of records one read returns at most.
pub const MAX_READ_BYTES: usize = 4 * 1024 * 1024;

/// The log's segments, for those who read the log as a whole.
#[derive(Clone)]
pub struct Segments {
    pub(super) shared: Arc<Shared>,
}

/// The log's frames, one after another. Blocks while it reads, and nobody else.
pub struct FrameReader {
    shared: Arc<Shared>,
    /// Where it stands: at a record of the log, or still before the first that it was asked for.
    after: u64,
    source: Option<Open>,
}

// === impl Shared ===

impl Shared {
    /// The frames from the record `first` on.
    pub(super) fn frames_from(self: &Arc<Self>, first: u64) -> FrameReader {
        let after = first.saturating_sub(1);
        FrameReader { shared: Arc::clone(self), after, source: None }
    }

    /// The bytes of a segment, whichever way they are kept now.
    pub(super) fn bytes_of(&self, name: Name) -> io::Result<Bytes> {
        match Bytes::at(&self.place, name, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Bytes::at(&self.place, name, true)
            }
            bytes => bytes,
        }
    }
}

/// A segment that is read.
struct Open {
    name: Name,
    chain: Chain,
    frames: Frames,
    until: u64,
}

/// Bytes of a segment, whichever way they are kept.
pub(super) enum Bytes {
    Plain(Arc<dyn LogFile>),
    Packed(Box<Packed>),
}

/// Frames, one after another, from an offset to an end.
pub(super) struct Frames {
    bytes: Bytes,
    /// What has been read and not been passed: `window[start..]` begins at `offset`.
    window: Vec<u8>,
    start: usize,
    offset: u64,
    end: u64,
}

/// What stands at a place in a segment.
pub(super) enum Found<'a> {
    /// A whole frame, and how many bytes it takes.
    Frame(Frame<'a>, usize),
    /// Something else, up to the end or not.
    Damage,
    /// The end: of the bytes, or of the records.
    End,
}

// === impl Segments ===

impl Segments {
    /// The frames after the sequence `after`, 0 for all. The chain is verified from the beginning of
    /// the segment that the first of them is in.
    pub fn frames(&self, after: u64) -> FrameReader {
        // What was deleted is passed over.
        let after = after.max(self.begins().saturating_sub(1));
        FrameReader { shared: Arc::clone(&self.shared), after, source: None }
    }

    /// The first record that is there: those before it are deleted.
    pub fn begins(&self) -> u64 {
        self.shared.catalogue.lock().begins()
    }

    /// The last record of each sealed segment.
    pub(super) fn ends(&self) -> std::collections::BTreeSet<u64> {
        self.shared.catalogue.lock().closed().iter().map(|part| part.last).collect()
    }

    /// The last durable record of the segment that has the record `sequence`, as far as is known now;
    /// None where that one is not durable yet.
    pub fn end_of(&self, sequence: u64) -> Option<u64> {
        let mut catalogue = self.shared.catalogue.lock();
        (sequence <= catalogue.durable()).then(|| catalogue.find(sequence))?.map(|it| it.until)
    }
}

// === impl FrameReader ===

impl FrameReader {
    /// What `take` makes of the next durable frame; None where there is none yet. To be asked again
    /// later.
    ///
    /// # Errors
    /// [`TrailError::Broken`] names the first record that is not as it was written.
    pub fn next<T>(&mut self, take: impl FnOnce(&Frame<'_>) -> T) -> Result<Option<T>, TrailError> {
        let sequence = self.after.saturating_add(1);
        if !self.stand_before(sequence)? {
            return Ok(None);
        }
        let Some(open) = &mut self.source else { return Ok(None) };
        let broken = || TrailError::Broken { sequence };
        let (taken, bytes) = match open.frames.peek().map_err(|e| TrailError::io("read", e))? {
            Found::End | Found::Damage => return Err(broken()),
            Found::Frame(frame, bytes) => {
                open.chain.verify(&frame).map_err(|_| broken())?;
                (take(&frame), bytes)
            }
        };
        open.passed(&self.shared, bytes);
        self.after = sequence;
        Ok(Some(taken))
    }

    /// The place before the next frame; None where no frame is next yet.
    pub fn stands_after(&mut self) -> Result<Option<Chain>, TrailError> {
        let stands = self.stand_before(self.after.saturating_add(1))?;
        Ok(self.chain().filter(|_| stands))
    }

    /// Where it has come to: the last frame's sequence and the chain value after it. None before the
    /// first frame.
    pub fn chain(&self) -> Option<Chain> {
        self.source.as_ref().map(|open| open.chain)
    }

    /// Whether `sequence` is durable and the next frame is it.
    fn stand_before(&mut self, sequence: u64) -> Result<bool, TrailError> {
        if self.source.as_ref().is_some_and(|open| sequence <= open.until) {
            return Ok(true);
        }
        let found = {
            let mut catalogue = self.shared.catalogue.lock();
            if sequence > catalogue.durable() {
                return Ok(false);
            }
            catalogue.find(sequence).ok_or(TrailError::Broken { sequence })?
        };
        if let Some(open) = self.source.as_mut().filter(|open| open.name == found.name) {
            open.frames.end = found.length;
            open.until = found.until;
            return Ok(true);
        }
        let before = self.source.as_ref().map(|open| open.chain);
        let mut open = Open::new(&self.shared, found)?;
        open.skip_to(&self.shared, sequence)?;
        if before.is_some_and(|before| before != open.chain) {
            return Err(TrailError::Broken { sequence });
        }
        self.source = Some(open);
        Ok(true)
    }
}

// === impl Open ===

impl Open {
    /// At the nearest place before what was looked for.
    fn new(shared: &Shared, found: FoundPart) -> Result<Self, TrailError> {
        let bytes =
            Bytes::open(&shared.place, &found).map_err(|error| TrailError::io("read", error))?;
        let first = found.name.first;
        let header = bytes.header(&shared.place, found.name)?;
        let begins = header.chain();
        if first == 1 && begins != first_chain(&shared.place) {
            return Err(TrailError::Broken { sequence: first });
        }
        let Mark { offset, chain } =
            found.mark.unwrap_or(Mark { offset: SEGMENT_HEADER_BYTES as u64, chain: begins });
        let end = found.length;
        let frames = Frames::new(bytes, offset, end).map_err(|e| TrailError::io("read", e))?;
        Ok(Self { name: found.name, chain, frames, until: found.until })
    }

    fn skip_to(&mut self, shared: &Shared, sequence: u64) -> Result<(), TrailError> {
        while self.chain.sequence().saturating_add(1) < sequence {
            let next = self.chain.sequence().saturating_add(1);
            let bytes = match self.frames.peek().map_err(|e| TrailError::io("read", e))? {
                Found::Frame(frame, bytes) if self.chain.verify(&frame).is_ok() => bytes,
                _ => return Err(TrailError::Broken { sequence: next }),
            };
            self.passed(shared, bytes);
        }
        Ok(())
    }

    fn passed(&mut self, shared: &Shared, bytes: usize) {
        self.frames.pass(bytes);
        if self.chain.sequence().is_multiple_of(MARK_INTERVAL) {
            let mark = Mark { offset: self.frames.offset, chain: self.chain };
            shared.catalogue.lock().mark(self.name, mark);
        }
    }
}

// === impl Bytes ===

impl Bytes {
    pub(super) fn open(place: &Place, found: &FoundPart) -> io::Result<Self> {
        if let Some(file) = &found.file {
            return Ok(Self::Plain(Arc::clone(file)));
        }
        match Self::at(place, found.name, found.packed) {
            // It was compressed a moment ago.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !found.packed => {
                Self::at(place, found.name, true)
            }
            other => other,
        }
    }

    pub(super) fn at(place: &Place, name: Name, packed: bool) -> io::Result<Self> {
        if packed {
            let file = place.disk.open(&place.packed(name))?;
            return Ok(Self::Packed(Box::new(Packed::open(file)?)));
        }
        Ok(Self::Plain(place.disk.open(&place.segment(name))?.into()))
    }

    /// The header, which must be that of the segment of this name.
    pub(super) fn header(&self, place: &Place, name: Name) -> Result<SegmentHeader, TrailError> {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let broken = |_| TrailError::Broken { sequence: name.first };
        self.read_whole(0, &mut header).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => TrailError::Broken { sequence: name.first },
            _ => TrailError::io("read", error),
        })?;
        let header = SegmentHeader::parse(&header).map_err(broken)?;
        if *header.installation_id() != place.installation_id {
            return Err(TrailError::OtherInstallation);
        }
        if (header.first_sequence(), header.attempt()) != (name.first, name.attempt) {
            return Err(TrailError::Broken { sequence: name.first });
        }
        Ok(header)
    }

    pub(super) fn length(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => file.length(),
            Self::Packed(packed) => Ok(packed.length()),
        }
    }

    pub(super) fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read_at(offset, into),
            Self::Packed(packed) => packed.read_at(offset, into),
        }
    }

    pub(super) fn read_whole(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut done = 0_usize;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(offset.saturating_add(done as u64), rest)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => done = done.saturating_add(read),
            }
        }
        Ok(())
    }
}

// === impl Frames ===

impl Frames {
    /// `end` may be past the end.
    pub(super) fn new(bytes: Bytes, offset: u64, end: u64) -> io::Result<Self> {
        let end = end.min(bytes.length()?);
        Ok(Self { bytes, window: Vec::new(), start: 0, offset, end })
    }

    /// Frames up to `end`, which may be past the end, are there now.
    pub(super) fn set_end(&mut self, end: u64) -> io::Result<()> {
        self.end = end.min(self.bytes.length()?);
        Ok(())
    }

    /// Where the next frame stands.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// What stands here.
    pub(super) fn peek(&mut self) -> io::Result<Found<'_>> {
        self.fill()?;
        let window = self.ahead();
        let is_over = window.len() < 4 || window.iter().take(4).all(|byte| *byte == 0);
        Ok(match Frame::read(window) {
            _ if is_over => Found::End,
            Ok(Some((frame, bytes))) => Found::Frame(frame, bytes),
            Ok(None) | Err(_) => Found::Damage,
        })
    }

    /// The bytes from here: a longest frame's, or as many as there are.
    pub(super) fn look(&mut self) -> io::Result<&[u8]> {
        self.fill()?;
        Ok(self.ahead())
    }

    /// Goes on by `bytes`, which have been seen.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes);
        self.offset = self.offset.saturating_add(bytes as u64);
    }

    fn ahead(&self) -> &[u8] {
        self.window.get(self.start..).unwrap_or_default()
    }

    fn fill(&mut self) -> io::Result<()> {
        let known = self.window.len().saturating_sub(self.start);
        if known >= MAX_FRAME_BYTES {
            return Ok(());
        }
        let mut read_to = self.offset.saturating_add(known as u64);
        if read_to >= self.end {
            return Ok(());
        }
        self.window.drain(..self.start.min(self.window.len()));
        self.start = 0;
        while self.window.len() < WINDOW_BYTES && read_to < self.end {
            let room = WINDOW_BYTES.saturating_sub(self.window.len());
            let left = usize::try_from(self.end.saturating_sub(read_to)).unwrap_or(usize::MAX);
            let filled = self.window.len();
            self.window.resize(filled.saturating_add(room.min(left)), 0);
            let into = self.window.get_mut(filled..).unwrap_or_default();
            let read = match self.bytes.read_at(read_to, into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(error),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
            };
            self.window.truncate(filled.saturating_add(read));
            read_to = read_to.saturating_add(read as u64);
        }
        Ok(())
    }
}

/// See [`super::Trail::read`].
pub(super) fn read(
    segments: &Segments,
    after: u64,
    limit: usize,
) -> Result<Vec<Entry>, TrailError> {
    let mut entries = Vec::new();
    let mut frames = segments.frames(after);
    let mut bytes_returned = 0_usize;
    while entries.len() < limit && bytes_returned < MAX_READ_BYTES {
        let next = frames.next(|frame| {
            bytes_returned = bytes_returned.saturating_add(frame.payload().len());
            let record = Record::decode(frame.payload());
            record.map(|record| Entry { sequence: frame.sequence(), hash: *frame.hash(), record })
        })?;
        let Some(entry) = next else { break };
        let sequence = frames.after;
        entries.push(entry.map_err(|_| TrailError::Broken { sequence })?);
    }
    Ok(entries)
}

/// Where the chain of the installation's log begins.
pub(super) fn first_chain(place: &Place) -> Chain {
    SegmentHeader::first(place.installation_id).chain()
}

/// How much is read at once.
const WINDOW_BYTES: usize = 4 * MAX_FRAME_BYTES;
