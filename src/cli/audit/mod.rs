//! `bulla audit`: who did what, and what was refused.

mod export;
mod receipts;
mod verify;

use bulla_client::{Client, kms};

pub use export::{ExportArguments, ExportFormat, Exporter};
pub(super) use receipts::kept;
pub use verify::VerifyArguments;

use super::Session;
use super::arguments::ContextArguments;
use super::failure::{Exit, Failure};
use super::output::{Format, write_out};
use super::table::{Columns, pairs, unless_zero};
use super::time;

/// The audit trail of your tenant.
#[derive(clap::Subcommand, Debug)]
pub enum AuditCommand {
    /// Show the latest records and then new ones as they come, until interrupted
    Tail {
        /// Start with this many of the latest records
        #[arg(long, value_name = "N", default_value_t = 10)]
        #[arg(value_parser = clap::value_parser!(u32).range(..=1000))]
        last: u32,
        /// Which of them
        #[command(flatten)]
        filter: FilterArguments,
    },
    /// List records, oldest first
    List {
        /// Only records with a greater sequence
        #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
        after_sequence: u64,
        /// The most that is listed; to the end of the log without it
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
        /// Which of them
        #[command(flatten)]
        filter: FilterArguments,
    },
    /// Write records as JSON lines or CSV, from the server or from a copied data directory
    Export(Box<ExportArguments>),
    /// Show one record, once its bytes were found to make its chain value
    Show {
        /// Its sequence
        sequence: u64,
    },
    /// Check the log: what the server says about it, or a copy of it
    Verify(VerifyArguments),
    /// Print the newest signed checkpoint, to be kept elsewhere
    Checkpoint,
    /// Print the key that checkpoints are signed with, to be kept elsewhere
    Key,
}

/// Which records: those for which all of it holds.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct FilterArguments {
    /// Not before this time, as 2026-11-24T08:00:00Z or as a span before now, such as 2h
    #[arg(long, value_name = "TIME", value_parser = time::parse_past)]
    since: Option<prost_types::Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time::parse_past)]
    until: Option<prost_types::Timestamp>,
    /// Of this caller
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// Of this action, such as crypto.decrypt
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// About this key
    #[arg(long, value_name = "UUID")]
    key_id: Option<String>,
    /// And this version of it
    #[arg(long, value_name = "N", requires = "key_id")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    /// That ended so
    #[arg(long, value_name = "OUTCOME", ignore_case = true)]
    #[arg(value_parser = ["STARTED", "SUCCEEDED", "REFUSED", "FAILED"])]
    outcome: Option<String>,
    /// With this reason, such as INVALID_CIPHERTEXT
    #[arg(long = "because", value_name = "REASON")]
    reason: Option<String>,
    /// With this id of the request
    #[arg(long = "of-request", value_name = "ID")]
    request_id: Option<String>,
    #[command(flatten)]
    context: ContextArguments,
}

// === impl FilterArguments ===

impl FilterArguments {
    /// Nothing when everything is wanted.
    fn filter(self) -> Result<Option<kms::RecordFilter>, Failure> {
        let filter = kms::RecordFilter {
            start_time: self.since,
            end_time: self.until,
            principal: self.principal.unwrap_or_default(),
            action: self.action.unwrap_or_default(),
            key_id: self.key_id.unwrap_or_default(),
            version: self.version.unwrap_or_default(),
            outcome: self.outcome.unwrap_or_default().to_uppercase(),
            reason: self.reason.unwrap_or_default(),
            request_id: self.request_id.unwrap_or_default(),
            encryption_context: self.context.pairs()?.into_iter().collect(),
        };
        Ok(Some(filter).filter(|filter| *filter != kms::RecordFilter::default()))
    }
}

// === impl AuditCommand ===

impl AuditCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Tail { last, filter } => tail(session, last, filter.filter()?).await,
            Self::List { after_sequence, limit, filter } => {
                list(session, after_sequence, limit, filter.filter()?).await
            }
            Self::Export(arguments) => export::export(session, *arguments).await,
            Self::Show { sequence } => verify::show(session, sequence).await,
            Self::Verify(arguments) => verify::verify(session, arguments).await,
            Self::Checkpoint => verify::checkpoint(session).await,
            Self::Key => verify::key(session).await,
        }
    }
}

async fn tail(
    session: &Session,
    last: u32,
    filter: Option<kms::RecordFilter>,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let mut records = client.tail_records(kms::TailRecordsRequest { last, filter }).await?;
    if session.printer.format() == Format::Table {
        write_out(COLUMNS.headings().as_bytes())?;
    }
    while let Some(response) = records.message().await? {
        if let Some(record) = &response.record {
            session.printer.streamed(record, || line(record))?;
        }
    }
    Ok(())
}

async fn list(
    session: &Session,
    after: u64,
    limit: Option<u64>,
    filter: Option<kms::RecordFilter>,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let mut left = limit.unwrap_or(u64::MAX);
    let mut after_sequence = after;
    let mut headed = session.printer.format() == Format::Json;
    loop {
        let page = page(&client, after_sequence, left, filter.clone()).await?;
        // Not before the first page: a refusal has no table.
        if !std::mem::replace(&mut headed, true) {
            write_out(COLUMNS.headings().as_bytes())?;
        }
        for record in page.records.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            session.printer.streamed(record, || line(record))?;
        }
        left = left.saturating_sub(u64::try_from(page.records.len()).unwrap_or(u64::MAX));
        if page.end || left == 0 {
            return Ok(());
        }
        after_sequence = page.next_after_sequence;
    }
}

/// One page after `after_sequence`, of at most `most` records.
pub(crate) async fn page(
    client: &Client,
    after_sequence: u64,
    most: u64,
    filter: Option<kms::RecordFilter>,
) -> Result<kms::ListRecordsResponse, Failure> {
    let page_size = u32::try_from(most.min(PAGE_SIZE_MAX)).unwrap_or(u32::MAX);
    let asked = kms::ListRecordsRequest { after_sequence, page_size, filter };
    let page = client.list_records(asked).await?;
    if page.end || page.next_after_sequence > after_sequence {
        Ok(page)
    } else {
        Err(Failure::new(Exit::Internal, "the server's list of records does not go on"))
    }
}

/// The headings of [`line`].
pub(crate) fn headings() -> String {
    COLUMNS.headings()
}

/// One record on one line.
pub(crate) fn line(record: &kms::Record) -> String {
    let time = record.time.as_ref().and_then(time::rfc3339).unwrap_or_default();
    COLUMNS.row([
        record.sequence.to_string(),
        time,
        record.principal.clone(),
        record.action.clone(),
        record.outcome.clone(),
        unless_zero(record.items),
        unless_zero(record.latency_us),
        unless_zero(record.tenant_sequence),
        // Enough of it to find it by; JSON has all of it.
        hex::encode(record.id.get(..4).unwrap_or_default()),
        unless_zero(record.version),
        record.key_id.clone(),
        because(record),
    ])
}

/// The reason with what the caller was not told, and what the call was about.
fn because(record: &kms::Record) -> String {
    let mut parts = Vec::new();
    if !record.reason.is_empty() {
        parts.push(record.reason.clone());
    }
    for (name, value) in [("class", &record.class), ("detail", &record.detail)] {
        if !value.is_empty() {
            parts.push(format!("{name}={value}"));
        }
    }
    if !record.encryption_context.is_empty() {
        parts.push(format!("encryption_context={{{}}}", pairs(&record.encryption_context)));
    }
    parts.join(" ")
}

const COLUMNS: Columns = Columns::new(&[
    ("sequence", 8),
    ("time", 27),
    ("principal", 34),
    ("action", 26),
    ("outcome", 9),
    ("items", 5),
    ("latency_us", 10),
    ("tenant_sequence", 15),
    ("id", 8),
    ("version", 7),
    ("key_id", 36),
    ("reason", 0),
]);

const PAGE_SIZE_MAX: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> kms::Record {
        kms::Record {
            sequence: 12,
            time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 123_456_000 }),
            principal: "spiffe://quickstart.bulla/app".into(),
            action: "crypto.decrypt".into(),
            outcome: "REFUSED".into(),
            reason: "INVALID_CIPHERTEXT".into(),
            class: "commitment".into(),
            items: 1,
            latency_us: 850,
            tenant_sequence: 4,
            id: (10..26).collect(),
            encryption_context: [("table".to_owned(), "customers".to_owned())].into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_record_says_when_who_what_how_it_ended_and_why() {
        assert_eq!(
            line(&record()),
            "12        2027-01-15T08:00:00.123456Z  spiffe://quickstart.bulla/app       \
             crypto.decrypt              REFUSED    1      850         4                \
             0a0b0c0d  -        \
             -                                     \
             INVALID_CIPHERTEXT class=commitment encryption_context={table=customers}\n"
        );
    }

    #[test]
    fn h05_a_record_cannot_forge_another_one() {
        let forged = kms::Record {
            detail: "x\n13  2027-01-15T08:00:01Z  spiffe://d/root\u{1b}[8m".into(),
            principal: "\u{202e}ppa".into(),
            ..record()
        };
        let shown = line(&forged);
        assert_eq!(shown.matches('\n').count(), 1);
        assert!(shown.contains("\\n13") && shown.contains("\\u{001b}[8m"), "{shown}");
        assert!(shown.contains("\\u{202e}ppa"), "{shown}");
    }
}
