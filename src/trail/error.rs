//! Why the log cannot be opened, read or added to. Each says to an operator what to look at.

use std::io;
use std::sync::Arc;

use crate::audit::OverLimit;

/// The log cannot be opened, read or added to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrailError {
    /// Too many bytes wait, on this lane or on all. The record was not taken.
    #[error("too many audit records are waiting for the disk")]
    Overloaded,
    /// The disk is full, missing or slow, or it failed. A record that was taken may or may not become
    /// durable. Tried again without anybody's doing.
    #[error("the audit log cannot be written now; look at its disk, and at its required sinks")]
    Unavailable,
    /// Somebody outside who must have every record, or see what is signed, is not there.
    #[error(
        "a required sink or anchor of the audit log does not answer; look at what the server logs of it"
    )]
    Outside,
    /// No further segment can be made: what is left is for management.
    #[error(
        "the audit log's disk is full, and what is left of it is kept for management; free space"
    )]
    Reserved,
    /// The log was closed before the record was written.
    #[error("the audit log is closed")]
    Closed,
    /// The record is over a limit. It was not taken.
    #[error(transparent)]
    Record(#[from] OverLimit),
    /// The log cannot be opened or read.
    #[error("cannot {doing} the audit log")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has it open.
    #[error("the audit log is in use by another process")]
    Locked,
    /// Others than the owner may read or write it.
    #[error(
        "the audit log may be read or written by others than its owner; set its files' mode to 0600 and its directories' to 0700"
    )]
    Exposed,
    /// The log belongs to another installation.
    #[error("the audit log belongs to another installation")]
    OtherInstallation,
    /// The log's first records are missing, and nothing says what was in them.
    #[error(
        "the audit log's records before {first} are missing, and so is segments/{first:020}.begins, which is left where they are deleted; put what is missing back from a copy"
    )]
    Beginning {
        /// The first record that is there.
        first: u64,
    },
    /// A record was changed, damaged, moved or taken out.
    #[error("the audit log's chain is broken at sequence {sequence}")]
    Broken {
        /// The first sequence that is not as it was written.
        sequence: u64,
    },
}

// === impl TrailError ===

impl TrailError {
    pub(super) fn io(doing: &'static str, error: io::Error) -> Self {
        Self::Io { doing, source: Arc::new(error) }
    }
}
