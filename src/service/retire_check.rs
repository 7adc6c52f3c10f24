//! Whether a version can be let go, and what the answer was judged by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::audit::Record;
use crate::census::{
    Evidence, RegisteredStore, Scans, StoreEvidence, Verdict, VersionCensus, check,
};
use crate::custody::{Changes, Read, TrustedVersion};
use crate::keys::{KeyId, KeyRef, StoreNumber};
use crate::policy::Action;

use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// Can this version be let go?
pub struct RetireCheck {
    /// Of which key.
    pub key: KeyRef,
    /// Which version.
    pub version: u32,
}

/// The answer, and what it was judged by.
pub struct Judged {
    /// The version.
    pub version: Arc<TrustedVersion>,
    /// The answer.
    pub verdict: Verdict,
    /// The last audit record that was counted.
    pub sequence: u64,
    census: Read<VersionCensus>,
    stores: Vec<Read<RegisteredStore>>,
    scans: BTreeMap<StoreNumber, Read<Scans>>,
}

// === impl RetireCheck ===

impl UseCase for RetireCheck {
    type Reply = Judged;

    const ACTION: Action = Action::RetireCheck;

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn describe(&self, record: &mut Record) {
        record.version = self.version;
        record.detail = format!("key={}", self.key).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Judged, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?.id();
        act.record.key = Some(key);
        let judged = judge(act, key, self.version).await?;
        act.record.detail = judged.verdict.word.to_string().into();
        Ok(judged)
    }
}

// === impl Judged ===

impl Judged {
    /// What the version has done.
    pub(super) fn census(&self) -> &VersionCensus {
        &self.census.record
    }

    /// Binds a change to what was judged: it happens only if all of that still stands.
    pub(super) fn bind(&self, changes: &mut Changes<'_>) {
        let (key, version) = (self.version.key(), self.version.number());
        changes.expect_census(key, version, &self.census);
        let findings = self.verdict.findings.iter();
        let mentioned = findings.filter_map(|finding| StoreNumber::new(finding.store));
        let mentioned: BTreeSet<_> = mentioned.take(STORES_BOUND_MAX).collect();
        for store in self.stores.iter().filter(|one| mentioned.contains(&one.record.number)) {
            changes.expect_store(store);
            if let Some(scans) = self.scans.get(&store.record.number) {
                changes.expect_scans(key, store.record.number, scans);
            }
        }
    }
}

/// Weighs what is known of the version, the audit log counted to its end.
pub(super) async fn judge(act: &Act<'_>, key: KeyId, number: u32) -> Result<Judged, Refusal> {
    let (custody, permit) = (act.custody, act.permit);
    let version = custody.version(permit, key, number).await?;
    let durable_sequence = act.durable_sequence();
    let sequence = custody.catch_up(&act.office.trail, durable_sequence).await?;
    let census = custody.census(permit, key, number).await?;
    let waiver = custody.waiver(permit, key, number).await?;
    let scans: BTreeMap<_, _> = custody.scans_of(permit, key).await?.into_iter().collect();
    let stores = custody.all_stores(permit).await?;
    let of_key = custody.censuses_of(permit, key).await?;
    let evidence = stores.iter().map(|store| {
        let number = store.record.number;
        let is_used = of_key.iter().any(|(_, of)| of.stores.contains_key(&number.as_u32()));
        let scans = scans.get(&number).map(|scans| scans.record.clone()).unwrap_or_default();
        StoreEvidence { store: store.record.clone(), is_used, scans }
    });
    let evidence: Vec<_> = evidence.collect();
    let verdict = check(&Evidence {
        key,
        version: version.version(),
        census: &census.record,
        counted_sequence: sequence,
        durable_sequence,
        waiver: waiver.record.as_ref(),
        stores: &evidence,
    });
    Ok(Judged { version, verdict, sequence, census, stores, scans })
}

/// Two rows each: as many as a commit has room for, beside the version's own.
const STORES_BOUND_MAX: usize = 900;
