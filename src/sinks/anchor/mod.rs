//! Anchors: places outside that get each new checkpoint, the newest when they lag, so that a copy of
//! the whole directory that is older or another one does not go unnoticed.
//!
//! A required one makes calls be refused when there have been checkpoints that it lacks for longer than
//! it may. Never decides what a checkpoint says: it takes what the notary has signed.

mod command;
mod file;
mod http;
mod witness;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::error::PlaceError;
use super::follow::Patience;
use crate::audit::SignedCheckpoint;
use crate::metrics::PlaceCounts;
use crate::trail::{Needed, Notarized};

pub(super) use command::CommandAnchor;
pub(super) use file::FileAnchor;
pub(super) use http::HttpAnchor;
pub(super) use witness::WitnessAnchor;

/// Somebody who takes checkpoints.
pub(super) trait Take: Send {
    /// Takes this one; returns when it has it.
    fn take(
        &mut self,
        signed: &SignedCheckpoint,
    ) -> impl Future<Output = Result<(), PlaceError>> + Send;
    /// Lets go of what is broken.
    fn give_up(&mut self) {}
}

/// An anchor and how it stands.
pub(super) struct Keeper<A> {
    pub(super) notarized: Arc<Notarized>,
    pub(super) anchor: A,
    pub(super) age: Age,
}

/// For how long there have been checkpoints that the anchor does not have.
pub(super) struct Age {
    counts: Arc<PlaceCounts>,
    needed: Option<(Needed, Duration)>,
    since: Option<Instant>,
    was_old: bool,
    was_failing: bool,
}

// === impl Keeper ===

impl<A: Take> Keeper<A> {
    /// Until `stop` says so; then the newest checkpoint is taken if that is quick.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut size = self.notarized.size();
        let mut patience = Patience::new(WAIT_MS);
        let mut anchored = 0;
        while !*stop.borrow() {
            let newest = *size.borrow_and_update();
            self.age.look(newest > anchored);
            if newest <= anchored {
                tokio::select! {
                    _ = size.changed() => {}
                    () = sleep(LOOK_EVERY) => {}
                    _ = stop.changed() => break,
                }
                continue;
            }
            match self.attempt(&mut stop).await {
                None => break,
                Some(Ok(taken)) => {
                    anchored = taken;
                    patience = Patience::new(WAIT_MS);
                    self.age.taken(taken);
                }
                Some(Err(error)) => {
                    self.anchor.give_up();
                    self.age.failed(&error);
                    if self.wait(patience.next(), &mut stop).await.is_none() {
                        break;
                    }
                }
            }
        }
        if self.notarized.checkpoint().is_some_and(|it| it.checkpoint().size > anchored) {
            let _ = timeout(LAST_MAX, Self::once(&mut self.anchor, &self.notarized)).await;
        }
    }

    /// One attempt, while the anchor's age goes on. None when it is to stop.
    async fn attempt(
        &mut self,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Result<u64, PlaceError>> {
        let Self { notarized, anchor, age } = self;
        let mut taking = std::pin::pin!(timeout(TAKE_MAX, Self::once(anchor, notarized)));
        loop {
            tokio::select! {
                taken = &mut taking => return Some(taken.unwrap_or(Err(PlaceError::Late))),
                () = sleep(LOOK_EVERY) => age.look(true),
                _ = stop.changed() => return None,
            }
        }
    }

    async fn once(anchor: &mut A, notarized: &Notarized) -> Result<u64, PlaceError> {
        let Some(signed) = notarized.checkpoint() else { return Ok(0) };
        anchor.take(&signed).await?;
        Ok(signed.checkpoint().size)
    }

    async fn wait(&mut self, wait: Duration, stop: &mut watch::Receiver<bool>) -> Option<()> {
        let mut waiting = std::pin::pin!(sleep(wait));
        loop {
            tokio::select! {
                () = &mut waiting => return Some(()),
                () = sleep(LOOK_EVERY) => self.age.look(true),
                _ = stop.changed() => return None,
            }
        }
    }
}

// === impl Age ===

impl Age {
    /// A required anchor may be so old.
    pub(super) fn new(counts: Arc<PlaceCounts>, needed: Option<(Needed, Duration)>) -> Self {
        if let Some((needed, _)) = &needed {
            needed.is_there(true);
        }
        Self { counts, needed, since: None, was_old: false, was_failing: false }
    }

    fn look(&mut self, lacks_some: bool) {
        self.since = match lacks_some {
            true => self.since.or_else(|| Some(Instant::now())),
            false => None,
        };
        let age = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        self.counts.waits_ms(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let Some((needed, age_max)) = &self.needed else { return };
        let is_old = age > *age_max;
        needed.is_there(!is_old);
        if is_old && !self.was_old {
            let anchor = self.counts.name();
            tracing::error!(anchor, "a required anchor has no new checkpoint; calls are refused");
        }
        self.was_old = is_old;
    }

    fn taken(&mut self, size: u64) {
        self.counts.answers(true);
        self.counts.took(size, 1);
        self.was_failing = false;
        self.look(false);
    }

    fn failed(&mut self, error: &PlaceError) {
        self.counts.failed();
        self.counts.answers(false);
        let (anchor, required) = (self.counts.name(), self.needed.is_some());
        match error {
            PlaceError::SeenMore(_) => tracing::error!(anchor, required, %error, "ROLLED BACK"),
            error if self.was_failing => {
                tracing::debug!(anchor, required, %error, "an anchor still takes no checkpoint");
            }
            error => {
                tracing::warn!(anchor, required, %error, "an anchor took no checkpoint; trying again");
            }
        }
        self.was_failing = true;
    }
}

/// For one checkpoint: programs, names and proofs included.
const TAKE_MAX: Duration = Duration::from_secs(30);
const LAST_MAX: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);
const WAIT_MS: u64 = 5_000;
