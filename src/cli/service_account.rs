//! `bulla service-account` and `bulla credential`: callers that have neither a certificate nor a token,
//! and what proves them.
//!
//! A credential goes into a new file that only its owner may read, or to stdout where that is asked
//! for. It is never an argument and never in the environment.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bulla_client::kms;

use super::Session;
use super::arguments::{ContextArguments, Once};
use super::failure::{Exit, Failure};
use super::json::Json;
use super::output::write_out;
use super::output_file::Unfinished;
use super::pages::{Limit, gather};
use super::table::{Table, record};
use super::time::{parse_span, rfc3339, shown, unix_now};

/// Service accounts.
#[derive(clap::Subcommand, Debug)]
pub enum ServiceAccountCommand {
    /// Make a service account; it may do nothing until it is given a role or a grant
    Create {
        /// The name (a-z 0-9 -)
        name: String,
        /// What it is for
        #[arg(long, default_value = "")]
        description: String,
        /// At most these actions, such as crypto.decrypt
        #[arg(long, value_name = "ACTION", value_delimiter = ',')]
        actions: Vec<String>,
        /// At most these keys (UUID or alias)
        #[arg(long, value_name = "KEY", value_delimiter = ',')]
        keys: Vec<String>,
        /// At most keys in these rings
        #[arg(long, value_name = "RING", value_delimiter = ',')]
        key_rings: Vec<String>,
        /// Only from these networks, such as 10.0.0.0/8
        #[arg(long, value_name = "CIDR", value_delimiter = ',')]
        networks: Vec<String>,
        /// What goes with it.
        #[command(flatten)]
        context: ContextArguments,
        /// What goes with it.
        #[command(flatten)]
        once: Once,
    },
    /// List service accounts
    List {
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// End a service account and all its credentials
    Delete {
        /// The name
        name: String,
        /// What goes with it.
        #[command(flatten)]
        once: Once,
    },
}

/// Credentials.
#[derive(clap::Subcommand, Debug)]
pub enum CredentialCommand {
    /// Make a credential of a service account; it is shown once
    Create {
        /// The service account's name
        service_account: String,
        /// How long it is good for, such as 7d [default: 30d, at most 90d]
        #[arg(long, value_name = "SPAN", value_parser = parse_span)]
        lifetime: Option<prost_types::Duration>,
        /// A new file for the credential, readable by its owner only
        #[arg(long, value_name = "FILE", required_unless_present = "to_stdout")]
        out: Option<PathBuf>,
        /// Write the credential to stdout, and the rest to stderr
        #[arg(long, conflicts_with = "out")]
        to_stdout: bool,
        /// Have the server encrypt it to this age recipient (age1...); only its holder can read the file
        #[arg(long, value_name = "RECIPIENT")]
        age_recipient: Option<String>,
        /// What goes with it.
        #[command(flatten)]
        once: Once,
    },
    /// List credentials; what they are is stored nowhere
    List {
        /// Only those of this service account
        #[arg(long)]
        service_account: Option<String>,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// End a credential
    Revoke {
        /// Its UUID
        credential: String,
        /// What goes with it.
        #[command(flatten)]
        once: Once,
    },
}

// === impl ServiceAccountCommand ===

impl ServiceAccountCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create {
                name,
                description,
                actions,
                keys,
                key_rings,
                networks,
                context,
                once,
            } => {
                let service_account = Some(kms::ServiceAccount {
                    name,
                    description,
                    actions,
                    keys,
                    key_rings,
                    encryption_context: context.pairs()?,
                    networks,
                    ..Default::default()
                });
                let request_id = once.request_id();
                let request = kms::CreateServiceAccountRequest { service_account, request_id };
                let answer = session.client().await?.create_service_account(request).await?;
                session.printer.message(&answer, |_| {
                    account_record(&answer.service_account.clone().unwrap_or_default())
                })
            }
            Self::List { limit } => list_accounts(session, limit).await,
            Self::Delete { name, once } => {
                let request_id = once.request_id();
                let request = kms::DeleteServiceAccountRequest { name: name.clone(), request_id };
                let answer = session.client().await?.delete_service_account(request).await?;
                session.printer.message(&answer, |_| record(&[("deleted_service_account", name)]))
            }
        }
    }
}

// === impl CredentialCommand ===

impl CredentialCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { service_account, lifetime, out, age_recipient, once, .. } => {
                let request = kms::CreateCredentialRequest {
                    service_account,
                    lifetime,
                    age_recipient: age_recipient.unwrap_or_default(),
                    request_id: once.request_id(),
                };
                create(session, request, out.as_deref()).await
            }
            Self::List { service_account, limit } => {
                list_credentials(session, service_account.unwrap_or_default(), limit).await
            }
            Self::Revoke { credential, once } => {
                let credential_id = credential.clone();
                let request =
                    kms::RevokeCredentialRequest { credential_id, request_id: once.request_id() };
                let answer = session.client().await?.revoke_credential(request).await?;
                session.printer.message(&answer, |_| record(&[("revoked_credential", credential)]))
            }
        }
    }
}

/// The file is begun first: a credential that could not be written anywhere would be lost.
async fn create(
    session: &Session,
    request: kms::CreateCredentialRequest,
    out: Option<&Path>,
) -> Result<(), Failure> {
    let mut file = out.map(|path| Unfinished::create(path, false)).transpose()?;
    let sealed = !request.age_recipient.is_empty();
    let answer = session.client().await?.create_credential(request).await?;
    let made = answer.credential.unwrap_or_default();
    // A server that does not know recipients answers in the clear.
    let written = if sealed { answer.sealed_secret } else { answer.secret };
    if written.is_empty() {
        let hint = format!("revoke it with: bulla credential revoke {}", made.credential_id);
        let what = "the server did not encrypt the credential, and it was not written";
        return Err(Failure::new(Exit::Internal, what).hint(hint));
    }
    let line = format!("{}\n", written.trim_end());
    match &mut file {
        Some(file) => file.write_all(line.as_bytes()).map_err(|error| {
            let id = &made.credential_id;
            let hint = format!("it is lost; revoke it with: bulla credential revoke {id}");
            Failure::midway("cannot write the credential", &error).hint(hint)
        })?,
        None => write_out(line.as_bytes())?,
    }
    if let Some(file) = file {
        file.finish()?;
    }
    let expires = made.expire_time.as_ref().and_then(rfc3339).unwrap_or_default();
    let file = out.map(|path| path.display().to_string()).unwrap_or_default();
    let text = record(&[
        ("credential_id", made.credential_id.clone()),
        ("service_account", made.service_account.clone()),
        ("expires", expires.clone()),
        ("file", file.clone()),
    ]);
    if out.is_none() {
        return session.printer.aside(&text);
    }
    let json = Json::object([
        ("credential_id", Json::text(made.credential_id)),
        ("service_account", Json::text(made.service_account)),
        ("expire_time", Json::text(expires)),
        ("file", Json::text(file)),
    ]);
    session.printer.answer(&json, || text)
}

fn account_record(account: &kms::ServiceAccount) -> String {
    let pairs = account.encryption_context.iter().map(|(key, value)| format!("{key}={value}"));
    record(&[
        ("name", account.name.clone()),
        ("principal", account.principal.clone()),
        ("description", account.description.clone()),
        ("actions", account.actions.join(", ")),
        ("keys", account.keys.join(", ")),
        ("key_rings", account.key_rings.join(", ")),
        ("encryption_context", pairs.collect::<Vec<_>>().join(", ")),
        ("networks", account.networks.join(", ")),
    ])
}

async fn list_accounts(session: &Session, limit: Limit) -> Result<(), Failure> {
    let client = session.client().await?;
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListServiceAccountsRequest { page_size, page_token };
        let client = client.clone();
        async move {
            let page = client.list_service_accounts(request).await?;
            Ok((page.service_accounts, page.next_page_token))
        }
    });
    let all = all.await?;
    let (service_accounts, next_page_token) = (all.items, all.next_page_token);
    let response = kms::ListServiceAccountsResponse { service_accounts, next_page_token };
    session.printer.message(&response, |_| {
        let mut table = Table::new(&["name", "principal", "actions", "networks", "description"]);
        for account in &response.service_accounts {
            let (actions, networks) = (account.actions.join(","), account.networks.join(","));
            let (name, principal) = (account.name.clone(), account.principal.clone());
            table.row([name, principal, actions, networks, account.description.clone()]);
        }
        table.render("no service accounts")
    })
}

async fn list_credentials(
    session: &Session,
    service_account: String,
    limit: Limit,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let all = gather(limit, |page_size, page_token| {
        let service_account = service_account.clone();
        let request = kms::ListCredentialsRequest { service_account, page_size, page_token };
        let client = client.clone();
        async move {
            let page = client.list_credentials(request).await?;
            Ok((page.credentials, page.next_page_token))
        }
    });
    let all = all.await?;
    let (credentials, next_page_token) = (all.items, all.next_page_token);
    let response = kms::ListCredentialsResponse { credentials, next_page_token };
    let now = unix_now();
    session.printer.message(&response, |_| {
        let fields =
            ["credential_id", "service_account", "expires", "last_use", "last_use_address"];
        let mut table = Table::new(&fields);
        for credential in &response.credentials {
            table.row([
                credential.credential_id.clone(),
                credential.service_account.clone(),
                shown(credential.expire_time.as_ref(), now),
                shown(credential.last_use_time.as_ref(), now),
                credential.last_use_address.clone(),
            ]);
        }
        table.render("no credentials")
    })
}
