//! The segments of a copied log, for whoever audits it: opened one after another in the order of their
//! names, plain and compressed, to be read alone. Never makes, locks or changes a file, and never
//! believes a name: what a file is, its bytes must say.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::open_to_read;
use super::packed::Packed;
use super::place::{Kind, Name};
use super::reader::Bytes;
use super::segments_in;

/// The segments in a copy of a log's directory.
pub struct CopiedSegments {
    directory: PathBuf,
    files: std::vec::IntoIter<(Name, bool, String)>,
    count: usize,
}

/// One segment of a copy, from its head on.
pub struct CopiedSegment {
    first: u64,
    attempt: u32,
    bytes: Option<Bytes>,
}

// === impl CopiedSegments ===

impl CopiedSegments {
    /// The segments of the log in `directory`, which has a folder `segments`.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let directory = segments_in(directory);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&directory)? {
            let file = entry?.file_name().to_string_lossy().into_owned();
            match Kind::of(&file) {
                Kind::Plain(name) => files.push((name, false, file)),
                Kind::Packed(name) => files.push((name, true, file)),
                _ => {}
            }
        }
        files.sort();
        // An original that was not removed yet counts for its copy, as it does when it is served.
        files.dedup_by_key(|(name, ..)| *name);
        let count = files.len();
        Ok(Self { directory, files: files.into_iter(), count })
    }

    /// How many there are in all.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The next one, by name; None after the last.
    ///
    /// # Errors
    /// With the file that cannot be read.
    pub fn next_segment(&mut self) -> Result<Option<CopiedSegment>, (PathBuf, io::Error)> {
        let Some((name, packed, file)) = self.files.next() else { return Ok(None) };
        let path = self.directory.join(file);
        let bytes = open_to_read(&path).and_then(|file| match packed {
            false => Ok(Bytes::Plain(Arc::from(file))),
            true => Ok(Bytes::Packed(Box::new(Packed::open(file)?))),
        });
        let bytes = match bytes {
            Ok(bytes) => Some(bytes),
            // What cannot be unpacked holds nothing.
            Err(error) if is_damage(&error) => None,
            Err(error) => return Err((path, error)),
        };
        Ok(Some(CopiedSegment { first: name.first, attempt: name.attempt, bytes }))
    }
}

// === impl CopiedSegment ===

impl CopiedSegment {
    /// The first record, by its name.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Which of those that begin with it, by its name.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// How many bytes it has, unpacked.
    pub fn length(&self) -> io::Result<u64> {
        self.bytes.as_ref().map_or(Ok(0), Bytes::length)
    }

    /// Reads some bytes at `offset`; 0 at the end, and where what is packed is damaged.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let Some(bytes) = &self.bytes else { return Ok(0) };
        match bytes.read_at(offset, into) {
            Err(error) if is_damage(&error) => Ok(0),
            read => read,
        }
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
