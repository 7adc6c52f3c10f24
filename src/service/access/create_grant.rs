//! Gives one principal some actions on one key.

use crate::audit::{MAX_DETAIL_BYTES, Record, clip};
use crate::crypto::EncryptionContext;
use crate::custody::{Custody, GrantEntry, Past, RequestKey};
use crate::keys::{Description, GrantId, KeyRef, Timestamp};
use crate::policy::{Action, Denied, Grant, Permit, PrincipalId, Role, SubjectRef};
use crate::service::change::{Change, Changed};
use crate::service::perform::{About, Act};
use crate::service::record::recorded;
use crate::service::refusal::Refusal;

use super::in_the_future;

/// A grant to be given.
pub struct CreateGrant {
    /// On which key.
    pub key: KeyRef,
    /// To whom.
    pub grantee: SubjectRef,
    /// The same.
    pub principal: PrincipalId,
    /// What.
    pub actions: Vec<Action>,
    /// Pairs that the encryption context of a call must hold.
    pub context: EncryptionContext,
    /// When it ends, if it does.
    pub expire_time: Option<Timestamp>,
    /// Who may take it away besides whoever manages access, and the grantee.
    pub retiring_principal: Option<PrincipalId>,
    /// What it is for.
    pub name: Description,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl CreateGrant ===

impl CreateGrant {
    /// Attack D09: a grant gives nothing that gives on, nothing that only the program itself does, and
    /// nothing for which the grantor's own credential is not good.
    fn refuse_wider(&self, act: &Act<'_>) -> Result<(), Refusal> {
        let is_given =
            |action: &Action| Role::ALL.iter().any(|role| role.actions().contains(action));
        if let Some(action) = self.actions.iter().find(|it| !it.is_grantable() || !is_given(it)) {
            let problem = format!("{} cannot be granted on a key; bind a role", action.name());
            return Err(Refusal::invalid("actions", problem));
        }
        let Some(scope) = act.subject().scope.as_deref() else { return Ok(()) };
        let within = scope.networks.is_empty()
            && (scope.actions.is_empty()
                || self.actions.iter().all(|action| scope.actions.contains(action)));
        if within { Ok(()) } else { Err(Denied::OutOfScope.into()) }
    }
}

impl Change for CreateGrant {
    type Reply = GrantEntry;

    fn action(&self) -> Action {
        Action::CreateGrant
    }

    /// The grant's context is what a policy about grants, and a credential's scope, look at.
    fn about(&self) -> About<'_> {
        About::Wrap(self.key.clone(), &self.context)
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn whom(&self) -> Option<&SubjectRef> {
        Some(&self.grantee)
    }

    fn describe(&self, record: &mut Record) {
        record.context = recorded(&self.context);
        let actions: Vec<_> = self.actions.iter().map(|action| action.name()).collect();
        let mut detail = format!("principal={} actions={}", self.principal, actions.join(","));
        if let Some(end) = self.expire_time {
            detail.push_str(&format!(" expire_time_ms={}", end.unix_ms()));
        }
        if let Some(retiring) = &self.retiring_principal {
            detail.push_str(&format!(" retiring_principal={retiring}"));
        }
        record.detail = clip(&detail, MAX_DETAIL_BYTES).into_owned().into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        in_the_future(act, self.expire_time)?;
        self.refuse_wider(act)?;
        let id = act.custody.new_grant_id()?;
        let encryption_context = self.context.pairs();
        let grant = Grant {
            id: *id.as_bytes(),
            key: key.id(),
            principal: self.principal.clone(),
            actions: self.actions.clone(),
            encryption_context: encryption_context
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            expire_time: self.expire_time,
        };
        let mut changes = act.custody.change(act.permit)?;
        changes.put_new_grant(&GrantEntry {
            grant,
            retiring_principal: self.retiring_principal.clone(),
            name: self.name.clone(),
            grantor: act.permit.principal().id().clone(),
            create_time: act.custody.now(),
        });
        let past = Past { key: Some(key.id()), made: Some(*id.as_bytes()), ..Past::default() };
        Ok(Changed { changes, past })
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> Result<GrantEntry, Refusal> {
        Ok(custody.grant(permit, given(past.made)?).await?.record)
    }
}

fn given(id: Option<[u8; 16]>) -> Result<GrantId, Refusal> {
    id.map(GrantId::from_bytes)
        .ok_or(Refusal::Internal { class: "outcome", problem: "an outcome names no grant".into() })
}
