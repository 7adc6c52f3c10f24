//! `bulla policy`: policies as files that are put, compared, tested and simulated before they apply.

mod cases;
mod files;
mod simulate;

use std::path::PathBuf;

use bulla_client::{Client, kms};

use super::Session;
use super::arguments::Once;
use super::failure::Failure;
use super::pages::{Limit, gather};
use super::table::{Table, record, yes_or_no};
use super::time;

use files::PolicyFile;

/// Policies.
#[derive(clap::Subcommand, Debug)]
pub enum PolicyCommand {
    /// Make or replace a policy
    Put(PutPolicy),
    /// List policies, those that come with the program included
    List {
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a policy's text
    Show {
        /// The policy's id
        policy: String,
    },
    /// Delete a policy; one that comes with the program, and that it had replaced, stands again
    Delete {
        /// The policy's id
        policy: String,
        /// So that it happens once.
        #[command(flatten)]
        once: Once,
    },
    /// Show what policies may speak of
    Schema,
    /// Compare files with the policies that are there
    Diff {
        /// ID.cedar files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Ask the cases of a file, with the policies that it names put; changes nothing
    Test {
        /// A TOML file: policies, and cases (`[[case]]`) with principal, action, key and allowed
        file: PathBuf,
    },
    /// Ask the latest recorded calls again, with other policies; changes nothing
    Simulate(simulate::SimulateArguments),
}

/// A policy to be put.
#[derive(clap::Args, Debug)]
pub struct PutPolicy {
    /// The file: one statement in the Cedar language; its name without .cedar is the policy's id
    file: PathBuf,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    once: Once,
}

// === impl PolicyCommand ===

impl PolicyCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Put(put) => put.run(session).await,
            Self::List { limit } => list(session, limit).await,
            Self::Show { policy } => show(session, policy).await,
            Self::Delete { policy, once } => {
                let request_id = once.request_id();
                let request = kms::DeletePolicyRequest { policy_id: policy.clone(), request_id };
                let response = session.client().await?.delete_policy(request).await?;
                session.printer.message(&response, |_| record(&[("deleted", policy.clone())]))
            }
            Self::Schema => {
                let request = kms::GetPolicySchemaRequest {};
                let response = session.client().await?.get_policy_schema(request).await?;
                session.printer.message(&response, |_| response.schema.clone())
            }
            Self::Diff { files } => diff(session, files).await,
            Self::Test { file } => cases::run(session, &file).await,
            Self::Simulate(arguments) => arguments.run(session).await,
        }
    }
}

// === impl PutPolicy ===

impl PutPolicy {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let PolicyFile { policy_id, text } = PolicyFile::read(&self.file)?;
        let description = self.description.unwrap_or_default();
        let request_id = self.once.request_id();
        let request = kms::PutPolicyRequest { policy_id, text, description, request_id };
        let response = session.client().await?.put_policy(request).await?;
        let policy = response.policy.clone().unwrap_or_default();
        session.printer.message(&response, |now| {
            record(&[
                ("policy_id", policy.policy_id.clone()),
                ("description", policy.description.clone()),
                ("update_time", time::shown(policy.update_time.as_ref(), now)),
                ("principal", policy.principal.clone()),
            ])
        })
    }
}

async fn all(client: &Client, limit: Limit) -> Result<kms::ListPoliciesResponse, Failure> {
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListPoliciesRequest { page_size, page_token };
        let client = client.clone();
        async move {
            let page = client.list_policies(request).await?;
            Ok((page.policies, page.next_page_token))
        }
    });
    let all = all.await?;
    Ok(kms::ListPoliciesResponse { policies: all.items, next_page_token: all.next_page_token })
}

async fn list(session: &Session, limit: Limit) -> Result<(), Failure> {
    let response = all(&session.client().await?, limit).await?;
    session.printer.message(&response, |now| {
        let mut table =
            Table::new(&["policy_id", "built_in", "update_time", "principal", "description"]);
        for policy in &response.policies {
            table.row([
                policy.policy_id.clone(),
                yes_or_no(policy.built_in),
                time::shown(policy.update_time.as_ref(), now),
                policy.principal.clone(),
                policy.description.clone(),
            ]);
        }
        table.render("no policies")
    })
}

async fn show(session: &Session, policy_id: String) -> Result<(), Failure> {
    let request = kms::GetPolicyRequest { policy_id };
    let response = session.client().await?.get_policy(request).await?;
    let policy = response.policy.clone().unwrap_or_default();
    session.printer.message(&response, |_| files::shown(&policy.text))
}

async fn diff(session: &Session, paths: Vec<PathBuf>) -> Result<(), Failure> {
    let files: Vec<PolicyFile> =
        paths.iter().map(|path| PolicyFile::read(path)).collect::<Result<_, _>>()?;
    let there = all(&session.client().await?, Limit::default()).await?;
    let told = files.iter().map(|file| {
        let same_id = there.policies.iter().find(|policy| policy.policy_id == file.policy_id);
        (
            file.policy_id.clone(),
            files::difference(same_id.map(|policy| policy.text.as_str()), &file.text),
        )
    });
    let told: Vec<_> = told.collect();
    session.printer.answer(&files::as_json(&told), || {
        told.iter().map(|(id, difference)| difference.shown(id)).collect()
    })
}
