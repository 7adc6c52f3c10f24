//! Who received or opened something of a version since a time: exact, from the audit log itself.

use std::collections::BTreeMap;

use crate::audit::{Filter, Owners, Query, Record};
use crate::census::{VersionUse, VersionUseKind, uses};
use crate::keys::{KeyId, KeyRef, StoreName, TenantId, Timestamp};
use crate::policy::Action;

use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// A version that may have leaked.
pub struct GetExposure {
    /// Of which key.
    pub key: KeyRef,
    /// Which version.
    pub version: u32,
    /// Only what happened at this time or later.
    pub since: Timestamp,
}

/// Everybody who had something of it.
pub struct ExposureView {
    /// Which key.
    pub key: KeyId,
    /// Which version.
    pub version: u32,
    /// The first record that was read; 0 where there is none.
    pub first_sequence: u64,
    /// The last record that was read.
    pub last_sequence: u64,
    /// By principal, then store.
    pub exposures: BTreeMap<(String, u32), Exposure>,
    /// The names of the stores that are registered.
    pub names: BTreeMap<u32, StoreName>,
}

/// What one principal had of one store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Exposure {
    /// Data keys and payloads that it was given or gave to be wrapped.
    pub received: u64,
    /// Blobs that it had opened.
    pub opened: u64,
    /// Blobs that it had moved, without seeing what they hold.
    pub moved: u64,
    /// When first.
    pub first_time: Timestamp,
    /// When last.
    pub last_time: Timestamp,
}

// === impl GetExposure ===

impl UseCase for GetExposure {
    type Reply = ExposureView;

    const ACTION: Action = Action::GetExposure;

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn describe(&self, record: &mut Record) {
        record.version = self.version;
        record.detail = format!("key={} since_ms={}", self.key, self.since.unix_ms()).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<ExposureView, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?.id();
        act.record.key = Some(key);
        act.custody.version(act.permit, key, self.version).await?;
        let stores = act.custody.all_stores(act.permit).await?;
        let names = stores.into_iter().map(|read| (read.record.number.as_u32(), read.record.name));
        let end = act.durable_sequence();
        let mut view = ExposureView {
            key,
            version: self.version,
            first_sequence: end.min(act.office.trail.segments().begins()),
            last_sequence: 0,
            exposures: BTreeMap::new(),
            names: names.collect(),
        };
        let tenant = act.permit.tenant();
        let filter = Filter {
            start_us: Some(self.since.unix_ms().saturating_mul(1_000)),
            key: Some(key),
            version: Some(self.version),
            ..Filter::default()
        };
        let query = Query { owners: Owners::Tenant(tenant), filter };
        while view.last_sequence < end {
            let found = act.office.trail.search(&query, view.last_sequence, PAGE).await?;
            for entry in &found.entries {
                view.add(tenant, self.since, &entry.record)?;
            }
            view.last_sequence = found.reached.max(view.last_sequence.saturating_add(1));
        }
        Ok(view)
    }
}

// === impl ExposureView ===

impl ExposureView {
    fn add(
        &mut self,
        tenant: TenantId,
        since: Timestamp,
        record: &Record<'_>,
    ) -> Result<(), Refusal> {
        let time = Timestamp::from_unix_ms(record.time_us.div_euclid(1_000));
        if record.tenant != Some(tenant) || time < since {
            return Ok(());
        }
        let is_move = record.action == Action::ReEncryptFrom.name();
        let (key, version) = (self.key, self.version);
        let of = |used: &VersionUse| {
            (used.key, used.version) == (key, version) && used.kind != VersionUseKind::Refused
        };
        for used in uses(record).into_iter().filter(of) {
            let one = (record.principal.to_string(), used.store);
            if self.exposures.len() >= EXPOSURES_MAX && !self.exposures.contains_key(&one) {
                let problem = format!("leads to more than {EXPOSURES_MAX}; ask for a later time");
                return Err(Refusal::TooLarge { field: "since", problem });
            }
            let fresh =
                Exposure { received: 0, opened: 0, moved: 0, first_time: time, last_time: time };
            let exposure = self.exposures.entry(one).or_insert(fresh);
            let total = match used.kind {
                VersionUseKind::Issued if !is_move => &mut exposure.received,
                VersionUseKind::Opened => &mut exposure.opened,
                _ => &mut exposure.moved,
            };
            *total = total.saturating_add(used.count);
            exposure.first_time = exposure.first_time.min(time);
            exposure.last_time = exposure.last_time.max(time);
        }
        Ok(())
    }
}

/// The most principals and stores of one answer.
const EXPOSURES_MAX: usize = 10_000;
const PAGE: usize = 1_000;
