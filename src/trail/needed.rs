//! Those outside whom a call's answer waits for: each says how far it has the log, and whether it is there.
//!
//! A batch is answered when it is durable *and* everybody who must have it does. Whoever is gone without
//! a word counts as absent: nothing is answered that was promised to be outside too. Never reads or
//! sends anything itself, and the log thread never waits for any of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use tokio::sync::{oneshot, watch};

use super::gate::Gate;
use super::writer::Answer;
use super::{Shared, TrailError};

/// What somebody outside is needed for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// Each call waits until this one has its record.
    EveryRecord,
    /// Calls are refused while this one is not there.
    Presence,
}

/// Somebody outside who is needed. Absent until it says otherwise, and from when it is dropped.
pub struct Needed {
    gate: Arc<Gate>,
    absent: AtomicBool,
    has: watch::Sender<u64>,
}

/// Everybody who must have every record.
#[derive(Default)]
pub(super) struct Outside(RwLock<Arc<[watch::Receiver<u64>]>>);

// === impl Needed ===

impl Needed {
    pub(super) fn new(shared: &Shared, need: Need) -> Self {
        let (has, had) = watch::channel(0);
        if need == Need::EveryRecord {
            let mut needed = shared.outside.0.write();
            *needed = needed.iter().cloned().chain([had]).collect();
        }
        shared.gate.absent(true);
        Self { gate: Arc::clone(&shared.gate), absent: AtomicBool::new(true), has }
    }

    /// It has every record up to this one.
    pub fn has(&self, sequence: u64) {
        self.has.send_if_modified(|has| std::mem::replace(has, sequence.max(*has)) < sequence);
    }

    /// Whether it answers.
    pub fn is_there(&self, is_there: bool) {
        if self.absent.swap(!is_there, Ordering::AcqRel) == is_there {
            self.gate.absent(!is_there);
        }
    }
}

impl Drop for Needed {
    fn drop(&mut self) {
        self.is_there(false);
    }
}

// === impl Outside ===

impl Outside {
    /// The log thread's answer to a batch of `count` records, once everybody has the batch too.
    pub(super) async fn answered(
        &self,
        answer: oneshot::Receiver<Answer>,
        count: u64,
    ) -> Result<Answer, oneshot::error::RecvError> {
        let mut answer = answer.await?;
        if let Ok(first) = answer.outcome {
            let had = self.have(first.saturating_add(count.saturating_sub(1))).await;
            answer.outcome = had.map(|()| first);
        }
        Ok(answer)
    }

    async fn have(&self, sequence: u64) -> Result<(), TrailError> {
        let needed = Arc::clone(&self.0.read());
        for one in needed.iter() {
            let waited = one.clone().wait_for(|has| *has >= sequence).await.map(drop);
            waited.map_err(|_| TrailError::Outside)?;
        }
        Ok(())
    }
}
