//! Registers the places where blobs are kept, shows them, and hears that one was restored.

use crate::audit::Record;
use crate::census::{RegisteredStore, Restore, StoreKind, WriteDelay};
use crate::custody::{Custody, CustodyError, Past, RequestKey, STORES_REGISTERED_MAX};
use crate::keys::{Owner, Reason, StoreName, StoreNumber, StoreRef};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// A place where blobs are kept, to be given a number.
pub struct RegisterStore {
    /// New in its tenant.
    pub name: StoreName,
    /// Who answers for it.
    pub owner: Owner,
    /// What it is.
    pub kind: StoreKind,
    /// How long a writer may hold what it was given.
    pub write_delay: WriteDelay,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Registered stores, by number.
pub struct ListStores {
    /// After this one; 0 for the first page.
    pub after: u32,
    /// 1 to 1000.
    pub page_size: usize,
}

/// Some stores, and where the next page begins.
pub struct StorePage {
    /// The stores.
    pub stores: Vec<RegisteredStore>,
    /// `None` on the last page.
    pub next: Option<u32>,
}

/// A store that was restored from a backup, or into which blobs were copied from elsewhere.
pub struct ReportRestore {
    /// Which.
    pub store: StoreRef,
    /// Why, for the record.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl RegisterStore ===

impl RegisterStore {
    /// One more than the highest: stores are never removed.
    async fn next_number(&self, act: &Act<'_>) -> Result<StoreNumber, Refusal> {
        let known = act.custody.all_stores(act.permit).await?;
        if known.len() >= STORES_REGISTERED_MAX {
            let problem = format!("a tenant has at most {STORES_REGISTERED_MAX} stores");
            return Err(Refusal::TooLarge { field: "name", problem });
        }
        let highest = known.last().map_or(0, |last| last.record.number.as_u32());
        let next = highest.checked_add(1).and_then(StoreNumber::new);
        next.ok_or(Refusal::Internal { class: "stores", problem: "no number is left".into() })
    }

    async fn is_taken(&self, act: &Act<'_>) -> Result<bool, Refusal> {
        match act.custody.store(act.permit, &StoreRef::Name(self.name.clone())).await {
            Ok(_) => Ok(true),
            Err(CustodyError::NotFound) => Ok(false),
            Err(other) => Err(other.into()),
        }
    }
}

impl Change for RegisterStore {
    type Reply = RegisteredStore;

    fn action(&self) -> Action {
        Action::RegisterStore
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("store={} owner={}", self.name, self.owner.as_str()).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        if self.is_taken(act).await? {
            return Err(Refusal::AlreadyExists { field: "name" });
        }
        let number = self.next_number(act).await?;
        act.record.store = number.as_u32();
        let mut changes = act.custody.change(act.permit)?;
        changes.put_new_store(&RegisteredStore {
            number,
            name: self.name.clone(),
            owner: self.owner.clone(),
            kind: self.kind,
            write_delay: self.write_delay,
            create_time: act.custody.now(),
            restore: None,
        });
        Ok(Changed { changes, past: Past::default() })
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        _: Past,
    ) -> Result<RegisteredStore, Refusal> {
        Ok(custody.store(permit, &StoreRef::Name(self.name.clone())).await?.record)
    }
}

// === impl ListStores ===

impl UseCase for ListStores {
    type Reply = StorePage;

    const ACTION: Action = Action::ListStores;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<StorePage, Refusal> {
        let found = act.custody.stores(act.permit, self.after, self.page_size).await?;
        let stores: Vec<_> = found.into_iter().map(|read| read.record).collect();
        let full = stores.len() == self.page_size;
        let next = stores.last().filter(|_| full).map(|last| last.number.as_u32());
        Ok(StorePage { stores, next })
    }
}

// === impl ReportRestore ===

impl Change for ReportRestore {
    type Reply = RegisteredStore;

    fn action(&self) -> Action {
        Action::ReportRestore
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("store={} reason={}", self.store, self.reason.as_str()).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let was = act.custody.store(act.permit, &self.store).await?;
        act.record.store = was.record.number.as_u32();
        let restore = Restore { time: act.custody.now(), sequence: act.durable_sequence() };
        let store = RegisteredStore { restore: Some(restore), ..was.record.clone() };
        let mut changes = act.custody.change(act.permit)?;
        changes.put_store(&store, &was);
        Ok(Changed { changes, past: Past::default() })
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        _: Past,
    ) -> Result<RegisteredStore, Refusal> {
        Ok(custody.store(permit, &self.store).await?.record)
    }
}
