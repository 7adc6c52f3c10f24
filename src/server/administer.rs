//! What is done to an installation from outside it, with the key file in hand and no server running:
//! making it, and giving the first roles. Each is recorded in its audit log.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::{Outcome, Record};
use crate::config::{Config, StoreKind};
use crate::crypto::OsRandom;
use crate::custody::{self, Custody, KeyFile, SealError};
use crate::keys::{Reason, TenantId};
use crate::policy::{Action, PrincipalId, RoleName, SubjectRef};
use crate::service::{BindRole, Caller, Desk, Refusal, RoleChange};
use crate::trail::Lane;

use super::assemble::{self, OpenStore};
use super::error::ServerError;

/// Roles to give: principals and roles, in the tenants of their trust domains.
#[derive(Clone, Debug, Default)]
pub struct Bindings(Vec<(PrincipalId, RoleName)>);

/// How an installation is made.
#[derive(Clone, Debug, Default)]
pub struct InitOptions {
    /// Make the key file too; otherwise it must be there.
    pub make_key_file: bool,
    /// The first roles.
    pub bindings: Bindings,
}

// === impl Bindings ===

impl Bindings {
    /// From texts such as `spiffe://example.org/app=key-user`, in the trust domains of `config`.
    pub fn parse(texts: &[String], config: &Config) -> Result<Self, ServerError> {
        let parse_one = |text: &String| {
            let wrong = |problem: String| ServerError::Binding { text: text.clone(), problem };
            let (principal, role) =
                text.rsplit_once('=').ok_or_else(|| wrong("must be PRINCIPAL=ROLE".to_owned()))?;
            let principal = PrincipalId::parse(principal).map_err(|e| wrong(e.to_string()))?;
            let role = RoleName::parse(role).map_err(|e| wrong(e.to_string()))?;
            if tenant_of(config, &principal).is_none() {
                return Err(wrong("its trust domain is not configured".to_owned()));
            }
            Ok((principal, role))
        };
        Ok(Self(texts.iter().map(parse_one).collect::<Result<_, _>>()?))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Makes an installation: key file, store, tenants, audit log, first roles. All of it or nothing.
///
/// # Errors
/// Nothing that exists is ever replaced; what was made before a failure is removed again.
pub async fn init(config: &Config, options: &InitOptions) -> Result<(), ServerError> {
    assemble::harden(config)?;
    refuse_what_is_there(config)?;
    let seal = if options.make_key_file {
        KeyFile::create(&config.seal.key_file, &OsRandom)?
    } else {
        KeyFile::read(&config.seal.key_file)?
    };
    let made = make(config, options, &seal).await;
    if made.is_err() {
        remove_what_was_made(config, options.make_key_file, seal)?;
    }
    made
}

/// Gives roles in an installation that is not being served, and makes configured tenants that are new.
pub async fn bind(config: &Config, bindings: &Bindings) -> Result<(), ServerError> {
    assemble::harden(config)?;
    let store = assemble::open_store(config)?;
    let custody = assemble::open_custody(config, &store).await?;
    give(config, custody, bindings, false).await?;
    Ok(store.close().await?)
}

/// Makes the configured tenants that are new, and gives `bindings`, through the desk like any change.
pub(super) async fn give(
    config: &Config,
    custody: Custody,
    bindings: &Bindings,
    new_trail: bool,
) -> Result<(), ServerError> {
    let (trail, _) = assemble::open_trail(config, &custody, new_trail)?;
    let office = assemble::office(config, Arc::new(custody), trail.clone(), None, Arc::default())?;
    let lane = trail.lane();
    let running = tokio::spawn(lane.run());
    let desk = Desk::new(office, lane.clone());
    let given = async {
        add_tenants(config, &desk, &lane).await?;
        give_each(config, &desk, bindings).await
    };
    let given = given.await;
    drop(desk);
    trail.close().await;
    running.abort();
    // With the lane's task the last hold on the log's file is gone, and it can be opened again.
    let _ = running.await;
    given
}

/// Makes the tenants that are configured and not there, each recorded before it is made.
async fn add_tenants(config: &Config, desk: &Desk, lane: &Lane) -> Result<(), ServerError> {
    let office = desk.office();
    for name in config.tenants() {
        if office.custody.tenant_named(name).is_some() {
            continue;
        }
        let mut record =
            Record::new(office.clock.unix_us(), "installation.add_tenant", Outcome::Started);
        record.principal = PrincipalId::installer().to_string().into();
        record.detail = format!("tenant={name}").into();
        record.started_sequence = lane.append(&record).await.map_err(Refusal::from)?;
        let tenant = office.custody.add_tenant(name).await?;
        record.tenant = Some(tenant);
        record.outcome = Outcome::Succeeded;
        lane.append(&record).await.map_err(Refusal::from)?;
    }
    Ok(())
}

async fn give_each(config: &Config, desk: &Desk, bindings: &Bindings) -> Result<(), ServerError> {
    for (principal, role) in &bindings.0 {
        let tenant = tenant_id(config, &desk.office().custody, principal)?;
        let bind = BindRole {
            subject: SubjectRef::Principal(principal.clone()),
            role: role.clone(),
            expire_time: None,
            change: RoleChange::Bind,
            reason: Reason::none(),
            request: None,
        };
        let caller = Caller::installer(tenant);
        desk.perform_change(&caller, Action::BindRole, Ok(bind)).await?;
    }
    Ok(())
}

async fn make(config: &Config, options: &InitOptions, seal: &KeyFile) -> Result<(), ServerError> {
    let store: OpenStore = assemble::create_store(config)?;
    let installed = assemble::installed(config, &store);
    let custody = custody::create(installed, seal).await?;
    custody.audit_seeds().await?;
    give(config, custody, &options.bindings, true).await?;
    Ok(store.close().await?)
}

/// A dangling link and a left-over log of SQLite's are there too.
fn refuse_what_is_there(config: &Config) -> Result<(), ServerError> {
    let is_there = |path: &PathBuf| fs::symlink_metadata(path).is_ok();
    if is_there(&config.audit_directory()) {
        return Err(ServerError::TrailExists(config.audit_directory()));
    }
    match database_files(config).into_iter().find(is_there) {
        Some(path) if config.store == StoreKind::Sqlite => {
            Err(crate::store::StoreError::Exists { path }.into())
        }
        _ => Ok(()),
    }
}

/// The database and what SQLite keeps beside it.
fn database_files(config: &Config) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|suffix| {
        let mut path = config.database_file().into_os_string();
        path.push(suffix);
        path.into()
    })
}

/// Only files that this very call made: it refused to begin where one of them was there.
fn remove_what_was_made(
    config: &Config,
    key_file_too: bool,
    seal: KeyFile,
) -> Result<(), SealError> {
    for path in database_files(config) {
        // What is not there need not be removed.
        let _ = fs::remove_file(path);
    }
    let _ = fs::remove_dir_all(config.audit_directory());
    if key_file_too { seal.discard() } else { Ok(()) }
}

/// The one tenant that a principal of this id belongs to, if the configuration says so by itself.
fn tenant_of<'c>(config: &'c Config, principal: &PrincipalId) -> Option<&'c str> {
    if let Some(name) = principal.issuer() {
        let issuer = config.issuers.iter().find(|known| known.name == name)?;
        return issuer.tenant.as_deref();
    }
    let domain = principal.trust_domain()?;
    let mut domains = config.trust_domains.iter();
    domains.find(|known| known.name == domain).map(|known| known.tenant.as_str())
}

fn tenant_id(
    config: &Config,
    custody: &Custody,
    principal: &PrincipalId,
) -> Result<TenantId, ServerError> {
    let name = tenant_of(config, principal).unwrap_or_default();
    custody.tenant_named(name).ok_or_else(|| ServerError::NoTenant(name.to_owned()))
}
