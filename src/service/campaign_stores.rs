//! What campaigns rest on: registered stores, their scans, and versions that can be moved from.

use std::collections::BTreeSet;

use crate::campaign::{Campaign, Phase, ScanSummary, StoreProgress};
use crate::census::{RegisteredStore, Scan};
use crate::custody::{Custody, CustodyError};
use crate::keys::{KeyId, StoreNumber, StoreRef, Use};
use crate::policy::Permit;

use super::perform::Act;
use super::refusal::Refusal;

/// The registered store that `named` names.
pub(super) async fn registered(
    custody: &Custody,
    permit: &Permit,
    field: &'static str,
    named: &StoreRef,
) -> Result<RegisteredStore, Refusal> {
    match custody.store(permit, named).await {
        Ok(found) => Ok(found.record),
        Err(CustodyError::NotFound) => {
            let problem = format!("no store {named} is registered; register it first");
            Err(Refusal::invalid(field, problem))
        }
        Err(other) => Err(other.into()),
    }
}

/// Every registered store that the census knows for one of these versions of the key, ascending.
pub(super) async fn known_stores(
    act: &Act<'_>,
    key: KeyId,
    versions: &[u32],
) -> Result<BTreeSet<StoreNumber>, Refusal> {
    let (custody, permit) = (act.custody, act.permit);
    custody.fold_census(&act.office.trail).await?;
    let mut known = BTreeSet::new();
    for version in versions {
        let census = custody.census(permit, key, *version).await?.record;
        known.extend(census.stores.keys().filter_map(|number| StoreNumber::new(*number)));
    }
    let mut registered = BTreeSet::new();
    for number in known {
        match custody.store(permit, &StoreRef::Number(number)).await {
            Ok(_) => registered.insert(number),
            Err(CustodyError::NotFound) => false,
            Err(other) => return Err(other.into()),
        };
    }
    Ok(registered)
}

/// The last scan that ended and that began after the store's pass did end, if the pass has.
pub(super) async fn scan_since_pass(
    custody: &Custody,
    permit: &Permit,
    key: KeyId,
    store: StoreNumber,
    progress: &StoreProgress,
) -> Result<Option<Scan>, Refusal> {
    if progress.phase < Phase::Verifying {
        return Ok(None);
    }
    let scan = custody.scans(permit, key, store).await?.record.ended;
    Ok(scan.filter(|scan| scan.begun.begin_sequence >= progress.pass_end_sequence))
}

/// What `scan` says of what the campaign is to move. One that began before a restore of the store was
/// reported says nothing.
pub(super) fn summary(
    campaign: &Campaign,
    store: &RegisteredStore,
    scan: &Scan,
) -> Option<ScanSummary> {
    let begin_sequence = scan.begun.begin_sequence;
    if store.restore.is_some_and(|restore| restore.sequence >= begin_sequence) {
        return None;
    }
    let remaining = campaign
        .source_versions
        .iter()
        .fold(0_u64, |sum, version| sum.saturating_add(scan.remaining(*version)));
    Some(ScanSummary { begin_sequence, remaining })
}

/// Whether blobs of all these versions can be moved to the version that wraps now.
///
/// # Errors
/// What stands in the way: the key is disabled, or the state of a version.
pub(super) async fn check_movable(
    custody: &Custody,
    permit: &Permit,
    key: KeyId,
    versions: &[u32],
) -> Result<(), Refusal> {
    let key = custody.key_by_id(permit, key).await?;
    if key.key().disabled {
        return Err(Refusal::KeyDisabled);
    }
    let primary = custody.primary_version(permit, &key).await?;
    let mut needed = vec![(primary, Use::Wrap)];
    for number in versions {
        needed.push((custody.version(permit, key.id(), *number).await?, Use::ReEncryptFrom));
    }
    for (version, wanted) in needed {
        if !version.version().allows(wanted) {
            let state = version.version().state();
            return Err(Refusal::VersionNotUsable { version: version.number(), state });
        }
    }
    Ok(())
}
