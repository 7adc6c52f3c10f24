//! The index of a sealed segment, in a file beside it. Derived: whatever is wrong with it, it is made
//! anew.
//!
//! ```text
//! "bulla-index-v1" 00 00 ‖ segment's header (96) ‖ u64 last ‖ hash of last (32) ‖ u64 end
//!     ‖ i64 from_us ‖ i64 to_us ‖ u32 stretches ‖ u32 terms ‖ u64 directory bytes ‖ u32 crc     196 B
//! stretch   = u32 position ‖ u64 offset ‖ hash before (32) ‖ i64 from_us ‖ i64 to_us            60 B
//! u32 crc of the stretches
//! directory = (u16 n ‖ term (n B) ‖ u64 offset ‖ u32 length ‖ u32 crc)*, by term ‖ u32 crc
//! bitmaps, each in the Roaring format, where the directory says
//! ```
//! Big-endian, but for what is inside a bitmap.

use std::io;
use std::path::Path;

use roaring::RoaringBitmap;

use super::postings::{Lookup, Postings, Stretch, Times};
use crate::audit::{Chain, HASH_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::trail::disk::{Disk, LogFile};
use crate::trail::place::read_whole;

/// What a file says about itself: small, and kept for every segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::trail) struct Head {
    /// The segment's.
    pub(super) header: [u8; SEGMENT_HEADER_BYTES],
    /// After its last record.
    pub(in crate::trail) chain: Chain,
    /// Where its last frame ends.
    pub(in crate::trail) end: u64,
    pub(in crate::trail) times: Times,
    stretches: u32,
    terms: u32,
    directory_bytes: u64,
}

/// A file, open, with its directory read.
pub(in crate::trail) struct IndexFile {
    file: Box<dyn LogFile>,
    head: Head,
    directory: Vec<u8>,
}

// === impl Head ===

impl Head {
    /// Reads the head of the file at `path`.
    pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let file = disk.open(path)?;
        let mut bytes = [0; HEAD_BYTES];
        read_whole(&*file, 0, &mut bytes)?;
        Self::parse(&bytes).ok_or_else(damaged)
    }

    fn parse(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let body = checked(bytes)?;
        let mut fields = Fields(body.strip_prefix(MAGIC)?);
        let header = *fields.take()?;
        let last = fields.u64()?;
        let chain = Chain::at(*fields.take::<HASH_BYTES>()?, last);
        Some(Self {
            header,
            chain,
            end: fields.u64()?,
            times: fields.times()?,
            stretches: fields.u32()?,
            terms: fields.u32()?,
            directory_bytes: fields.u64()?,
        })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.header);
        out.extend_from_slice(&self.chain.sequence().to_be_bytes());
        out.extend_from_slice(self.chain.head());
        out.extend_from_slice(&self.end.to_be_bytes());
        put_times(out, &self.times);
        out.extend_from_slice(&self.stretches.to_be_bytes());
        out.extend_from_slice(&self.terms.to_be_bytes());
        out.extend_from_slice(&self.directory_bytes.to_be_bytes());
        put_crc(out, 0);
    }
}

/// The file of a segment with this header, and its head.
pub(super) fn to_bytes(header: &SegmentHeader, postings: &Postings) -> (Head, Vec<u8>) {
    let mut terms: Vec<_> = postings.terms.iter().collect();
    terms.sort_unstable_by_key(|(term, _)| *term);
    let (mut directory, mut bitmaps) = (Vec::new(), Vec::new());
    for (term, records) in &terms {
        let mut records = (*records).clone();
        records.optimize();
        let offset = bitmaps.len() as u64;
        // Writing into memory does not fail.
        let _ = records.serialize_into(&mut bitmaps);
        let bitmap = bitmaps.get(usize::try_from(offset).unwrap_or(0)..).unwrap_or_default();
        directory.extend_from_slice(&u16::try_from(term.len()).unwrap_or(0).to_be_bytes());
        directory.extend_from_slice(term);
        directory.extend_from_slice(&offset.to_be_bytes());
        directory.extend_from_slice(&length_u32(bitmap.len()).to_be_bytes());
        directory.extend_from_slice(&crc32fast::hash(bitmap).to_be_bytes());
    }
    put_crc(&mut directory, 0);
    let head = Head {
        header: header.to_bytes(),
        chain: postings.chain,
        end: postings.end,
        times: postings.times,
        stretches: length_u32(postings.stretches.len()),
        terms: length_u32(terms.len()),
        directory_bytes: directory.len() as u64,
    };
    let mut bytes = Vec::new();
    head.put(&mut bytes);
    let begins = bytes.len();
    for stretch in &postings.stretches {
        bytes.extend_from_slice(&stretch.position.to_be_bytes());
        bytes.extend_from_slice(&stretch.offset.to_be_bytes());
        bytes.extend_from_slice(&stretch.head);
        put_times(&mut bytes, &stretch.times);
    }
    put_crc(&mut bytes, begins);
    bytes.append(&mut directory);
    bytes.append(&mut bitmaps);
    (head, bytes)
}

// === impl IndexFile ===

impl IndexFile {
    /// Opens the file at `path`, which must still be the one with this head.
    pub(in crate::trail) fn open(disk: &dyn Disk, path: &Path, head: Head) -> io::Result<Self> {
        let file = disk.open(path)?;
        let mut bytes = [0; HEAD_BYTES];
        read_whole(&*file, 0, &mut bytes)?;
        if Head::parse(&bytes) != Some(head) || head.directory_bytes > DIRECTORY_BYTES_MAX {
            return Err(damaged());
        }
        let opened = Self { file, head, directory: Vec::new() };
        let directory = opened.part(opened.directory_at(), head.directory_bytes)?;
        Ok(Self { directory, ..opened })
    }

    fn directory_at(&self) -> u64 {
        let stretches = u64::from(self.head.stretches).saturating_mul(STRETCH_BYTES as u64);
        stretches.saturating_add(4).saturating_add(HEAD_BYTES as u64)
    }

    /// So many bytes from `at`, without the checksum that they end with, which is right.
    fn part(&self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        read_whole(&*self.file, at, &mut bytes)?;
        let body = checked(&bytes).ok_or_else(damaged)?.len();
        bytes.truncate(body);
        Ok(bytes)
    }

    /// Where the bitmap of `term` is, from the first bitmap's place: offset, length, checksum.
    fn find(&self, term: &[u8]) -> io::Result<Option<(u64, u32, u32)>> {
        let mut fields = Fields(&self.directory);
        let mut next = || {
            let length = u16::from_be_bytes(*fields.take()?);
            let name = fields.slice(length.into())?;
            Some((name, (fields.u64()?, fields.u32()?, fields.u32()?)))
        };
        for _ in 0..self.head.terms {
            let (name, place) = next().ok_or_else(damaged)?;
            if name == term {
                return Ok(Some(place));
            }
            if name > term {
                break;
            }
        }
        Ok(None)
    }
}

impl Lookup for IndexFile {
    fn records_with(&self, term: &[u8]) -> io::Result<RoaringBitmap> {
        let Some((offset, length, crc)) = self.find(term)? else {
            return Ok(RoaringBitmap::new());
        };
        if length > BITMAP_BYTES_MAX {
            return Err(damaged());
        }
        let begins = self.directory_at().saturating_add(self.head.directory_bytes);
        let mut bytes = vec![0; length as usize];
        read_whole(&*self.file, begins.saturating_add(offset), &mut bytes)?;
        if crc32fast::hash(&bytes) != crc {
            return Err(damaged());
        }
        RoaringBitmap::deserialize_from(bytes.as_slice()).map_err(|_| damaged())
    }

    fn times(&self) -> Times {
        self.head.times
    }

    fn stretches(&self) -> io::Result<Vec<Stretch>> {
        let length = u64::from(self.head.stretches).saturating_mul(STRETCH_BYTES as u64);
        let bytes = self.part(HEAD_BYTES as u64, length.saturating_add(4))?;
        let (rows, _) = bytes.as_chunks::<STRETCH_BYTES>();
        let stretch = |row: &[u8; STRETCH_BYTES]| {
            let mut fields = Fields(row);
            Some(Stretch {
                position: fields.u32()?,
                offset: fields.u64()?,
                head: *fields.take()?,
                times: fields.times()?,
            })
        };
        rows.iter().map(|row| stretch(row).ok_or_else(damaged)).collect()
    }
}

/// Numbers and bytes, one after another.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(|bytes| u64::from_be_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(|bytes| u32::from_be_bytes(*bytes))
    }

    fn times(&mut self) -> Option<Times> {
        let mut time = || self.take().map(|bytes| i64::from_be_bytes(*bytes));
        Some(Times { from_us: time()?, to_us: time()? })
    }
}

fn put_times(out: &mut Vec<u8>, times: &Times) {
    out.extend_from_slice(&times.from_us.to_be_bytes());
    out.extend_from_slice(&times.to_us.to_be_bytes());
}

/// Appends the checksum of what is there from `begins` on.
fn put_crc(out: &mut Vec<u8>, begins: usize) {
    let crc = crc32fast::hash(out.get(begins..).unwrap_or_default());
    out.extend_from_slice(&crc.to_be_bytes());
}

/// What is before the checksum that `bytes` end with, if it is right.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk()?;
    (crc32fast::hash(body).to_be_bytes() == *crc).then_some(body)
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an index of the audit log is damaged")
}

const MAGIC: &[u8; 16] = b"bulla-index-v1\0\0";
const HEAD_BYTES: usize = 16 + SEGMENT_HEADER_BYTES + 8 + HASH_BYTES + 8 + 16 + 4 + 4 + 8 + 4;
const STRETCH_BYTES: usize = 4 + 8 + HASH_BYTES + 16;
/// Of a segment in which each record has terms of its own.
const DIRECTORY_BYTES_MAX: u64 = 4 << 30;
const BITMAP_BYTES_MAX: u32 = 64 * 1024 * 1024;
