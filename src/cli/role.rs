//! `bulla role`: who holds which role in your tenant.

use bulla_client::kms;

use super::Session;
use super::arguments::Once;
use super::failure::Failure;
use super::pages::{Limit, gather};
use super::table::{Table, record};

/// Role bindings.
#[derive(clap::Subcommand, Debug)]
pub enum RoleCommand {
    /// Give a principal a role
    Bind(ChangeRole),
    /// Take a role from a principal
    Unbind(ChangeRole),
    /// List who holds which roles
    List {
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
}

/// One role of one principal.
#[derive(clap::Args, Debug)]
pub struct ChangeRole {
    /// A SPIFFE id such as spiffe://example.org/billing
    principal: String,
    /// key-user, key-rewrapper, key-manager, auditor or operator
    role: String,
    #[command(flatten)]
    once: Once,
}

// === impl RoleCommand ===

impl RoleCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Bind(ChangeRole { principal, role, once }) => {
                let request_id = once.request_id();
                let request =
                    kms::BindRoleRequest { principal, role, request_id, ..Default::default() };
                let response = session.client().await?.bind_role(request).await?;
                session.printer.message(&response, |_| binding_record(response.binding.as_ref()))
            }
            Self::Unbind(ChangeRole { principal, role, once }) => {
                let request_id = once.request_id();
                let request = kms::UnbindRoleRequest { principal, role, request_id };
                let response = session.client().await?.unbind_role(request).await?;
                session.printer.message(&response, |_| binding_record(response.binding.as_ref()))
            }
            Self::List { limit } => list(session, limit).await,
        }
    }
}

fn binding_record(binding: Option<&kms::RoleBinding>) -> String {
    let binding = binding.cloned().unwrap_or_default();
    record(&[("principal", binding.principal), ("roles", binding.roles.join(", "))])
}

async fn list(session: &Session, limit: Limit) -> Result<(), Failure> {
    let client = session.client().await?;
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListRoleBindingsRequest { page_size, page_token };
        let client = client.clone();
        async move {
            let page = client.list_role_bindings(request).await?;
            Ok((page.bindings, page.next_page_token))
        }
    });
    let all = all.await?;
    let (bindings, next_page_token) = (all.items, all.next_page_token);
    let response = kms::ListRoleBindingsResponse { bindings, next_page_token };
    session.printer.message(&response, |_| {
        let mut table = Table::new(&["principal", "roles"]);
        for binding in &response.bindings {
            table.row([binding.principal.clone(), binding.roles.join(", ")]);
        }
        table.render("no role bindings")
    })
}
