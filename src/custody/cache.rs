//! What custody has verified and opened, kept until a change to it is seen.
//!
//! The hard part of a cache is a load that overlaps a change: the value read before the change must
//! not be kept after it. Every invalidation moves the epoch first; a load that saw the epoch move
//! keeps nothing.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use crate::keys::{AccountName, Alias, CredentialId, KeyId, TenantId};
use crate::policy::World;
use crate::store::RowKey;

use super::error::CustodyError;
use super::records::{GrantEntry, PolicyEntry, TrustedKey, TrustedVersion};
use super::rows::{
    AccountRecord, AliasRecord, BindingRecord, CredentialRecord, Record, RelationRecord,
    TenantRecord, VersionRecord,
};
use crate::keys::Key;

/// Verified records of every tenant, bounded in number.
pub(super) struct Caches {
    epoch: AtomicU64,
    pub(super) keys: Cache<(TenantId, KeyId), Arc<TrustedKey>>,
    pub(super) versions: Cache<(TenantId, KeyId, u32), Arc<TrustedVersion>>,
    pub(super) aliases: Cache<(TenantId, Alias), KeyId>,
    pub(super) worlds: Cache<TenantId, Arc<World>>,
    /// The world that each tenant had last, for what of it can be used again. Nothing is decided by it.
    pub(super) last_worlds: Cache<TenantId, Arc<World>>,
    pub(super) accounts: Cache<(TenantId, AccountName), Arc<AccountRecord>>,
    pub(super) credentials: Cache<(TenantId, CredentialId), Arc<CredentialRecord>>,
}

// === impl Caches ===

impl Caches {
    pub(super) fn new() -> Self {
        Self {
            epoch: AtomicU64::new(0),
            keys: Cache::new(ENTRIES_MAX),
            versions: Cache::new(ENTRIES_MAX),
            aliases: Cache::new(ENTRIES_MAX),
            worlds: Cache::new(WORLDS_MAX),
            last_worlds: Cache::new(WORLDS_MAX),
            accounts: Cache::new(ENTRIES_MAX),
            credentials: Cache::new(ENTRIES_MAX),
        }
    }

    /// The kept value, or what `load` gives, which is kept unless something changed meanwhile.
    pub(super) async fn through<K, V>(
        &self,
        cache: &Cache<K, V>,
        key: K,
        load: impl Future<Output = Result<V, CustodyError>>,
    ) -> Result<V, CustodyError>
    where
        K: Clone + Eq + Hash,
        V: Clone,
    {
        if let Some(kept) = cache.get(&key) {
            return Ok(kept);
        }
        let before = self.epoch.load(Ordering::SeqCst);
        let value = load.await?;
        cache.insert(key.clone(), value.clone());
        if self.epoch.load(Ordering::SeqCst) != before {
            cache.remove(&key);
        }
        Ok(value)
    }

    /// Forgets what these rows made.
    pub(super) fn forget<'k>(&self, rows: impl IntoIterator<Item = &'k RowKey>) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        for row in rows {
            self.forget_row(row);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.keys.clear();
        self.versions.clear();
        self.aliases.clear();
        self.worlds.clear();
        self.accounts.clear();
        self.credentials.clear();
    }

    fn forget_row(&self, row: &RowKey) {
        let tenant = TenantId::from_bytes(row.tenant);
        match row.kind {
            Key::KIND => {
                if let Ok(key) = KeyId::from_slice(&row.id) {
                    self.keys.remove(&(tenant, key));
                }
            }
            VersionRecord::KIND => {
                if let Some((key, number)) = row.id.split_at_checked(16)
                    && let (Ok(key), Ok(number)) = (KeyId::from_slice(key), number.try_into())
                {
                    self.versions.remove(&(tenant, key, u32::from_be_bytes(number)));
                }
            }
            AliasRecord::KIND => {
                if let Some(alias) = text(&row.id).and_then(|alias| Alias::parse(alias).ok()) {
                    self.aliases.remove(&(tenant, alias));
                }
            }
            BindingRecord::KIND | PolicyEntry::KIND | RelationRecord::KIND | GrantEntry::KIND => {
                self.worlds.remove(&tenant);
            }
            // Suspended or resumed.
            TenantRecord::KIND => {
                if let Ok(tenant) = TenantId::from_slice(&row.id) {
                    self.worlds.remove(&tenant);
                }
            }
            AccountRecord::KIND => {
                if let Some(name) = text(&row.id).and_then(|name| AccountName::parse(name).ok()) {
                    self.accounts.remove(&(tenant, name));
                }
            }
            CredentialRecord::KIND => {
                if let Ok(id) = CredentialId::from_slice(&row.id) {
                    self.credentials.remove(&(tenant, id));
                }
            }
            _ => {}
        }
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

const ENTRIES_MAX: usize = 100_000;
const WORLDS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::Material;

    fn row(alias: &str) -> RowKey {
        RowKey { tenant: [1; 16], kind: AliasRecord::KIND, id: alias.as_bytes().to_vec() }
    }

    #[tokio::test]
    async fn g01_a_value_read_before_a_change_is_not_kept_after_it() {
        let caches = Caches::new();
        let key = (TenantId::from_bytes([1; 16]), Alias::parse("orders").unwrap());
        let old = KeyId::from_bytes([1; 16]);
        let given = caches
            .through(&caches.aliases, key.clone(), async {
                caches.forget([&row("orders")]);
                Ok(old)
            })
            .await;
        assert_eq!(given.unwrap(), old);
        assert_eq!(caches.aliases.get(&key), None);
    }

    #[tokio::test]
    async fn d11_whatever_says_who_may_do_what_makes_its_tenants_world_anew() {
        let caches = Caches::new();
        let [one, other] = [[1; 16], [2; 16]].map(TenantId::from_bytes);
        for kind in [7, 21, 22, 23] {
            for tenant in [one, other] {
                let world = Arc::new(World::new(tenant, Material::default()));
                caches.worlds.insert(tenant, world);
            }
            caches.forget([&RowKey { tenant: [1; 16], kind, id: vec![0; 3] }]);
            assert!(caches.worlds.get(&one).is_none(), "kind {kind}");
            assert!(caches.worlds.get(&other).is_some(), "kind {kind}");
        }
    }

    #[tokio::test]
    async fn a_kept_value_is_given_until_its_row_changes() {
        let caches = Caches::new();
        let key = (TenantId::from_bytes([1; 16]), Alias::parse("orders").unwrap());
        let load = |id: u8| async move { Ok(KeyId::from_bytes([id; 16])) };
        let get = |id| caches.through(&caches.aliases, key.clone(), load(id));
        assert_eq!(get(1).await.unwrap(), KeyId::from_bytes([1; 16]));
        assert_eq!(get(2).await.unwrap(), KeyId::from_bytes([1; 16]));
        caches.forget([&row("other")]);
        assert_eq!(get(3).await.unwrap(), KeyId::from_bytes([1; 16]));
        caches.forget([&row("orders")]);
        assert_eq!(get(4).await.unwrap(), KeyId::from_bytes([4; 16]));
        caches.clear();
        assert_eq!(get(5).await.unwrap(), KeyId::from_bytes([5; 16]));
    }
}
