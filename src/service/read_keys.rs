//! Shows keys and versions.

use std::sync::Arc;

use crate::audit::Record;
use crate::custody::{Custody, TrustedKey, TrustedVersion};
use crate::keys::{KeyId, KeyRef, KeyRing, State};
use crate::policy::{Action, Permit};

use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

/// One key.
pub struct GetKey {
    /// Which.
    pub key: KeyRef,
}

/// Keys, by id.
pub struct ListKeys {
    /// Only what lives in this ring or inside it.
    pub key_ring: Option<KeyRing>,
    /// After this one.
    pub after: Option<KeyId>,
    /// 1 to 1000.
    pub page_size: usize,
}

/// One version of a key.
pub struct GetVersion {
    /// Of which key.
    pub key: KeyRef,
    /// Its number.
    pub version: u32,
}

/// The versions of a key, in ascending order.
pub struct ListVersions {
    /// Of which key.
    pub key: KeyRef,
    /// After this one; 0 for the first page.
    pub after: u32,
    /// 1 to 1000.
    pub page_size: usize,
}

/// A key as a caller sees it.
pub struct KeyView {
    /// The key.
    pub key: Arc<TrustedKey>,
    /// The version that wraps; 0 while there is none.
    pub active_version: u32,
}

/// Some keys, and where the next page begins.
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<KeyView>,
    /// `None` on the last page.
    pub next: Option<KeyId>,
}

/// Some versions, and where the next page begins.
pub struct VersionPage {
    /// The versions.
    pub versions: Vec<Arc<TrustedVersion>>,
    /// `None` on the last page.
    pub next: Option<u32>,
}

// === impl KeyView ===

impl KeyView {
    pub(super) async fn of(
        custody: &Custody,
        permit: &Permit,
        key: Arc<TrustedKey>,
    ) -> Result<Self, Refusal> {
        let primary = custody.primary_version(permit, &key).await?;
        let active = primary.version().state() == State::Active;
        Ok(Self { active_version: if active { primary.number() } else { 0 }, key })
    }

    pub(super) async fn of_id(
        custody: &Custody,
        permit: &Permit,
        id: Option<KeyId>,
    ) -> Result<Self, Refusal> {
        let key = custody.key_by_id(permit, made(id)?).await?;
        Self::of(custody, permit, key).await
    }
}

// === impl GetKey ===

impl UseCase for GetKey {
    type Reply = KeyView;

    const ACTION: Action = Action::GetKey;

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={}", self.key).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<KeyView, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        KeyView::of(act.custody, act.permit, key).await
    }
}

// === impl ListKeys ===

impl UseCase for ListKeys {
    type Reply = KeyPage;

    const ACTION: Action = Action::ListKeys;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        if let Some(ring) = &self.key_ring {
            record.detail = format!("key_ring={ring}").into();
        }
    }

    async fn act(self, act: &mut Act<'_>) -> Result<KeyPage, Refusal> {
        let mut page = KeyPage { keys: Vec::new(), next: None };
        let mut after = self.after;
        // A ring is looked for key by key, a bounded number of them in one call.
        for _ in 0..SCANS_MAX {
            let found = act.custody.keys(act.permit, after, self.page_size).await?;
            let at_end = found.len() < self.page_size;
            for key in found {
                after = Some(key.id());
                if !self.wants(&key) || !act.may_see(key.facts()) {
                    continue;
                }
                page.keys.push(KeyView::of(act.custody, act.permit, key).await?);
                if page.keys.len() == self.page_size {
                    page.next = after;
                    return Ok(page);
                }
            }
            if at_end {
                return Ok(page);
            }
        }
        page.next = after;
        Ok(page)
    }
}

impl ListKeys {
    fn wants(&self, key: &TrustedKey) -> bool {
        let Some(wanted) = &self.key_ring else { return true };
        key.key().key_ring.as_ref().is_some_and(|ring| wanted.contains(ring))
    }
}

// === impl GetVersion ===

impl UseCase for GetVersion {
    type Reply = Arc<TrustedVersion>;

    const ACTION: Action = Action::GetVersion;

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn describe(&self, record: &mut Record) {
        record.version = self.version;
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Arc<TrustedVersion>, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        Ok(act.custody.version(act.permit, key.id(), self.version).await?)
    }
}

// === impl ListVersions ===

impl UseCase for ListVersions {
    type Reply = VersionPage;

    const ACTION: Action = Action::ListVersions;

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("key={}", self.key).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<VersionPage, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        let versions = act.custody.versions(act.permit, &key, self.after, self.page_size).await?;
        let full = versions.len() == self.page_size;
        let next = versions.last().filter(|_| full).map(|last| last.number());
        Ok(VersionPage { versions, next })
    }
}

/// The key that a mutation was about; that there is one is this program's to see to.
pub(super) fn made(id: Option<KeyId>) -> Result<KeyId, Refusal> {
    id.ok_or(Refusal::Internal { class: "outcome", problem: "an outcome names no key".into() })
}

const SCANS_MAX: usize = 10;
