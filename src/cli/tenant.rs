//! `bulla tenant`: the tenants of the installation, for those who run it.

use bulla_client::kms;

use super::Session;
use super::arguments::{Change, Once};
use super::failure::Failure;
use super::pages::{Limit, gather};
use super::table::{Table, record};
use super::time::{shown, unix_now};

/// Tenants.
#[derive(clap::Subcommand, Debug)]
pub enum TenantCommand {
    /// Make a tenant
    Create {
        /// The name (a-z 0-9 . - _)
        name: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        /// Who gets the role operator in it, such as spiffe://example.org/ann
        #[arg(long, value_name = "PRINCIPAL", default_value = "")]
        operator: String,
        /// The most that it may use.
        #[command(flatten)]
        limits: Limits,
        /// What goes with it.
        #[command(flatten)]
        once: Once,
    },
    /// List tenants
    List {
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show a tenant
    Show {
        /// Its name or UUID
        tenant: String,
    },
    /// Change what describes and limits a tenant; limits that are not given become the default
    Update {
        /// Its name or UUID
        tenant: String,
        /// What it is for
        #[arg(long)]
        description: Option<String>,
        /// The most that it may use.
        #[command(flatten)]
        limits: Limits,
        /// What goes with it.
        #[command(flatten)]
        once: Once,
    },
    /// Stop everything of a tenant at once
    Suspend {
        /// Its name or UUID
        tenant: String,
        /// What goes with it.
        #[command(flatten)]
        change: Change,
    },
    /// Let a suspended tenant work again
    Resume {
        /// Its name or UUID
        tenant: String,
        /// What goes with it.
        #[command(flatten)]
        change: Change,
    },
}

/// The most that a tenant may use; what is not given is the installation's default.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Limits {
    /// Calls a second that use keys
    #[arg(long, value_name = "N")]
    uses_per_second: Option<u32>,
    /// The same of one principal
    #[arg(long, value_name = "N")]
    principal_uses_per_second: Option<u32>,
    /// All other calls a second
    #[arg(long, value_name = "N")]
    management_per_second: Option<u32>,
    /// How many keys
    #[arg(long, value_name = "N")]
    max_keys: Option<u32>,
    /// How many versions of one key that are not destroyed
    #[arg(long, value_name = "N")]
    max_versions_per_key: Option<u32>,
    /// How many policies
    #[arg(long, value_name = "N")]
    max_policies: Option<u32>,
    /// How many grants
    #[arg(long, value_name = "N")]
    max_grants: Option<u32>,
    /// How many principals and groups that hold roles
    #[arg(long, value_name = "N")]
    max_role_bindings: Option<u32>,
    /// How many relation tuples
    #[arg(long, value_name = "N")]
    max_relations: Option<u32>,
    /// How many service accounts
    #[arg(long, value_name = "N")]
    max_service_accounts: Option<u32>,
}

// === impl TenantCommand ===

impl TenantCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let printer = &session.printer;
        match self {
            Self::Create { name, description, operator, limits, once } => {
                let (limits, request_id) = (limits.given(), once.request_id());
                let request =
                    kms::CreateTenantRequest { name, description, limits, request_id, operator };
                let answer = session.client().await?.create_tenant(request).await?;
                printer.message(&answer, |now| tenant_record(answer.tenant.as_ref(), now))
            }
            Self::List { limit } => list(session, limit).await,
            Self::Show { tenant } => {
                let request = kms::GetTenantRequest { tenant };
                let answer = session.client().await?.get_tenant(request).await?;
                printer.message(&answer, |now| tenant_record(answer.tenant.as_ref(), now))
            }
            Self::Update { tenant, description, limits, once } => {
                let (limits, request_id) = (limits.given(), once.request_id());
                let request = kms::UpdateTenantRequest { tenant, description, limits, request_id };
                let answer = session.client().await?.update_tenant(request).await?;
                printer.message(&answer, |now| tenant_record(answer.tenant.as_ref(), now))
            }
            Self::Suspend { tenant, change } => {
                let (reason, request_id) = (change.reason(), change.request_id());
                let request = kms::SuspendTenantRequest { tenant, reason, request_id };
                let answer = session.client().await?.suspend_tenant(request).await?;
                printer.message(&answer, |now| tenant_record(answer.tenant.as_ref(), now))
            }
            Self::Resume { tenant, change } => {
                let (reason, request_id) = (change.reason(), change.request_id());
                let request = kms::ResumeTenantRequest { tenant, reason, request_id };
                let answer = session.client().await?.resume_tenant(request).await?;
                printer.message(&answer, |now| tenant_record(answer.tenant.as_ref(), now))
            }
        }
    }
}

// === impl Limits ===

impl Limits {
    fn given(self) -> Option<kms::TenantLimits> {
        let all = kms::TenantLimits {
            uses_per_second: self.uses_per_second.unwrap_or(0),
            principal_uses_per_second: self.principal_uses_per_second.unwrap_or(0),
            management_per_second: self.management_per_second.unwrap_or(0),
            keys: self.max_keys.unwrap_or(0),
            versions_per_key: self.max_versions_per_key.unwrap_or(0),
            policies: self.max_policies.unwrap_or(0),
            grants: self.max_grants.unwrap_or(0),
            role_bindings: self.max_role_bindings.unwrap_or(0),
            relations: self.max_relations.unwrap_or(0),
            service_accounts: self.max_service_accounts.unwrap_or(0),
        };
        let given = [
            self.uses_per_second,
            self.principal_uses_per_second,
            self.management_per_second,
            self.max_keys,
            self.max_versions_per_key,
            self.max_policies,
            self.max_grants,
            self.max_role_bindings,
            self.max_relations,
            self.max_service_accounts,
        ];
        given.iter().any(Option::is_some).then_some(all)
    }
}

fn tenant_record(tenant: Option<&kms::Tenant>, _: i64) -> String {
    let tenant = tenant.cloned().unwrap_or_default();
    let limits = tenant.limits.unwrap_or_default();
    let said = [
        ("uses_per_second", limits.uses_per_second),
        ("principal_uses_per_second", limits.principal_uses_per_second),
        ("management_per_second", limits.management_per_second),
        ("keys", limits.keys),
        ("versions_per_key", limits.versions_per_key),
        ("policies", limits.policies),
        ("grants", limits.grants),
        ("role_bindings", limits.role_bindings),
        ("relations", limits.relations),
        ("service_accounts", limits.service_accounts),
    ];
    let said = said.iter().filter(|(_, most)| *most != 0);
    let said: Vec<_> = said.map(|(name, most)| format!("{name}={most}")).collect();
    record(&[
        ("name", tenant.name),
        ("tenant_id", tenant.tenant_id),
        ("description", tenant.description),
        ("suspended", if tenant.suspended { "yes" } else { "no" }.to_owned()),
        ("suspend_reason", tenant.suspend_reason),
        ("limits", said.join(" ")),
        ("used", tenant.usage.as_ref().map(used).unwrap_or_default()),
    ])
}

/// How many there are of how many there may be.
fn used(usage: &kms::TenantUsage) -> String {
    let counted = [
        ("keys", usage.keys),
        ("policies", usage.policies),
        ("grants", usage.grants),
        ("role_bindings", usage.role_bindings),
        ("relations", usage.relations),
        ("service_accounts", usage.service_accounts),
    ];
    let counted = counted.iter().filter_map(|(name, used)| Some((name, (*used)?)));
    let counted: Vec<_> =
        counted.map(|(name, it)| format!("{name}={}/{}", it.used, it.limit)).collect();
    counted.join(" ")
}

async fn list(session: &Session, limit: Limit) -> Result<(), Failure> {
    let client = session.client().await?;
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListTenantsRequest { page_size, page_token };
        let client = client.clone();
        async move {
            client.list_tenants(request).await.map(|page| (page.tenants, page.next_page_token))
        }
    });
    let all = all.await?;
    let (tenants, next_page_token) = (all.items, all.next_page_token);
    let response = kms::ListTenantsResponse { tenants, next_page_token };
    let now = unix_now();
    session.printer.message(&response, |_| {
        let mut table = Table::new(&["name", "tenant_id", "suspended", "created", "description"]);
        for tenant in &response.tenants {
            table.row([
                tenant.name.clone(),
                tenant.tenant_id.clone(),
                if tenant.suspended { "yes" } else { "no" }.to_owned(),
                shown(tenant.create_time.as_ref(), now),
                tenant.description.clone(),
            ]);
        }
        table.render("no tenants")
    })
}
