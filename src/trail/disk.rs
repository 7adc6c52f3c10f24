//! What the log asks of a disk, and the real one. A seam so that tests can break it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags};

/// Opens the log's file.
pub trait Disk: Send + Sync {
    /// Opens the file at `path` for this process alone, and makes an empty one, durably, where there is
    /// none. Readable and writable by its owner only.
    ///
    /// # Errors
    /// `WouldBlock` when another process has it open; `PermissionDenied` without an operating system's
    /// error number when others than its owner may read or write it.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
}

/// The log's file. One thread writes; others read what is durable.
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
    /// Cuts the file off at `length`.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile(File);

// === impl RealDisk ===

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = match options.clone().create_new(true).open(path) {
            Ok(file) => {
                sync_directory_of(path)?;
                file
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path)?,
            Err(error) => return Err(error),
        };
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        if metadata.mode() & 0o077 != 0 {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "mode is not 0600"));
        }
        Ok(Box::new(RealFile(file)))
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

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

impl Drop for RealFile {
    fn drop(&mut self) {
        // By name, not by closing it alone: a child process that is just being started holds a copy
        // of the descriptor for a moment, and with it the lock. Closing lets go as well.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Makes the name itself durable.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
