//! What the log asks of a disk, and the real one. A seam so that tests can break it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags};

/// A file system, as far as the log needs one.
pub trait Disk: Send + Sync + 'static {
    /// Makes the directory, durably, where there is none: for its owner only.
    ///
    /// # Errors
    /// `PermissionDenied` without an operating system's error number when others may use it.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    /// Keeps every other process out until what is returned is dropped.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
    /// The names in a directory, in no order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Makes an empty file where there is none, for its owner only.
    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Opens a file that is there.
    ///
    /// # Errors
    /// `PermissionDenied` without an operating system's error number when others than its owner may
    /// read or write it.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// Gives a file another name, in place of whatever has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a name away.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Returns when the names in a directory are on stable storage.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// A file of the log. One thread writes; others read what is durable.
pub trait LogFile: Send + Sync + 'static {
    /// The length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads some bytes at `offset`; 0 at the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes some of `bytes` at `offset` and returns how many.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Returns when everything written, and the length that finds it, is on stable storage. After an
    /// error nothing is known about what is there, and a second call may wrongly succeed.
    fn sync(&self) -> io::Result<()>;
    /// Whether this file is what `path` names now.
    fn is_at(&self, path: &Path) -> io::Result<bool>;
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile(File);

struct Lock(File);

// === impl RealDisk ===

impl Disk for RealDisk {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => sync_directory_of(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let metadata = std::fs::metadata(path)?;
                if !metadata.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                owners_alone(metadata.mode())
            }
            Err(error) => Err(error),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = options().create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(Lock(file)))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(RealFile(options().create_new(true).open(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let file = options().open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        owners_alone(metadata.mode())?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

// === impl RealFile ===

impl LogFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        // Not `File::sync_data`, which tries again when interrupted.
        Ok(rustix::fs::fdatasync(&self.0)?)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        let own = self.0.metadata()?;
        match std::fs::symlink_metadata(path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (own.dev(), own.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

// === impl Lock ===

impl Drop for Lock {
    fn drop(&mut self) {
        // By name, not by closing it alone: a child process that is just being started holds a copy
        // of the descriptor for a moment, and with it the lock. Closing lets go as well.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// A file that is there, to be read alone, whoever else may.
pub(super) fn open_to_read(path: &Path) -> io::Result<Box<dyn LogFile>> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(Box::new(RealFile(file)))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

fn owners_alone(mode: u32) -> io::Result<()> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "others than its owner have a right to it"))
}

/// Makes the name itself durable.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
