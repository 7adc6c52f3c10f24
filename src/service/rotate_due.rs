//! Rotates keys whose time has come: prepared first, made Active once every server can load it, out of
//! the hour's budget. The scheduler does it by itself, and a caller may ask for it.

use std::collections::HashSet;

use crate::audit::Record;
use crate::custody::{DuePlace, Mandate, Spend};
use crate::keys::{KeyId, KeyRef, Reason, State, Timestamp};
use crate::policy::Action;

use super::perform::{About, Act, Caller, Desk, UseCase};
use super::prepare_version::PrepareVersion;
use super::read_keys::KeyView;
use super::refusal::Refusal;
use super::rotate_key::{RotateKey, Rotated};

pub use crate::custody::Due;

/// Asks for what is due in the caller's tenant.
struct ListDue;

/// Keys that are due.
struct DueKeys {
    /// The longest due first.
    keys: Vec<KeyId>,
    /// There may be more.
    more: bool,
}

/// What asking for every due rotation led to.
#[derive(Default)]
pub struct RotatedDue {
    /// Keys that were rotated.
    pub rotated: Vec<KeyView>,
    /// Keys that are due and left for later.
    pub deferred: u32,
    /// Not all that is due was looked at: there may be more than `deferred`.
    pub deferred_at_least: bool,
    /// Only the time was over: asking again goes on.
    pub more: bool,
    /// Keys that are due and could not be rotated.
    pub failed: Vec<KeyId>,
}

// === impl Desk ===

impl Desk {
    /// Rotates every key of the caller's tenant that is due, within the budget and a bounded time.
    pub async fn rotate_due(&self, caller: &Caller) -> Result<RotatedDue, Refusal> {
        let due = self.perform(caller, Ok(ListDue)).await?;
        let clock = &self.office().clock;
        let until_ms = clock.running_ms().saturating_add(ROTATING_MS_MAX);
        let mut done = RotatedDue { deferred_at_least: due.more, ..RotatedDue::default() };
        let mut left = due.keys.into_iter();
        while let Some(key) = left.next() {
            let turn = self.office().custody.turn(Mandate::Asked).await?;
            let is_affordable = turn.affords(Spend::Rotation, &self.office().budget);
            let is_over = clock.running_ms() > until_ms;
            if !is_affordable || is_over {
                // This one, and all that would come after it.
                done.defer(left.len().saturating_add(1));
                done.more = is_affordable;
                break;
            }
            match self.rotate_due_key(caller, key, Mandate::Asked).await {
                Ok(Some(rotated)) => done.rotated.push(rotated.key),
                // Another server has yet to follow, or the scheduler was faster.
                Ok(None) | Err(Refusal::Conflict) => done.defer(1),
                Err(_) => done.failed.push(key),
            }
        }
        Ok(done)
    }

    /// Takes the next step of rotating a key that is due: prepares it, and rotates it if every server
    /// has followed. `None` while one has not.
    pub async fn rotate_due_key(
        &self,
        caller: &Caller,
        key: KeyId,
        mandate: Mandate,
    ) -> Result<Option<Rotated>, Refusal> {
        let permit = self.still_may_on(caller, Action::RotateKey, key).await?;
        let custody = &self.office().custody;
        let reason = || Reason::parse("due").unwrap_or_default();
        let is_waiting = async || -> Result<Option<u64>, Refusal> {
            let key = custody.key_by_id(&permit, key).await?;
            let prepared = custody.prepared_version(&permit, &key).await?;
            let waiting = prepared.filter(|it| it.version().state() == State::PreActive);
            Ok(waiting.map(|prepared| prepared.revision()))
        };
        let mut waiting = is_waiting().await?;
        if waiting.is_none() {
            let prepare = PrepareVersion { key, reason: reason(), mandate };
            self.perform_change(caller, Action::PrepareVersion, Ok(prepare)).await?;
            waiting = is_waiting().await?;
        }
        let Some(revision) = waiting else { return Err(Refusal::Conflict) };
        if !custody.have_all_followed(mandate.holder(), revision).await? {
            return Ok(None);
        }
        let rotate = RotateKey {
            key: KeyRef::Id(key),
            reason: reason(),
            mandate: Some(mandate),
            request: None,
        };
        self.perform_change(caller, Action::RotateKey, Ok(rotate)).await.map(Some)
    }
}

// === impl RotatedDue ===

impl RotatedDue {
    fn defer(&mut self, keys: usize) {
        self.deferred = self.deferred.saturating_add(u32::try_from(keys).unwrap_or(u32::MAX));
    }
}

// === impl ListDue ===

impl UseCase for ListDue {
    type Reply = DueKeys;

    const ACTION: Action = Action::RotateDue;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<DueKeys, Refusal> {
        // What is found is rotated and recorded key by key, which is a right of its own.
        for needed in [Action::PrepareVersion, Action::RotateKey] {
            act.also(needed)?;
        }
        let reached: Timestamp = act.custody.turn(Mandate::Asked).await?.present().reached();
        let mut seen = HashSet::new();
        let mut keys = Vec::new();
        let mut place: Option<DuePlace> = None;
        for _ in 0..PAGES_MAX {
            let page = act.custody.due(reached, place.as_ref(), PAGE).await?;
            for due in page.due {
                let Due::Rotate(tenant, key) = due else { continue };
                if tenant == act.permit.tenant() && seen.insert(key) {
                    keys.push(key);
                }
            }
            match page.next {
                Some(next) => place = Some(next),
                None => return Ok(DueKeys { keys, more: false }),
            }
        }
        Ok(DueKeys { keys, more: true })
    }
}

/// Below the deadline of a call.
const ROTATING_MS_MAX: u64 = 20_000;
const PAGE: usize = 500;
/// So that what is due in other tenants costs a caller no more than this.
const PAGES_MAX: usize = 100;
