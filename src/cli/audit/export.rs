//! `bulla audit export`: records as JSON lines or CSV, for another program to keep or look through.
//!
//! No text of a record can break out of its cell: control characters, bidirectional marks and what
//! else acts on a terminal are written by their code points, and a cell that a spreadsheet would take
//! for a formula begins with an apostrophe. Says on stderr as far as it has come, and goes on from there.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bulla_client::kms;

use crate::cli::Session;
use crate::cli::escape::visible;
use crate::cli::failure::Failure;
use crate::cli::json;
use crate::cli::output::{note, write_out};
use crate::cli::table::pairs;
use crate::cli::time;

use super::{FilterArguments, page};

/// What is exported, and how.
#[derive(clap::Args, Debug)]
pub struct ExportArguments {
    /// JSON lines, or CSV with a line of headings
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl, value_name = "FORMAT")]
    pub format: ExportFormat,
    /// Only records with a greater sequence: where an export that ended early goes on
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    pub after_sequence: u64,
    /// From a copied data directory, verified on the way, without a server
    #[arg(long, value_name = "DIR", requires = "public_key")]
    pub directory: Option<PathBuf>,
    /// The verifier key, from a place that the server cannot write to
    #[arg(long, value_name = "FILE", requires = "directory")]
    pub public_key: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArguments,
}

/// The form of an export.
// The variants have no documentation of their own, so that the help stays short.
#[allow(missing_docs)]
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExportFormat {
    Jsonl,
    Csv,
}

/// Makes lines of records.
pub struct Exporter {
    format: ExportFormat,
    headed: bool,
    count: u64,
    last: u64,
    told: Instant,
}

// === impl ExportArguments ===

impl ExportArguments {
    /// Which records, as the API asks; None for all.
    ///
    /// # Errors
    /// In words: a pair of an encryption context has no value.
    pub fn record_filter(&self) -> Result<Option<kms::RecordFilter>, String> {
        self.filter.clone().filter().map_err(|failure| failure.to_string())
    }
}

// === impl Exporter ===

impl Exporter {
    /// Nothing is written yet.
    pub fn new(format: ExportFormat) -> Self {
        Self { format, headed: false, count: 0, last: 0, told: Instant::now() }
    }

    /// The bytes of one record, with the headings before the first.
    ///
    /// # Errors
    /// In words: the record cannot be written.
    pub fn line(&mut self, record: &kms::Record, tenant_id: &str) -> Result<Vec<u8>, String> {
        self.count = self.count.saturating_add(1);
        self.last = record.sequence;
        let headed = std::mem::replace(&mut self.headed, true);
        match self.format {
            ExportFormat::Jsonl => {
                let line = json::of(record).map_err(|_| "a record has no JSON form".to_owned())?;
                Ok(line.with("tenant_id", tenant_id).compact().into_bytes())
            }
            ExportFormat::Csv => {
                let mut rows = csv::Writer::from_writer(Vec::new());
                let mut written = Ok(());
                if !headed {
                    written = rows.write_record(CELLS);
                }
                let cells = cells(record, tenant_id);
                written
                    .and_then(|()| rows.write_record(cells.iter().map(|text| cell(text))))
                    .map_err(|error| error.to_string())?;
                rows.into_inner().map_err(|error| error.to_string())
            }
        }
    }

    /// What is missing when there was no record: the headings.
    pub fn end(&self) -> Vec<u8> {
        match self.format {
            ExportFormat::Csv if !self.headed => format!("{}\n", CELLS.join(",")).into_bytes(),
            _ => Vec::new(),
        }
    }

    /// How many records were written, in words, where it is time to say so again.
    pub fn progress(&mut self) -> Option<String> {
        if self.told.elapsed() < TOLD_EVERY {
            return None;
        }
        self.told = Instant::now();
        Some(format!("exported {} records, up to sequence {}", self.count, self.last))
    }

    /// What was done in all, in words: the log was looked through up to `reached`.
    pub fn summary(&self, reached: u64) -> String {
        format!(
            "exported {} records; go on later with --after-sequence {}",
            self.count,
            reached.max(self.last)
        )
    }
}

/// Exports what the server lists.
pub(super) async fn export(session: &Session, arguments: ExportArguments) -> Result<(), Failure> {
    let filter = arguments.filter.filter()?;
    let client = session.client().await?;
    let mut exporter = Exporter::new(arguments.format);
    let mut after = arguments.after_sequence;
    loop {
        let page = match page(&client, after, u64::MAX, filter.clone()).await {
            Ok(page) => page,
            Err(failure) => {
                note(&exporter.summary(after));
                return Err(failure);
            }
        };
        let mut bytes = Vec::new();
        for record in &page.records {
            let line = exporter
                .line(record, "")
                .map_err(|problem| Failure::new(crate::cli::failure::Exit::Internal, problem))?;
            bytes.extend_from_slice(&line);
        }
        write_out(&bytes)?;
        after = page.next_after_sequence;
        if page.end {
            write_out(&exporter.end())?;
            note(&exporter.summary(after));
            return Ok(());
        }
        if let Some(progress) = exporter.progress() {
            note(&progress);
        }
    }
}

/// A cell that nothing breaks out of, in a terminal or a spreadsheet.
fn cell(text: &str) -> String {
    let shown = visible(text);
    // What a spreadsheet evaluates begins so, in ASCII and in its full-width forms.
    let is_formula = shown.trim_start().starts_with(|first| "=+-@＝＋－＠|%".contains(first));
    if is_formula { format!("'{shown}") } else { shown.into_owned() }
}

fn cells(record: &kms::Record, tenant_id: &str) -> [String; CELLS.len()] {
    let items = record.item_details.iter().map(|item| {
        let to = match item.destination_key_id.as_str() {
            "" => String::new(),
            key => format!(" to {key} v{}", item.destination_version),
        };
        let why = [item.reason.as_str(), item.class.as_str()].join(" ");
        format!("{}x {} v{}{to} {why}", item.count, item.key_id, item.version).trim_end().to_owned()
    });
    let number = |number: u64| if number == 0 { String::new() } else { number.to_string() };
    let hex = |bytes: &[u8]| hex::encode(bytes);
    [
        record.sequence.to_string(),
        record.time.as_ref().and_then(time::rfc3339).unwrap_or_default(),
        tenant_id.to_owned(),
        number(record.tenant_sequence),
        hex(&record.id),
        record.principal.clone(),
        record.credential_kind.clone(),
        record.end_user.clone(),
        record.source_address.clone(),
        record.action.clone(),
        record.outcome.clone(),
        record.reason.clone(),
        record.class.clone(),
        record.key_id.clone(),
        number(record.version.into()),
        number(record.store.into()),
        record.destination_key_id.clone(),
        number(record.destination_version.into()),
        number(record.destination_store.into()),
        number(record.items.into()),
        items.collect::<Vec<_>>().join("; "),
        pairs(&record.encryption_context),
        record.request_id.clone(),
        record.approval.clone(),
        record.policies.join(" "),
        number(record.policy_revision),
        number(record.latency_us),
        number(record.started_sequence),
        record.detail.clone(),
        hex(&record.hash),
    ]
}

const CELLS: [&str; 30] = [
    "sequence",
    "time",
    "tenant_id",
    "tenant_sequence",
    "id",
    "principal",
    "credential_kind",
    "end_user",
    "source_address",
    "action",
    "outcome",
    "reason",
    "class",
    "key_id",
    "version",
    "store",
    "destination_key_id",
    "destination_version",
    "destination_store",
    "items",
    "item_details",
    "encryption_context",
    "request_id",
    "approval",
    "policies",
    "policy_revision",
    "latency_us",
    "started_sequence",
    "detail",
    "hash",
];
const TOLD_EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::cli::escape::acts_on_a_terminal;

    const EVIL: [&str; 6] = [
        "=HYPERLINK(\"http://x\",\"y\")",
        "  +1\n13,forged",
        "-2+3|cmd",
        "@SUM(A1)\r\n",
        "\u{1b}[2J\u{202e}\u{9b}31m",
        "＝1,\"quoted\"\t",
    ];

    fn record(text: &str) -> kms::Record {
        kms::Record {
            sequence: 7,
            principal: text.into(),
            detail: text.into(),
            request_id: text.into(),
            encryption_context: [(text.to_owned(), text.to_owned())].into(),
            policies: vec![text.into()],
            ..Default::default()
        }
    }

    #[test]
    fn h05_no_text_breaks_out_of_a_cell_a_line_or_a_formula() {
        for text in EVIL {
            let mut exporter = Exporter::new(ExportFormat::Csv);
            let bytes = exporter.line(&record(text), text).unwrap();
            let shown = String::from_utf8(bytes.clone()).unwrap();
            assert_eq!(shown.lines().count(), 2, "{shown}");
            assert!(!shown.chars().any(|it| acts_on_a_terminal(it) && it != '\n'), "{shown}");
            let mut rows = csv::Reader::from_reader(bytes.as_slice());
            let row = rows.records().next().unwrap().unwrap();
            assert_eq!(row.len(), CELLS.len());
            for value in &row {
                let first = value.trim_start().chars().next().unwrap_or('x');
                assert!(!"=+-@＝＋－＠|%".contains(first), "{value}");
            }
            let mut exporter = Exporter::new(ExportFormat::Jsonl);
            let shown = String::from_utf8(exporter.line(&record(text), text).unwrap()).unwrap();
            assert_eq!(shown.matches('\n').count(), 1);
            assert!(!shown.trim_end().chars().any(acts_on_a_terminal), "{shown}");
            let parsed: serde_json::Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(parsed["principal"], text, "a program reads what was recorded");
            assert_eq!(parsed["tenant_id"], text);
        }
    }

    #[test]
    fn headings_stand_once_and_the_summary_says_where_to_go_on() {
        let mut exporter = Exporter::new(ExportFormat::Csv);
        let first = String::from_utf8(exporter.line(&record("a"), "").unwrap()).unwrap();
        let second = String::from_utf8(exporter.line(&record("b"), "").unwrap()).unwrap();
        assert!(first.starts_with("sequence,time,tenant_id,") && first.lines().count() == 2);
        assert_eq!(second.lines().count(), 1);
        let summary = exporter.summary(12);
        assert_eq!(summary, "exported 2 records; go on later with --after-sequence 12");
    }
}
