//! The segments of a copied log, each a window at a time, in constant memory.

use std::io;
use std::path::PathBuf;

use crate::audit::MAX_FRAME_BYTES;
use crate::audit::verify::{FileName, Files, Window};
use crate::trail::{CopiedSegment, CopiedSegments};

use super::{AuditorError, read_failed};

/// Told how many parts of how many were read.
pub(super) type Progress<'a> = &'a dyn Fn(u64, u64);

/// The files, one after another.
pub(super) struct SegmentFiles<'a> {
    directory: PathBuf,
    segments: CopiedSegments,
    opened: u64,
    progress: Progress<'a>,
}

/// One file.
pub(super) struct SegmentWindow<'a> {
    segment: CopiedSegment,
    path: PathBuf,
    bytes: Vec<u8>,
    start: usize,
    read: u64,
    ended: bool,
    place: u64,
    count: u64,
    progress: Progress<'a>,
}

// === impl SegmentFiles ===

impl<'a> SegmentFiles<'a> {
    pub(super) fn new(
        directory: PathBuf,
        segments: CopiedSegments,
        progress: Progress<'a>,
    ) -> Self {
        Self { directory, segments, opened: 0, progress }
    }
}

impl<'a> Files for SegmentFiles<'a> {
    type Window = SegmentWindow<'a>;

    fn next_file(&mut self) -> Result<Option<(FileName, SegmentWindow<'a>)>, AuditorError> {
        let next = self.segments.next_segment();
        let next = next.map_err(|(path, source)| AuditorError::Read { path, source })?;
        let Some(segment) = next else { return Ok(None) };
        let name = FileName { first: segment.first(), attempt: segment.attempt() };
        let window = SegmentWindow {
            segment,
            path: self.directory.clone(),
            bytes: Vec::new(),
            start: 0,
            read: 0,
            ended: false,
            place: self.opened,
            count: self.segments.count() as u64,
            progress: self.progress,
        };
        self.opened = self.opened.saturating_add(1);
        Ok(Some((name, window)))
    }
}

// === impl SegmentWindow ===

impl SegmentWindow<'_> {
    fn fill(&mut self) -> io::Result<()> {
        self.bytes.drain(..self.start.min(self.bytes.len()));
        self.start = 0;
        while self.bytes.len() < WINDOW_BYTES && !self.ended {
            let known = self.bytes.len();
            self.bytes.resize(WINDOW_BYTES, 0);
            let into = self.bytes.get_mut(known..).unwrap_or_default();
            let result = self.segment.read_at(self.read, into);
            let read = *result.as_ref().unwrap_or(&0);
            self.bytes.truncate(known.saturating_add(read));
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => self.ended = other? == 0,
            }
            self.read = self.read.saturating_add(read as u64);
        }
        self.tell()
    }

    fn tell(&self) -> io::Result<()> {
        let length = self.segment.length()?;
        let part = self.read.saturating_mul(PARTS).checked_div(length).unwrap_or(PARTS);
        let read = self.place.saturating_mul(PARTS).saturating_add(part);
        (self.progress)(read, self.count.saturating_mul(PARTS));
        Ok(())
    }
}

impl Window for SegmentWindow<'_> {
    type Error = AuditorError;

    fn ahead(&mut self, pass: usize) -> Result<&[u8], AuditorError> {
        self.start = self.start.saturating_add(pass);
        let known = self.bytes.len().saturating_sub(self.start);
        if known < MAX_FRAME_BYTES && !self.ended {
            self.fill().map_err(|source| read_failed(&self.path, source))?;
        }
        Ok(self.bytes.get(self.start..).unwrap_or_default())
    }
}

const WINDOW_BYTES: usize = 8 * MAX_FRAME_BYTES;
/// Of a file.
const PARTS: u64 = 1_000;
