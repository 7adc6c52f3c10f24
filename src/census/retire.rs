//! Whether a version can be let go: SAFE, UNSAFE or UNKNOWN, and everything that the answer rests on.
//!
//! SAFE means that no blob of the version is in any registered store, by this argument. Blobs come into
//! a store when they are issued, copied or restored, and go when they are moved, deleted or overwritten
//! by a restore. Every store that the key has to do with was gone through, found clean, by a scan that
//! began after the last record that says anything of the version and after the last restore of any of
//! these stores, and when no writer and no agent could hold a blob any more. A copy needs a source that is
//! there; a source that was copied to another store goes only by a move or a restore; so the copy was
//! there before the scans, and would have been found.
//!
//! What has to be reported, because no record tells of it: a restore, and a copy into a store that the
//! key was never used with.

use std::fmt;

use crate::keys::{KeyId, State, Timestamp, Version};

use super::fold::{StoreCensus, UseCount, VersionCensus, VersionUseKind};
use super::scan::{Scan, Scans};
use super::store::{RegisteredStore, Restore};

/// The longest that an agent may hold a moved blob before it has written it back, from when it asked for
/// it: after that it must throw it away. In a store whose writers hold nothing for so long, agents do not
/// either.
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
}

/// The answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// In a word.
    pub word: VerdictWord,
    /// What it rests on, what speaks against first.
    pub findings: Vec<Finding>,
}

/// The answer in a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VerdictWord {
    /// Nothing in any registered store depends on the version.
    Safe,
    /// Something does.
    Unsafe,
    /// Nobody can tell yet.
    Unknown,
}

/// One thing that the answer rests on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What it is.
    pub code: FindingCode,
    /// In words.
    pub text: String,
    /// The command that would supply what is missing; empty where there is none.
    pub remedy: String,
    /// The store's number; 0 where it is about none.
    pub store: u32,
    /// The store's name; empty where none is registered.
    pub store_name: String,
    /// Blobs or uses.
    pub count: u64,
    /// Who; empty where nobody is known.
    pub principal: String,
    /// When.
    pub time: Option<Timestamp>,
}

/// Which way a finding points.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Effect {
    /// The version is depended on.
    Against,
    /// It cannot be told.
    Missing,
    /// It is not depended on, in this respect.
    For,
}

/// Where a finding comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EvidenceLabel {
    /// Somebody said so.
    Declared,
    /// A scan found so.
    Scanned,
    /// The audit log and the key's own rows say so.
    Observed,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $effect:ident, $label:ident;)+) => {
        /// What a finding is.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum FindingCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl FindingCode {
            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// Which way it points.
            pub const fn effect(self) -> Effect {
                match self {
                    $(Self::$name => Effect::$effect,)+
                }
            }

            /// Where it comes from.
            pub const fn label(self) -> EvidenceLabel {
                match self {
                    $(Self::$name => EvidenceLabel::$label,)+
                }
            }
        }
    };
}

codes! {
    /// The version still wraps.
    VersionActive = "VERSION_ACTIVE", Against, Observed;
    /// A scan found blobs of it.
    BlobsFound = "BLOBS_FOUND", Against, Scanned;
    /// A blob was opened after the last scan of its store began.
    OpenedSince = "OPENED_SINCE", Against, Observed;
    /// A use was refused after the last scan of its store began.
    RefusedSince = "REFUSED_SINCE", Against, Observed;
    /// The census has not come to the end of the audit log.
    CensusBehind = "CENSUS_BEHIND", Missing, Observed;
    /// The version was used with more stores than are counted.
    StoresTruncated = "STORES_TRUNCATED", Missing, Observed;
    /// It was used with a store that nobody has registered.
    StoreUnregistered = "STORE_UNREGISTERED", Missing, Observed;
    /// It has blobs that name no store.
    StoreUnnamed = "STORE_UNNAMED", Missing, Observed;
    /// A store was never scanned.
    ScanMissing = "SCAN_MISSING", Missing, Observed;
    /// A store's last scan began too early.
    ScanOutdated = "SCAN_OUTDATED", Missing, Observed;
    /// The version wraps no more.
    VersionStopped = "VERSION_STOPPED", For, Observed;
    /// It has never wrapped anything.
    NothingIssued = "NOTHING_ISSUED", For, Observed;
    /// A scan found nothing left.
    StoreClean = "STORE_CLEAN", For, Scanned;
    /// Somebody answers for the blobs that name no store.
    StoreWaived = "STORE_WAIVED", For, Declared;
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

// === impl Verdict ===

impl Verdict {
    /// Whether it is SAFE.
    pub fn is_safe(&self) -> bool {
        self.word == VerdictWord::Safe
    }
}

// === impl VerdictWord ===

impl VerdictWord {
    /// The word shown to people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "SAFE",
            Self::Unsafe => "UNSAFE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for VerdictWord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

// === impl Evidence ===

impl Evidence<'_> {
    fn number(&self) -> u32 {
        self.version.number()
    }

    fn registered(&self, number: u32) -> Option<&StoreEvidence> {
        self.stores.iter().find(|one| one.store.number.as_u32() == number)
    }

    /// The stores that must have been scanned: those that the key was used with or that were scanned for
    /// it before, and those into which something was put back since the version was made.
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

    fn finding(&self, code: FindingCode, text: String) -> Finding {
        Finding {
            code,
            text,
            remedy: String::new(),
            store: 0,
            store_name: String::new(),
            count: 0,
            principal: String::new(),
            time: None,
        }
    }

    fn store_finding(&self, code: FindingCode, store: &RegisteredStore, text: String) -> Finding {
        Finding {
            store: store.number.as_u32(),
            store_name: store.name.to_string(),
            ..self.finding(code, text)
        }
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

    /// A blob may stand in another store than the one that its header names, so that the slowest agent
    /// counts.
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
            ..evidence.finding(FindingCode::VersionActive, text)
        });
        return;
    }
    let text = format!("version {number} is {state} and wraps nothing new");
    findings.push(Finding {
        time: Some(parts.deactivate_time.unwrap_or(parts.state_time)),
        ..evidence.finding(FindingCode::VersionStopped, text)
    });
    if evidence.census.stores.is_empty() {
        let text = format!("version {number} has never wrapped anything");
        findings.push(evidence.finding(FindingCode::NothingIssued, text));
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
            ..evidence.finding(FindingCode::CensusBehind, text)
        });
    }
    if evidence.census.is_full() {
        let count = evidence.census.stores.len() as u64;
        let text =
            format!("the version was used with {count} stores or more, not all of them listed");
        let code = FindingCode::StoresTruncated;
        findings.push(Finding { count, ..evidence.finding(code, text) });
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
            ..evidence.finding(FindingCode::StoreUnnamed, text)
        });
        return;
    };
    let text = format!("blobs that name no store need no scan, says {}", waiver.principal);
    findings.push(Finding {
        count,
        principal: waiver.principal.clone(),
        time: Some(waiver.create_time),
        ..evidence.finding(FindingCode::StoreWaived, text)
    });
    let said = waiver.create_time;
    for (done, finding) in since(evidence, census, |used| used.time >= said) {
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
        ..evidence.finding(
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
        let finding = evidence.store_finding(FindingCode::ScanMissing, store, text);
        return findings.push(Finding { remedy: again, time, ..finding });
    };
    let remaining = scan.remaining(number);
    if remaining > 0 {
        let text = format!("{name} holds {remaining} blobs of version {number}");
        findings.push(Finding {
            remedy: format!("bulla campaign create {key}"),
            count: remaining,
            principal: scan.begun.principal.clone(),
            time: Some(scan.begun.begin_time),
            ..evidence.store_finding(FindingCode::BlobsFound, store, text)
        });
    }
    if let Some(census) = evidence.census.stores.get(&store.number.as_u32()) {
        let begin = scan.begun.begin_sequence;
        for (done, finding) in since(evidence, census, |used| used.sequence > begin) {
            let text = format!("a blob of {name} was {done} after the scan began");
            let named = evidence.store_finding(finding.code, store, text);
            let remedy = format!("bulla campaign create {key}");
            let Finding { count, principal, time, .. } = finding;
            findings.push(Finding { remedy, count, principal, time, ..named });
        }
    }
    if !bar.is_passed_by(scan, store) {
        let text = format!("the last scan of {name} began too early to tell");
        let time = Some(bar.time_for(store));
        let finding = evidence.store_finding(FindingCode::ScanOutdated, store, text);
        return findings.push(Finding { remedy: again, time, ..finding });
    }
    if remaining == 0 {
        let text = format!("{name} holds no blob of version {number}");
        findings.push(Finding {
            count: scan.found.rows,
            principal: scan.begun.principal.clone(),
            time: Some(scan.begun.begin_time),
            ..evidence.store_finding(FindingCode::StoreClean, store, text)
        });
    }
}

/// Openings and refusals that `is_since` says came after the last look.
fn since(
    evidence: &Evidence<'_>,
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
            ..evidence.finding(code, String::new())
        };
        (word, finding)
    })
    .collect()
}
