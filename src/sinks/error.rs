//! Why a place outside cannot be used, or did not take something. For the operator's log alone.

use std::io;
use std::path::PathBuf;

use crate::trail::{NotaryError, TrailError};

/// Why the places outside cannot be used at all: nothing is served then.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// A file that is named in the configuration cannot be used.
    #[error("{setting} {path}: {problem}")]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A setting cannot be used.
    #[error("{setting} of {name}: {problem}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Of which sink or anchor.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The log is not the one that a sink was sent.
    #[error(
        "the sink {name} was sent record {sequence} of this log, and the log has another or none: it was \
         rolled back or replaced; compare it with what the sink has before you remove {path}"
    )]
    NotWhatWasSent {
        /// The sink.
        name: String,
        /// The last record that it was sent.
        sequence: u64,
        /// Where that is kept.
        path: PathBuf,
    },
    /// An anchor has a checkpoint of more records than there are.
    #[error(
        "the audit log was rolled back: {path} has a checkpoint of {signed} records, and the log has \
         {found}; put the whole log back"
    )]
    RolledBack {
        /// The anchor's file.
        path: PathBuf,
        /// By the checkpoint.
        signed: u64,
        /// In the log.
        found: u64,
    },
    /// An anchor has a checkpoint of another history.
    #[error(
        "the audit log was forked: its first {signed} records are others than a checkpoint in {path} \
         says; find the first with: bulla audit verify --directory DIR --public-key FILE --anchor {path}"
    )]
    Forked {
        /// The anchor's file.
        path: PathBuf,
        /// By the checkpoint.
        signed: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Trail(#[from] TrailError),
    /// What is signed cannot be read.
    #[error(transparent)]
    Notary(#[from] NotaryError),
    /// The operating system refused something.
    #[error("cannot {0}: {1}")]
    System(&'static str, #[source] io::Error),
}

/// Why a place did not take what it was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("it took too long")]
    Late,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("HTTP failed: {0}")]
    Http(#[from] hyper::Error),
    #[error("it answered {0}")]
    Status(http::StatusCode),
    #[error("it refuses {0} records for ever")]
    Rejects(u64),
    #[error("it closed the connection")]
    Lost,
    #[error("its answer cannot be read")]
    Answer,
    #[error("the audit log cannot be read: {0}")]
    Trail(#[from] TrailError),
    #[error("it has seen a log of {0} records, and this one has fewer: it was rolled back")]
    SeenMore(u64),
    #[error("it ended with {0}")]
    Ended(std::process::ExitStatus),
    #[error("nothing can be proven now: {0}")]
    Proof(#[from] NotaryError),
}
