//! `bulla key compromise`: what to do when a version may have leaked, in one command. It marks the
//! version, asks the audit log who used it, begins to move everything off it, and writes a report
//! that a person can hand to others.
//!
//! Marking cannot be undone, so nothing after it stops the report: what could not be done is in it,
//! with the command that does it, and the exit code says so.

mod report;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bulla_client::{Client, kms};
use prost_types::Timestamp;

use super::arguments::Change;
use super::confirm::Confirmation;
use super::failure::Failure;
use super::json::{self, Json};
use super::output_file::Unfinished;
use super::retire::OneVersion;
use super::version::version_record;
use super::{Session, exposure, time};
use report::Report;

/// What is compromised.
#[derive(clap::Args, Debug)]
pub struct CompromiseArguments {
    #[command(flatten)]
    version: OneVersion,
    /// When it may have leaked: 2027-01-15T08:00:00Z, or how long ago, such as 7d [default: when
    /// the version was made]
    #[arg(long, value_name = "TIME", value_parser = time::parse_past)]
    since: Option<Timestamp>,
    /// Write the report, in Markdown, to this new file that only you may read [default: stdout]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// The stores that hold blobs of the version, as the census knows them.
#[derive(Default)]
struct Holders {
    registered: bool,
    /// Blobs that name no registered store, and so cannot be moved by a campaign.
    unnamed: u64,
}

// === impl CompromiseArguments ===

impl CompromiseArguments {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let OneVersion { key, version } = &self.version;
        self.confirmation.ask(&format!(
            "Version {version} of {key} will be compromised; this is never undone."
        ))?;
        let file =
            self.report.as_deref().map(|path| Unfinished::create(path, false)).transpose()?;
        let client = session.client().await?;
        let marked = client
            .compromise_version(kms::CompromiseVersionRequest {
                request_id: self.change.request_id(),
                reason: self.change.reason(),
                version: *version,
                key: key.clone(),
            })
            .await?;
        let report = self.follow(&client, marked).await;
        self.deliver(session, &report, file)?;
        report.first_failure()
    }

    /// Everything after the mark.
    async fn follow(&self, client: &Client, marked: kms::CompromiseVersionResponse) -> Report {
        let OneVersion { key, version } = &self.version;
        let made = marked.version.as_ref().and_then(|version| version.create_time);
        let since = self.since.or(made);
        let exposure = exposure::of(client, key.clone(), *version, since).await;
        let holders = holders(client, key, *version).await;
        let unnamed = holders.as_ref().map_or(0, |holders| holders.unnamed);
        let campaign = match holders {
            Ok(Holders { registered: false, .. }) => Ok(None),
            Ok(_) => self.begin(client).await.map(Some),
            Err(failure) => Err(failure),
        };
        let key = key.clone();
        Report { key, version: *version, marked, since, exposure, unnamed, campaign }
    }

    /// Begins the campaign over every registered store that the census knows for the version.
    async fn begin(&self, client: &Client) -> Result<kms::Campaign, Failure> {
        let OneVersion { key, version } = &self.version;
        let request = kms::CreateCampaignRequest {
            key: key.clone(),
            source_versions: vec![*version],
            urgent: true,
            reason: match self.change.reason() {
                reason if reason.is_empty() => format!("version {version} is compromised"),
                reason => reason,
            },
            ..Default::default()
        };
        let response = client.create_campaign(request).await?;
        Ok(response.campaign.unwrap_or_default())
    }

    /// The report to its file, and then the versions to stdout; or the report to stdout.
    fn deliver(
        &self,
        session: &Session,
        report: &Report,
        file: Option<Unfinished>,
    ) -> Result<(), Failure> {
        let path = self.report.as_deref();
        if let (Some(mut file), Some(path)) = (file, path) {
            let written = file.write_all(report.markdown().as_bytes());
            let wrong =
                |error| Failure::midway(&format!("cannot write {}", path.display()), &error);
            written.map_err(wrong)?;
            file.finish()?;
        }
        session.printer.answer(&report.json(path)?, || match path {
            None => report.markdown(),
            Some(path) => summary(report, path, time::unix_now()),
        })
    }
}

/// What the census says about where blobs of the version are.
async fn holders(client: &Client, key: &str, version: u32) -> Result<Holders, Failure> {
    let census = client.get_census(kms::GetCensusRequest { key: key.to_owned() }).await?;
    let mut holders = Holders::default();
    let of_version = census.versions.into_iter().filter(|census| census.version == version);
    for store in of_version.flat_map(|census| census.stores) {
        if store.name.is_empty() {
            let left = store.issued.saturating_sub(store.moved);
            holders.unnamed = holders.unnamed.saturating_add(left);
        } else {
            holders.registered = true;
        }
    }
    Ok(holders)
}

/// What stdout has when the report went to a file.
fn summary(report: &Report, path: &Path, now: i64) -> String {
    let version = report.marked.version.clone().unwrap_or_default();
    let mut shown = version_record(&version, now);
    if let Some(replacement) = &report.marked.replacement {
        shown.push_str("\nREPLACEMENT\n");
        shown.push_str(&version_record(replacement, now));
    }
    shown.push('\n');
    shown.push_str(&super::table::record(&[("report", path.display().to_string())]));
    shown
}

// === impl Report: for programs ===

impl Report {
    fn json(&self, path: Option<&Path>) -> Result<Json, Failure> {
        let Json::Object(mut fields) = json::of(&self.marked)? else { return Ok(Json::Null) };
        let exposure = match &self.exposure {
            Ok(exposure) => json::of(exposure)?,
            Err(_) => Json::Null,
        };
        let campaign = match &self.campaign {
            Ok(Some(campaign)) => json::of(campaign)?,
            Ok(None) | Err(_) => Json::Null,
        };
        let path = path.map_or(Json::Null, |path| Json::text(path.display().to_string()));
        fields.push(("exposure".to_owned(), exposure));
        fields.push(("campaign".to_owned(), campaign));
        fields.push(("report_file".to_owned(), path));
        Ok(Json::Object(fields))
    }
}
