//! What each caller of the tour does: the operator, the app, the re-wrapper and the auditor, each with
//! the rights of its own role and no other.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use bulla_client::{Client, kms};
use zeroize::Zeroizing;

use super::folder::{self, Folder};
use super::table::{Customer, Row, Table};
use super::tour::{ALIAS, Narrator, STORE};
use crate::cli::audit;
use crate::cli::failure::{Exit, Failure};

/// The callers, connected.
pub(super) struct Callers<'f> {
    folder: &'f Folder,
    operator: Client,
    app: Client,
    rewrapper: Client,
    auditor: Client,
    neighbour: Client,
    neighbours_auditor: Client,
}

// === impl Callers ===

impl<'f> Callers<'f> {
    pub(super) async fn connect(folder: &'f Folder) -> Result<Self, Failure> {
        Ok(Self {
            folder,
            operator: folder.connection("operator").connect().await?,
            app: folder.connection("app").connect().await?,
            rewrapper: folder.connection("rewrapper").connect().await?,
            auditor: folder.connection("auditor").connect().await?,
            neighbour: folder.connection("neighbour").connect().await?,
            neighbours_auditor: folder.connection("neighbours-auditor").connect().await?,
        })
    }

    pub(super) async fn create_key(&self) -> Result<kms::Key, Failure> {
        let request = kms::CreateKeyRequest {
            alias: ALIAS.into(),
            description: "the quickstart's customers".into(),
            ..Default::default()
        };
        let created = self.operator.create_key(request).await?;
        created.key.ok_or_else(|| Failure::new(Exit::Internal, "the server made no key"))
    }

    /// Gives the table's column a number for the blobs' headers.
    pub(super) async fn register_store(&self) -> Result<u32, Failure> {
        let request = kms::RegisterStoreRequest {
            name: STORE.into(),
            owner: "you".into(),
            kind: kms::StoreKind::Sqlite.into(),
            // The tour keeps no data key.
            write_delay: Some(prost_types::Duration::default()),
            ..Default::default()
        };
        let registered = self.operator.register_store(request).await?;
        Ok(registered.store.unwrap_or_default().store)
    }

    pub(super) async fn census(&self) -> Result<kms::GetCensusResponse, Failure> {
        Ok(self.operator.get_census(kms::GetCensusRequest { key: ALIAS.into() }).await?)
    }

    pub(super) async fn retire_check(
        &self,
        version: u32,
    ) -> Result<kms::RetireCheckResponse, Failure> {
        let request = kms::RetireCheckRequest { key: ALIAS.into(), version };
        Ok(self.operator.retire_check(request).await?)
    }

    /// Waits until the scheduler has rotated the key; gives the version that wraps now.
    pub(super) async fn rotated(&self, from: u32) -> Result<u32, Failure> {
        let within = tokio::time::timeout(SCHEDULED_WITHIN, async {
            loop {
                let request = kms::GetKeyRequest { key: ALIAS.into() };
                let key = self.operator.get_key(request).await?.key.unwrap_or_default();
                if key.active_version > from {
                    return Ok(key.active_version);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        within.await.unwrap_or_else(|_| Err(late("the scheduler did not rotate the key")))
    }

    /// Schedules the destruction of a version that is safe to let go.
    pub(super) async fn schedule_destroy(&self, version: u32) -> Result<kms::Version, Failure> {
        let request = kms::ScheduleDestroyRequest {
            key: ALIAS.into(),
            version,
            reason: "nothing depends on it".into(),
            ..Default::default()
        };
        Ok(self.operator.schedule_destroy(request).await?.version.unwrap_or_default())
    }

    /// Waits until the scheduler has destroyed the version.
    pub(super) async fn destroyed(&self, version: u32) -> Result<(), Failure> {
        let within = tokio::time::timeout(SCHEDULED_WITHIN, async {
            loop {
                let request = kms::GetVersionRequest { key: ALIAS.into(), version };
                let found = self.operator.get_version(request).await?.version;
                if found.unwrap_or_default().state() == kms::VersionState::Destroyed {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        within.await.unwrap_or_else(|_| Err(late("the scheduler did not destroy the version")))
    }

    /// Begins a campaign over everything under `version`.
    pub(super) async fn create_campaign(&self, version: u32) -> Result<kms::Campaign, Failure> {
        let request = kms::CreateCampaignRequest {
            key: ALIAS.into(),
            source_versions: vec![version],
            reason: "quickstart".into(),
            ..Default::default()
        };
        Ok(self.operator.create_campaign(request).await?.campaign.unwrap_or_default())
    }

    pub(super) async fn campaign(&self, campaign_id: &str) -> Result<kms::Campaign, Failure> {
        let request = kms::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
        Ok(self.operator.get_campaign(request).await?.campaign.unwrap_or_default())
    }

    /// Runs the agent beside the table, as a process of its own, to the end of the campaign.
    pub(super) async fn run_agent(&self, campaign: &kms::Campaign) -> Result<(), Failure> {
        let lost = |error| Failure::midway("cannot run bulla rewrap", &error);
        let mut command = Command::new(std::env::current_exe().map_err(lost)?);
        command.arg("--profile").arg(self.folder.file("rewrapper.toml"));
        command.args(["rewrap", "run", "--campaign", &campaign.campaign_id, "--store", STORE]);
        command.arg("--connector").arg(self.folder.file("customers.connector.toml"));
        // Its bar is for the person; its report would be in the way of the tour's.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let ended = tokio::task::spawn_blocking(move || command.status());
        let status = ended.await.map_err(|_| late("the agent was lost"))?.map_err(lost)?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(Exit::Internal, format!("bulla rewrap run failed ({status})")))
    }

    /// A data key for each row, in batches.
    pub(super) async fn seal_all(
        &self,
        customers: &[Customer],
        store: u32,
        table: &mut Table,
    ) -> Result<(), Failure> {
        for batch in customers.chunks(BATCH_ROWS) {
            let request = kms::GenerateDataKeysRequest {
                key: ALIAS.into(),
                encryption_context: context(),
                store,
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
    pub(super) async fn open_all(
        &self,
        customers: &[Customer],
        table: &Table,
    ) -> Result<usize, Failure> {
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

    /// The re-wrapper tries to read a row's data key. It must not get it.
    pub(super) async fn refused(&self, table: &Table) -> Result<String, Failure> {
        let rows = table.rows()?;
        let row = rows.first().ok_or_else(|| Failure::new(Exit::Internal, "no rows"))?;
        match self.rewrapper.decrypt(decrypt(row, "")).await {
            Err(error) if REFUSALS.contains(&error.reason()) => Ok(error.reason().to_owned()),
            Err(error) => Err(Failure::from(error).during("the re-wrapper's decrypt")),
            Ok(_) => Err(Failure::new(Exit::Internal, "the re-wrapper could decrypt")),
        }
    }

    /// Another tenant's application, which may use its own tenant's keys, tries to read a row's data key.
    /// Gives what it was told, and what its own auditor reads about it.
    pub(super) async fn refused_next_door(
        &self,
        table: &Table,
    ) -> Result<(String, kms::Record), Failure> {
        let rows = table.rows()?;
        let row = rows.first().ok_or_else(|| Failure::new(Exit::Internal, "no rows"))?;
        let reason = match self.neighbour.decrypt(decrypt(row, "")).await {
            Err(error) if error.reason() == "INVALID_CIPHERTEXT" => error.reason().to_owned(),
            Err(error) => return Err(Failure::from(error).during("the neighbour's decrypt")),
            Ok(_) => return Err(Failure::new(Exit::Internal, "another tenant could decrypt")),
        };
        let page = audit::page(&self.neighbours_auditor, 0, u64::MAX, None).await?;
        let record = page.records.into_iter().rfind(|record| record.reason == reason);
        let missing = || Failure::new(Exit::Internal, "the refusal is not in the audit trail");
        Ok((reason, record.ok_or_else(missing)?))
    }

    /// Why the re-wrapper may not decrypt: what the policies say, and what would allow it.
    pub(super) async fn explained(&self) -> Result<kms::ExplainResponse, Failure> {
        let question = kms::Question {
            principal: folder::spiffe_id("rewrapper"),
            action: "crypto.decrypt".into(),
            key: ALIAS.into(),
            ..Default::default()
        };
        Ok(self.operator.explain(kms::ExplainRequest { question: Some(question) }).await?)
    }

    /// Who may read the audit log.
    pub(super) fn auditor(&self) -> &Client {
        &self.auditor
    }

    /// Shows the end of the trail; gives how many records there are.
    pub(super) async fn show_audit(&self, narrator: &dyn Narrator) -> Result<usize, Failure> {
        let (mut records, mut after) = (Vec::new(), 0);
        loop {
            let page = audit::page(&self.auditor, after, u64::MAX, None).await?;
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

fn reason_of_open(outcome: Option<kms::decrypt_result::Outcome>) -> String {
    match outcome {
        Some(kms::decrypt_result::Outcome::Refusal(refusal)) => refusal.reason,
        _ => String::new(),
    }
}

fn refused_item(id: u32, reason: String) -> Failure {
    Failure::new(Exit::Data, format!("the server refused the wrapped key of row {id}: {reason}"))
}

pub(super) fn expect(fulfilled: bool, otherwise: &str) -> Result<(), Failure> {
    if fulfilled { Ok(()) } else { Err(Failure::new(Exit::Internal, otherwise)) }
}

fn late(what: &str) -> Failure {
    Failure::new(Exit::Unavailable, what)
}

/// What a refusal is called: one answer for "not there" and "not yours".
const REFUSALS: [&str; 2] = ["PERMISSION_DENIED", "KEY_NOT_FOUND"];

const BATCH_ROWS: usize = 250;
const SHOWN_RECORDS: usize = 12;
const SCHEDULED_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);
