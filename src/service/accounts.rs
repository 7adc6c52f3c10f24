//! Service accounts and their credentials. A credential's secret is in the reply that makes it, and
//! nowhere else.

use std::sync::Mutex;

use crate::audit::Record;
use crate::custody::{Custody, NewSecret, Past, RequestKey, TrustedAccount, TrustedCredential};
use crate::keys::{AccountName, CredentialId, Description, KeyRef};
use crate::policy::{Action, KeyFacts, Permit, PrincipalId, Scope, SubjectRef};

use super::access::unconfined;
use super::change::{Change, Changed};
use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// Makes a service account.
pub struct CreateServiceAccount {
    /// Its name.
    pub name: AccountName,
    /// What it is for.
    pub description: Description,
    /// The most that its credentials are good for, but for keys.
    pub scope: Scope,
    /// Only these keys, by whatever name.
    pub keys: Vec<KeyRef>,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Ends a service account and all its credentials.
pub struct DeleteServiceAccount {
    /// Which.
    pub name: AccountName,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Service accounts, by name.
pub struct ListServiceAccounts {
    /// After this one.
    pub after: Option<AccountName>,
    /// 1 to 1000.
    pub page_size: usize,
}

/// Makes a credential of a service account.
pub struct CreateCredential {
    /// Whose.
    pub account: AccountName,
    /// How long it is good for.
    pub lifetime_ms: u64,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
    /// Whom it is of.
    principal: SubjectRef,
    /// The secret, from when it is made until it is replied.
    made: Mutex<Option<NewSecret>>,
}

/// A credential that was just made.
pub struct CreatedCredential {
    /// What describes it.
    pub credential: TrustedCredential,
    /// What proves it.
    pub secret: NewSecret,
}

/// Ends a credential.
pub struct RevokeCredential {
    /// Which.
    pub id: CredentialId,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Credentials that are alive.
pub struct ListCredentials {
    /// Only those of this account.
    pub account: Option<AccountName>,
    /// After this one.
    pub after: Option<CredentialId>,
    /// 1 to 1000.
    pub page_size: usize,
}

// === impl CreateServiceAccount ===

impl Change for CreateServiceAccount {
    type Reply = TrustedAccount;

    fn action(&self) -> Action {
        Action::CreateServiceAccount
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("service_account={}", self.name).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        unconfined(act)?;
        let mut scope = self.scope.clone();
        for key in &self.keys {
            let known = act.custody.key_facts(act.permit.tenant(), key).await?;
            if known.id == KeyFacts::none().id {
                return Err(Refusal::invalid("service_account.keys", "names no key"));
            }
            scope.keys.push(known.id);
        }
        let mut changes = act.custody.change(act.permit)?;
        changes.put_new_account(&self.name, self.description.clone(), scope).await?;
        Ok(Changed { changes, past: Past::default() })
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        _: Past,
    ) -> Result<TrustedAccount, Refusal> {
        Ok(custody.account(permit, &self.name).await?)
    }
}

// === impl DeleteServiceAccount ===

impl Change for DeleteServiceAccount {
    type Reply = ();

    fn action(&self) -> Action {
        Action::DeleteServiceAccount
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("service_account={}", self.name).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let account = act.custody.account(act.permit, &self.name).await?;
        let mut changes = act.custody.change(act.permit)?;
        changes.remove_account(&account).await?;
        Ok(Changed { changes, past: Past::default() })
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<(), Refusal> {
        Ok(())
    }
}

// === impl ListServiceAccounts ===

impl UseCase for ListServiceAccounts {
    type Reply = (Vec<TrustedAccount>, Option<AccountName>);

    const ACTION: Action = Action::ListServiceAccounts;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let page = act.custody.accounts(act.permit, self.after.as_ref(), self.page_size).await?;
        let full = page.len() == self.page_size;
        let next = page.last().filter(|_| full).map(|last| last.name().clone());
        Ok((page, next))
    }
}

// === impl CreateCredential ===

impl CreateCredential {
    /// Asks for one.
    pub fn new(
        account: AccountName,
        lifetime_ms: u64,
        request: Option<RequestKey>,
    ) -> Result<Self, Refusal> {
        let principal = PrincipalId::parse(&format!("service://{account}"));
        let principal = principal.map_err(|error| Refusal::invalid("service_account", error))?;
        let principal = SubjectRef::Principal(principal);
        Ok(Self { account, lifetime_ms, request, principal, made: Mutex::new(None) })
    }
}

impl Change for CreateCredential {
    type Reply = CreatedCredential;

    fn action(&self) -> Action {
        Action::CreateCredential
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    /// An account that made its own credentials would never expire.
    fn whom(&self) -> Option<&SubjectRef> {
        Some(&self.principal)
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("service_account={}", self.account).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        unconfined(act)?;
        let account = act.custody.account(act.permit, &self.account).await?;
        let mut changes = act.custody.change(act.permit)?;
        let secret = changes.put_new_credential(&account, self.lifetime_ms).await?;
        let id = secret.id;
        let (account, shown) = (&self.account, id.to_string());
        act.record.detail = format!("service_account={account} credential={shown}").into();
        if let Ok(mut made) = self.made.lock() {
            *made = Some(secret);
        }
        Ok(Changed::of(changes, *id.as_bytes()))
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<CreatedCredential, Refusal> {
        let id = CredentialId::from_bytes(past.made.unwrap_or_default());
        let made = self.made.lock().ok().and_then(|mut made| made.take());
        let problem =
            "was used before, and a credential is shown once; revoke it, and make another";
        // What was gathered and not committed, because the same request was faster, is nobody's.
        let secret = made.filter(|made| made.id == id);
        let secret = secret.ok_or_else(|| Refusal::invalid("request_id", problem))?;
        Ok(CreatedCredential { credential: custody.credential(permit, id).await?, secret })
    }
}

// === impl RevokeCredential ===

impl Change for RevokeCredential {
    type Reply = ();

    fn action(&self) -> Action {
        Action::RevokeCredential
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("credential={}", self.id).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let credential = act.custody.credential(act.permit, self.id).await?;
        let mut changes = act.custody.change(act.permit)?;
        changes.remove_credential(&credential).await?;
        Ok(Changed::of(changes, *self.id.as_bytes()))
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<(), Refusal> {
        Ok(())
    }
}

// === impl ListCredentials ===

impl UseCase for ListCredentials {
    type Reply = (Vec<TrustedCredential>, Option<CredentialId>);

    const ACTION: Action = Action::ListCredentials;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        if let Some(account) = &self.account {
            record.detail = format!("service_account={account}").into();
        }
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let page = act.custody.credentials(act.permit, self.after, self.page_size).await?;
        let full = page.len() == self.page_size;
        let next = page.last().filter(|_| full).map(TrustedCredential::id);
        let now = act.custody.now();
        let of = self.account.as_ref();
        let shown = page.into_iter().filter(|one| now < one.expire_time());
        let shown = shown.filter(|one| of.is_none_or(|account| account == one.account()));
        Ok((shown.collect(), next))
    }
}
