//! Stores, scans, the census and the check: between messages and what the service takes and gives.

use std::collections::BTreeMap;

use bulla_proto::kms;

use super::{parse, render};
use crate::census::{
    Effect, EvidenceLabel, Finding, FoundBlobs, PrincipalCensus, RegisteredStore, SAMPLE_BYTES_MAX,
    SAMPLES_MAX, Scan, StoreCensus, StoreKind, UseCount, VerdictWord, WriteDelay,
};
use crate::keys::{Owner, Reason, ScanId, StoreName, StoreRef, Timestamp};
use crate::policy::Action;
use crate::service::{
    BeginScan, CensusView, ExposureView, GetExposure, Judged, Refusal, RegisterStore,
    ReportRestore, ReportScan, StorePage, WaiveUnnamedStore,
};

// === from messages ===

pub(super) fn register_store(asked: kms::RegisterStoreRequest) -> Result<RegisterStore, Refusal> {
    let request = parse::request(Action::RegisterStore, &asked.request_id, &asked)?;
    let kind = u32::try_from(asked.kind).ok().and_then(StoreKind::from_number);
    Ok(RegisterStore {
        name: StoreName::parse(&asked.name).map_err(|error| Refusal::invalid("name", error))?,
        owner: Owner::parse(&asked.owner).map_err(|error| Refusal::invalid("owner", error))?,
        kind: kind.ok_or_else(|| Refusal::invalid("kind", "must be one of the store kinds"))?,
        write_delay: write_delay(asked.write_delay.as_ref())?,
        request,
    })
}

pub(super) fn report_restore(asked: kms::ReportRestoreRequest) -> Result<ReportRestore, Refusal> {
    let request = parse::request(Action::ReportRestore, &asked.request_id, &asked)?;
    let (store, reason) = (store(&asked.store)?, parse::reason(&asked.reason)?);
    Ok(ReportRestore { store, reason, request })
}

pub(super) fn waive_unnamed_store(
    asked: kms::WaiveUnnamedStoreRequest,
) -> Result<WaiveUnnamedStore, Refusal> {
    let request = parse::request(Action::WaiveUnnamedStore, &asked.request_id, &asked)?;
    let reason = match parse::reason(&asked.reason)? {
        none if none == Reason::none() => {
            return Err(Refusal::invalid("reason", "must say why the blobs need no scan"));
        }
        reason => reason,
    };
    let (key, version) = (parse::key(&asked.key)?, parse::version(asked.version)?);
    Ok(WaiveUnnamedStore { key, version, reason, request })
}

pub(super) fn begin_scan(asked: kms::BeginScanRequest) -> Result<BeginScan, Refusal> {
    Ok(BeginScan::new(parse::key(&asked.key)?, store(&asked.store)?))
}

pub(super) fn report_scan(asked: kms::ReportScanRequest) -> Result<ReportScan, Refusal> {
    let scan = ScanId::parse(&asked.scan_id).map_err(|error| Refusal::invalid("scan_id", error))?;
    let too_long = |sample: &String| sample.len() > SAMPLE_BYTES_MAX;
    if asked.samples.len() > SAMPLES_MAX || asked.samples.iter().any(too_long) {
        let problem = format!("must be at most {SAMPLES_MAX} of at most {SAMPLE_BYTES_MAX} bytes");
        return Err(Refusal::TooLarge { field: "samples", problem });
    }
    let found = FoundBlobs {
        rows: asked.rows,
        versions: counts("versions", asked.versions)?,
        other_keys: asked.other_keys,
        unreadable: asked.unreadable,
        abandoned: counts("abandoned", asked.abandoned)?,
        samples: asked.samples,
    };
    Ok(ReportScan::new(parse::key(&asked.key)?, store(&asked.store)?, scan, found))
}

pub(super) fn get_exposure(asked: kms::GetExposureRequest) -> Result<GetExposure, Refusal> {
    let since = asked.since.map_or(0, |since| {
        let nanos_ms = i64::from(since.nanos).div_euclid(1_000_000);
        since.seconds.saturating_mul(1_000).saturating_add(nanos_ms)
    });
    let (key, version) = (parse::key(&asked.key)?, parse::version(asked.version)?);
    Ok(GetExposure { key, version, since: Timestamp::from_unix_ms(since) })
}

/// A store's name or number.
pub(super) fn store(text: &str) -> Result<StoreRef, Refusal> {
    StoreRef::parse(text).map_err(|error| Refusal::invalid("store", error))
}

/// The number of the last store of the page before; 0 for the first page.
pub(super) fn store_page_token(token: &str) -> Result<u32, Refusal> {
    parse::version_page_token(token)
}

fn write_delay(delay: Option<&prost_types::Duration>) -> Result<WriteDelay, Refusal> {
    let Some(delay) = delay else { return Ok(WriteDelay::DEFAULT) };
    let out_of_range = |error: &dyn ToString| Refusal::invalid("write_delay", error.to_string());
    let millis = parse::millis(delay).ok_or_else(|| out_of_range(&"must not be negative"))?;
    WriteDelay::from_ms(millis).map_err(|error| out_of_range(&error))
}

fn counts(
    field: &'static str,
    counts: Vec<kms::VersionCount>,
) -> Result<BTreeMap<u32, u64>, Refusal> {
    let mut by_version = BTreeMap::new();
    for kms::VersionCount { version, count } in counts {
        if version == 0 || by_version.insert(version, count).is_some() {
            return Err(Refusal::invalid(field, "must have each version once, from 1"));
        }
    }
    Ok(by_version)
}

// === to messages ===

pub(super) fn registered(store: &RegisteredStore) -> kms::Store {
    kms::Store {
        store: store.number.as_u32(),
        name: store.name.to_string(),
        owner: store.owner.as_str().to_owned(),
        kind: kind(store.kind).into(),
        write_delay: Some(render::duration(store.write_delay.as_ms())),
        create_time: Some(render::timestamp(store.create_time)),
        restore_time: store.restore.map(|restore| render::timestamp(restore.time)),
    }
}

pub(super) fn stores(page: &StorePage) -> kms::ListStoresResponse {
    kms::ListStoresResponse {
        stores: page.stores.iter().map(registered).collect(),
        next_page_token: render::page_token(page.next),
    }
}

pub(super) fn census(view: &CensusView) -> kms::GetCensusResponse {
    let versions = view.versions.iter().map(|(version, census)| kms::VersionCensus {
        version: version.number(),
        state: render::state(version.version().state()).into(),
        stores: census
            .stores
            .iter()
            .map(|(number, store)| store_census(view, *number, store))
            .collect(),
        wrapped_bytes: census.wrapped_bytes,
    });
    kms::GetCensusResponse {
        key_id: view.key.to_string(),
        sequence: view.sequence,
        versions: versions.collect(),
    }
}

pub(super) fn scan(scan: &Scan) -> kms::Scan {
    let counts = |counts: &BTreeMap<u32, u64>| {
        let count =
            |(version, count): (&u32, &u64)| kms::VersionCount { version: *version, count: *count };
        counts.iter().map(count).collect()
    };
    kms::Scan {
        scan_id: scan.begun.id.to_string(),
        principal: scan.begun.principal.clone(),
        begin_time: Some(render::timestamp(scan.begun.begin_time)),
        end_time: Some(render::timestamp(scan.end_time)),
        rows: scan.found.rows,
        versions: counts(&scan.found.versions),
        other_keys: scan.found.other_keys,
        unreadable: scan.found.unreadable,
        abandoned: counts(&scan.found.abandoned),
        samples: scan.found.samples.clone(),
    }
}

pub(super) fn judged(judged: &Judged) -> kms::RetireCheckResponse {
    kms::RetireCheckResponse {
        verdict: match judged.verdict.word {
            VerdictWord::Safe => kms::RetireVerdict::Safe,
            VerdictWord::Unsafe => kms::RetireVerdict::Unsafe,
            VerdictWord::Unknown => kms::RetireVerdict::Unknown,
        }
        .into(),
        findings: judged.verdict.findings.iter().map(finding).collect(),
        sequence: judged.sequence,
        key_id: judged.version.key().to_string(),
        version: judged.version.number(),
        state: render::state(judged.version.version().state()).into(),
    }
}

pub(super) fn exposure(view: &ExposureView) -> kms::GetExposureResponse {
    let exposures = view.exposures.iter().map(|((principal, store), one)| kms::Exposure {
        principal: principal.clone(),
        store: *store,
        store_name: view.names.get(store).map(ToString::to_string).unwrap_or_default(),
        received: one.received,
        opened: one.opened,
        moved: one.moved,
        first_time: Some(render::timestamp(one.first_time)),
        last_time: Some(render::timestamp(one.last_time)),
    });
    kms::GetExposureResponse {
        key_id: view.key.to_string(),
        version: view.version,
        first_sequence: view.first_sequence,
        last_sequence: view.last_sequence,
        exposures: exposures.collect(),
    }
}

const fn kind(kind: StoreKind) -> kms::StoreKind {
    match kind {
        StoreKind::PostgreSql => kms::StoreKind::Postgresql,
        StoreKind::Sqlite => kms::StoreKind::Sqlite,
        StoreKind::Files => kms::StoreKind::Files,
        StoreKind::JsonLines => kms::StoreKind::JsonLines,
        StoreKind::Other => kms::StoreKind::Other,
    }
}

fn store_census(view: &CensusView, number: u32, store: &StoreCensus) -> kms::StoreCensus {
    let last = |used: UseCount| (used.count > 0).then(|| render::timestamp(used.time));
    let principal = |who: &PrincipalCensus| kms::PrincipalCensus {
        principal: who.principal.clone(),
        issued: who.issued,
        moved: who.moved,
        opened: who.opened,
        refused: who.refused,
        last_time: Some(render::timestamp(who.last_time)),
    };
    kms::StoreCensus {
        store: number,
        name: view.names.get(&number).map(ToString::to_string).unwrap_or_default(),
        issued: store.issued.count,
        moved: store.moved.count,
        opened: store.opened.count,
        refused: store.refused.count,
        last_issue_time: last(store.issued),
        last_move_time: last(store.moved),
        last_open_time: last(store.opened),
        last_refuse_time: last(store.refused),
        principals: store.principals.iter().map(principal).collect(),
        principals_truncated: store.principals_truncated,
        scan: view.scans.get(&number).map(scan),
    }
}

fn finding(finding: &Finding) -> kms::Finding {
    let effect = match finding.code.effect() {
        Effect::Against => kms::FindingEffect::Against,
        Effect::Missing => kms::FindingEffect::Missing,
        Effect::For => kms::FindingEffect::For,
    };
    let evidence = match finding.code.label() {
        EvidenceLabel::Declared => kms::Evidence::Declared,
        EvidenceLabel::Scanned => kms::Evidence::Scanned,
        EvidenceLabel::Observed => kms::Evidence::Observed,
    };
    kms::Finding {
        effect: effect.into(),
        evidence: evidence.into(),
        code: finding.code.as_str().to_owned(),
        text: finding.text.clone(),
        remedy: finding.remedy.clone(),
        store: finding.store,
        store_name: finding.store_name.clone(),
        count: finding.count,
        principal: finding.principal.clone(),
        time: finding.time.map(render::timestamp),
    }
}
