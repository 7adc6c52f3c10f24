//! What is done in the background with segments that are not written to any more, by a thread of its
//! own: each tenant's count at a segment's beginning is put beside it, and a sealed one is compressed,
//! read back, compared, and only then is the original removed.
//!
//! Everything here can be lost: the log is whole without it. Never in the log thread's way.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;

use super::catalogue::Catalogue;
use super::gate::Gate;
use super::packed::{BLOCK_BYTES, Packed, pack, table};
use super::place::{Kind, Name, Place, write_whole};
use super::reader::{Bytes, Found, Frames};
use super::tenants::Tenants;
use crate::audit::{Chain, SEGMENT_HEADER_BYTES};

/// What the log thread leaves to do.
pub(super) enum Errand {
    /// A segment was begun after `Chain`; so many records did each tenant have.
    Begun(Chain, Tenants),
    /// A segment in which no record counts.
    Discard(Name),
}

pub(super) struct Packer {
    place: Arc<Place>,
    catalogue: Arc<Mutex<Catalogue>>,
    gate: Arc<Gate>,
    tidying: Arc<Mutex<()>>,
    errands: Receiver<Errand>,
    /// Those that could not be compressed are not tried again in this run.
    left: Vec<Name>,
}

// === impl Packer ===

impl Packer {
    pub(super) fn new(
        place: Arc<Place>,
        catalogue: Arc<Mutex<Catalogue>>,
        gate: Arc<Gate>,
        tidying: Arc<Mutex<()>>,
    ) -> (Self, SyncSender<Errand>) {
        let (sender, errands) = sync_channel(ERRANDS_MAX);
        (Self { place, catalogue, gate, tidying, errands, left: Vec::new() }, sender)
    }

    /// Until the log is closed.
    pub(super) fn run(mut self) {
        loop {
            match self.errands.recv_timeout(LOOK_EVERY) {
                Ok(errand) => self.go(errand),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.gate.is_closing() {
                return;
            }
            if let Err(error) = self.pack_one() {
                tracing::warn!(%error, "cannot compress a segment of the audit log");
            }
        }
    }

    fn go(&mut self, errand: Errand) {
        let done = match errand {
            Errand::Begun(chain, tenants) => self.put_tenants(&chain, &tenants),
            Errand::Discard(name) => self.discard(name),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "cannot tidy the audit log's segments");
        }
    }

    fn put_tenants(&self, chain: &Chain, tenants: &Tenants) -> io::Result<()> {
        let bytes = tenants.to_bytes(&self.place.installation_id, chain);
        let first = chain.sequence().saturating_add(1);
        self.place.put(&self.place.tenants(first), &bytes)?;
        // The last two are enough to begin with.
        let names = self.place.disk.list(&self.place.directory)?;
        let mut known: Vec<u64> = names
            .iter()
            .filter_map(|name| match Kind::of(name) {
                Kind::Tenants(first) => Some(first),
                _ => None,
            })
            .collect();
        known.sort_unstable();
        for old in known.iter().rev().skip(TENANTS_FILES_KEPT) {
            self.place.disk.remove(&self.place.tenants(*old))?;
        }
        Ok(())
    }

    fn discard(&self, name: Name) -> io::Result<()> {
        // In this order: the log thread may take the name again once it is forgotten.
        let removed = self.place.disk.remove(&self.place.segment(name));
        self.catalogue.lock().remove(name);
        removed
    }

    /// Compresses the oldest sealed segment that is not yet.
    fn pack_one(&mut self) -> io::Result<()> {
        let tidying = Arc::clone(&self.tidying);
        let _tidying = tidying.lock();
        let sealed = self.catalogue.lock().sealed();
        let mut sealed = sealed.into_iter().filter(|(name, _)| !self.left.contains(name));
        let Some((name, last)) = sealed.next() else { return Ok(()) };
        self.left.push(name);
        self.pack(name, last)?;
        self.left.retain(|left| *left != name);
        Ok(())
    }

    fn pack(&self, name: Name, last: u64) -> io::Result<()> {
        let disk = &self.place.disk;
        let plain = Bytes::at(&self.place, name, false)?;
        let length = self.end_of(name, last)?;
        let made = self.place.packed(name).with_added_extension("new");
        let written = disk.create(&made).and_then(|file| {
            let mut blocks = Vec::new();
            let mut at = 0_u64;
            each_block(&plain, length, |block| {
                let packed = pack(block)?;
                write_whole(&*file, at, &packed)?;
                at = at.saturating_add(packed.len() as u64);
                blocks.push((length_u32(&packed), length_u32(block)));
                self.go_on()
            })?;
            write_whole(&*file, at, &table(&blocks))?;
            file.sync()?;
            let packed = Bytes::Packed(Box::new(Packed::open(disk.open(&made)?)?));
            same(&plain, &packed, length)?;
            disk.rename(&made, &self.place.packed(name))?;
            disk.sync_directory(&self.place.directory)
        });
        if let Err(error) = written {
            let _ = disk.remove(&made);
            return Err(error);
        }
        self.catalogue.lock().set_packed(name);
        disk.remove(&self.place.segment(name))
    }

    /// Where its last record that counts ends.
    fn end_of(&self, name: Name, last: u64) -> io::Result<u64> {
        let plain = Bytes::at(&self.place, name, false)?;
        let begins = plain.header(&self.place, name).map_err(io::Error::other)?;
        let mut chain = begins.chain();
        let mut frames = Frames::new(plain, SEGMENT_HEADER_BYTES as u64, u64::MAX)?;
        while chain.sequence() < last {
            let bytes = match frames.peek()? {
                Found::Frame(frame, bytes) if chain.verify(&frame).is_ok() => bytes,
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            frames.pass(bytes);
        }
        Ok(frames.offset())
    }

    /// Closing does not wait for a whole segment.
    fn go_on(&self) -> io::Result<()> {
        if self.gate.is_closing() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

fn each_block(
    bytes: &Bytes,
    length: u64,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut block = Vec::new();
    let mut at = 0_u64;
    while at < length {
        let left = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
        block.resize(left.min(BLOCK_BYTES), 0);
        bytes.read_whole(at, &mut block)?;
        take(&block)?;
        at = at.saturating_add(block.len() as u64);
    }
    Ok(())
}

/// Compares what was compressed with what it was made of.
fn same(plain: &Bytes, packed: &Bytes, length: u64) -> io::Result<()> {
    if packed.length()? != length {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut at = 0_u64;
    let mut copy = Vec::new();
    each_block(plain, length, |block| {
        copy.resize(block.len(), 0);
        packed.read_whole(at, &mut copy)?;
        at = at.saturating_add(block.len() as u64);
        if copy == block { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    })
}

fn length_u32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

const ERRANDS_MAX: usize = 64;
const LOOK_EVERY: Duration = Duration::from_millis(500);
const TENANTS_FILES_KEPT: usize = 2;
