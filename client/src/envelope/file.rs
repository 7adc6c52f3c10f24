//! The header of a sealed file on a disk, read and rewritten: how a file moves to a new version of
//! its key without a byte of its plaintext being seen, or of its chunks being changed.
//!
//! A file is never changed in place. A copy with the new header is made beside it, put on the disk,
//! and then exchanged with it in one step, so that at every moment, and after a crash at any
//! moment, the name holds the old file or the new one, whole. Whoever replaces the file meanwhile
//! wins. All of this blocks, and it is for Unix.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::EnvelopeError;
use super::header::{DataFailure, Header};

/// What became of a file whose header was to be rewritten.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rewrite {
    /// It has the new header.
    Done,
    /// Somebody else changed it, and theirs stands. Read it again.
    Changed,
}

/// Why the header of a file was not read or rewritten. The file is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is a folder, a link, a device or the like.
    #[error("this is no regular file")]
    NotAFile,
    /// It is no sealed data, or of suite 01 ([`DataFailure::FixedHeader`]).
    #[error(transparent)]
    Data(#[from] DataFailure),
    /// The file, or the folder that it is in, cannot be used.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// A sealed file that is open, and what it was when it was opened.
struct Sealed {
    file: File,
    header: Header,
    stamp: Stamp,
}

/// Changes with every change to a file's bytes, and with another file in its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

/// A copy under a name of its own, which goes when this is dropped.
struct Copy {
    path: PathBuf,
    stamp: Stamp,
    /// What is under the name is of no use to anybody.
    needless: bool,
}

/// The header of a sealed file. Follows no link.
///
/// # Errors
/// [`FileError`]: `NotAFile`, `Data` as [`Header::split`] gives it, or `Io`.
pub fn read_file_header(path: &Path) -> Result<Header, FileError> {
    Sealed::open(path).map(|sealed| sealed.header)
}

/// Puts `new` in the place of `old` as the wrapped data key in the header of the sealed file at
/// `path`, if `old` is what stands there. The two wrap the same data key, or the file no longer
/// opens: whoever calls this has `new` from `ReEncrypt`. They may differ in length.
///
/// The new file has the mode and the owner of the old one, and is on the disk before this returns.
/// Access-control lists and extended attributes are not kept, and neither are other hard links to
/// it: those names keep the old header.
///
/// A process that is killed on the way can leave a file `.NAME.RANDOM.bulla` beside the file: a
/// copy of it, whole or cut short.
///
/// # Errors
/// [`FileError`]: `NotAFile`; `Data` with `FixedHeader` for a file of suite 01, and otherwise as
/// [`Header::split`] gives it; or `Io`.
pub fn rewrite_file_header(path: &Path, old: &[u8], new: &[u8]) -> Result<Rewrite, FileError> {
    let mut sealed = Sealed::open(path)?;
    let header = sealed.header.with_wrapped(new)?;
    if sealed.header.wrapped() != old {
        return Ok(Rewrite::Changed);
    }
    let copy = sealed.copy_with(&header, path)?;
    let now = sealed.file.metadata().map_err(while_doing("look at the file"))?;
    if Stamp::of(&now) != sealed.stamp {
        return Ok(Rewrite::Changed);
    }
    let outcome = copy.exchange(path, sealed.stamp)?;
    sync_folder(path)?;
    Ok(outcome)
}

/// Whether this is the name of a copy that [`rewrite_file_header`] makes on its way. Cut short, such a
/// copy holds nothing of its own.
pub fn is_header_copy(name: &OsStr) -> bool {
    let name = name.as_bytes().strip_prefix(b".").and_then(|name| name.strip_suffix(b".bulla"));
    let random = name.and_then(<[u8]>::split_last_chunk::<RANDOM_DIGITS>);
    random.is_some_and(|(of, random)| {
        of.last().is_none_or(|byte| *byte == b'.') && random.iter().all(u8::is_ascii_hexdigit)
    })
}

// === impl Sealed ===

impl Sealed {
    fn open(path: &Path) -> Result<Self, FileError> {
        // A pipe that nobody writes to must not hold this up.
        let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK);
        let opened =
            OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
        let mut file = opened.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => FileError::NotAFile,
            _ => while_doing("open the file")(error),
        })?;
        let metadata = file.metadata().map_err(while_doing("look at the file"))?;
        if !metadata.is_file() {
            return Err(FileError::NotAFile);
        }
        let header = Header::read(&mut file).map_err(|error| match error {
            EnvelopeError::Data(failure) => failure.into(),
            other => while_doing("read the file")(other.into()),
        })?;
        Ok(Self { file, header, stamp: Stamp::of(&metadata) })
    }

    /// A copy of the file at `path` with another header, beside it and on the disk.
    fn copy_with(&mut self, header: &Header, path: &Path) -> Result<Copy, FileError> {
        let wrong = || while_doing("copy the file");
        let name = beside(path).map_err(wrong())?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&name)
            .map_err(wrong())?;
        let mut copy = Copy { path: name, stamp: self.stamp, needless: true };
        // A file system that shares blocks between files can share those of a copy at the same
        // offset, so the whole file is copied, and its header then overwritten, where that fits.
        let bytes = header.to_bytes();
        let same_length = bytes.len() == self.header.header_bytes();
        let from = if same_length { 0 } else { self.header.header_bytes() as u64 };
        if !same_length {
            file.write_all(&bytes).map_err(wrong())?;
        }
        self.file.seek(SeekFrom::Start(from)).map_err(wrong())?;
        io::copy(&mut self.file, &mut file).map_err(wrong())?;
        if same_length {
            file.rewind().and_then(|()| file.write_all(&bytes)).map_err(wrong())?;
        }
        self.give_owner_and_mode(&file)?;
        file.sync_all().map_err(wrong())?;
        copy.stamp = Stamp::of(&file.metadata().map_err(wrong())?);
        Ok(copy)
    }

    fn give_owner_and_mode(&self, copy: &File) -> Result<(), FileError> {
        let wrong = || while_doing("give the copy the file's owner and mode");
        let (ours, theirs) =
            (copy.metadata().map_err(wrong())?, self.file.metadata().map_err(wrong())?);
        if (ours.uid(), ours.gid()) != (theirs.uid(), theirs.gid()) {
            fchown(copy, Some(theirs.uid()), Some(theirs.gid())).map_err(wrong())?;
        }
        copy.set_permissions(Permissions::from_mode(theirs.mode())).map_err(wrong())
    }
}

// === impl Copy ===

impl Copy {
    /// Exchanges the copy with the file at `path`. If that was no longer the one that was copied,
    /// it gets its name back.
    fn exchange(mut self, path: &Path, copied: Stamp) -> Result<Rewrite, FileError> {
        match renameat_with(CWD, &self.path, CWD, path, RenameFlags::EXCHANGE) {
            Ok(()) => {}
            // Somebody removed the file; it stays removed.
            Err(Errno::NOENT) => return Ok(Rewrite::Changed),
            Err(Errno::INVAL | Errno::NOSYS) => return self.replace(path, copied),
            Err(error) => return Err(while_doing(REPLACING)(error.into())),
        }
        // From here on the copy's name may hold what somebody else wrote.
        self.needless = false;
        let got = self.held()?;
        let outcome = if got == copied { Rewrite::Done } else { self.give_back(path, got)? };
        self.needless = true;
        Ok(outcome)
    }

    /// What came out is newer than what went in, so it goes back in. If what comes out then is not
    /// what was in there before, that is newer still: each turn needs one more writer.
    fn give_back(&self, path: &Path, mut got: Stamp) -> Result<Rewrite, FileError> {
        let mut put = self.stamp;
        loop {
            let next = got;
            match renameat_with(CWD, &self.path, CWD, path, RenameFlags::EXCHANGE) {
                Ok(()) => got = self.held()?,
                // It was removed, whatever it held.
                Err(Errno::NOENT) => return Ok(Rewrite::Changed),
                Err(error) => return Err(while_doing(REPLACING)(error.into())),
            }
            if got == put {
                return Ok(Rewrite::Changed);
            }
            put = next;
        }
    }

    /// What is under the copy's name now.
    fn held(&self) -> Result<Stamp, FileError> {
        let found = self.path.symlink_metadata().map_err(while_doing(REPLACING))?;
        Ok(Stamp::of(&found))
    }

    /// Where a file system cannot exchange: looks once more, and then replaces.
    fn replace(self, path: &Path, copied: Stamp) -> Result<Rewrite, FileError> {
        match path.symlink_metadata() {
            Ok(found) if Stamp::of(&found) == copied => {}
            _ => return Ok(Rewrite::Changed),
        }
        let renamed = std::fs::rename(&self.path, path);
        renamed.map(|()| Rewrite::Done).map_err(while_doing(REPLACING))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if self.needless {
            // After an exchange this is the old file. Nothing can be done about a failure.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// A name in the same folder that nobody has: hidden, and still one of a sealed file, because that
/// is what it is.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut name = OsString::from(".");
    let of = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    if of.len() <= NAME_BYTES_MAX {
        name.push(of);
    }
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    name.push(format!(".{:0RANDOM_DIGITS$x}.bulla", u64::from_be_bytes(random)));
    Ok(path.with_file_name(name))
}

/// Puts the folder's names on the disk.
fn sync_folder(path: &Path) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Ok(()),
    };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(while_doing("put the folder on the disk"))
}

fn while_doing(doing: &'static str) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError::Io { doing, source }
}

const REPLACING: &str = "put the copy in the file's place";

const RANDOM_DIGITS: usize = 16;

/// With what is put around it, a name still has at most 255 bytes.
const NAME_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests;
