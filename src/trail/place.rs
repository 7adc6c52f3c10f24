//! Where the log's files are, what they are called, and whole reads and writes of them.
//!
//! ```text
//! lock                                     held by the one process that has the log open
//! segments/<first>-<attempt>.seg           20 and 4 digits
//! segments/<first>-<attempt>.seg.zst       the same, compressed
//! segments/<first>-<attempt>.idx           where in it records stand
//! segments/<first>.tenants                 how many records each tenant had before <first>
//! segments/<first>.begins                  the same, where all before <first> is deleted
//! segments/handovers                       keys that were handed over in deleted records
//! segments/spare-<n>, zeroing-<n>, *.new   the next segment; what is being made
//! ```
//! Never decides which of them counts: that is recovery's.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::{Disk, LogFile};

/// One log's directory on one disk, and whose log it is.
pub(super) struct Place {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) directory: PathBuf,
    pub(super) installation_id: [u8; 16],
    pub(super) segment_bytes: u64,
    pub(super) try_again: Duration,
}

/// A segment's name. In order, they are the order of the log: of those that begin with the same
/// record the last one counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Name {
    pub(super) first: u64,
    pub(super) attempt: u32,
}

/// What a file in the directory is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Plain(Name),
    Packed(Name),
    Tenants(u64),
    Index(Name),
    Spare,
    /// Nothing that anybody will miss.
    Unfinished,
    Other,
}

// === impl Name ===

impl Name {
    /// What `<first>-<attempt>` stands for, in its one spelling.
    fn of(stem: &str) -> Option<Self> {
        let (first, attempt) = stem.split_once('-')?;
        let name = Self { first: first.parse().ok()?, attempt: attempt.parse().ok()? };
        (name.first > 0 && name.stem() == stem).then_some(name)
    }

    fn stem(self) -> String {
        format!("{:020}-{:04}", self.first, self.attempt)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.seg", self.stem())
    }
}

// === impl Kind ===

impl Kind {
    pub(super) fn of(name: &str) -> Self {
        if name.starts_with("zeroing-") || name.ends_with(".new") {
            return Self::Unfinished;
        }
        if name.starts_with("spare-") {
            return Self::Spare;
        }
        if let Some(first) = name.strip_suffix(".tenants").and_then(|first| first.parse().ok()) {
            return Self::Tenants(first);
        }
        if let Some(name) = name.strip_suffix(".idx").and_then(Name::of) {
            return Self::Index(name);
        }
        let plain = name.strip_suffix(PACKED_SUFFIX);
        match plain.unwrap_or(name).strip_suffix(".seg").and_then(Name::of) {
            Some(name) if plain.is_some() => Self::Packed(name),
            Some(name) => Self::Plain(name),
            None => Self::Other,
        }
    }
}

// === impl Place ===

impl Place {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn segment(&self, name: Name) -> PathBuf {
        self.directory.join(name.to_string())
    }

    pub(super) fn packed(&self, name: Name) -> PathBuf {
        self.directory.join(format!("{name}{PACKED_SUFFIX}"))
    }

    pub(super) fn index(&self, name: Name) -> PathBuf {
        self.directory.join(format!("{}.idx", name.stem()))
    }

    pub(super) fn begins(&self, first: u64) -> PathBuf {
        self.directory.join(format!("{first:020}.begins"))
    }

    pub(super) fn tenants(&self, first: u64) -> PathBuf {
        self.directory.join(format!("{first:020}.tenants"))
    }

    /// Adds to the file of keys that were handed over in records that are deleted, what is not there.
    pub(super) fn add_handovers(&self, details: &[String]) -> io::Result<()> {
        let path = self.path(HANDOVERS);
        let mut known = match self.disk.open(&path) {
            Ok(file) => {
                let length = usize::try_from(file.length()?.min(HANDOVERS_BYTES_MAX)).unwrap_or(0);
                let mut bytes = vec![0; length];
                read_whole(&*file, 0, &mut bytes)?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        for detail in details {
            if !known.lines().any(|line| line == detail) {
                known.push_str(detail);
                known.push('\n');
            }
        }
        self.put(&path, known.as_bytes())
    }

    /// A small file, whole and durable or not there at all.
    pub(super) fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let made = path.with_added_extension("new");
        let written = self.disk.create(&made).and_then(|file| {
            write_whole(&*file, 0, bytes)?;
            file.sync()?;
            self.disk.rename(&made, path)
        });
        if let Err(error) = written {
            // What is left behind is removed at the next start.
            let _ = self.disk.remove(&made);
            return Err(error);
        }
        self.disk.sync_directory(&self.directory)
    }
}

/// Writes all of `bytes`.
pub(super) fn write_whole(file: &dyn LogFile, offset: u64, bytes: &[u8]) -> io::Result<u64> {
    let mut calls = 0_u64;
    let mut interrupted = 0_u32;
    let mut done = 0_usize;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        calls = calls.saturating_add(1);
        match file.write_at(offset.saturating_add(done as u64), rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done = done.saturating_add(written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                interrupted = interrupted.saturating_add(1);
                if interrupted > INTERRUPTIONS_MAX {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(calls)
}

/// Fills `into` from `offset`; an end before that is an error.
pub(super) fn read_whole(file: &dyn LogFile, offset: u64, into: &mut [u8]) -> io::Result<()> {
    let mut interrupted = 0_u32;
    let mut done = 0_usize;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(offset.saturating_add(done as u64), rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => done = done.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                interrupted = interrupted.saturating_add(1);
                if interrupted > INTERRUPTIONS_MAX {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The handovers of the audit key that stood in records that are deleted, a line each.
pub(super) const HANDOVERS: &str = "handovers";
const HANDOVERS_BYTES_MAX: u64 = 1024 * 1024;
const PACKED_SUFFIX: &str = ".zst";
/// So that a disk that only ever interrupts does not hold the thread for ever.
const INTERRUPTIONS_MAX: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_nothing_else_is_one() {
        let name = Name { first: 18_446_744_073_709_551_615, attempt: 9_999 };
        assert_eq!(Kind::of(&name.to_string()), Kind::Plain(name));
        assert_eq!(Kind::of(&format!("{name}.zst")), Kind::Packed(name));
        assert_eq!(Kind::of("00000000000000000001.tenants"), Kind::Tenants(1));
        assert_eq!(Kind::of(&name.to_string().replace(".seg", ".idx")), Kind::Index(name));
        assert_eq!(Kind::of("zeroing-3"), Kind::Unfinished);
        for other in
            ["1-0.seg", "00000000000000000000-0000.seg", "x", "+0000000000000000001-0000.seg"]
        {
            assert_eq!(Kind::of(other), Kind::Other, "{other}");
        }
        assert!(Name { first: 9, attempt: 1 } < Name { first: 10, attempt: 0 });
    }
}
