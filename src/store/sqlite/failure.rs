//! What SQLite and the file system say, as the store's own errors.

use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::store::error::StoreError;

/// Why a group of commits stopped.
pub(super) enum Stop {
    /// One commit is refused; the group goes on without it.
    Refused(StoreError),
    /// The engine failed; nothing of the group happens.
    Engine(rusqlite::Error),
}

// === impl Stop ===

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Stop {
        Stop::Engine(error)
    }
}

/// An error of the engine while the database was read.
pub(super) fn from_engine(path: &Path, error: &rusqlite::Error) -> StoreError {
    let Some(code) = error.sqlite_error_code() else {
        // A column that is not of the type, length or range that every writer gives it.
        return StoreError::Corrupt(error.to_string());
    };
    match code {
        ErrorCode::DiskFull => StoreError::Full,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy,
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen => {
            StoreError::ReadOnly { path: path.to_owned() }
        }
        ErrorCode::NotADatabase => StoreError::NotAStore {
            path: path.to_owned(),
            reason: "its first bytes are not SQLite's".to_owned(),
        },
        ErrorCode::DatabaseCorrupt
        | ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::SchemaChanged => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// Whether the disk itself failed, so that nobody knows what it kept of a write.
pub(super) fn is_disk_failure(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

/// An error of the file system at the database's own file.
pub(super) fn from_file(path: &Path, error: &io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Missing { path },
        io::ErrorKind::AlreadyExists => StoreError::Exists { path },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly { path }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        io::ErrorKind::IsADirectory => {
            StoreError::NotAStore { path, reason: "it is a directory".to_owned() }
        }
        _ => StoreError::Unavailable(format!("{}: {error}", path.display())),
    }
}
