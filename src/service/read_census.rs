//! Shows what each version of a key has done, store by store.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::audit::Record;
use crate::census::{Scan, VersionCensus};
use crate::custody::{TrustedKey, TrustedVersion};
use crate::keys::{KeyId, KeyRef, StoreName};
use crate::policy::Action;

use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// The census of one key.
pub struct GetCensus {
    /// Which.
    pub key: KeyRef,
}

/// What the versions of a key have done, and what is known of the stores.
pub struct CensusView {
    /// Which key.
    pub key: KeyId,
    /// The last audit record that is counted.
    pub sequence: u64,
    /// Every version, in ascending order.
    pub versions: Vec<(Arc<TrustedVersion>, VersionCensus)>,
    /// The names of the stores that are registered.
    pub names: BTreeMap<u32, StoreName>,
    /// The last scan of each store that ended.
    pub scans: BTreeMap<u32, Scan>,
}

// === impl GetCensus ===

impl UseCase for GetCensus {
    type Reply = CensusView;

    const ACTION: Action = Action::GetCensus;

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={}", self.key).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<CensusView, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        let sequence = act.custody.fold_census(&act.office.trail).await?;
        let censuses = act.custody.censuses_of(act.permit, key.id()).await?;
        let mut censuses: BTreeMap<_, _> = censuses.into_iter().collect();
        let versions = every_version(act, &key).await?.into_iter().map(|version| {
            let census = censuses.remove(&version.number()).unwrap_or_default();
            (version, census)
        });
        let versions = versions.collect();
        let stores = act.custody.all_stores(act.permit).await?;
        let names = stores.into_iter().map(|read| (read.record.number.as_u32(), read.record.name));
        let scans = act.custody.scans_of(act.permit, key.id()).await?;
        let ended = scans
            .into_iter()
            .filter_map(|(store, scans)| scans.record.ended.map(|scan| (store.as_u32(), scan)));
        let (names, scans) = (names.collect(), ended.collect());
        Ok(CensusView { key: key.id(), sequence, versions, names, scans })
    }
}

async fn every_version(
    act: &Act<'_>,
    key: &TrustedKey,
) -> Result<Vec<Arc<TrustedVersion>>, Refusal> {
    let mut all: Vec<Arc<TrustedVersion>> = Vec::new();
    loop {
        let after = all.last().map_or(0, |last| last.number());
        let page = act.custody.versions(act.permit, key, after, PAGE).await?;
        let is_last = page.len() < PAGE;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

const PAGE: usize = 1_000;
