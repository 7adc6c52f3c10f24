//! The tour: what Bulla is for, on a table, a figure a step.
//!
//! Each step is done by the caller who may do it, and checked; what does not come out as it should
//! is a failure and not a remark.

use std::collections::BTreeMap;
use std::time::Instant;

use bulla_client::{Client, kms};
use zeroize::Zeroizing;

use super::folder::Folder;
use super::table::{Customer, Row, Table};
use crate::cli::audit;
use crate::cli::failure::{Exit, Failure};

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

/// The callers, connected.
struct Callers {
    operator: Client,
    app: Client,
    rewrapper: Client,
    auditor: Client,
}

/// The whole tour, from an empty server to a finished rotation and its audit trail.
pub(super) async fn run(folder: &Folder, narrator: &dyn Narrator) -> Result<Outcome, Failure> {
    let callers = Callers {
        operator: folder.connection("operator").connect().await?,
        app: folder.connection("app").connect().await?,
        rewrapper: folder.connection("rewrapper").connect().await?,
        auditor: folder.connection("auditor").connect().await?,
    };
    let key = callers.create_key().await?;
    narrator.say(&format!("key        {ALIAS}, {}, version {}", key.key_id, key.active_version))?;

    let customers = Customer::all()?;
    let mut table = Table::create(&folder.file("customers.db"))?;
    let began = Instant::now();
    callers.seal_all(&customers, &mut table).await?;
    let (rows, under) = (customers.len(), table.count_under(1)?);
    narrator.say(&format!(
        "encrypt    {rows} rows, each under a data key of its own, in {:.2?}: customers.db",
        began.elapsed()
    ))?;
    expect(under == rows, "not every wrapped key is under version 1")?;
    let before = table.sealed_digest()?;

    let version = callers.rotate().await?;
    narrator
        .say(&format!("rotate     version {version} wraps from now on, version 1 still opens"))?;
    let opened = callers.open_all(&customers, &table).await?;
    narrator.say(&format!("open       {opened} of {rows} rows from before the rotation"))?;

    let began = Instant::now();
    let moved = callers.rewrap_all(&mut table).await?;
    narrator.say(&format!(
        "re-wrap    {moved} of {rows} wrapped keys moved by compare-and-swap in {:.2?}",
        began.elapsed()
    ))?;
    let (left, arrived) = (table.count_under(1)?, table.count_under(version)?);
    expect(left == 0 && arrived == rows, "not every wrapped key was moved")?;
    narrator.say(&format!(
        "count      {left} wrapped keys under version 1, {arrived} under {version}"
    ))?;
    let after = table.sealed_digest()?;
    narrator.say(&format!("sha256     {before}  column sealed, before"))?;
    narrator.say(&format!("sha256     {after}  column sealed, after"))?;
    expect(before == after, "the sealed column changed")?;
    let opened = callers.open_all(&customers, &table).await?;
    narrator.say(&format!("open       {opened} of {rows} rows under version {version}"))?;

    let refusal = callers.refused(&table).await?;
    narrator.say(&format!("refuse     the re-wrapper may not decrypt: {refusal}"))?;
    let audit_records = callers.show_audit(narrator).await?;
    Ok(Outcome { key_id: key.key_id, rows, moved, sealed_sha256: after, audit_records })
}

// === impl Callers ===

impl Callers {
    async fn create_key(&self) -> Result<kms::Key, Failure> {
        let request = kms::CreateKeyRequest {
            alias: ALIAS.into(),
            description: "the quickstart's customers".into(),
            ..Default::default()
        };
        let created = self.operator.create_key(request).await?;
        created.key.ok_or_else(|| Failure::new(Exit::Internal, "the server made no key"))
    }

    async fn rotate(&self) -> Result<u32, Failure> {
        let request = kms::RotateKeyRequest {
            key: ALIAS.into(),
            reason: "quickstart".into(),
            ..Default::default()
        };
        let rotated = self.operator.rotate_key(request).await?;
        Ok(rotated.version.unwrap_or_default().version)
    }

    /// A data key for each row, in batches.
    async fn seal_all(&self, customers: &[Customer], table: &mut Table) -> Result<(), Failure> {
        for batch in customers.chunks(BATCH_ROWS) {
            let request = kms::GenerateDataKeysRequest {
                key: ALIAS.into(),
                encryption_context: context(),
                count: u32::try_from(batch.len()).unwrap_or(u32::MAX),
                ..Default::default()
            };
            let made = self.app.generate_data_keys(request).await?.data_keys;
            expect(made.len() == batch.len(), "the server made another number of data keys")?;
            let mut rows = Vec::with_capacity(batch.len());
            for (customer, data_key) in batch.iter().zip(made) {
                let plaintext = Zeroizing::new(data_key.plaintext);
                rows.push((customer, customer.seal(&plaintext, data_key.ciphertext)?));
            }
            table.insert(&rows)?;
        }
        Ok(())
    }

    /// Opens every row and compares it with its customer; gives how many were opened.
    async fn open_all(&self, customers: &[Customer], table: &Table) -> Result<usize, Failure> {
        let rows = table.rows()?;
        expect(rows.len() == customers.len(), "the table has another number of rows")?;
        let mut opened: usize = 0;
        for (customers, rows) in customers.chunks(BATCH_ROWS).zip(rows.chunks(BATCH_ROWS)) {
            let requests = rows.iter().map(|row| decrypt(row, ALIAS)).collect();
            let results =
                self.app.decrypt_many(kms::DecryptManyRequest { requests }).await?.results;
            expect(results.len() == rows.len(), "the server gave another number of results")?;
            for ((customer, row), result) in customers.iter().zip(rows).zip(results) {
                let data_key = match result.outcome {
                    Some(kms::decrypt_result::Outcome::Opened(opened)) => opened.plaintext,
                    other => return Err(refused_item(row.id, reason_of_open(other))),
                };
                let sensitive = row.open(&Zeroizing::new(data_key))?;
                expect(sensitive == customer.sensitive, "a row opened to something else")?;
                opened = opened.saturating_add(1);
            }
        }
        Ok(opened)
    }

    /// Moves every wrapped key to the active version; gives how many rows took theirs.
    async fn rewrap_all(&self, table: &mut Table) -> Result<usize, Failure> {
        let rows = table.rows()?;
        let messages: Vec<_> = rows
            .chunks(BATCH_ROWS)
            .map(|batch| kms::ReEncryptStreamRequest {
                requests: batch.iter().map(re_encrypt).collect(),
            })
            .collect();
        let mut answers = self.rewrapper.re_encrypt_stream(tokio_stream::iter(messages)).await?;
        let (mut moved, mut waiting) = (0_usize, rows.into_iter());
        while let Some(answer) = answers.message().await? {
            let mut moves = Vec::with_capacity(answer.results.len());
            for (result, row) in answer.results.into_iter().zip(waiting.by_ref()) {
                match result.outcome {
                    Some(kms::re_encrypt_result::Outcome::Moved(new)) => {
                        moves.push((row.id, row.dek, new.ciphertext));
                    }
                    Some(kms::re_encrypt_result::Outcome::Refusal(refusal)) => {
                        return Err(refused_item(row.id, refusal.reason));
                    }
                    None => return Err(refused_item(row.id, String::new())),
                }
            }
            moved = moved.saturating_add(table.swap(&moves)?);
        }
        Ok(moved)
    }

    /// The re-wrapper tries to read a row's data key. It must not get it.
    async fn refused(&self, table: &Table) -> Result<String, Failure> {
        let rows = table.rows()?;
        let row = rows.first().ok_or_else(|| Failure::new(Exit::Internal, "no rows"))?;
        match self.rewrapper.decrypt(decrypt(row, "")).await {
            Err(error) if REFUSALS.contains(&error.reason()) => Ok(error.reason().to_owned()),
            Err(error) => Err(Failure::from(error).during("the re-wrapper's decrypt")),
            Ok(_) => Err(Failure::new(Exit::Internal, "the re-wrapper could decrypt")),
        }
    }

    /// Shows the end of the trail; gives how many records there are.
    async fn show_audit(&self, narrator: &dyn Narrator) -> Result<usize, Failure> {
        let (mut records, mut after) = (Vec::new(), 0);
        loop {
            let page = audit::page(&self.auditor, after, u64::MAX).await?;
            records.extend(page.records);
            if page.end {
                break;
            }
            after = page.next_after_sequence;
        }
        let refused = records
            .iter()
            .any(|record| record.outcome == "REFUSED" && record.principal.ends_with("/rewrapper"));
        expect(refused, "the audit trail does not have the refusal")?;
        narrator.say(&format!(
            "audit      {} records, who did what and what was refused; the last {}:",
            records.len(),
            records.len().min(SHOWN_RECORDS)
        ))?;
        narrator.say(audit::headings().trim_end())?;
        let skipped = records.len().saturating_sub(SHOWN_RECORDS);
        records
            .iter()
            .skip(skipped)
            .try_for_each(|record| narrator.say(audit::line(record).trim_end()))?;
        Ok(records.len())
    }
}

fn context() -> BTreeMap<String, String> {
    [("table".to_owned(), "customers".to_owned())].into()
}

fn decrypt(row: &Row, key: &str) -> kms::DecryptRequest {
    kms::DecryptRequest {
        ciphertext: row.dek.clone(),
        encryption_context: context(),
        key: key.to_owned(),
    }
}

fn re_encrypt(row: &Row) -> kms::ReEncryptRequest {
    kms::ReEncryptRequest {
        ciphertext: row.dek.clone(),
        source_encryption_context: context(),
        ..Default::default()
    }
}

fn reason_of_open(outcome: Option<kms::decrypt_result::Outcome>) -> String {
    match outcome {
        Some(kms::decrypt_result::Outcome::Refusal(refusal)) => refusal.reason,
        _ => String::new(),
    }
}

fn refused_item(id: u32, reason: String) -> Failure {
    Failure::new(Exit::Data, format!("the server refused the wrapped key of row {id}: {reason}"))
}

fn expect(fulfilled: bool, otherwise: &str) -> Result<(), Failure> {
    if fulfilled { Ok(()) } else { Err(Failure::new(Exit::Internal, otherwise)) }
}

/// The key of the tour.
pub(super) const ALIAS: &str = "customers";

/// What a refusal is called: one answer for "not there" and "not yours".
const REFUSALS: [&str; 2] = ["PERMISSION_DENIED", "KEY_NOT_FOUND"];

const BATCH_ROWS: usize = 250;
const SHOWN_RECORDS: usize = 12;
