//! Why the agent stopped before it was done. What was moved stays moved, and the place is kept.

use std::time::Duration;

use super::board::ServerError;
use super::store::StoreError;

/// Why a run ended without its end.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The store does not do what it has to.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store was away for too long.
    #[error(
        "gave up after it was tried again for {}s: {why}; nothing is lost, and the next run goes on \
         from here",
        .patience.as_secs()
    )]
    StoreAway {
        /// What was said last.
        why: StoreError,
        /// How long it was tried.
        patience: Duration,
    },
    /// The server refused, or was away for too long.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server will not move blobs of this key now.
    #[error("{0}; nothing is lost, and the next run goes on from here")]
    NotMovable(ServerError),
    /// Another agent is on the store.
    #[error("{0}; stop that agent, or let it finish")]
    Taken(ServerError),
    /// The campaign was abandoned.
    #[error("the campaign was given up: {0}; what was moved stays moved")]
    GivenUp(String),
    /// Nothing here looks like a blob.
    #[error(
        "more than {0} places hold something that is no blob, the last one {1}; is this the right \
         column or field?"
    )]
    NoBlobs(usize, String),
    /// Each pass left something behind.
    #[error(
        "{passes} passes did not empty the store: the last scan still found {left} blobs; \
         something keeps writing old ones, see who in `bulla census`"
    )]
    NeverClean {
        /// How many passes were made.
        passes: u32,
        /// What the last scan found.
        left: u64,
    },
    /// The server said something that no server says.
    #[error("the server's answer makes no sense: {0}")]
    Answer(&'static str),
    /// A person or the system asked it to stop.
    #[error("interrupted; the place is kept, and the next run goes on from here")]
    Interrupted,
}

// === impl AgentError ===

impl AgentError {
    /// Whether the same may succeed later without anybody doing anything.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Store(StoreError::Away(_)) => true,
            Self::Server(error) => error.passes,
            _ => false,
        }
    }

    /// The same, when it did not pass for so long.
    pub(super) fn for_good(self, patience: Duration) -> Self {
        match self {
            Self::Store(why) => Self::StoreAway { why, patience },
            other => other,
        }
    }
}
