//! Reading the log back: a stream of frames in constant memory, an index to start it near any
//! sequence, and the page that callers ask for. Never reads past what is durable.

use std::io;

use parking_lot::Mutex;

use super::disk::LogFile;
use super::{Entry, TrailError};
use crate::audit::{Chain, Frame, MAX_FRAME_BYTES, Record};

/// About how many bytes of records one read returns at most.
pub const MAX_READ_BYTES: usize = 4 * 1024 * 1024;

/// Every how many records the index has a mark.
pub(super) const INDEX_INTERVAL: u64 = 1024;

/// Where the records are: a mark after the header and after each [`INDEX_INTERVAL`]th.
pub(super) struct Index {
    marks: Vec<Mark>,
    length: u64,
}

/// A place between two records: what comes before it, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) chain: Chain,
}

/// Frames, one after another, from an offset to an end.
pub(super) struct Frames<'a> {
    file: &'a dyn LogFile,
    /// What has been read and not been passed: `window[start..]` begins at `offset`.
    window: Vec<u8>,
    start: usize,
    offset: u64,
    end: u64,
}

/// What stands at a place in the log.
pub(super) enum Found<'a> {
    /// A whole frame, and how many bytes it takes.
    Frame(Frame<'a>, usize),
    /// Something else, up to the end or not.
    Damage,
    /// The end.
    End,
}

// === impl Index ===

impl Index {
    pub(super) fn new(marks: Vec<Mark>, length: u64) -> Self {
        Self { marks, length }
    }

    /// As far as the log is durable, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn extend(&mut self, marks: Vec<Mark>, length: u64) {
        self.marks.extend(marks);
        self.length = length;
    }

    /// The last mark with no record after `sequence` before it.
    fn before(&self, sequence: u64) -> Option<Mark> {
        let after = self.marks.partition_point(|mark| mark.chain.sequence() <= sequence);
        self.marks.get(after.checked_sub(1)?).copied()
    }
}

// === impl Frames ===

impl<'a> Frames<'a> {
    pub(super) fn new(file: &'a dyn LogFile, offset: u64, end: u64) -> Self {
        Self { file, window: Vec::new(), start: 0, offset, end }
    }

    /// Where the next frame stands.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// What stands here.
    pub(super) fn peek(&mut self) -> io::Result<Found<'_>> {
        self.fill()?;
        let window = self.ahead();
        Ok(match Frame::read(window) {
            _ if window.is_empty() => Found::End,
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
            let read = match self.file.read_at(read_to, into) {
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
    file: &dyn LogFile,
    index: &Mutex<Index>,
    after: u64,
    limit: usize,
) -> Result<Vec<Entry>, TrailError> {
    let (mark, end) = {
        let index = index.lock();
        (index.before(after), index.length())
    };
    let mut entries = Vec::new();
    let Some(Mark { offset, mut chain }) = mark else { return Ok(entries) };
    let mut frames = Frames::new(file, offset, end);
    let mut bytes_returned = 0_usize;
    while entries.len() < limit && bytes_returned < MAX_READ_BYTES {
        let next = chain.sequence().saturating_add(1);
        let bytes = match frames.peek().map_err(|error| TrailError::io("read", error))? {
            Found::End => break,
            Found::Damage => return Err(TrailError::Broken { sequence: next }),
            Found::Frame(frame, bytes) => {
                let broken = |_| TrailError::Broken { sequence: next };
                chain.verify(&frame).map_err(broken)?;
                if frame.sequence() > after {
                    let record = Record::decode(frame.payload())
                        .map_err(|_| TrailError::Broken { sequence: next })?;
                    entries.push(Entry { sequence: next, hash: *frame.hash(), record });
                    bytes_returned = bytes_returned.saturating_add(bytes);
                }
                bytes
            }
        };
        frames.pass(bytes);
    }
    Ok(entries)
}

/// How much is read at once.
const WINDOW_BYTES: usize = 4 * MAX_FRAME_BYTES;
