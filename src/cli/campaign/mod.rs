//! `bulla campaign`: moving every blob of some versions of a key out of some stores. This begins,
//! follows and steers it; `bulla rewrap run`, beside the data, moves the blobs.

mod problem;
mod show;

use bulla_client::{Client, kms};

use super::Session;
use super::arguments::{Change, Decision};
use super::failure::Failure;
use super::pages::{Limit, gather};
use problem::{DecideProblem, ListProblems};

pub(crate) use show::next_commands;

/// Campaigns.
#[derive(clap::Subcommand, Debug)]
pub enum CampaignCommand {
    /// Begin to move every blob of some versions of a key
    Create(CreateCampaign),
    /// List campaigns
    List {
        /// Only campaigns of this key (UUID or alias)
        key: Option<String>,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show how far a campaign has come in each store
    Show {
        /// The campaign's UUID
        campaign_id: String,
    },
    /// Stop the agents of a campaign until it is resumed
    Pause(ChangeCampaign),
    /// Let the agents of a campaign go on
    Resume(ChangeCampaign),
    /// Give a campaign up: it is FAILED, and what was moved stays moved
    Abandon {
        /// The campaign's UUID
        campaign_id: String,
        /// Why.
        #[command(flatten)]
        decision: Decision,
    },
    /// List the blobs that did not open
    Problems(ListProblems),
    /// Say what becomes of a blob that does not open
    Decide(DecideProblem),
}

/// What to move.
#[derive(clap::Args, Debug)]
pub struct CreateCampaign {
    /// UUID or alias of the key
    key: String,
    /// From these versions, as 1,2 [default: all that are no longer active, nor destroyed]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    versions: Vec<u32>,
    /// Out of these stores, by name or number [default: all that the census knows]
    #[arg(long, value_name = "STORE", value_delimiter = ',')]
    stores: Vec<String>,
    /// At most so many blobs a second over all stores [default: as fast as it goes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Before any other campaign
    #[arg(long)]
    urgent: bool,
    #[command(flatten)]
    change: Change,
}

/// A change to one campaign.
#[derive(clap::Args, Debug)]
pub struct ChangeCampaign {
    /// The campaign's UUID
    campaign_id: String,
    #[command(flatten)]
    change: Change,
}

/// The request of one step, and its answer: the campaign as it is now.
macro_rules! step {
    ($session:ident, $campaign_id:expr, $reason:expr, $request_id:expr,
     $method:ident($request:ident)) => {{
        let request =
            kms::$request { campaign_id: $campaign_id, reason: $reason, request_id: $request_id };
        let response = $session.client().await?.$method(request).await?;
        let campaign = response.campaign.clone().unwrap_or_default();
        $session.printer.message(&response, |now| show::campaign(&campaign, now))
    }};
}

// === impl CampaignCommand ===

impl CampaignCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List { key, limit } => list(session, key.unwrap_or_default(), limit).await,
            Self::Show { campaign_id } => {
                let request = kms::GetCampaignRequest { campaign_id };
                let response = session.client().await?.get_campaign(request).await?;
                let campaign = response.campaign.clone().unwrap_or_default();
                session.printer.message(&response, |now| show::campaign(&campaign, now))
            }
            Self::Pause(ChangeCampaign { campaign_id, change }) => {
                let (reason, request_id) = (change.reason(), change.request_id());
                step!(
                    session,
                    campaign_id,
                    reason,
                    request_id,
                    pause_campaign(PauseCampaignRequest)
                )
            }
            Self::Resume(ChangeCampaign { campaign_id, change }) => {
                let (reason, request_id) = (change.reason(), change.request_id());
                step!(
                    session,
                    campaign_id,
                    reason,
                    request_id,
                    resume_campaign(ResumeCampaignRequest)
                )
            }
            Self::Abandon { campaign_id, decision: Decision { reason, once } } => {
                let request_id = once.request_id();
                step!(
                    session,
                    campaign_id,
                    reason,
                    request_id,
                    abandon_campaign(AbandonCampaignRequest)
                )
            }
            Self::Problems(problems) => problems.run(session).await,
            Self::Decide(decide) => decide.run(session).await,
        }
    }
}

// === impl CreateCampaign ===

impl CreateCampaign {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = kms::CreateCampaignRequest {
            reason: self.change.reason(),
            request_id: self.change.request_id(),
            key: self.key,
            source_versions: self.versions,
            stores: self.stores,
            rate_per_second: self.rate.unwrap_or_default(),
            urgent: self.urgent,
        };
        let response = session.client().await?.create_campaign(request).await?;
        let campaign = response.campaign.clone().unwrap_or_default();
        session.printer.message(&response, |now| {
            let next: String =
                next_commands(&campaign).iter().map(|c| format!("  {c}\n")).collect();
            format!(
                "{}\nNext, beside the data of each store:\n{next}",
                show::campaign(&campaign, now)
            )
        })
    }
}

async fn list(session: &Session, key: String, limit: Limit) -> Result<(), Failure> {
    let client: Client = session.client().await?;
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListCampaignsRequest { key: key.clone(), page_size, page_token };
        let client = client.clone();
        async move {
            let page = client.list_campaigns(request).await?;
            Ok((page.campaigns, page.next_page_token))
        }
    });
    let all = all.await?;
    let (campaigns, next_page_token) = (all.items, all.next_page_token);
    let response = kms::ListCampaignsResponse { campaigns, next_page_token };
    session.printer.message(&response, |now| show::campaigns(&response.campaigns, now))
}
