//! What happens by itself: keys rotate when they are due, versions are destroyed when they are due.
//!
//! Everything goes through the desk like any caller's request, and is recorded like one. What fails is
//! tried again later and keeps nothing else waiting. One server at a time runs this; a store of several
//! servers needs a lease first.

use std::collections::HashMap;
use std::time::Duration;

use crate::custody::Due;
use crate::keys::{KeyRef, Reason, Timestamp};
use crate::policy::Action;
use crate::service::{Caller, Desk, DestroyVersion, Refusal, RotateKey};

/// Looks for what is due.
pub struct Scheduler {
    desk: Desk,
    /// What failed, and when to try it again.
    put_off: HashMap<Due, Timestamp>,
}

/// What one look led to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Done {
    /// Keys that were rotated.
    pub rotated: u32,
    /// Versions that were destroyed.
    pub destroyed: u32,
    /// What was due and failed.
    pub failed: u32,
}

// === impl Scheduler ===

impl Scheduler {
    /// A scheduler at this desk.
    pub fn new(desk: Desk) -> Self {
        Self { desk, put_off: HashMap::new() }
    }

    /// Looks again and again, for as long as the future is polled.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            match self.look().await {
                Ok(done) if done == Done::default() => {}
                Ok(done) => tracing::info!(?done, "did what was due"),
                Err(error) => tracing::warn!(%error, "cannot look for what is due"),
            }
        }
    }

    /// Does what is due now, a bounded number of things.
    ///
    /// # Errors
    /// What is due cannot be read. One thing's failure is counted and is no error.
    pub async fn look(&mut self) -> Result<Done, Refusal> {
        let now = self.desk.office().custody.now();
        self.put_off.retain(|_, until| *until > now);
        let mut done = Done::default();
        for due in self.desk.office().custody.due(DUE_MAX).await? {
            if self.put_off.contains_key(&due) {
                continue;
            }
            let (result, count) = match due {
                Due::Rotate(tenant, key) => {
                    let rotate = RotateKey {
                        key: KeyRef::Id(key),
                        reason: Reason::parse("due").unwrap_or_default(),
                        only_if_due: true,
                        request: None,
                    };
                    let caller = Caller::scheduler(tenant);
                    let asked = self.desk.perform_change(&caller, Action::RotateKey, Ok(rotate));
                    (asked.await.map(|_| ()), &mut done.rotated)
                }
                Due::Destroy(tenant, key, version) => {
                    let destroy = DestroyVersion { key, version };
                    let caller = Caller::scheduler(tenant);
                    let action = Action::DestroyVersion;
                    let asked = self.desk.perform_change(&caller, action, Ok(destroy));
                    (asked.await, &mut done.destroyed)
                }
            };
            match result {
                Ok(()) => *count = count.saturating_add(1),
                Err(error) => {
                    tracing::warn!(?due, %error, "what was due could not be done");
                    self.put_off.insert(due, now.plus_ms(PUT_OFF_MS));
                    done.failed = done.failed.saturating_add(1);
                }
            }
        }
        Ok(done)
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
const DUE_MAX: usize = 100;
const PUT_OFF_MS: u64 = 60_000;
