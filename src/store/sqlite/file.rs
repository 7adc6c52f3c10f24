//! The database's files: made with mode 0600, refused when others may open them, locked while open.
//!
//! Nothing here reads or writes what is in them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::failure::from_file;
use crate::store::error::StoreError;

/// A database's file, ours alone until it is released or dropped.
#[derive(Debug)]
pub(super) struct OwnedFile {
    path: PathBuf,
    /// Holds the lock (`flock`), which unlike SQLite's own is not lost when somebody in this
    /// process opens and closes the file.
    lock: Option<File>,
}

// === impl OwnedFile ===

impl OwnedFile {
    /// Makes the file, empty.
    pub(super) fn create(path: &Path) -> Result<OwnedFile, StoreError> {
        let path = absolute(path)?;
        for beside in beside(&path) {
            // SQLite would take it for a part of the new database.
            if fs::symlink_metadata(&beside).is_ok() {
                return Err(StoreError::Exists { path: beside });
            }
        }
        let options = open_options().create_new(true).mode(MODE).clone();
        match options.open(&path) {
            Ok(file) => OwnedFile::lock(path, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::Unavailable(
                format!("the directory of {} does not exist; make it first", path.display()),
            )),
            Err(error) => Err(from_file(&path, &error)),
        }
    }

    /// Takes the file that is there.
    pub(super) fn open(path: &Path) -> Result<OwnedFile, StoreError> {
        let path = absolute(path)?;
        let path = fs::canonicalize(&path).map_err(|error| from_file(&path, &error))?;
        for file in std::iter::once(path.clone()).chain(beside(&path)) {
            refuse_exposed(file)?;
        }
        let file = open_options().open(&path).map_err(|error| from_file(&path, &error))?;
        OwnedFile::lock(path, file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes wait in the write-ahead log.
    pub(super) fn log_bytes(&self) -> u64 {
        fs::metadata(with_suffix(&self.path, LOG_SUFFIX)).map_or(0, |metadata| metadata.len())
    }

    /// Makes the directory's entries durable.
    pub(super) fn sync_directory(&self) -> Result<(), StoreError> {
        let directory = self.path.parent().unwrap_or(&self.path);
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|error| from_file(directory, &error))
    }

    /// Lets the file go. SQLite must have closed it.
    ///
    /// Unlocked by name, not by closing it alone: a child process that is just being started holds
    /// a copy of every descriptor for a moment, and with it the lock.
    pub(super) fn release(&mut self) {
        if let Some(file) = self.lock.take() {
            // Closing it, right after, lets go as well.
            let _ = file.unlock();
        }
    }

    /// Takes a file away whose creation did not come to its end.
    pub(super) fn remove(mut self) {
        self.release();
        for file in beside(&self.path).into_iter().chain([self.path.clone()]) {
            // Whatever cannot be removed is found, and named, by the next creation.
            let _ = fs::remove_file(file);
        }
    }

    fn lock(path: PathBuf, file: File) -> Result<OwnedFile, StoreError> {
        match file.try_lock() {
            Ok(()) => Ok(OwnedFile { path, lock: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
            Err(TryLockError::Error(error)) => Err(from_file(&path, &error)),
        }
    }
}

impl Drop for OwnedFile {
    fn drop(&mut self) {
        self.release();
    }
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

/// Absolute, so that SQLite never takes it for `:memory:` or a URI.
fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(path).map_err(|error| from_file(path, &error))
}

fn refuse_exposed(path: PathBuf) -> Result<(), StoreError> {
    let Ok(metadata) = fs::metadata(&path) else { return Ok(()) };
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StoreError::Exposed { path, mode });
    }
    Ok(())
}

/// The files that SQLite keeps beside a database.
fn beside(path: &Path) -> [PathBuf; 3] {
    [LOG_SUFFIX, "-shm", "-journal"].map(|suffix| with_suffix(path, suffix))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Read and written by the server's user, nobody else. SQLite gives its other files the same mode.
const MODE: u32 = 0o600;
const LOG_SUFFIX: &str = "-wal";
