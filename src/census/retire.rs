//! Whether a version can be let go: SAFE, UNSAFE or UNKNOWN, and everything that the answer rests
//! on.
//!
//! SAFE means that no blob of the version is in any registered store, by this argument. Blobs come
//! into a store when they are issued, copied or restored, and go when they are moved, deleted or
//! overwritten by a restore. Every store that the key has to do with was gone through, found clean,
//! by a scan that began after the last record that says anything of the version and after the last
//! restore of any of these stores, and when no writer and no agent could hold a blob any more. A
//! copy needs a source that is there; a source that was copied to another store goes only by a move
//! or a restore; so the copy was there before the scans, and would have been found.
//!
//! What has to be reported, because no record tells of it: a restore, and a copy into a store that
//! the key was never used with.

use crate::keys::{KeyId, State, Timestamp, Version};

use super::finding::{Effect, Finding, FindingCode, Verdict, VerdictWord};
use super::fold::{StoreCensus, UseCount, VersionCensus, VersionUseKind};
use super::scan::{Scan, Scans};
use super::store::{RegisteredStore, Restore};

/// The longest that an agent may hold a moved blob before it has written it back, from when it
/// asked for it: after that it must throw it away. In a store whose writers hold nothing for so
/// long, agents do not either.
pub const MOVE_HELD_MS_MAX: u64 = 60_000;

/// What is known of a version.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Of which key.
    pub key: KeyId,
    /// The version.
    pub version: &'a Version,
    /// What it has done.
    pub census: &'a VersionCensus,
    /// The last audit record that the census has come to.
    pub counted_sequence: u64,
    /// The last audit record that there was when the question was asked.
    pub durable_sequence: u64,
    /// That blobs which name no store need no scan, if somebody said so.
    pub waiver: Option<&'a Waiver>,
    /// Every registered store.
    pub stores: &'a [StoreEvidence],
}

/// What is known of a registered store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreEvidence {
    /// The store.
    pub store: RegisteredStore,
    /// Whether any version of the key was ever used with it.
    pub is_used: bool,
    /// Its scans for blobs of the key.
    pub scans: Scans,
}

/// Somebody said that blobs which name no store need no scan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Waiver {
    /// Who.
    pub principal: String,
    /// Why.
    pub reason: String,
    /// When.
    pub create_time: Timestamp,
    /// The last audit record before it was said.
    pub sequence: u64,
}

/// Whether the version can be let go.
pub fn check(evidence: &Evidence<'_>) -> Verdict {
    let mut findings = Vec::new();
    state(evidence, &mut findings);
    counting(evidence, &mut findings);
    unnamed(evidence, &mut findings);
    for number in evidence.census.stores.keys().filter(|number| **number != 0) {
        if evidence.registered(*number).is_none() {
            findings.push(unregistered(evidence, *number));
        }
    }
    let bar = Bar::of(evidence);
    for one in evidence.required() {
        scanned(evidence, &bar, one, &mut findings);
    }
    findings.sort_by_key(|finding| finding.code.effect());
    let word = match findings.iter().map(|finding| finding.code.effect()).min() {
        Some(Effect::Against) => VerdictWord::Unsafe,
        Some(Effect::Missing) => VerdictWord::Unknown,
        Some(Effect::For) | None => VerdictWord::Safe,
    };
    Verdict { word, findings }
}

/// What a scan must have begun after.
struct Bar {
    /// The last record that says anything of the version.
    used_sequence: u64,
    /// The last record before the last restore of any store that counts.
    restore_sequence: Option<u64>,
    /// When it was last issued, or stopped being Active if that was later.
    stop_time: Timestamp,
    /// When the last moved blob was written back or thrown away.
    moved_time: Timestamp,
}

// === impl Evidence ===

impl Evidence<'_> {
    fn number(&self) -> u32 {
        self.version.number()
    }

    fn registered(&self, number: u32) -> Option<&StoreEvidence> {
        self.stores.iter().find(|one| one.store.number.as_u32() == number)
    }

    /// The stores that must have been scanned: those that the key was used with or that were
    /// scanned for it before, and those into which something was put back since the version was
    /// made.
    fn required(&self) -> impl Iterator<Item = &StoreEvidence> {
        let made = self.version.parts().create_time;
        let anything = !self.census.stores.is_empty();
        self.stores.iter().filter(move |one| {
            let restored = one.store.restore.is_some_and(|restore| restore.time >= made);
            let found =
                one.scans.ended.as_ref().is_some_and(|scan| scan.remaining(self.number()) > 0);
            found || (anything && (one.is_used || one.scans != Scans::default() || restored))
        })
    }
}

// === impl StoreEvidence ===

impl StoreEvidence {
    /// Evidence without scans.
    pub fn new(store: RegisteredStore, is_used: bool) -> Self {
        Self { store, is_used, scans: Scans::default() }
    }
}

// === impl Bar ===

impl Bar {
    fn of(evidence: &Evidence<'_>) -> Self {
        let stores = evidence.census.stores.values();
        let issued = stores.filter(|store| store.issued.count > 0).map(|store| store.issued.time);
        let parts = evidence.version.parts();
        let stopped = parts.deactivate_time.unwrap_or(parts.state_time);
        let restores = evidence.required().filter_map(|one| one.store.restore);
        Self {
            used_sequence: evidence.census.last_sequence(),
            restore_sequence: restores.map(|restore: Restore| restore.sequence).max(),
            stop_time: issued.max().unwrap_or(stopped).max(stopped),
            moved_time: Self::moved_time(evidence),
        }
    }

    /// A blob may stand in another store than the one that its header names, so that the slowest
    /// agent counts.
    fn moved_time(evidence: &Evidence<'_>) -> Timestamp {
        let delays = evidence.required().map(|one| one.store.write_delay.as_ms());
        let held_ms = delays.max().unwrap_or(0).min(MOVE_HELD_MS_MAX);
        let moved = evidence.census.stores.values().filter(|store| store.moved.count > 0);
        let last = moved.map(|store| store.moved.time).max();
        last.map(|last| last.plus_ms(held_ms)).unwrap_or_default()
    }

    /// When a scan of `store` may begin at the earliest.
    fn time_for(&self, store: &RegisteredStore) -> Timestamp {
        self.stop_time.plus_ms(store.write_delay.as_ms()).max(self.moved_time)
    }

    fn is_passed_by(&self, scan: &Scan, store: &RegisteredStore) -> bool {
        let begun = &scan.begun;
        begun.begin_sequence >= self.used_sequence
            && self.restore_sequence.is_none_or(|restore| begun.begin_sequence > restore)
            && begun.begin_time >= self.time_for(store)
    }
}

fn state(evidence: &Evidence<'_>, findings: &mut Vec<Finding>) {
    let (number, state) = (evidence.number(), evidence.version.state());
    let parts = evidence.version.parts();
    if state == State::Active {
        let text = format!("version {number} is Active: everything new is wrapped under it");
        findings.push(Finding {
            remedy: format!("bulla key rotate {}", evidence.key),
            ..Finding::new(FindingCode::VersionActive, text)
        });
        return;
    }
    let text = format!("version {number} is {state} and wraps nothing new");
    findings.push(Finding {
        time: Some(parts.deactivate_time.unwrap_or(parts.state_time)),
        ..Finding::new(FindingCode::VersionStopped, text)
    });
    if evidence.census.stores.is_empty() {
        let text = format!("version {number} has never wrapped anything");
        findings.push(Finding::new(FindingCode::NothingIssued, text));
    }
}

fn counting(evidence: &Evidence<'_>, findings: &mut Vec<Finding>) {
    if evidence.counted_sequence < evidence.durable_sequence {
        let text = format!(
            "the census has counted the audit log up to {} of {}; ask again in a moment",
            evidence.counted_sequence, evidence.durable_sequence
        );
        findings.push(Finding {
            remedy: format!("bulla key retire-check {} {}", evidence.key, evidence.number()),
            ..Finding::new(FindingCode::CensusBehind, text)
        });
    }
    if evidence.census.is_full() {
        let count = evidence.census.stores.len() as u64;
        let text =
            format!("the version was used with {count} stores or more, not all of them listed");
        let code = FindingCode::StoresTruncated;
        findings.push(Finding { count, ..Finding::new(code, text) });
    }
}

/// Blobs that name no store: only a person can answer for them.
fn unnamed(evidence: &Evidence<'_>, findings: &mut Vec<Finding>) {
    let Some(census) = evidence.census.stores.get(&0) else { return };
    let count = census.issued.count;
    let waive = format!("bulla key waive {} {} --reason REASON", evidence.key, evidence.number());
    let Some(waiver) = evidence.waiver else {
        let text = format!("{count} blobs were made that name no store, which no scan can find");
        findings.push(Finding {
            remedy: waive,
            count,
            time: Some(census.issued.time),
            ..Finding::new(FindingCode::StoreUnnamed, text)
        });
        return;
    };
    let text = format!("blobs that name no store need no scan, says {}", waiver.principal);
    findings.push(Finding {
        count,
        principal: waiver.principal.clone(),
        time: Some(waiver.create_time),
        ..Finding::new(FindingCode::StoreWaived, text)
    });
    for (done, finding) in since(census, |used| used.sequence > waiver.sequence) {
        let text = format!("a blob that names no store was {done} after it was waived");
        findings.push(Finding { text, remedy: waive.clone(), ..finding });
    }
}

fn unregistered(evidence: &Evidence<'_>, number: u32) -> Finding {
    let count = evidence.census.stores.get(&number).map_or(0, |store| store.issued.count);
    Finding {
        remedy: "bulla store register NAME --owner OWNER --kind KIND".to_owned(),
        store: number,
        count,
        ..Finding::new(
            FindingCode::StoreUnregistered,
            format!("{count} blobs name store {number}, which is not registered"),
        )
    }
}

fn scanned(evidence: &Evidence<'_>, bar: &Bar, one: &StoreEvidence, findings: &mut Vec<Finding>) {
    let (store, number) = (&one.store, evidence.number());
    let name = &store.name;
    let key = evidence.key;
    let again =
        format!("bulla rewrap run --scan-only --key {key} --store {name} --connector FILE.toml");
    let Some(scan) = &one.scans.ended else {
        let text = format!("{name} was never scanned for blobs of the key");
        let time = Some(bar.time_for(store));
        let finding = Finding::of_store(FindingCode::ScanMissing, store, text);
        return findings.push(Finding { remedy: again, time, ..finding });
    };
    let remaining = scan.remaining(number);
    if remaining > 0 {
        let blobs = if remaining == 1 { "blob" } else { "blobs" };
        let sample = scan.found.samples.first().map(|sample| format!(", such as {sample}"));
        let text = format!(
            "{name} holds {remaining} {blobs} of version {number}{}{}",
            sample.unwrap_or_default(),
            too_late(evidence.version.state())
        );
        findings.push(Finding {
            remedy: way_out(evidence),
            count: remaining,
            principal: scan.begun.principal.clone(),
            time: Some(scan.begun.begin_time),
            ..Finding::of_store(FindingCode::BlobsFound, store, text)
        });
    }
    if let Some(census) = evidence.census.stores.get(&store.number.as_u32()) {
        let begin = scan.begun.begin_sequence;
        for (done, finding) in since(census, |used| used.sequence > begin) {
            let text = format!("a blob of {name} was {done} after the scan began");
            let named = Finding::of_store(finding.code, store, text);
            let remedy = format!("bulla campaign create {key}");
            let Finding { count, principal, time, .. } = finding;
            findings.push(Finding { remedy, count, principal, time, ..named });
        }
    }
    if !bar.is_passed_by(scan, store) {
        let text = format!("the last scan of {name} began too early to tell");
        let time = Some(bar.time_for(store));
        let finding = Finding::of_store(FindingCode::ScanOutdated, store, text);
        return findings.push(Finding { remedy: again, time, ..finding });
    }
    if remaining == 0 {
        let text = format!("{name} holds no blob of version {number}");
        findings.push(Finding {
            count: scan.found.rows,
            principal: scan.begun.principal.clone(),
            time: Some(scan.begun.begin_time),
            ..Finding::of_store(FindingCode::StoreClean, store, text)
        });
    }
}

/// What has to be known of blobs that are found when it is too late to move them.
const fn too_late(state: State) -> &'static str {
    match state {
        State::Destroyed => {
            "; the version is destroyed and they open no more: take the rows from a backup made after \
             they were moved, or delete them"
        }
        State::DestroyScheduled => "; the version is to be destroyed, and then they open no more",
        _ => "",
    }
}

/// The command that comes first when blobs were found.
fn way_out(evidence: &Evidence<'_>) -> String {
    let (key, number) = (evidence.key, evidence.number());
    match evidence.version.state() {
        State::Destroyed => String::new(),
        State::DestroyScheduled => format!("bulla key cancel-destroy {key} {number}"),
        State::Suspended => format!("bulla key resume {key} {number}"),
        _ => format!("bulla campaign create {key}"),
    }
}

/// Openings and refusals that `is_since` says came after the last look.
fn since(
    census: &StoreCensus,
    is_since: impl Fn(&UseCount) -> bool,
) -> Vec<(&'static str, Finding)> {
    let kinds = [
        ("opened", FindingCode::OpenedSince, census.opened, VersionUseKind::Opened),
        ("refused", FindingCode::RefusedSince, census.refused, VersionUseKind::Refused),
    ];
    let late = kinds.into_iter().filter(|(_, _, used, _)| used.count > 0 && is_since(used));
    late.map(|(word, code, used, kind)| {
        let finding = Finding {
            count: used.count,
            principal: census.last_principal(kind).unwrap_or_default().to_owned(),
            time: Some(used.time),
            ..Finding::new(code, String::new())
        };
        (word, finding)
    })
    .collect()
}

#[cfg(test)]
mod tests;
