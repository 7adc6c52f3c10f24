//! A disk in memory that breaks as it is told, and that forgets as a machine does that stops: what was
//! written and not synced may be there, in part, in any order; names too.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bulla::trail::{Disk, LogFile, MIN_SEGMENT_BYTES, Recovery, Trail, TrailError, TrailOptions};

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EDQUOT: i32 = 122;

/// What a call of the disk does instead of what it should.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Fails with this number, and a write has written half of its bytes.
    Fails(i32),
    /// A write writes half; any other call does what it should.
    Short,
    /// Waits until the gate is opened again, and then does what it should.
    Hangs,
    /// A bit of what is durable changes, and the call does what it should.
    Rots,
}

/// What is asked of the disk.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Call {
    Create,
    Open,
    List,
    Rename,
    Remove,
    SyncDirectory,
    Length,
    Read,
    Write,
    Sync,
    IsAt,
}

#[derive(Clone, Default)]
pub(crate) struct FakeDisk(Arc<State>);

#[derive(Default)]
struct State {
    inner: Mutex<Inner>,
    gate: Condvar,
}

#[derive(Clone, Default)]
pub(crate) struct Inner {
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    /// Since the directory was synced: which name, and what it is of.
    unsynced_names: Vec<(PathBuf, Option<u64>)>,
    files: HashMap<u64, Bytes>,
    made: u64,
    /// Faults by the number of the call, from 1, of those that change or make durable.
    pub(crate) faults: BTreeMap<u64, Fault>,
    /// Every call of a kind fails with this number.
    pub(crate) failing: HashMap<Call, i32>,
    /// Only with files whose name begins so.
    pub(crate) failing_names: &'static str,
    pub(crate) calls: u64,
    pub(crate) syncs_begun: usize,
    pub(crate) gate_closed: bool,
    hanging: bool,
    /// Files that failed, and were written or synced again.
    pub(crate) used_after_a_failure: u64,
    pub(crate) rotted: bool,
}

#[derive(Clone, Default)]
struct Bytes {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    failed: bool,
}

struct FakeFile {
    disk: FakeDisk,
    number: u64,
}

// === impl FakeDisk ===

impl FakeDisk {
    pub(crate) fn options(&self) -> TrailOptions {
        TrailOptions {
            disk: Arc::new(self.clone()),
            segment_bytes: MIN_SEGMENT_BYTES,
            try_again: Duration::from_millis(5),
            ..TrailOptions::default()
        }
    }

    pub(crate) fn open(&self, installation: [u8; 16]) -> Result<(Trail, Recovery), TrailError> {
        Trail::open(Path::new("audit"), installation, &self.options())
    }

    /// Until what is done in the background is done: a spare, and the tenants' counts.
    pub(crate) fn rest(&self, trail: &Trail) {
        let begun = std::time::Instant::now();
        let is_done = |inner: &mut Inner| {
            let has =
                |ending| inner.names.keys().any(|path| path.to_string_lossy().ends_with(ending));
            has(".tenants") && !has(".new") && inner.unsynced_names.is_empty()
        };
        while trail.counts().spare_segments == 0 || !self.with(is_done) {
            assert!(begun.elapsed() < Duration::from_secs(20), "the background is never done");
            std::thread::yield_now();
        }
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let result = act(&mut self.0.inner.lock().unwrap());
        self.0.gate.notify_all();
        result
    }

    /// The same files, on a disk of their own without faults.
    pub(crate) fn copy(&self) -> Self {
        let disk = Self::default();
        let copied = self.with(|inner| Inner {
            faults: BTreeMap::new(),
            failing: HashMap::new(),
            gate_closed: false,
            hanging: false,
            rotted: false,
            files: inner
                .files
                .iter()
                .map(|(number, bytes)| (*number, Bytes { failed: false, ..bytes.clone() }))
                .collect(),
            ..inner.clone()
        });
        disk.with(|inner| *inner = copied);
        disk
    }

    /// What a machine finds that stopped here: `chance` says of each 512 bytes that were not synced
    /// whether they are there, and how many of the names that were not.
    pub(crate) fn crashed(&self, mut chance: impl FnMut(u64) -> u64) -> Self {
        let disk = self.copy();
        disk.with(|inner| {
            let kept = chance(inner.unsynced_names.len() as u64 + 1) as usize;
            inner.names = inner.durable_names.clone();
            for (path, number) in inner.unsynced_names.drain(..).take(kept) {
                match number {
                    Some(number) => inner.names.insert(path, number),
                    None => inner.names.remove(&path),
                };
            }
            inner.durable_names = inner.names.clone();
            for bytes in inner.files.values_mut() {
                let mut found = std::mem::take(&mut bytes.durable);
                for (offset, written) in bytes.unsynced.drain(..) {
                    for sector in offset / 512..=(offset + written.len()) / 512 {
                        let from = (sector * 512).max(offset);
                        let to = ((sector + 1) * 512).min(offset + written.len());
                        if from < to && chance(2) == 1 {
                            found.resize(found.len().max(to), 0);
                            found[from..to].copy_from_slice(&written[from - offset..to - offset]);
                        }
                    }
                }
                bytes.now = found.clone();
                bytes.durable = found;
            }
        });
        disk
    }

    /// The names of files, and what is in them.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        self.with(|inner| {
            let named = inner.names.iter().map(|(path, number)| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, inner.files[number].now.clone())
            });
            named.collect()
        })
    }

    /// The segments, in order.
    pub(crate) fn segments(&self) -> Vec<(String, Vec<u8>)> {
        self.files().into_iter().filter(|(name, _)| name.contains(".seg")).collect()
    }

    /// Changes what is in a file.
    pub(crate) fn change(&self, name: &str, act: impl FnOnce(&mut Vec<u8>)) {
        self.with(|inner| {
            let number = inner.names[&path_of(name)];
            let bytes = inner.files.get_mut(&number).unwrap();
            act(&mut bytes.now);
            bytes.durable = bytes.now.clone();
        });
    }

    /// Takes a file away, or puts another in its place.
    pub(crate) fn replace(&self, name: &str, bytes: Option<&[u8]>) {
        self.with(|inner| {
            inner.names.remove(&path_of(name));
            if let Some(bytes) = bytes {
                let number = inner.new_file();
                let file = inner.files.get_mut(&number).unwrap();
                (file.now, file.durable) = (bytes.to_vec(), bytes.to_vec());
                inner.names.insert(path_of(name), number);
            }
            inner.durable_names = inner.names.clone();
        });
    }

    pub(crate) fn close_gate(&self) {
        self.with(|inner| inner.gate_closed = true);
    }

    pub(crate) fn open_gate(&self) {
        self.with(|inner| (inner.gate_closed, inner.hanging) = (false, false));
    }

    /// Until a file is being synced for the `nth` time since the disk was made.
    pub(crate) fn wait_for_sync(&self, nth: usize) {
        self.wait_until(|inner| inner.syncs_begun >= nth);
    }

    pub(crate) fn wait_until(&self, is_so: impl Fn(&Inner) -> bool) {
        let inner = self.0.inner.lock().unwrap();
        let wait = Duration::from_secs(20);
        let (_inner, late) =
            self.0.gate.wait_timeout_while(inner, wait, |inner| !is_so(inner)).unwrap();
        assert!(!late.timed_out(), "the disk was not asked for what was expected");
    }

    /// Counts the call and says what becomes of it.
    fn called(&self, call: Call, name: &Path) -> io::Result<Option<Fault>> {
        let mut inner = self.0.inner.lock().unwrap();
        // The log looks whether its file is there as often as it likes.
        let changes =
            !matches!(call, Call::Read | Call::Length | Call::List | Call::Open | Call::IsAt);
        let fault = if changes {
            inner.calls += 1;
            let number = inner.calls;
            inner.faults.remove(&number)
        } else {
            None
        };
        if fault == Some(Fault::Hangs) {
            inner.hanging = true;
        }
        if call == Call::Sync {
            inner.syncs_begun += 1;
        }
        self.0.gate.notify_all();
        let waits = |inner: &mut Inner| inner.hanging || (inner.gate_closed && call == Call::Sync);
        let mut inner = self.0.gate.wait_while(inner, waits).unwrap();
        let is_named = name.to_string_lossy().contains(inner.failing_names);
        if let Some(number) = inner.failing.get(&call).filter(|_| is_named) {
            return Err(io::Error::from_raw_os_error(*number));
        }
        if fault == Some(Fault::Rots) {
            inner.rot();
        }
        match fault {
            Some(Fault::Fails(number)) if call != Call::Write => {
                Err(io::Error::from_raw_os_error(number))
            }
            fault => Ok(fault),
        }
    }
}

fn path_of(name: &str) -> PathBuf {
    Path::new("audit/segments").join(name)
}

// === impl Inner ===

impl Inner {
    fn new_file(&mut self) -> u64 {
        self.made += 1;
        self.files.insert(self.made, Bytes::default());
        self.made
    }

    fn name_of(&self, number: u64) -> PathBuf {
        let named = self.names.iter().find(|(_, named)| **named == number);
        named.map(|(path, _)| path.clone()).unwrap_or_default()
    }

    fn set_name(&mut self, path: &Path, number: Option<u64>) {
        match number {
            Some(number) => self.names.insert(path.to_owned(), number),
            None => self.names.remove(path),
        };
        self.unsynced_names.push((path.to_owned(), number));
    }

    /// Changes a bit in the middle of what a segment holds.
    fn rot(&mut self) {
        let segment =
            self.names.iter().rev().find(|(path, _)| path.to_string_lossy().ends_with("seg"));
        let Some(bytes) = segment.and_then(|(_, number)| self.files.get_mut(number)) else {
            return;
        };
        let used = bytes.durable.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        if let Some(byte) = bytes.durable.get_mut(used / 2) {
            *byte ^= 4;
            bytes.now[used / 2] ^= 4;
            self.rotted = true;
        }
    }
}

impl Disk for FakeDisk {
    fn make_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        self.called(Call::List, Path::new(""))?;
        Ok(self.files().into_iter().map(|(name, _)| name).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.called(Call::Create, path)?;
        let number = self.with(|inner| {
            if inner.names.contains_key(path) {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            let number = inner.new_file();
            inner.set_name(path, Some(number));
            Ok(number)
        })?;
        Ok(Box::new(FakeFile { disk: self.clone(), number }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.called(Call::Open, path)?;
        let number = self.with(|inner| inner.names.get(path).copied());
        let number = number.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(FakeFile { disk: self.clone(), number }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.called(Call::Rename, to)?;
        self.with(|inner| {
            let number = *inner.names.get(from).ok_or(io::ErrorKind::NotFound)?;
            // One step: a machine that stops finds one name or the other.
            inner.names.remove(from);
            inner.unsynced_names.push((from.to_owned(), None));
            inner.set_name(to, Some(number));
            let last = inner.unsynced_names.len();
            inner.unsynced_names.swap(last - 1, last - 2);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.called(Call::Remove, path)?;
        self.with(|inner| {
            inner.names.get(path).ok_or(io::ErrorKind::NotFound)?;
            inner.set_name(path, None);
            Ok(())
        })
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.called(Call::SyncDirectory, path)?;
        self.with(|inner| {
            inner.unsynced_names.clear();
            inner.durable_names = inner.names.clone();
        });
        Ok(())
    }
}

impl FakeFile {
    fn named(&self) -> PathBuf {
        self.disk.with(|inner| inner.name_of(self.number))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Bytes) -> T) -> T {
        self.disk.with(|inner| act(inner.files.get_mut(&self.number).unwrap()))
    }

    fn failed(&self, error: io::Error) -> io::Error {
        self.with(|bytes| bytes.failed = true);
        error
    }

    fn is_used(&self) {
        self.disk.with(|inner| {
            let failed = inner.files[&self.number].failed;
            inner.used_after_a_failure += u64::from(failed);
        });
    }
}

impl LogFile for FakeFile {
    fn length(&self) -> io::Result<u64> {
        self.disk.called(Call::Length, Path::new(""))?;
        Ok(self.with(|bytes| bytes.now.len() as u64))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.disk.called(Call::Read, Path::new(""))?;
        self.with(|bytes| {
            let from = bytes.now.get(offset as usize..).unwrap_or_default();
            let read = from.len().min(into.len());
            into[..read].copy_from_slice(&from[..read]);
            Ok(read)
        })
    }

    fn write_at(&self, offset: u64, written: &[u8]) -> io::Result<usize> {
        self.is_used();
        let name = self.named();
        let fault = self.disk.called(Call::Write, &name).map_err(|error| self.failed(error))?;
        let is_part = matches!(fault, Some(Fault::Fails(_) | Fault::Short)) && written.len() > 1;
        let written = &written[..if is_part { written.len() / 2 } else { written.len() }];
        self.with(|bytes| {
            let end = offset as usize + written.len();
            bytes.now.resize(bytes.now.len().max(end), 0);
            bytes.now[offset as usize..end].copy_from_slice(written);
            bytes.unsynced.push((offset as usize, written.to_vec()));
        });
        match fault {
            Some(Fault::Fails(number)) => Err(self.failed(io::Error::from_raw_os_error(number))),
            _ => Ok(written.len()),
        }
    }

    /// After a failure the pages count as clean: a second call would succeed without having done
    /// anything.
    fn sync(&self) -> io::Result<()> {
        self.is_used();
        let name = self.named();
        let synced = self.disk.called(Call::Sync, &name);
        self.with(|bytes| {
            let unsynced = std::mem::take(&mut bytes.unsynced);
            if synced.is_ok() {
                for (offset, written) in unsynced {
                    let end = offset + written.len();
                    bytes.durable.resize(bytes.durable.len().max(end), 0);
                    bytes.durable[offset..end].copy_from_slice(&written);
                }
            }
        });
        synced.map(|_| ()).map_err(|error| self.failed(error))
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.disk.called(Call::IsAt, path)?;
        Ok(self.disk.with(|inner| inner.names.get(path) == Some(&self.number)))
    }
}
