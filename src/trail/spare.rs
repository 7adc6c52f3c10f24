//! The next segment, made and zeroed ahead by a thread of its own, so that the log thread neither waits
//! for a file nor makes one grow: a sync then has nothing but records to write.
//!
//! Where no further segment can be made, the last one is a reserve: keys are not used any more, and
//! management goes on. Never writes to a file that records are in.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::disk::LogFile;
use super::gate::Gate;
use super::place::{Kind, Place, read_whole, write_whole};
use crate::audit::SEGMENT_HEADER_BYTES;

/// A segment without a header: zeros, and durable.
pub(super) struct Spare {
    pub(super) file: Box<dyn LogFile>,
    pub(super) path: PathBuf,
}

/// Where one waits.
pub(super) struct Spares {
    place: Arc<Place>,
    gate: Arc<Gate>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ready: Option<Spare>,
    /// The last try did not work.
    failed: bool,
    closed: bool,
    made: u64,
}

// === impl Spares ===

impl Spares {
    pub(super) fn new(place: Arc<Place>, gate: Arc<Gate>) -> Self {
        Self { place, gate, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The spare, once it is ready; None when there is none after `wait`, or none can be made.
    pub(super) fn take(&self, wait: Duration) -> Option<Spare> {
        let mut state = self.state.lock();
        let making = |state: &mut State| state.ready.is_none() && !state.failed && !state.closed;
        self.changed.wait_while_for(&mut state, making, wait);
        let spare = state.ready.take();
        self.changed.notify_all();
        spare
    }

    /// How many are ready.
    pub(super) fn ready(&self) -> u64 {
        u64::from(self.state.lock().ready.is_some())
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    /// Makes one on the thread that calls, where none is ready.
    pub(super) fn make_now(&self) -> io::Result<()> {
        if self.state.lock().ready.is_some() {
            return Ok(());
        }
        let spare = self.make()?;
        self.state.lock().ready = Some(spare);
        Ok(())
    }

    /// The thread: makes one whenever there is none, and tries again when it cannot.
    pub(super) fn run(&self) {
        loop {
            {
                let mut state = self.state.lock();
                self.changed.wait_while(&mut state, |it| it.ready.is_some() && !it.closed);
                if state.closed {
                    return;
                }
            }
            let made = self.make();
            let mut state = self.state.lock();
            let failed = made.is_err();
            if failed && !state.failed {
                tracing::error!(
                    error = made.as_ref().err().map(ToString::to_string),
                    "cannot make the audit log's next segment; keys are not used until it is made: \
                     free space on its disk"
                );
            } else if !failed && state.failed {
                tracing::info!("the audit log's next segment is made");
            }
            state.failed = failed;
            state.ready = made.ok();
            self.gate.keep_reserve(failed);
            self.changed.notify_all();
            if failed {
                self.changed.wait_while_for(&mut state, |it| !it.closed, self.place.try_again);
            }
        }
    }

    /// Takes over a spare that an earlier run left, and removes what it left unfinished.
    pub(super) fn adopt(&self, names: &[String]) -> io::Result<()> {
        for name in names {
            let path = self.place.path(name);
            match Kind::of(name) {
                Kind::Spare if self.ready() == 0 => match self.found(&path) {
                    Some(file) => self.state.lock().ready = Some(Spare { file, path }),
                    None => self.place.disk.remove(&path)?,
                },
                Kind::Spare | Kind::Unfinished => self.place.disk.remove(&path)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// It got its name when it was zeroed and durable, so that only its header needs a look.
    fn found(&self, path: &std::path::Path) -> Option<Box<dyn LogFile>> {
        let file = self.place.disk.open(path).ok()?;
        let mut header = [1; SEGMENT_HEADER_BYTES];
        read_whole(&*file, 0, &mut header).ok()?;
        let is_right = file.length().ok()? == self.place.segment_bytes;
        (is_right && header == [0; SEGMENT_HEADER_BYTES]).then_some(file)
    }

    fn make(&self) -> io::Result<Spare> {
        let number = {
            let mut state = self.state.lock();
            state.made = state.made.saturating_add(1);
            state.made
        };
        let disk = &self.place.disk;
        let zeroing = self.place.path(&format!("zeroing-{number}"));
        let made = (|| {
            let file = disk.create(&zeroing)?;
            self.fill(&*file)?;
            let path = self.free_name(number)?;
            disk.rename(&zeroing, &path)?;
            disk.sync_directory(&self.place.directory)?;
            Ok(Spare { file, path })
        })();
        if made.is_err() {
            // A full disk needs the room; what stays is removed at the next start.
            let _ = disk.remove(&zeroing);
        }
        made
    }

    fn fill(&self, file: &dyn LogFile) -> io::Result<()> {
        let mut offset = 0_u64;
        while offset < self.place.segment_bytes {
            if self.state.lock().closed {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let left = self.place.segment_bytes.saturating_sub(offset);
            let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
            write_whole(file, offset, ZEROS.get(..bytes).unwrap_or_default())?;
            offset = offset.saturating_add(bytes as u64);
            // A little at a time, so that the log thread's own syncs are not held up by one big one.
            file.sync()?;
        }
        Ok(())
    }

    fn free_name(&self, number: u64) -> io::Result<PathBuf> {
        let names = self.place.disk.list(&self.place.directory)?;
        let mut number = number;
        loop {
            let name = format!("spare-{number}");
            if !names.contains(&name) {
                return Ok(self.place.path(&name));
            }
            number = number.saturating_add(1);
        }
    }
}

static ZEROS: [u8; 1024 * 1024] = [0; 1024 * 1024];
