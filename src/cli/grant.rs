//! `bulla grant`: what one principal may do with one key besides what policies say.

use bulla_client::kms;
use prost_types::Timestamp;

use super::Session;
use super::arguments::{ContextArguments, Once};
use super::failure::Failure;
use super::pages::{Limit, gather};
use super::table::{Table, pairs, record};
use super::time;

/// Grants.
#[derive(clap::Subcommand, Debug)]
pub enum GrantCommand {
    /// Grant a principal some actions on a key
    Create(CreateGrant),
    /// List grants
    List {
        /// Only those on this key: an id or alias
        key: Option<String>,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Take a grant away, or give one up
    Revoke {
        /// The grant's id
        grant: String,
        /// So that it happens once.
        #[command(flatten)]
        once: Once,
    },
}

/// A grant to be given.
#[derive(clap::Args, Debug)]
pub struct CreateGrant {
    /// The key: an id or alias
    key: String,
    /// To whom, such as spiffe://example.org/batch
    #[arg(long)]
    principal: String,
    /// What, such as crypto.decrypt; may be given more than once
    #[arg(long = "action", required = true, value_name = "ACTION")]
    actions: Vec<String>,
    #[command(flatten)]
    context: ContextArguments,
    /// When it ends: a time such as 2027-01-15T08:00:00Z, or in how long, such as 8h
    #[arg(long, value_name = "TIME", value_parser = time::parse_future)]
    expires: Option<Timestamp>,
    /// Who may take it away, besides whoever manages access and the principal itself
    #[arg(long, value_name = "PRINCIPAL")]
    retiring_principal: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    #[command(flatten)]
    once: Once,
}

// === impl GrantCommand ===

impl GrantCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create(grant) => grant.run(session).await,
            Self::List { key, limit } => list(session, key, limit).await,
            Self::Revoke { grant, once } => {
                let request_id = once.request_id();
                let request = kms::RevokeGrantRequest { grant_id: grant.clone(), request_id };
                let response = session.client().await?.revoke_grant(request).await?;
                session.printer.message(&response, |_| record(&[("revoked", grant.clone())]))
            }
        }
    }
}

// === impl CreateGrant ===

impl CreateGrant {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = kms::CreateGrantRequest {
            encryption_context: self.context.pairs()?,
            key: self.key,
            principal: self.principal,
            actions: self.actions,
            expire_time: self.expires,
            retiring_principal: self.retiring_principal.unwrap_or_default(),
            name: self.name.unwrap_or_default(),
            request_id: self.once.request_id(),
        };
        let response = session.client().await?.create_grant(request).await?;
        let grant = response.grant.clone().unwrap_or_default();
        session.printer.message(&response, |now| grant_record(&grant, now))
    }
}

async fn list(session: &Session, key: Option<String>, limit: Limit) -> Result<(), Failure> {
    let client = session.client().await?;
    let key = key.unwrap_or_default();
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListGrantsRequest { key: key.clone(), page_size, page_token };
        let client = client.clone();
        async move { client.list_grants(request).await.map(|page| (page.grants, page.next_page_token)) }
    });
    let all = all.await?;
    let response =
        kms::ListGrantsResponse { grants: all.items, next_page_token: all.next_page_token };
    session.printer.message(&response, |now| {
        let mut table = Table::new(&[
            "grant_id",
            "key_id",
            "principal",
            "actions",
            "encryption_context",
            "expire_time",
        ]);
        for grant in &response.grants {
            table.row([
                grant.grant_id.clone(),
                grant.key_id.clone(),
                grant.principal.clone(),
                grant.actions.join(", "),
                pairs(&grant.encryption_context),
                time::shown(grant.expire_time.as_ref(), now),
            ]);
        }
        table.render("no grants")
    })
}

fn grant_record(grant: &kms::Grant, now: i64) -> String {
    record(&[
        ("grant_id", grant.grant_id.clone()),
        ("key_id", grant.key_id.clone()),
        ("principal", grant.principal.clone()),
        ("actions", grant.actions.join(", ")),
        ("encryption_context", pairs(&grant.encryption_context)),
        ("expire_time", time::shown(grant.expire_time.as_ref(), now)),
        ("retiring_principal", grant.retiring_principal.clone()),
        ("name", grant.name.clone()),
        ("grantor", grant.grantor.clone()),
        ("create_time", time::shown(grant.create_time.as_ref(), now)),
    ])
}
