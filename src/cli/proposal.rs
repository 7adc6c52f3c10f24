//! `bulla proposal`: changes that need more than one person, and `bulla approval-rule`: which do.

use bulla_client::{Proposing, kms};
use clap::Parser as _;

use super::arguments::{Change, Once};
use super::failure::{Exit, Failure};
use super::pages::{Limit, gather};
use super::table::{Table, record};
use super::time::{parse_span, shown, span, unix_now};
use super::{Command, Session};

/// Proposals.
#[derive(clap::Subcommand, Debug)]
pub enum ProposalCommand {
    /// Propose a command in place of running it: bulla proposal create -- key destroy orders 1
    Create {
        /// Why, for those who vote
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
        /// In an emergency: a role for at most 4 hours, approved by any two other approvers
        #[arg(long)]
        break_glass: bool,
        /// The command, as you would run it
        #[arg(required = true, last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// List proposals
    List {
        /// Those too that can no longer be voted on or made
        #[arg(long)]
        all: bool,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a proposal: what would be done, and how people voted
    Show {
        /// Its UUID
        proposal: String,
    },
    /// Say yes to a proposal that you have read
    Approve {
        /// Its UUID
        proposal: String,
        /// What `bulla proposal show` said, so that nothing else is approved
        #[arg(long, value_name = "HEX")]
        digest: String,
        /// What goes with it.
        #[command(flatten)]
        change: Change,
    },
    /// Say no to a proposal, which ends it
    Reject {
        /// Its UUID
        proposal: String,
        /// What goes with it.
        #[command(flatten)]
        change: Change,
    },
}

/// Rules.
#[derive(clap::Subcommand, Debug)]
pub enum ApprovalRuleCommand {
    /// Let an action need the approval of a group
    Put {
        /// The action, such as keys.schedule_destroy
        action: String,
        /// The group whose members approve
        #[arg(long)]
        group: String,
        /// How many of them
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        needed: u32,
        /// How long a proposal stays good, such as 8h [default: 24h, at most 7d]
        #[arg(long, value_name = "SPAN", value_parser = parse_span)]
        lifetime: Option<prost_types::Duration>,
        /// What goes with it.
        #[command(flatten)]
        once: Once,
    },
    /// List rules
    List,
    /// Let an action go without approval again
    Delete {
        /// The action
        action: String,
        /// What goes with it.
        #[command(flatten)]
        once: Once,
    },
}

/// What is proposed: any command that changes something.
#[derive(clap::Parser, Debug)]
#[command(name = "bulla", no_binary_name = true)]
struct Proposed {
    #[command(subcommand)]
    command: Command,
}

// === impl ProposalCommand ===

impl ProposalCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { reason, break_glass, command } => {
                create(session, Proposing::new(reason, break_glass), command).await
            }
            Self::List { all, limit } => list(session, !all, limit).await,
            Self::Show { proposal } => {
                let request = kms::GetProposalRequest { proposal_id: proposal };
                let answer = session.client().await?.get_proposal(request).await?;
                session.printer.message(&answer, |_| proposal_text(answer.proposal.as_ref()))
            }
            Self::Approve { proposal, digest, change } => {
                let digest = hex::decode(&digest).map_err(|_| {
                    Failure::new(Exit::Usage, "the digest is not hexadecimal")
                        .hint("copy it from: bulla proposal show ID")
                })?;
                let (reason, request_id) = (change.reason(), change.request_id());
                let request =
                    kms::ApproveRequest { proposal_id: proposal, digest, reason, request_id };
                let answer = session.client().await?.approve(request).await?;
                session.printer.message(&answer, |_| proposal_text(answer.proposal.as_ref()))
            }
            Self::Reject { proposal, change } => {
                let (reason, request_id) = (change.reason(), change.request_id());
                let request = kms::RejectRequest { proposal_id: proposal, reason, request_id };
                let answer = session.client().await?.reject(request).await?;
                session.printer.message(&answer, |_| proposal_text(answer.proposal.as_ref()))
            }
        }
    }
}

// === impl ApprovalRuleCommand ===

impl ApprovalRuleCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Put { action, group, needed, lifetime, once } => {
                let rule = Some(kms::ApprovalRule { action, group, needed, lifetime });
                let request = kms::PutApprovalRuleRequest { rule, request_id: once.request_id() };
                let answer = session.client().await?.put_approval_rule(request).await?;
                session.printer.message(&answer, |_| {
                    let rule = answer.rule.clone().unwrap_or_default();
                    record(&[
                        ("action", rule.action),
                        ("group", rule.group),
                        ("needed", rule.needed.to_string()),
                        ("lifetime", span(rule.lifetime.as_ref())),
                    ])
                })
            }
            Self::List => {
                let request = kms::ListApprovalRulesRequest {};
                let answer = session.client().await?.list_approval_rules(request).await?;
                session.printer.message(&answer, |_| {
                    let mut table = Table::new(&["action", "group", "needed", "lifetime"]);
                    for rule in &answer.rules {
                        let (needed, lifetime) = (rule.needed, span(rule.lifetime.as_ref()));
                        let (action, group) = (rule.action.clone(), rule.group.clone());
                        table.row([action, group, needed.to_string(), lifetime]);
                    }
                    table.render("no approval rules")
                })
            }
            Self::Delete { action, once } => {
                let request_id = once.request_id();
                let request = kms::DeleteApprovalRuleRequest { action: action.clone(), request_id };
                let answer = session.client().await?.delete_approval_rule(request).await?;
                session.printer.message(&answer, |_| record(&[("deleted_rule", action)]))
            }
        }
    }
}

async fn create(
    session: &Session,
    proposing: Proposing,
    words: Vec<String>,
) -> Result<(), Failure> {
    let proposed = Proposed::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Failure::new(Exit::Usage, format!("what is proposed is no command: {first}"))
    })?;
    let inner = session.proposing(&proposing);
    // Boxed: any command can be proposed, this one too.
    let ran = Box::pin(super::run_remote(proposed.command, &inner)).await;
    let Some(made) = proposing.made() else {
        return match ran {
            Err(failure) => Err(failure),
            Ok(()) => Err(Failure::new(Exit::Usage, "the command changes nothing")
                .hint("propose one that needs approval; see: bulla approval-rule list")),
        };
    };
    let answer = kms::ProposeResponse { proposal: Some(made.clone()) };
    session.printer.message(&answer, |_| proposal_text(answer.proposal.as_ref()))
}

/// What an approver reads. The request's own lines stand below, so that none passes for ours.
fn proposal_text(proposal: Option<&kms::Proposal>) -> String {
    let proposal = proposal.cloned().unwrap_or_default();
    let now = unix_now();
    let votes: Vec<_> = proposal.votes.iter().map(vote_text).collect();
    let emergency = proposal.break_glass;
    let voters = if emergency { "any two others".to_owned() } else { proposal.group.clone() };
    let mut text = record(&[
        ("proposal_id", proposal.proposal_id.clone()),
        ("state", state_name(&proposal)),
        ("action", proposal.action.clone()),
        ("proposer", proposal.proposer.clone()),
        ("reason", proposal.reason.clone()),
        ("group", voters),
        ("needed", proposal.needed.to_string()),
        ("votes", votes.join("; ")),
        ("expires", shown(proposal.expire_time.as_ref(), now)),
        ("break_glass", if emergency { "YES" } else { "no" }.to_owned()),
        ("digest", hex::encode(&proposal.digest)),
    ]);
    text.push_str("request:\n");
    for line in proposal.summary.lines() {
        text.push_str("  ");
        text.push_str(&super::escape::visible(line));
        text.push('\n');
    }
    text
}

fn vote_text(vote: &kms::Vote) -> String {
    let word = if vote.approves { "yes" } else { "no" };
    let reason = if vote.reason.is_empty() { "" } else { ": " };
    format!("{} {word}{reason}{}", vote.principal, vote.reason)
}

fn state_name(proposal: &kms::Proposal) -> String {
    let name = proposal.state().as_str_name();
    name.strip_prefix("PROPOSAL_STATE_").unwrap_or(name).to_lowercase()
}

async fn list(session: &Session, open: bool, limit: Limit) -> Result<(), Failure> {
    let client = session.client().await?;
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListProposalsRequest { open, page_size, page_token };
        let client = client.clone();
        async move {
            client.list_proposals(request).await.map(|page| (page.proposals, page.next_page_token))
        }
    });
    let all = all.await?;
    let (proposals, next_page_token) = (all.items, all.next_page_token);
    let response = kms::ListProposalsResponse { proposals, next_page_token };
    let now = unix_now();
    session.printer.message(&response, |_| {
        let fields = ["proposal_id", "state", "action", "proposer", "votes", "expires", "reason"];
        let mut table = Table::new(&fields);
        for proposal in &response.proposals {
            let yes = proposal.votes.iter().filter(|vote| vote.approves).count();
            table.row([
                proposal.proposal_id.clone(),
                state_name(proposal),
                proposal.action.clone(),
                proposal.proposer.clone(),
                format!("{yes} of {}", proposal.needed),
                shown(proposal.expire_time.as_ref(), now),
                proposal.reason.clone(),
            ]);
        }
        table.render("no proposals")
    })
}
