//! `bulla key alias`: names that point at keys.

use bulla_client::kms;

use super::Session;
use super::arguments::Once;
use super::failure::Failure;
use super::pages::{Limit, gather};
use super::table::{Table, record};

/// Aliases.
#[derive(clap::Subcommand, Debug)]
pub enum AliasCommand {
    /// Point an alias at a key, whether it is new or pointed elsewhere
    Set {
        /// The name; it may not look like a UUID
        alias: String,
        /// UUID or alias of the key
        key: String,
        #[command(flatten)]
        once: Once,
    },
    /// Remove an alias; the key stays
    Delete {
        /// The name
        alias: String,
        #[command(flatten)]
        once: Once,
    },
    /// List aliases
    List {
        /// Only the aliases of this key (UUID or alias)
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
}

// === impl AliasCommand ===

impl AliasCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Set { alias, key, once } => {
                let request = kms::SetAliasRequest { alias, key, request_id: once.request_id() };
                let response = session.client().await?.set_alias(request).await?;
                let alias = response.alias.clone().unwrap_or_default();
                session.printer.message(&response, |_| {
                    record(&[("alias", alias.alias), ("key_id", alias.key_id)])
                })
            }
            Self::Delete { alias, once } => {
                let request =
                    kms::DeleteAliasRequest { alias: alias.clone(), request_id: once.request_id() };
                let response = session.client().await?.delete_alias(request).await?;
                session.printer.message(&response, |_| record(&[("deleted_alias", alias)]))
            }
            Self::List { key, limit } => list(session, key.unwrap_or_default(), limit).await,
        }
    }
}

async fn list(session: &Session, key: String, limit: Limit) -> Result<(), Failure> {
    let client = session.client().await?;
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListAliasesRequest { page_size, page_token, key: key.clone() };
        let client = client.clone();
        async move {
            client.list_aliases(request).await.map(|page| (page.aliases, page.next_page_token))
        }
    });
    let all = all.await?;
    let response =
        kms::ListAliasesResponse { aliases: all.items, next_page_token: all.next_page_token };
    session.printer.message(&response, |_| {
        let mut table = Table::new(&["alias", "key_id"]);
        for alias in &response.aliases {
            table.row([alias.alias.clone(), alias.key_id.clone()]);
        }
        table.render("no aliases")
    })
}
