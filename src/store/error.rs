//! What can go wrong in a store, each with what to do about it.
//!
//! No error holds a row's body, a MAC or an SQL text.

use std::path::PathBuf;

/// Why a store did not do what it was asked. Unless said otherwise, nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A row is no longer what the caller read: it lost a race. Read again and retry.
    #[error("another change came first; read again and retry")]
    Conflict,
    /// The row was written by a newer program, which may keep in it what this one would lose.
    #[error(
        "a row has format {row}, but this program writes format {ours}; \
         upgrade this program before it changes the row"
    )]
    NewerFormat {
        /// The row's format.
        row: u16,
        /// The format that this store writes.
        ours: u16,
    },
    /// The database was migrated by a newer program.
    #[error(
        "the database is at migration {found}, but this program knows {ours}; \
         start the newer program, or restore a backup made before the upgrade"
    )]
    NewerMigration {
        /// The database's migration.
        found: u32,
        /// The newest migration that this program knows.
        ours: u32,
    },
    /// The cursor is older than what is still told, or newer than the head.
    #[error("changes can be told after revision {oldest} only; start over from the present state")]
    Expired {
        /// The smallest cursor that is still answered.
        oldest: u64,
    },
    /// Over a limit.
    #[error("{what} is {size}, over the limit of {limit}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A request that makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no database at this path, and opening never makes one.
    #[error("there is no database at {}; check the path, or make one with init", path.display())]
    Missing {
        /// The database's path.
        path: PathBuf,
    },
    /// There is a file at this path already, and creating never replaces one.
    #[error("{} exists already; open it, or choose another path", path.display())]
    Exists {
        /// The database's path.
        path: PathBuf,
    },
    /// Somebody else may read or write the database's file.
    #[error(
        "{} has mode {mode:04o} and is open to other users; run chmod 600 on it, \
         and look into who could have read it",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has the database open; only one may.
    #[error(
        "{} is in use by another process; stop the other server first",
        path.display()
    )]
    Locked {
        /// The database's path.
        path: PathBuf,
    },
    /// The file is no database of Bulla's.
    #[error("{} is not a database of Bulla's: {reason}", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// How that shows.
        reason: String,
    },
    /// The file or its directory cannot be written.
    #[error(
        "cannot write {} or beside it; check the owner and mode of the file and its directory, \
         and that the file system is not mounted read-only",
        path.display()
    )]
    ReadOnly {
        /// The database's path.
        path: PathBuf,
    },
    /// The engine that this program was linked with has a known defect.
    #[error("SQLite {found} can corrupt a database; build with SQLite 3.51.3 or later")]
    OutdatedEngine {
        /// Its version.
        found: String,
    },
    /// The database is in use inside the engine; this passes.
    #[error("the database is busy; retry")]
    Busy,
    /// No room on the disk, or the database has reached its own limit.
    #[error("no room for the database; free space on its disk, then retry")]
    Full,
    /// The database's file is damaged.
    #[error("the database is damaged ({0}); stop the server and restore the latest backup")]
    Corrupt(String),
    /// The store could not be asked or the disk did not answer; it may work again later.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The disk failed while a change was made durable. The store answers nothing more, so that
    /// nobody builds on what may be lost; a restart reads what the disk really has.
    #[error(
        "the disk failed while a change was made durable ({0}); \
         stop the server, check the disk, then start it again"
    )]
    Failed(String),
}

// === impl StoreError ===

impl StoreError {
    /// Whether the store will never answer again, so that the server must stop.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, StoreError::Failed(_))
    }
}
