//! Reads the audit log: a tenant sees its own records and no other's.

use crate::audit::{Filter, Record};
use crate::keys::TenantId;
use crate::policy::{Action, Permit};
use crate::trail::Trail;

pub use crate::trail::Entry as AuditRecord;

use super::perform::{About, Act, Caller, Desk, Office, UseCase};
use super::refusal::Refusal;

/// A page of records, or the beginning of a tail.
pub struct ReadAudit {
    /// Records with a greater sequence.
    pub after: u64,
    /// 1 to 1000.
    pub page_size: usize,
    /// Begin with this many of the latest records instead of at `after`.
    pub last: Option<usize>,
    /// Which of them.
    pub filter: Filter,
}

/// Some records, and where to go on.
pub struct AuditPage {
    /// The tenant's own.
    pub records: Vec<AuditRecord>,
    /// The last sequence that was looked at.
    pub next_after: u64,
    /// Whether that is the end of the log.
    pub end: bool,
}

// === impl ReadAudit ===

impl UseCase for ReadAudit {
    type Reply = AuditPage;

    const ACTION: Action = Action::ReadAudit;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<AuditPage, Refusal> {
        let trail = &act.office.trail;
        let wanted = Wanted::new(act.office, act.permit, self.filter);
        match self.last {
            Some(last) => latest(trail, &wanted, last).await,
            None => page(trail, &wanted, self.after, self.page_size).await,
        }
    }
}

/// Which records a caller sees of those that it wants.
pub(super) struct Wanted {
    tenant: TenantId,
    filter: Filter,
}

// === impl Wanted ===

impl Wanted {
    /// Those of the permit's tenant. Values that are recorded as hashes are looked for as hashes.
    pub(super) fn new(office: &Office, permit: &Permit, mut filter: Filter) -> Self {
        let tenant = permit.tenant();
        for (key, value) in &mut filter.context {
            if let Some(hash) = office.hashed_value(tenant, key, value) {
                *value = hash;
            }
        }
        Self { tenant, filter }
    }

    fn holds(&self, entry: &AuditRecord) -> bool {
        entry.record.tenant == Some(self.tenant) && self.filter.holds(&entry.record)
    }
}

// === impl Desk ===

impl Desk {
    /// Records after `after`, waiting for new ones if there are none. The right to read is asked for
    /// again each time.
    pub async fn tail_on(
        &self,
        caller: &Caller,
        after: u64,
        filter: Filter,
    ) -> Result<AuditPage, Refusal> {
        let trail = &self.office().trail;
        let mut durable = trail.durable();
        let closed = durable.wait_for(|sequence| *sequence > after).await.is_err();
        if closed {
            return Err(Refusal::AuditUnavailable { problem: "the trail was closed".into() });
        }
        let permit = self.still_may(caller, Action::ReadAudit).await?;
        let wanted = Wanted::new(self.office(), &permit, filter);
        page(trail, &wanted, after, PAGE).await
    }
}

async fn page(
    trail: &Trail,
    wanted: &Wanted,
    after: u64,
    page_size: usize,
) -> Result<AuditPage, Refusal> {
    let end = *trail.durable().borrow();
    let mut page = AuditPage { records: Vec::new(), next_after: after, end: after >= end };
    for _ in 0..SCANS_MAX {
        let found = trail.read(page.next_after, PAGE).await?;
        for entry in found {
            page.next_after = entry.sequence;
            if wanted.holds(&entry) {
                page.records.push(entry);
                if page.records.len() == page_size {
                    page.end = page.next_after >= end;
                    return Ok(page);
                }
            }
        }
        page.end = page.next_after >= end;
        if page.end {
            break;
        }
    }
    Ok(page)
}

/// The latest `last` records of the tenant, looking back a bounded way.
pub(super) async fn latest(
    trail: &Trail,
    wanted: &Wanted,
    last: usize,
) -> Result<AuditPage, Refusal> {
    let end = *trail.durable().borrow();
    let mut reach = PAGE as u64;
    loop {
        let start = end.saturating_sub(reach);
        let mut found = Vec::new();
        let mut next = start;
        while next < end {
            let part = trail.read(next, PAGE).await?;
            let Some(read) = part.last().map(|entry| entry.sequence) else { break };
            next = read;
            found.extend(part.into_iter().filter(|entry| wanted.holds(entry)));
        }
        if found.len() >= last || start == 0 || reach >= LOOK_BACK_MAX {
            let records = found.split_off(found.len().saturating_sub(last));
            return Ok(AuditPage { records, next_after: next.max(end), end: true });
        }
        reach = reach.saturating_mul(4);
    }
}

const PAGE: usize = 1_000;
const SCANS_MAX: usize = 20;
const LOOK_BACK_MAX: u64 = 64_000;
