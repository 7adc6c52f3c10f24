//! Begins and ends a scan of a store for blobs of a key.
//!
//! That it begins is durable before the agent hears of it, and the agent looks only after that:
//! whatever the log had then is in what the agent sees.

use std::sync::OnceLock;

use crate::audit::Record;
use crate::census::{FoundBlobs, RunningScan, Scan};
use crate::custody::{Custody, Past, RequestKey};
use crate::keys::{KeyRef, ScanId, StoreRef};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::refusal::Refusal;

/// A scan to begin. One that is under way on the same key and store is given up.
pub struct BeginScan {
    key: KeyRef,
    store: StoreRef,
    begun: OnceLock<RunningScan>,
}

/// A scan to end, with what it found.
pub struct ReportScan {
    key: KeyRef,
    store: StoreRef,
    scan: ScanId,
    found: FoundBlobs,
    ended: OnceLock<Scan>,
}

// === impl BeginScan ===

impl BeginScan {
    /// Of this store, for blobs of this key.
    pub fn new(key: KeyRef, store: StoreRef) -> Self {
        Self { key, store, begun: OnceLock::new() }
    }
}

impl Change for BeginScan {
    type Reply = RunningScan;

    fn action(&self) -> Action {
        Action::BeginScan
    }

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn request(&self) -> Option<&RequestKey> {
        None
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={} store={}", self.key, self.store).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?.id();
        let store = act.custody.store(act.permit, &self.store).await?.record.number;
        (act.record.key, act.record.store) = (Some(key), store.as_u32());
        let was = act.custody.scans(act.permit, key, store).await?;
        let begun = RunningScan {
            id: act.custody.new_scan_id()?,
            principal: act.permit.principal().id().to_string(),
            begin_time: act.custody.now(),
            begin_sequence: act.durable_sequence(),
        };
        let mut scans = was.record.clone();
        scans.begin(begun.clone());
        let mut changes = act.custody.change(act.permit)?;
        changes.put_scans(key, store, scans, &was);
        self.begun.get_or_init(|| begun);
        Ok(Changed::of_key(changes, key))
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<RunningScan, Refusal> {
        self.begun.get().cloned().ok_or_else(nothing_done)
    }
}

// === impl ReportScan ===

impl ReportScan {
    /// What `scan` of this store found of this key.
    pub fn new(key: KeyRef, store: StoreRef, scan: ScanId, found: FoundBlobs) -> Self {
        Self { key, store, scan, found, ended: OnceLock::new() }
    }
}

impl Change for ReportScan {
    type Reply = Scan;

    fn action(&self) -> Action {
        Action::ReportScan
    }

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn request(&self) -> Option<&RequestKey> {
        None
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={} store={} scan={}", self.key, self.store, self.scan).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?.id();
        let store = act.custody.store(act.permit, &self.store).await?.record.number;
        (act.record.key, act.record.store) = (Some(key), store.as_u32());
        let was = act.custody.scans(act.permit, key, store).await?;
        let mut scans = was.record.clone();
        let principal = act.permit.principal().id().to_string();
        let now = act.custody.now();
        let ended = scans.end(self.scan, &principal, now, self.found.clone());
        let ended = ended.map_err(|error| Refusal::invalid("scan_id", error))?;
        let mut changes = act.custody.change(act.permit)?;
        changes.put_scans(key, store, scans, &was);
        self.ended.get_or_init(|| ended);
        Ok(Changed::of_key(changes, key))
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<Scan, Refusal> {
        self.ended.get().cloned().ok_or_else(nothing_done)
    }
}

fn nothing_done() -> Refusal {
    Refusal::Internal { class: "outcome", problem: "a scan was changed by nobody".into() }
}
