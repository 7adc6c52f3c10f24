//! The segment that is written now: begun from the spare, added to, and given up after an error.
//!
//! A file whose write or sync has failed is poisoned: it is never written or synced again, and what was
//! not acknowledged is written to another. A file that was deleted or replaced under the log is
//! written anew from the descriptor that is still open.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use parking_lot::Mutex;

use super::Shared;
use super::catalogue::{Catalogue, Part};
use super::counts::Counters;
use super::disk::LogFile;
use super::packer::Errand;
use super::place::{Name, Place, read_whole, write_whole};
use super::spare::{Spare, Spares};
use super::tenants::Tenants;
use crate::audit::{Chain, SEGMENT_HEADER_BYTES, SegmentHeader};

pub(super) struct Ledger {
    place: Arc<Place>,
    spares: Arc<Spares>,
    catalogue: Arc<Mutex<Catalogue>>,
    counters: Arc<Counters>,
    errands: SyncSender<Errand>,
    active: Option<Active>,
    /// Durable records whose file has no name any more.
    lost: Option<Active>,
}

/// A segment that can be added to.
pub(super) struct Active {
    pub(super) name: Name,
    pub(super) file: Arc<dyn LogFile>,
    /// The chain before its first record.
    pub(super) begins: Chain,
    /// As far as it is durable.
    pub(super) used: u64,
}

// === impl Ledger ===

impl Ledger {
    pub(super) fn new(
        shared: &Shared,
        errands: SyncSender<Errand>,
        active: Option<Active>,
    ) -> Self {
        Self {
            place: Arc::clone(&shared.place),
            spares: Arc::clone(&shared.spares),
            catalogue: Arc::clone(&shared.catalogue),
            counters: Arc::clone(&shared.counters),
            errands,
            active,
            lost: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.active.is_some()
    }

    /// How many bytes of frames the segment has room for; a new one's, where there is none.
    pub(super) fn room(&self) -> u64 {
        self.place.segment_bytes.saturating_sub(self.used())
    }

    /// Where the next frame stands.
    pub(super) fn used(&self) -> u64 {
        self.active.as_ref().map_or(SEGMENT_HEADER_BYTES as u64, |active| active.used)
    }

    /// Nothing more is written to this segment.
    pub(super) fn seal(&mut self) {
        self.active = None;
    }

    /// Begins a segment after `chain`, where none is open.
    pub(super) fn ready(&mut self, chain: &Chain, tenants: &Tenants) -> io::Result<()> {
        if self.active.is_some() {
            return Ok(());
        }
        let spare = self.spares.take(WAIT_FOR_SPARE).ok_or(io::ErrorKind::StorageFull)?;
        let begins = self.lost.as_ref().map_or(*chain, |lost| lost.begins);
        let first = begins.sequence().saturating_add(1);
        let name = Name { first, attempt: self.catalogue.lock().next_attempt(first) };
        let header = SegmentHeader::following(self.place.installation_id, &begins, name.attempt);
        let used = match self.begin(&spare, name, &header) {
            Ok(used) => used,
            Err(error) => {
                // Whichever name it has now; what stays has no record in it.
                let _ = self.place.disk.remove(&spare.path);
                let _ = self.place.disk.remove(&self.place.segment(name));
                return Err(error);
            }
        };
        let file: Arc<dyn LogFile> = spare.file.into();
        {
            let mut catalogue = self.catalogue.lock();
            catalogue.push(Part::new(name, false));
            catalogue.begin(name, Arc::clone(&file), used);
        }
        if self.lost.take().is_none() {
            // Derived: without it a start reads more.
            let _ = self.errands.try_send(Errand::Begun(begins, tenants.clone()));
        }
        self.active = Some(Active { name, file, begins, used });
        Ok(())
    }

    /// The header is durable before the name is, so that a segment's name never stands for anything
    /// else.
    fn begin(&self, spare: &Spare, name: Name, header: &SegmentHeader) -> io::Result<u64> {
        write_whole(&*spare.file, 0, &header.to_bytes())?;
        let used = match &self.lost {
            Some(lost) => copy(&*lost.file, &*spare.file, lost.used)?,
            None => SEGMENT_HEADER_BYTES as u64,
        };
        self.sync(&*spare.file)?;
        self.place.disk.rename(&spare.path, &self.place.segment(name))?;
        self.place.disk.sync_directory(&self.place.directory)?;
        Ok(used)
    }

    /// Makes `frames` durable at the end of the segment.
    pub(super) fn add(&mut self, frames: &[u8]) -> io::Result<()> {
        let Some(active) = &self.active else { return Err(io::ErrorKind::NotFound.into()) };
        let writes = write_whole(&*active.file, active.used, frames)?;
        self.counters.add_writes(writes);
        self.sync(&*active.file)?;
        self.in_place()?;
        if let Some(active) = &mut self.active {
            active.used = active.used.saturating_add(frames.len() as u64);
        }
        Ok(())
    }

    /// Whether the segment is still what its name says: what is written to a file that was taken away
    /// is durable nowhere.
    pub(super) fn in_place(&self) -> io::Result<()> {
        let Some(active) = &self.active else { return Ok(()) };
        if active.file.is_at(&self.place.segment(active.name))? {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "its file was deleted or replaced"))
    }

    /// Gives the segment up, if there is one: which one it was.
    pub(super) fn poison(&mut self, durable: u64) -> Option<Name> {
        let active = self.active.take()?;
        let name = active.name;
        let gone = matches!(active.file.is_at(&self.place.segment(name)), Ok(false));
        if gone {
            self.lost = Some(active);
        } else if name.first > durable {
            // A disk that fails again and again does not fill up with files in which nothing is.
            let _ = self.errands.try_send(Errand::Discard(name));
        }
        Some(name)
    }

    fn sync(&self, file: &dyn LogFile) -> io::Result<()> {
        self.counters.add_sync();
        file.sync()
    }
}

/// Copies what is behind the header.
fn copy(from: &dyn LogFile, to: &dyn LogFile, end: u64) -> io::Result<u64> {
    let mut at = SEGMENT_HEADER_BYTES as u64;
    let mut part = Vec::new();
    while at < end {
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        part.resize(left.min(COPY_BYTES), 0);
        read_whole(from, at, &mut part)?;
        write_whole(to, at, &part)?;
        at = at.saturating_add(part.len() as u64);
    }
    Ok(at)
}

/// Below the time after which a lane gives up.
const WAIT_FOR_SPARE: Duration = Duration::from_millis(200);
const COPY_BYTES: usize = 1024 * 1024;
