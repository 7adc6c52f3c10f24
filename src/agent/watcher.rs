//! What a person is shown while the agent works. Says what happened and never how it looks.

use std::time::Duration;

use bulla_client::kms::Problem;

/// Is told how the work goes. Called from within it, so it must not wait for anything.
pub trait Watcher: Send + Sync {
    /// A pass begins, or goes on where an earlier run stopped.
    fn began(&self, _store: &str, _pass: u32, _standing: Standing) {}
    /// Some more has been gone through.
    fn advanced(&self, _standing: Standing) {}
    /// Somebody paused the campaign, or let it go on.
    fn paused(&self, _paused: bool) {}
    /// The pass came to the end of the store.
    fn pass_ended(&self, _pass: u32, _standing: Standing) {}
    /// The store is scanned; so many places have been looked at.
    fn scanned(&self, _rows: u64) {}
    /// Something that does not open, or is no blob.
    fn problem(&self, _problem: &Problem) {}
    /// It goes no further for now, for this reason, and is tried again after the wait.
    fn waits(&self, _why: &str, _wait: Duration) {}
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Places of this pass that were looked at.
    pub seen: u64,
    /// How many there are; 0: nobody knows.
    pub total: u64,
    /// Blobs that were moved in this run.
    pub moved: u64,
    /// Moved a second, since the pass began.
    pub per_second: u64,
    /// Places that could not be moved in this run.
    pub problems: u64,
}

/// Nobody looks.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Watcher for Silent {}
