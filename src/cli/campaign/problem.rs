//! Blobs that a campaign could not open, and what a person decides about each. A blob is known by
//! its place and the SHA-256 of what stands there, so a decision is about those bytes in that place and
//! no others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_client::kms;

use crate::cli::Session;
use crate::cli::arguments::Decision;
use crate::cli::failure::Failure;
use crate::cli::pages::{Limit, gather};
use crate::cli::store::store_name;
use crate::cli::table::{Table, enumerated, record, unless_zero};
use crate::cli::time;

/// Which problems.
#[derive(clap::Args, Debug)]
pub struct ListProblems {
    /// The campaign's UUID
    campaign_id: String,
    /// Only of this store (name or number)
    #[arg(long)]
    store: Option<String>,
    #[command(flatten)]
    limit: Limit,
}

/// One decision.
#[derive(clap::Args, Debug)]
pub struct DecideProblem {
    /// The campaign's UUID
    campaign_id: String,
    /// The store that the blob is in (name or number)
    #[arg(long)]
    store: String,
    /// SHA-256 of the blob, in hex or base64, as the list of problems has it
    #[arg(long, value_name = "HEX", value_parser = parse_digest, required_unless_present = "place")]
    digest: Option<Digest>,
    /// Where it stands, as the list of problems has it; needed where the same stands in several places
    #[arg(long)]
    place: Option<String>,
    /// What becomes of it
    #[arg(long = "as", value_enum, value_name = "DECISION")]
    decided: Decided,
    #[command(flatten)]
    decision: Decision,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Decided {
    /// It is lost, and counts no more
    Abandoned,
    /// It was mended: try it again
    Retry,
}

/// A SHA-256.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Digest([u8; 32]);

// === impl ListProblems ===

impl ListProblems {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let (campaign_id, store) = (self.campaign_id, self.store.unwrap_or_default());
        let all = gather(self.limit, |page_size, page_token| {
            let (campaign_id, store) = (campaign_id.clone(), store.clone());
            let request = kms::ListProblemsRequest { campaign_id, store, page_size, page_token };
            let client = client.clone();
            async move {
                let page = client.list_problems(request).await?;
                Ok((page.problems, page.next_page_token))
            }
        });
        let all = all.await?;
        let (problems, next_page_token) = (all.items, all.next_page_token);
        let response = kms::ListProblemsResponse { problems, next_page_token };
        session.printer.message(&response, |now| problem_table(&response.problems, now))
    }
}

// === impl DecideProblem ===

impl DecideProblem {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Decision { reason, once } = self.decision;
        let request = kms::DecideProblemRequest {
            campaign_id: self.campaign_id,
            store: self.store,
            digest: self.digest.map(|digest| digest.0.to_vec()).unwrap_or_default(),
            place: self.place.unwrap_or_default(),
            decision: kms::ProblemDecision::from(self.decided).into(),
            reason,
            request_id: once.request_id(),
        };
        let response = session.client().await?.decide_problem(request).await?;
        let problem = response.problem.clone().unwrap_or_default();
        session.printer.message(&response, |now| problem_record(&problem, now))
    }
}

// === impl Decided ===

impl From<Decided> for kms::ProblemDecision {
    fn from(decided: Decided) -> Self {
        match decided {
            Decided::Abandoned => Self::Abandoned,
            Decided::Retry => Self::Retry,
        }
    }
}

fn problem_table(problems: &[kms::StoreProblem], now: i64) -> String {
    let mut table = Table::new(&[
        "store",
        "place",
        "version",
        "reason",
        "digest",
        "decision",
        "report_time",
        "decision_principal",
        "decision_reason",
    ]);
    for listed in problems {
        let problem = listed.problem.clone().unwrap_or_default();
        table.row([
            store_name(listed.store, &listed.store_name),
            problem.place,
            unless_zero(problem.version),
            problem.reason,
            hex::encode(&problem.digest),
            decision_name(problem.decision),
            time::shown(problem.report_time.as_ref(), now),
            problem.decision_principal,
            problem.decision_reason,
        ]);
    }
    table.render("no problems")
}

fn problem_record(problem: &kms::Problem, now: i64) -> String {
    record(&[
        ("place", problem.place.clone()),
        ("version", unless_zero(problem.version)),
        ("reason", problem.reason.clone()),
        ("digest", hex::encode(&problem.digest)),
        ("decision", decision_name(problem.decision)),
        ("report_time", time::shown(problem.report_time.as_ref(), now)),
        ("decision_principal", problem.decision_principal.clone()),
        ("decision_reason", problem.decision_reason.clone()),
    ])
}

fn decision_name(decision: i32) -> String {
    let known = kms::ProblemDecision::try_from(decision).ok().map(|known| known.as_str_name());
    enumerated(known, "PROBLEM_DECISION_", decision)
}

/// Tables have digests in hex, JSON has them in base64.
fn parse_digest(text: &str) -> Result<Digest, String> {
    let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok());
    let digest = bytes.and_then(|bytes| bytes.try_into().ok());
    digest.map(Digest).ok_or_else(|| "a digest is 64 hex digits, or 32 bytes in base64".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn a_problem_is_shown_with_the_digest_that_a_decision_takes() {
        let problem = kms::Problem {
            place: "id=7\u{1b}[2J".into(),
            digest: vec![0xab; 32],
            version: 1,
            reason: "INVALID_CIPHERTEXT".into(),
            report_time: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            ..Default::default()
        };
        let listed = kms::StoreProblem {
            store: 3,
            store_name: "orders".into(),
            problem: Some(problem.clone()),
        };
        let hex = "ab".repeat(32);
        assert_eq!(
            problem_table(&[listed], 1_800_000_000),
            format!(
                "STORE   PLACE            VERSION  REASON              {:64}  DECISION  \
                 REPORT_TIME                 DECISION_PRINCIPAL  DECISION_REASON\n\
                 orders  id=7\\u{{001b}}[2J  1        INVALID_CIPHERTEXT  {hex}  -         \
                 2027-01-15T08:00:00Z (now)  -                   -\n",
                "DIGEST"
            )
        );
        let decided = kms::Problem {
            decision: kms::ProblemDecision::Abandoned.into(),
            decision_principal: "spiffe://d/operator".into(),
            decision_reason: "a test row".into(),
            ..problem
        };
        assert_eq!(
            problem_record(&decided, 1_800_000_000),
            format!(
                "PLACE               id=7\\u{{001b}}[2J\n\
                 VERSION             1\n\
                 REASON              INVALID_CIPHERTEXT\n\
                 DIGEST              {hex}\n\
                 DECISION            ABANDONED\n\
                 REPORT_TIME         2027-01-15T08:00:00Z (now)\n\
                 DECISION_PRINCIPAL  spiffe://d/operator\n\
                 DECISION_REASON     a test row\n"
            )
        );
        assert_eq!(problem_table(&[], 0), "no problems\n");
    }

    #[test]
    fn a_digest_is_taken_from_a_table_or_from_json() {
        let digest = Digest([0xab; 32]);
        assert_eq!(parse_digest(&"ab".repeat(32)).unwrap(), digest);
        assert_eq!(parse_digest(&STANDARD.encode([0xab; 32])).unwrap(), digest);
        for bad in ["", "abab", &"ab".repeat(31), &"ag".repeat(32), &STANDARD.encode([1; 31])] {
            assert!(parse_digest(bad).is_err(), "{bad}");
        }
    }
}
