//! `bulla policy simulate`: what recorded calls would be answered under other policies.

use std::path::PathBuf;

use bulla_client::kms;

use super::files::PolicyFile;
use crate::cli::Session;
use crate::cli::failure::Failure;
use crate::cli::table::Table;

/// Policies that are proposed, and how far to look back.
#[derive(clap::Args, Debug)]
pub struct SimulateArguments {
    /// ID.cedar files to be put
    files: Vec<PathBuf>,
    /// A policy to be deleted; may be given more than once
    #[arg(long = "delete", value_name = "ID")]
    delete: Vec<String>,
    /// How many of the latest recorded calls to ask again
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    replay: u32,
}

// === impl SimulateArguments ===

impl SimulateArguments {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = kms::SimulatePoliciesRequest {
            put: proposed(&self.files)?,
            delete: self.delete,
            cases: Vec::new(),
            replay: self.replay,
        };
        let response = session.client().await?.simulate_policies(request).await?;
        session.printer.message(&response, |_| changed(&response))
    }
}

/// The policies of these files, as they would be put.
pub(super) fn proposed(files: &[PathBuf]) -> Result<Vec<kms::Policy>, Failure> {
    let policy = |path: &PathBuf| {
        let PolicyFile { policy_id, text } = PolicyFile::read(path)?;
        Ok(kms::Policy { policy_id, text, ..Default::default() })
    };
    files.iter().map(policy).collect()
}

fn changed(response: &kms::SimulatePoliciesResponse) -> String {
    let mut table = Table::new(&["principal", "action", "key", "calls", "before", "after"]);
    for change in &response.changed {
        let question = change.question.clone().unwrap_or_default();
        table.row([
            question.principal,
            question.action,
            question.key,
            change.count.to_string(),
            answer(change.before.as_ref()),
            answer(change.after.as_ref()),
        ]);
    }
    table.render(&format!("of {} recorded calls none is answered otherwise", response.replayed))
}

/// `allowed` or the class of the refusal, and what decided.
pub(super) fn answer(decision: Option<&kms::Decision>) -> String {
    let decision = decision.cloned().unwrap_or_default();
    let word = if decision.allowed { "allowed".to_owned() } else { decision.class };
    match decision.policies.is_empty() {
        true => word,
        false => format!("{word} by {}", decision.policies.join(", ")),
    }
}
