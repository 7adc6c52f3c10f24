//! `bulla role`: who holds which role in your tenant.

use bulla_client::kms;
use prost_types::Timestamp;

use super::Session;
use super::arguments::Once;
use super::failure::Failure;
use super::pages::{Limit, gather};
use super::table::{Table, record};
use super::time;

/// Role bindings.
#[derive(clap::Subcommand, Debug)]
pub enum RoleCommand {
    /// Give a role to a principal, or to the members of a group
    Bind(BindRole),
    /// Take a role away
    Unbind(ChangeRole),
    /// List who holds which roles
    List {
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
}

/// A role to be given.
#[derive(clap::Args, Debug)]
pub struct BindRole {
    #[command(flatten)]
    of: ChangeRole,
    /// When it ends: a time such as 2027-01-15T08:00:00Z, or in how long, such as 8h
    #[arg(long, value_name = "TIME", value_parser = time::parse_future)]
    expires: Option<Timestamp>,
    /// Why; it is kept in the audit record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// One role of one subject.
#[derive(clap::Args, Debug)]
pub struct ChangeRole {
    /// A principal such as spiffe://example.org/billing, or group:NAME#member
    principal: String,
    /// key-user, key-rewrapper, key-manager, auditor or operator, or one of your policies
    role: String,
    #[command(flatten)]
    once: Once,
}

// === impl RoleCommand ===

impl RoleCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Bind(BindRole { of, expires, reason }) => {
                let request = kms::BindRoleRequest {
                    request_id: of.once.request_id(),
                    principal: of.principal,
                    role: of.role,
                    expire_time: expires,
                    reason: reason.unwrap_or_default(),
                };
                let response = session.client().await?.bind_role(request).await?;
                let binding = response.binding.as_ref();
                session.printer.message(&response, |now| binding_record(binding, now))
            }
            Self::Unbind(ChangeRole { principal, role, once }) => {
                let request_id = once.request_id();
                let request = kms::UnbindRoleRequest { principal, role, request_id };
                let response = session.client().await?.unbind_role(request).await?;
                let binding = response.binding.as_ref();
                session.printer.message(&response, |now| binding_record(binding, now))
            }
            Self::List { limit } => list(session, limit).await,
        }
    }
}

fn binding_record(binding: Option<&kms::RoleBinding>, now: i64) -> String {
    let binding = binding.cloned().unwrap_or_default();
    record(&[("principal", binding.principal.clone()), ("roles", roles(&binding, now))])
}

/// Each role, and when it ends if it does.
fn roles(binding: &kms::RoleBinding, now: i64) -> String {
    let shown = binding.roles.iter().map(|role| match binding.expire_times.get(role) {
        Some(end) => format!("{role} until {}", time::shown(Some(end), now)),
        None => role.clone(),
    });
    shown.collect::<Vec<_>>().join(", ")
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
    session.printer.message(&response, |now| {
        let mut table = Table::new(&["principal", "roles"]);
        for binding in &response.bindings {
            table.row([binding.principal.clone(), roles(binding, now)]);
        }
        table.render("no role bindings")
    })
}
