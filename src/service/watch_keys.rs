//! Follows changes to the keys of a tenant. The stream is the API's; here is one page of it.

use crate::audit::Record;
use crate::custody::{self, AliasEntry, TrustedVersion};
use crate::keys::Alias;
use crate::keys::KeyRef;
use crate::policy::Action;

use super::perform::{About, Act, Caller, Desk, UseCase};
use super::read_keys::KeyView;
use super::refusal::Refusal;

/// Begins to watch.
pub struct WatchKeys {
    /// After this revision; `None`: from now on.
    pub after: Option<u64>,
}

/// What changed after a revision, and where to go on.
pub struct WatchPage {
    /// In order, each with its revision.
    pub changes: Vec<(u64, KeyChange)>,
    /// Where to go on.
    pub revision: u64,
}

/// Something that changed about the keys of a tenant.
pub enum KeyChange {
    /// A key was made or changed.
    Key(KeyView),
    /// A version was made or changed.
    Version(TrustedVersion),
    /// An alias was pointed at a key.
    Alias(AliasEntry),
    /// An alias was removed.
    AliasRemoved(Alias),
}

// === impl WatchKeys ===

impl UseCase for WatchKeys {
    type Reply = u64;

    const ACTION: Action = Action::WatchKeys;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<u64, Refusal> {
        match self.after {
            // A cursor that the store no longer knows is refused at once, not in mid-stream.
            Some(after) => {
                act.custody.watch(act.permit, after).await?;
                Ok(after)
            }
            None => Ok(act.custody.revision().await?),
        }
    }
}

// === impl Desk ===

impl Desk {
    /// The next changes after `after`, waiting a moment if there are none. The right to watch is
    /// asked for again each time: it may have been taken away.
    pub async fn watch_on(&self, caller: &Caller, after: u64) -> Result<WatchPage, Refusal> {
        let asker = self.asker(caller).await?;
        let permit = asker.ask_at_all(Action::WatchKeys)?;
        let custody = &self.office().custody;
        let page = custody.watch(&permit, after).await?;
        if page.revision == after {
            custody.wait(after).await;
        }
        let mut changes = Vec::with_capacity(page.changes.len());
        for (at, change) in page.changes {
            let key = match &change {
                custody::KeyChange::Key(key) => Some(key.id()),
                custody::KeyChange::Version(version) => Some(version.key()),
                custody::KeyChange::Alias(entry) => Some(entry.key),
                // A name that is gone tells nothing of a key.
                custody::KeyChange::AliasRemoved(_) => None,
            };
            if let Some(key) = key
                && !asker.may_see(&*custody.key_facts(permit.tenant(), &KeyRef::Id(key)).await?)
            {
                continue;
            }
            let change = match change {
                custody::KeyChange::Key(key) => {
                    KeyChange::Key(KeyView::of(custody, &permit, key.into()).await?)
                }
                custody::KeyChange::Version(version) => KeyChange::Version(version),
                custody::KeyChange::Alias(entry) => KeyChange::Alias(entry),
                custody::KeyChange::AliasRemoved(alias) => KeyChange::AliasRemoved(alias),
            };
            changes.push((at, change));
        }
        Ok(WatchPage { changes, revision: page.revision })
    }
}
