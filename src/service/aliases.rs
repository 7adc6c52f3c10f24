//! Names that point at keys.

use crate::audit::Record;
use crate::crypto::EncryptionContext;
use crate::custody::{AliasEntry, Custody, Past, RequestKey};
use crate::keys::{Alias, KeyRef};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act, UseCase};
use super::read_keys::made;
use super::refusal::Refusal;

/// Points an alias at a key, whether it is new or points elsewhere.
pub struct SetAlias {
    /// The name.
    pub alias: Alias,
    /// The key.
    pub key: KeyRef,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Removes an alias.
pub struct DeleteAlias {
    /// The name.
    pub alias: Alias,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Aliases, by name.
pub struct ListAliases {
    /// Only those of this key.
    pub key: Option<KeyRef>,
    /// After this one.
    pub after: Option<Alias>,
    /// 1 to 1000.
    pub page_size: usize,
}

// === impl SetAlias ===

impl Change for SetAlias {
    type Reply = AliasEntry;

    fn action(&self) -> Action {
        Action::SetAlias
    }

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("alias={} key={}", self.alias, self.key).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let target = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(target.id());
        let mut changes = act.custody.change(act.permit)?;
        let pointed_at = changes.put_alias(&self.alias, target.id(), false).await?;
        if pointed_at != Some(target.id()) {
            if target.key().aliases.len() >= ALIASES_PER_KEY_MAX {
                return Err(Refusal::TooLarge {
                    field: "alias",
                    problem: format!("the key has {ALIASES_PER_KEY_MAX} aliases; delete one"),
                });
            }
            let mut key = target.key().clone();
            key.aliases.push(self.alias.clone());
            changes.put_key(&key, &target);
            if let Some(other) = pointed_at {
                // It loses a name: a right of its own.
                let (named, nothing) = (KeyRef::Id(other), EncryptionContext::empty());
                let may = act.also_on(Action::SetAlias, &named, &nothing).await?;
                let other = act.custody.key_by_id(&may, other).await?;
                let mut key = other.key().clone();
                key.aliases.retain(|alias| *alias != self.alias);
                changes.put_key(&key, &other);
            }
        }
        Ok(Changed::of_key(changes, target.id()))
    }

    async fn reply(&self, _: &Custody, _: &Permit, past: Past) -> Result<AliasEntry, Refusal> {
        Ok(AliasEntry { alias: self.alias.clone(), key: made(past.key)? })
    }
}

// === impl DeleteAlias ===

impl Change for DeleteAlias {
    type Reply = ();

    fn action(&self) -> Action {
        Action::DeleteAlias
    }

    fn about(&self) -> About<'_> {
        About::Key(KeyRef::Alias(self.alias.clone()))
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("alias={}", self.alias).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let mut changes = act.custody.change(act.permit)?;
        let id = changes.remove_alias(&self.alias).await?;
        act.record.key = Some(id);
        let was = act.custody.key_by_id(act.permit, id).await?;
        let mut key = was.key().clone();
        key.aliases.retain(|alias| *alias != self.alias);
        changes.put_key(&key, &was);
        Ok(Changed::of_key(changes, id))
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<(), Refusal> {
        Ok(())
    }
}

// === impl ListAliases ===

impl UseCase for ListAliases {
    type Reply = (Vec<AliasEntry>, Option<Alias>);

    const ACTION: Action = Action::ListAliases;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        if let Some(key) = &self.key {
            record.detail = format!("key={key}").into();
        }
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        if let Some(named) = &self.key {
            let key = act.custody.key(act.permit, named).await?;
            act.record.key = Some(key.id());
            let after = |alias: &Alias| self.after.as_ref().is_none_or(|after| alias > after);
            let mut entries: Vec<_> = key
                .key()
                .aliases
                .iter()
                .filter(|alias| after(alias))
                .map(|alias| AliasEntry { alias: alias.clone(), key: key.id() })
                .collect();
            entries.sort_by(|one, other| one.alias.cmp(&other.alias));
            let more = entries.len() > self.page_size;
            entries.truncate(self.page_size);
            let next = entries.last().filter(|_| more).map(|last| last.alias.clone());
            return Ok((entries, next));
        }
        let entries = act.custody.aliases(act.permit, self.after.as_ref(), self.page_size).await?;
        let full = entries.len() == self.page_size;
        let next = entries.last().filter(|_| full).map(|last| last.alias.clone());
        let mut seen = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = KeyRef::Id(entry.key);
            if act.may_see(&*act.custody.key_facts(act.permit.tenant(), &key).await?) {
                seen.push(entry);
            }
        }
        Ok((seen, next))
    }
}

const ALIASES_PER_KEY_MAX: usize = 50;
