//! Reads the audit log: a tenant sees its own records and no other's, and of the log's own those that
//! say what was deleted; the installation's own tenant sees all of the log's own.

use crate::audit::{Filter, Owners, Query, Record};
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
        let wanted = query(act.office, act.permit, self.filter)?;
        match self.last {
            Some(last) => latest(trail, &wanted, last).await,
            None => page(trail, &wanted, self.after, self.page_size).await,
        }
    }
}

/// What a caller asks of the log, of those records that it may see: its tenant's, what the log says of
/// its own deletions, and in the installation's own tenant all that is of no tenant. Values that are
/// recorded as hashes are looked for as hashes.
pub(super) fn query(
    office: &Office,
    permit: &Permit,
    mut filter: Filter,
) -> Result<Query, Refusal> {
    let tenant = permit.tenant();
    for (key, value) in &mut filter.context {
        if let Some(hash) = office.hashed_value(tenant, key, value) {
            *value = hash;
        }
    }
    Ok(Query { owners: owners(office, permit)?, filter })
}

/// Whose records a caller may see.
pub(super) fn owners(office: &Office, permit: &Permit) -> Result<Owners, Refusal> {
    let tenant = permit.tenant();
    Ok(match office.custody.is_of_the_installation(permit)? {
        true => Owners::TenantAndLog(tenant),
        false => Owners::Tenant(tenant),
    })
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
        let wanted = query(self.office(), &permit, filter)?;
        page(trail, &wanted, after, PAGE).await
    }
}

async fn page(
    trail: &Trail,
    query: &Query,
    after: u64,
    page_size: usize,
) -> Result<AuditPage, Refusal> {
    let end = *trail.durable().borrow();
    let mut page = AuditPage { records: Vec::new(), next_after: after, end: after >= end };
    for _ in 0..SEARCHES_MAX {
        let room = page_size.saturating_sub(page.records.len());
        if room == 0 || page.end {
            break;
        }
        let found = trail.search(query, page.next_after, room).await?;
        page.records.extend(found.entries);
        page.end = found.reached >= end;
        page.next_after = found.reached.max(page.next_after);
    }
    Ok(page)
}

/// The latest `last` records that are asked for, looking back a bounded way.
pub(super) async fn latest(
    trail: &Trail,
    query: &Query,
    last: usize,
) -> Result<AuditPage, Refusal> {
    let end = *trail.durable().borrow();
    let mut reach = PAGE as u64;
    loop {
        let start = end.saturating_sub(reach);
        let (mut found, mut next, mut searches) = (Vec::new(), start, 0_usize);
        while next < end {
            let part = trail.search(query, next, usize::MAX).await?;
            searches = searches.saturating_add(1);
            next = part.reached.max(next.saturating_add(1));
            found.extend(part.entries);
        }
        if found.len() >= last || start == 0 || searches >= SEARCHES_MAX {
            let records = found.split_off(found.len().saturating_sub(last));
            return Ok(AuditPage { records, next_after: next.max(end), end: true });
        }
        reach = reach.saturating_mul(4);
    }
}

const PAGE: usize = 1_000;
/// Each takes a fraction of a second at most.
const SEARCHES_MAX: usize = 5;
