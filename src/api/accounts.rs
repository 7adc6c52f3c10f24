//! Service accounts and their credentials, between messages and what the service takes and gives.

use bulla_proto::kms;
use tonic::{Request, Response, Status};

use super::delivery::AgeRecipient;
use super::{Api, parse, render};
use crate::auth::PresentedCredential;
use crate::keys::{AccountName, CredentialId, Description, KeyId, KeyRing};
use crate::policy::{Action, Network, Scope};
use crate::service::{
    CREDENTIAL_MS_DEFAULT, CREDENTIAL_MS_MAX, CreateCredential, CreateServiceAccount,
    CreatedCredential, DeleteServiceAccount, ExchangeToken, ListCredentials, ListServiceAccounts,
    Refusal, RevokeCredential, TrustedAccount, TrustedCredential,
};

// === impl Api ===

impl Api {
    pub(super) async fn create_account(
        &self,
        request: Request<kms::CreateServiceAccountRequest>,
    ) -> Result<Response<kms::CreateServiceAccountResponse>, Status> {
        let parse = |asked: kms::CreateServiceAccountRequest| {
            let request = parse::request(Action::CreateServiceAccount, &asked.request_id, &asked)?;
            let account = asked.service_account.unwrap_or_default();
            let keys = account.keys.iter().map(|key| parse::key(key));
            let invalid = |field, error: &dyn ToString| Refusal::invalid(field, error.to_string());
            Ok(CreateServiceAccount {
                name: AccountName::parse(&account.name)
                    .map_err(|error| invalid("service_account.name", &error))?,
                description: Description::parse(&account.description)
                    .map_err(|error| invalid("service_account.description", &error))?,
                keys: keys.collect::<Result<_, _>>()?,
                scope: scope(&account)?,
                request,
            })
        };
        let render =
            |made| kms::CreateServiceAccountResponse { service_account: Some(account(&made)) };
        self.change(Action::CreateServiceAccount, request, parse, render).await
    }

    pub(super) async fn list_accounts(
        &self,
        request: Request<kms::ListServiceAccountsRequest>,
    ) -> Result<Response<kms::ListServiceAccountsResponse>, Status> {
        let parse = |asked: kms::ListServiceAccountsRequest| {
            let after = parse::page_token(&asked.page_token)?.map(|text| AccountName::parse(&text));
            Ok(ListServiceAccounts {
                after: after.transpose().map_err(|_| parse::bad_page_token())?,
                page_size: parse::page_size(asked.page_size)?,
            })
        };
        self.perform(request, parse, |(accounts, next)| kms::ListServiceAccountsResponse {
            service_accounts: accounts.iter().map(account).collect(),
            next_page_token: render::page_token(next),
        })
        .await
    }

    pub(super) async fn delete_account(
        &self,
        request: Request<kms::DeleteServiceAccountRequest>,
    ) -> Result<Response<kms::DeleteServiceAccountResponse>, Status> {
        let parse = |asked: kms::DeleteServiceAccountRequest| {
            let request = parse::request(Action::DeleteServiceAccount, &asked.request_id, &asked)?;
            Ok(DeleteServiceAccount { name: account_name("name", &asked.name)?, request })
        };
        let render = |()| kms::DeleteServiceAccountResponse {};
        self.change(Action::DeleteServiceAccount, request, parse, render).await
    }

    pub(super) async fn make_credential(
        &self,
        request: Request<kms::CreateCredentialRequest>,
    ) -> Result<Response<kms::CreateCredentialResponse>, Status> {
        let recipient = AgeRecipient::parse(&request.get_ref().age_recipient);
        let sealed_for = recipient.as_ref().ok().cloned().flatten();
        let parse = |asked: kms::CreateCredentialRequest| {
            recipient?;
            let request = parse::request(Action::CreateCredential, &asked.request_id, &asked)?;
            let account = account_name("service_account", &asked.service_account)?;
            CreateCredential::new(account, lifetime_ms(asked.lifetime.as_ref())?, request)
        };
        let render = move |CreatedCredential { credential: made, secret }| {
            let id = secret.id.as_bytes();
            let text = PresentedCredential::render(secret.tenant, id, &secret.secret);
            let (secret, sealed_secret) = match &sealed_for {
                None => (text.to_string(), String::new()),
                // One that could not be sealed is never sent in the clear instead.
                Some(recipient) => (String::new(), recipient.seal(&text).unwrap_or_default()),
            };
            let credential = Some(credential(&made));
            kms::CreateCredentialResponse { credential, secret, sealed_secret }
        };
        self.change(Action::CreateCredential, request, parse, render).await
    }

    pub(super) async fn show_credentials(
        &self,
        request: Request<kms::ListCredentialsRequest>,
    ) -> Result<Response<kms::ListCredentialsResponse>, Status> {
        let parse = |asked: kms::ListCredentialsRequest| {
            let after =
                parse::page_token(&asked.page_token)?.map(|text| CredentialId::parse(&text));
            Ok(ListCredentials {
                account: match asked.service_account.as_str() {
                    "" => None,
                    name => Some(account_name("service_account", name)?),
                },
                after: after.transpose().map_err(|_| parse::bad_page_token())?,
                page_size: parse::page_size(asked.page_size)?,
            })
        };
        self.perform(request, parse, |(credentials, next)| kms::ListCredentialsResponse {
            credentials: credentials.iter().map(credential).collect(),
            next_page_token: render::page_token(next),
        })
        .await
    }

    pub(super) async fn end_credential(
        &self,
        request: Request<kms::RevokeCredentialRequest>,
    ) -> Result<Response<kms::RevokeCredentialResponse>, Status> {
        let parse = |asked: kms::RevokeCredentialRequest| {
            let request = parse::request(Action::RevokeCredential, &asked.request_id, &asked)?;
            let id = CredentialId::parse(&asked.credential_id);
            let id = id.map_err(|error| Refusal::invalid("credential_id", error))?;
            Ok(RevokeCredential { id, request })
        };
        let render = |()| kms::RevokeCredentialResponse {};
        self.change(Action::RevokeCredential, request, parse, render).await
    }
}

fn account_name(field: &'static str, text: &str) -> Result<AccountName, Refusal> {
    AccountName::parse(text).map_err(|error| Refusal::invalid(field, error))
}

/// Absent: 30 days; at most 90.
fn lifetime_ms(lifetime: Option<&prost_types::Duration>) -> Result<u64, Refusal> {
    let Some(lifetime) = lifetime else { return Ok(CREDENTIAL_MS_DEFAULT) };
    match parse::millis(lifetime) {
        Some(millis @ 1..=CREDENTIAL_MS_MAX) => Ok(millis),
        _ => Err(Refusal::invalid("lifetime", "must be more than 0 and at most 90 days")),
    }
}

/// What the account restricts to, but for keys, whose names the service knows.
fn scope(asked: &kms::ServiceAccount) -> Result<Scope, Refusal> {
    let lists =
        [asked.actions.len(), asked.keys.len(), asked.key_rings.len(), asked.networks.len()];
    if lists.into_iter().any(|length| length > SCOPE_ENTRIES_MAX) {
        let problem = format!("has a list of more than {SCOPE_ENTRIES_MAX} entries");
        return Err(Refusal::TooLarge { field: "service_account", problem });
    }
    let action = |name: &String| {
        let problem = "must be names of actions, such as crypto.decrypt";
        Action::named(name).ok_or_else(|| Refusal::invalid("service_account.actions", problem))
    };
    let ring = |text: &String| {
        KeyRing::parse(text).map_err(|e| Refusal::invalid("service_account.key_rings", e))
    };
    let network = |text: &String| {
        Network::parse(text).map_err(|e| Refusal::invalid("service_account.networks", e))
    };
    // Held to the limits of a context that has to hold it.
    parse::context(asked.encryption_context.clone())?;
    Ok(Scope {
        actions: asked.actions.iter().map(action).collect::<Result<_, _>>()?,
        keys: Vec::new(),
        key_rings: asked.key_rings.iter().map(ring).collect::<Result<_, _>>()?,
        encryption_context: asked.encryption_context.clone(),
        networks: asked.networks.iter().map(network).collect::<Result<_, _>>()?,
    })
}

/// What a token is to be for.
pub(super) fn exchange_token(asked: kms::ExchangeTokenRequest) -> Result<ExchangeToken, Refusal> {
    let lists = [asked.actions.len(), asked.keys.len(), asked.key_rings.len()];
    if lists.into_iter().any(|length| length > SCOPE_ENTRIES_MAX) {
        let problem = format!("has a list of more than {SCOPE_ENTRIES_MAX} entries");
        return Err(Refusal::TooLarge { field: "actions", problem });
    }
    let is_audience = (1..=AUDIENCE_BYTES_MAX).contains(&asked.audience.len())
        && asked.audience.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_audience {
        return Err(Refusal::invalid("audience", "must be 1 to 255 visible ASCII characters"));
    }
    let action = |name: &String| {
        let problem = "must be names of actions, such as crypto.decrypt";
        Action::named(name).ok_or_else(|| Refusal::invalid("actions", problem))
    };
    // An alias may point elsewhere tomorrow.
    let key = |text: &String| KeyId::parse(text).map_err(|e| Refusal::invalid("keys", e));
    let ring = |text: &String| KeyRing::parse(text).map_err(|e| Refusal::invalid("key_rings", e));
    let lifetime = || Refusal::invalid("lifetime", "must be 1 second to 15 minutes");
    let lifetime_seconds = match &asked.lifetime {
        None => TOKEN_SECONDS_DEFAULT,
        Some(lasts) => {
            let seconds = parse::millis(lasts).map(|millis| millis.div_euclid(1_000));
            let seconds = seconds.filter(|seconds| (1..=TOKEN_SECONDS_MAX).contains(seconds));
            seconds.and_then(|seconds| u32::try_from(seconds).ok()).ok_or_else(lifetime)?
        }
    };
    Ok(ExchangeToken {
        audience: asked.audience.clone(),
        scope: Scope {
            actions: asked.actions.iter().map(action).collect::<Result<_, _>>()?,
            keys: asked.keys.iter().map(key).collect::<Result<_, _>>()?,
            key_rings: asked.key_rings.iter().map(ring).collect::<Result<_, _>>()?,
            ..Scope::default()
        },
        lifetime_seconds,
        bind_certificate: asked.bind_certificate,
    })
}

fn account(account: &TrustedAccount) -> kms::ServiceAccount {
    let scope = account.scope();
    kms::ServiceAccount {
        name: account.name().to_string(),
        description: account.description().as_str().to_owned(),
        actions: scope.actions.iter().map(|action| action.name().to_owned()).collect(),
        keys: scope.keys.iter().map(ToString::to_string).collect(),
        key_rings: scope.key_rings.iter().map(ToString::to_string).collect(),
        encryption_context: scope.encryption_context.clone(),
        networks: scope.networks.iter().map(ToString::to_string).collect(),
        create_time: Some(render::timestamp(account.create_time())),
        principal: format!("service://{}", account.name()),
    }
}

fn credential(credential: &TrustedCredential) -> kms::Credential {
    let last = credential.last_use();
    kms::Credential {
        credential_id: credential.id().to_string(),
        service_account: credential.account().to_string(),
        create_time: Some(render::timestamp(credential.create_time())),
        expire_time: Some(render::timestamp(credential.expire_time())),
        last_use_time: last.map(|(time, _)| render::timestamp(time)),
        last_use_address: last.map(|(_, address)| address.to_owned()).unwrap_or_default(),
    }
}

const SCOPE_ENTRIES_MAX: usize = 100;
const AUDIENCE_BYTES_MAX: usize = 255;
const TOKEN_SECONDS_DEFAULT: u32 = 300;
const TOKEN_SECONDS_MAX: u64 = 900;
