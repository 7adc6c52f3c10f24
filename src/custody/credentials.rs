//! Service accounts and their credentials: making them, ending them, and whose a credential is.
//!
//! A secret leaves here once, when it is made. Stored is its SHA-256: with 256 random bits there is
//! nothing to guess, and a slow hash would only slow every call.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::keys::{AccountName, CredentialId, Description, Quota, TenantId, Timestamp};
use crate::policy::{CredentialKind, Permit, Principal, PrincipalId, Scope, Subject};

use super::Custody;
use super::changes::Changes;
use super::error::CustodyError;
use super::rows::{AccountRecord, CredentialRecord, Record};

/// A service account, verified.
#[derive(Clone, Debug)]
pub struct TrustedAccount {
    record: AccountRecord,
    revision: u64,
}

/// A credential, verified. It holds no secret.
#[derive(Clone, Debug)]
pub struct TrustedCredential {
    record: CredentialRecord,
    revision: u64,
}

/// The secret of a credential that was just made: to be shown once.
pub struct NewSecret {
    /// Whose.
    pub tenant: TenantId,
    /// Of which credential.
    pub id: CredentialId,
    /// What proves it.
    pub secret: Zeroizing<[u8; 32]>,
}

/// Uses that are not written down yet: one for each credential, to the minute.
#[derive(Default)]
pub(super) struct LastUses(Mutex<HashMap<(TenantId, CredentialId), (Timestamp, IpAddr)>>);

// === impl TrustedAccount ===

impl TrustedAccount {
    /// Its name.
    pub fn name(&self) -> &AccountName {
        &self.record.name
    }

    /// What it is for.
    pub fn description(&self) -> &Description {
        &self.record.description
    }

    /// The most that its credentials are good for.
    pub fn scope(&self) -> &Scope {
        &self.record.scope
    }

    /// When it was made.
    pub fn create_time(&self) -> Timestamp {
        self.record.create_time
    }
}

// === impl TrustedCredential ===

impl TrustedCredential {
    /// Its id.
    pub fn id(&self) -> CredentialId {
        self.record.id
    }

    /// Whose it is.
    pub fn account(&self) -> &AccountName {
        &self.record.account
    }

    /// When it was made.
    pub fn create_time(&self) -> Timestamp {
        self.record.create_time
    }

    /// When it ends.
    pub fn expire_time(&self) -> Timestamp {
        self.record.expire_time
    }

    /// When it was last used, to the minute, and from where.
    pub fn last_use(&self) -> Option<(Timestamp, &str)> {
        self.record.last_use_time.map(|time| (time, &*self.record.last_use_address))
    }
}

// === impl Custody ===

impl Custody {
    /// One service account.
    pub async fn account(
        &self,
        permit: &Permit,
        name: &AccountName,
    ) -> Result<TrustedAccount, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.load::<AccountRecord>(&tenant, name.as_str().as_bytes().to_vec()).await?;
        let (record, revision) = found.ok_or(CustodyError::NotFound)?;
        Ok(TrustedAccount { record, revision })
    }

    /// Service accounts in the order of their names, after `after`, at most `limit`.
    pub async fn accounts(
        &self,
        permit: &Permit,
        after: Option<&AccountName>,
        limit: usize,
    ) -> Result<Vec<TrustedAccount>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = after.map(|name| name.as_str().as_bytes().to_vec());
        let found = self.records::<AccountRecord>(&tenant, Vec::new(), after, limit).await?;
        let trusted = |(record, revision)| TrustedAccount { record, revision };
        Ok(found.into_iter().map(trusted).collect())
    }

    /// One credential.
    pub async fn credential(
        &self,
        permit: &Permit,
        id: CredentialId,
    ) -> Result<TrustedCredential, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.load::<CredentialRecord>(&tenant, id.as_bytes().to_vec()).await?;
        let (record, revision) = found.ok_or(CustodyError::NotFound)?;
        Ok(TrustedCredential { record, revision })
    }

    /// Credentials that are alive, in the order of their ids, after `after`, of at most `limit` that
    /// there are. The last id says where to go on.
    pub async fn credentials(
        &self,
        permit: &Permit,
        after: Option<CredentialId>,
        limit: usize,
    ) -> Result<Vec<TrustedCredential>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = after.map(|id| id.as_bytes().to_vec());
        let found = self.records::<CredentialRecord>(&tenant, Vec::new(), after, limit).await?;
        let trusted = |(record, revision)| TrustedCredential { record, revision };
        Ok(found.into_iter().map(trusted).collect())
    }

    /// Whose this credential is, if it is alive. Needs no permit: it is what makes a caller known. Every
    /// reason why it is nobody's is [`CustodyError::NotFound`].
    pub async fn subject_of_credential(
        &self,
        tenant: TenantId,
        id: CredentialId,
        secret: &[u8; 32],
        source: IpAddr,
    ) -> Result<Arc<Subject>, CustodyError> {
        let found = self.known_credential(tenant, id).await;
        // What is compared with is no secret's where there is no such credential, and the work is the
        // same (attacks C02, C04).
        let expected = found.as_ref().map_or([0; 32], |(record, _)| record.secret_digest);
        let matches = bool::from(Sha256::digest(secret).as_slice().ct_eq(&expected));
        let (record, account) = found?;
        let now = self.now();
        if !matches || !is_alive(&record, &account, id, now) {
            return Err(CustodyError::NotFound);
        }
        let principal = principal_of(&account.name)?;
        let kind = CredentialKind::ServiceAccount;
        let mut subject = Subject::new(Principal::new(principal, tenant), kind);
        subject.scope = Some(Arc::new(account.scope.clone()));
        subject.credential = Some(id);
        self.last_uses.note(&record, tenant, now, source);
        Ok(Arc::new(subject))
    }

    /// That this credential is alive, for a token that it was exchanged for. Why it is not is
    /// [`CustodyError::NotFound`] always.
    pub async fn still_credential(
        &self,
        tenant: TenantId,
        id: CredentialId,
    ) -> Result<(), CustodyError> {
        let (record, account) = self.known_credential(tenant, id).await?;
        let alive = is_alive(&record, &account, id, self.now());
        if alive { Ok(()) } else { Err(CustodyError::NotFound) }
    }

    async fn known_credential(
        &self,
        tenant_id: TenantId,
        id: CredentialId,
    ) -> Result<(Arc<CredentialRecord>, Arc<AccountRecord>), CustodyError> {
        let credential = async {
            let tenant = self.tenant(tenant_id)?;
            let found = self.load::<CredentialRecord>(&tenant, id.as_bytes().to_vec()).await?;
            Ok(Arc::new(found.ok_or(CustodyError::NotFound)?.0))
        };
        let cache = &self.caches.credentials;
        let credential = self.caches.through(cache, (tenant_id, id), credential).await?;
        let name = &credential.account;
        let account = async {
            let tenant = self.tenant(tenant_id)?;
            let row_id = name.as_str().as_bytes().to_vec();
            let found = self.load::<AccountRecord>(&tenant, row_id).await?;
            Ok(Arc::new(found.ok_or(CustodyError::NotFound)?.0))
        };
        let cache = &self.caches.accounts;
        let account = self.caches.through(cache, (tenant_id, name.clone()), account).await?;
        Ok((credential, account))
    }

    /// Writes down when credentials were last used, for as long as the future is polled: each at most
    /// once a minute, however often it is used.
    pub async fn run_last_uses(&self) {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(MINUTE_MS)).await;
            self.write_last_uses().await;
        }
    }

    /// Writes down what [`Custody::run_last_uses`] would.
    pub async fn write_last_uses(&self) {
        for ((tenant_id, id), (time, address)) in self.last_uses.taken() {
            let Ok(tenant) = self.tenant(tenant_id) else { continue };
            let written = async {
                let row_id = id.as_bytes().to_vec();
                let found = self.load::<CredentialRecord>(&tenant, row_id).await?;
                // One that was revoked meanwhile stays so.
                let Some((record, revision)) = found else { return Ok(()) };
                let (last_use_time, last_use_address) = (Some(time), address.to_string());
                let record = CredentialRecord { last_use_time, last_use_address, ..record };
                let mut changes = self.change_in(&tenant);
                changes.put(&record, Some(revision));
                changes.commit().await.map(|_| ())
            };
            match written.await {
                Ok(()) | Err(CustodyError::Conflict) => {}
                Err(error) => tracing::warn!(%error, "cannot write down a credential's last use"),
            }
        }
    }

    /// With what this installation's own tokens are signed: 32 bytes that are derived from the root key
    /// and stored nowhere.
    pub fn token_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.root_token.tag(&[b"ed25519"]))
    }

    /// The same for another kind of key. `draw` tells apart what is drawn again, where a kind has
    /// secrets that are none.
    pub fn token_secret_p256(&self, draw: u8) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.root_token.tag(&[b"p256", &[draw]]))
    }

    /// Every tenant there is now.
    pub fn tenant_ids(&self) -> Vec<TenantId> {
        self.all_tenants().iter().map(|tenant| tenant.id).collect()
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// A service account that is new.
    pub async fn put_new_account(
        &mut self,
        name: &AccountName,
        description: Description,
        scope: Scope,
    ) -> Result<(), CustodyError> {
        let row_id = name.as_str().as_bytes().to_vec();
        let (custody, tenant) = (self.custody(), Arc::clone(self.tenant()));
        if custody.load::<AccountRecord>(&tenant, row_id).await?.is_some() {
            return Err(CustodyError::AccountExists);
        }
        self.counted.add(Quota::ServiceAccounts);
        let (create_time, credentials) = (custody.now(), Vec::new());
        let name = name.clone();
        self.put(&AccountRecord { name, description, scope, create_time, credentials }, None);
        Ok(())
    }

    /// Ends a service account and all its credentials.
    pub async fn remove_account(&mut self, account: &TrustedAccount) -> Result<(), CustodyError> {
        let row = self.row_key::<AccountRecord>(account.record.row_id());
        self.counted.remove(Quota::ServiceAccounts);
        self.remove(row, Some(account.revision));
        let (custody, tenant) = (self.custody(), Arc::clone(self.tenant()));
        for id in &account.record.credentials {
            let row_id = id.as_bytes().to_vec();
            let found = custody.load::<CredentialRecord>(&tenant, row_id.clone()).await?;
            if let Some((_, revision)) = found {
                let row = self.row_key::<CredentialRecord>(row_id);
                self.remove(row, Some(revision));
            }
        }
        Ok(())
    }

    /// A credential that is new, and its secret. At most two of an account are alive.
    pub async fn put_new_credential(
        &mut self,
        account: &TrustedAccount,
        lifetime_ms: u64,
    ) -> Result<NewSecret, CustodyError> {
        let (custody, tenant) = (self.custody(), Arc::clone(self.tenant()));
        let now = custody.now();
        let mut alive = Vec::new();
        for id in &account.record.credentials {
            let found = custody.load::<CredentialRecord>(&tenant, id.as_bytes().to_vec()).await?;
            if found.is_some_and(|(record, _)| now < record.expire_time) {
                alive.push(*id);
            }
        }
        if alive.len() >= CREDENTIALS_MAX {
            return Err(CustodyError::TooManyCredentials);
        }
        let id = CredentialId::from_bytes(custody.draw_id()?);
        let mut secret = Zeroizing::new([0; 32]);
        custody.random.fill(&mut secret[..])?;
        let record = CredentialRecord {
            id,
            account: account.record.name.clone(),
            secret_digest: Sha256::digest(&secret[..]).into(),
            create_time: now,
            expire_time: now.plus_ms(lifetime_ms.min(CREDENTIAL_MS_MAX)),
            last_use_time: None,
            last_use_address: String::new(),
        };
        alive.push(id);
        let after = AccountRecord { credentials: alive, ..account.record.clone() };
        self.put(&after, Some(account.revision));
        self.put(&record, None);
        Ok(NewSecret { tenant: tenant.id, id, secret })
    }

    /// Ends a credential. Its account no longer names it.
    pub async fn remove_credential(
        &mut self,
        credential: &TrustedCredential,
    ) -> Result<(), CustodyError> {
        let row = self.row_key::<CredentialRecord>(credential.record.row_id());
        self.remove(row, Some(credential.revision));
        let (custody, tenant) = (self.custody(), Arc::clone(self.tenant()));
        let row_id = credential.record.account.as_str().as_bytes().to_vec();
        if let Some((mut record, revision)) = custody.load::<AccountRecord>(&tenant, row_id).await?
        {
            record.credentials.retain(|id| *id != credential.record.id);
            self.put(&record, Some(revision));
        }
        Ok(())
    }
}

// === impl LastUses ===

impl LastUses {
    /// Notes a use, unless the row already tells of this minute.
    fn note(&self, record: &CredentialRecord, tenant: TenantId, now: Timestamp, source: IpAddr) {
        let into_minute = now.unix_ms().rem_euclid(i64::try_from(MINUTE_MS).unwrap_or(i64::MAX));
        let minute = now.minus_ms(u64::try_from(into_minute).unwrap_or(0));
        if record.last_use_time.is_some_and(|last| last >= minute) {
            return;
        }
        let mut uses = self.0.lock();
        let room = uses.len() < LAST_USES_MAX;
        match uses.get_mut(&(tenant, record.id)) {
            Some(use_) => *use_ = (minute, source),
            None if room => {
                uses.insert((tenant, record.id), (minute, source));
            }
            None => {}
        }
    }

    fn taken(&self) -> HashMap<(TenantId, CredentialId), (Timestamp, IpAddr)> {
        std::mem::take(&mut *self.0.lock())
    }
}

fn principal_of(account: &AccountName) -> Result<PrincipalId, CustodyError> {
    PrincipalId::parse(&format!("service://{account}")).map_err(|_| CustodyError::NotFound)
}

/// How long a credential is good for when nothing is said: 30 days.
pub const CREDENTIAL_MS_DEFAULT: u64 = 30 * 24 * 60 * 60 * 1_000;
/// How long at most: 90 days.
pub const CREDENTIAL_MS_MAX: u64 = 3 * CREDENTIAL_MS_DEFAULT;
/// Two, so that one can take the place of the other.
const CREDENTIALS_MAX: usize = 2;
const MINUTE_MS: u64 = 60_000;
/// What is not noted for want of room is noted a minute later.
const LAST_USES_MAX: usize = 100_000;

fn is_alive(
    record: &CredentialRecord,
    account: &AccountRecord,
    id: CredentialId,
    now: Timestamp,
) -> bool {
    now < record.expire_time && account.credentials.contains(&id)
}
