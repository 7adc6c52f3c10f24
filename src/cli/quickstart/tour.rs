//! The tour: what Bulla is for, on a table, a figure a step.
//!
//! Each step is done by the caller who may do it, and checked; what does not come out as it should
//! is a failure and not a remark. Months pass in it: the demo's server has a clock that may be moved.

use std::time::Instant;

use bulla_client::kms;

use super::callers::{Callers, expect};
use super::folder::Folder;
use super::proof;
use super::table::{Customer, Table};
use crate::cli::failure::Failure;
use crate::cli::{census, retire};

/// Says what was done, a line a step.
pub(super) trait Narrator {
    /// One line.
    fn say(&self, line: &str) -> Result<(), Failure>;
}

/// What came out.
pub(super) struct Outcome {
    pub(super) key_id: String,
    pub(super) rows: usize,
    pub(super) moved: usize,
    pub(super) sealed_sha256: String,
    pub(super) audit_records: usize,
}

/// The table and what is known of it before anything was moved.
struct Sealed {
    customers: Vec<Customer>,
    table: Table,
    digest: String,
}

/// The whole tour, from an empty server to an old version that is gone, and its audit trail.
pub(super) async fn run(folder: &Folder, narrator: &dyn Narrator) -> Result<Outcome, Failure> {
    let callers = Callers::connect(folder).await?;
    let key = callers.create_key().await?;
    let old = key.active_version;
    narrator.say(&format!(
        "key        {ALIAS}, {}, version {old}, rotates every 90 days",
        key.key_id
    ))?;
    let sealed = encrypt(folder, &callers, narrator).await?;
    show_census(&callers, narrator).await?;

    folder.set_clock_ahead(NINETY_DAYS_MS)?;
    let new = callers.rotated(old).await?;
    narrator.say(&format!(
        "rotate     90 days later (the demo's clock was moved) the scheduler has made version {new}: \
         it wraps, version {old} still opens"
    ))?;
    let (rows, customers) = (sealed.customers.len(), &sealed.customers);
    let opened = callers.open_all(customers, &sealed.table).await?;
    narrator.say(&format!("open       {opened} of {rows} rows from before the rotation"))?;

    check(&callers, narrator, old, kms::RetireVerdict::Unknown).await?;
    let moved = campaign(&callers, narrator, old).await?;
    let (left, arrived) = (sealed.table.count_under(old)?, sealed.table.count_under(new)?);
    expect(left == 0 && arrived == rows, "not every wrapped key was moved")?;
    let after = sealed.table.sealed_digest()?;
    narrator.say(&format!("sha256     {}  column sealed, before", sealed.digest))?;
    narrator.say(&format!("sha256     {after}  column sealed, after"))?;
    expect(sealed.digest == after, "the sealed column changed")?;
    check(&callers, narrator, old, kms::RetireVerdict::Safe).await?;

    callers.schedule_destroy(old).await?;
    folder.set_clock_ahead(NINETY_DAYS_MS.saturating_add(THIRTY_DAYS_MS))?;
    callers.destroyed(old).await?;
    narrator
        .say(&format!("destroy    30 days later version {old} is gone, and nothing misses it"))?;
    let opened = callers.open_all(customers, &sealed.table).await?;
    narrator.say(&format!("open       {opened} of {rows} rows, all under version {new}"))?;
    show_census(&callers, narrator).await?;

    let refusal = callers.refused(&sealed.table).await?;
    narrator.say(&format!("refuse     the re-wrapper may not decrypt: {refusal}"))?;
    let explained = callers.explained().await?;
    let decision = explained.decision.unwrap_or_default();
    expect(!decision.allowed, "the re-wrapper may decrypt")?;
    narrator.say(&format!(
        "explain    {}: it holds {}; {}",
        decision.class,
        explained.roles.join(", "),
        explained.remedy
    ))?;
    let (refusal, record) = callers.refused_next_door(&sealed.table).await?;
    narrator.say(&format!(
        "tenants    another tenant's application, with a row of this one: {refusal}; recorded as {} \
         of {}, class {}",
        record.action, record.principal, record.class
    ))?;
    let audit_records = callers.show_audit(narrator).await?;
    proof::show(folder, &callers, narrator).await?;
    Ok(Outcome { key_id: key.key_id, rows, moved, sealed_sha256: after, audit_records })
}

/// Each row under a data key of its own, for a store that is registered.
async fn encrypt(
    folder: &Folder,
    callers: &Callers<'_>,
    narrator: &dyn Narrator,
) -> Result<Sealed, Failure> {
    let store = callers.register_store().await?;
    narrator.say(&format!("store      {STORE} is store {store}"))?;
    let customers = Customer::all()?;
    let mut table = Table::create(&folder.file("customers.db"))?;
    let began = Instant::now();
    callers.seal_all(&customers, store, &mut table).await?;
    let rows = customers.len();
    narrator.say(&format!(
        "encrypt    {rows} rows, each under a data key of its own, in {:.2?}: customers.db",
        began.elapsed()
    ))?;
    expect(table.count_under(1)? == rows, "not every wrapped key is under version 1")?;
    let digest = table.sealed_digest()?;
    Ok(Sealed { customers, table, digest })
}

/// Moves everything off `version`; gives how many wrapped keys were moved.
async fn campaign(
    callers: &Callers<'_>,
    narrator: &dyn Narrator,
    version: u32,
) -> Result<usize, Failure> {
    let begun = callers.create_campaign(version).await?;
    narrator.say(&format!("campaign   {}: bulla rewrap run", begun.campaign_id))?;
    let began = Instant::now();
    callers.run_agent(&begun).await?;
    let ended = callers.campaign(&begun.campaign_id).await?;
    expect(ended.state() == kms::CampaignState::Done, "the campaign is not done")?;
    let moved = ended.stores.iter().map(|store| store.moved).fold(0, u64::saturating_add);
    narrator.say(&format!(
        "re-wrap    {moved} wrapped keys moved by compare-and-swap and proven by a scan, in {:.2?}",
        began.elapsed()
    ))?;
    Ok(usize::try_from(moved).unwrap_or(usize::MAX))
}

async fn show_census(callers: &Callers<'_>, narrator: &dyn Narrator) -> Result<(), Failure> {
    narrator.say("census     what each version still protects")?;
    narrator.say(census::bars(&callers.census().await?).trim_end())
}

/// Asks whether `version` can be let go, and shows why.
async fn check(
    callers: &Callers<'_>,
    narrator: &dyn Narrator,
    version: u32,
    expected: kms::RetireVerdict,
) -> Result<(), Failure> {
    let check = callers.retire_check(version).await?;
    narrator.say(&format!("retire     may version {version} go? {}", retire::verdict(&check)))?;
    narrator.say(retire::reasons(&check).trim_end())?;
    expect(check.verdict() == expected, "the check does not say what it should")
}

/// The key of the tour.
pub(super) const ALIAS: &str = "customers";

/// Where its blobs are.
pub(super) const STORE: &str = "customers-db/customers.dek";

const NINETY_DAYS_MS: u64 = 90 * 24 * 60 * 60 * 1_000;
const THIRTY_DAYS_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
