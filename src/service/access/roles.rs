//! Who holds which role.

use crate::audit::{MAX_DETAIL_BYTES, Record, clip};
use crate::custody::{Custody, Past, RequestKey, RoleBinding};
use crate::keys::{Reason, Timestamp};
use crate::policy::{Action, HeldRole, Permit, RoleName, SubjectRef};
use crate::service::change::{Change, Changed};
use crate::service::perform::{About, Act, UseCase};
use crate::service::refusal::Refusal;

use super::{duties, in_the_future, own};

/// Gives a role, or takes it away.
pub struct BindRole {
    /// Whose.
    pub subject: SubjectRef,
    /// Which.
    pub role: RoleName,
    /// When it ends, if it is given for a time.
    pub expire_time: Option<Timestamp>,
    /// Give or take.
    pub change: RoleChange,
    /// Why, for the record.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// What happens to a role binding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RoleChange {
    /// It is given.
    Bind,
    /// It is taken away.
    Unbind,
}

/// Role bindings, by principal.
pub struct ListRoleBindings {
    /// After this subject.
    pub after: Option<String>,
    /// 1 to 1000.
    pub page_size: usize,
}

// === impl BindRole ===

impl Change for BindRole {
    type Reply = RoleBinding;

    fn action(&self) -> Action {
        match self.change {
            RoleChange::Bind => Action::BindRole,
            RoleChange::Unbind => Action::UnbindRole,
        }
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn whom(&self) -> Option<&SubjectRef> {
        Some(&self.subject)
    }

    fn gives_until(&self) -> Option<Timestamp> {
        self.expire_time.filter(|_| self.change == RoleChange::Bind)
    }

    fn describe(&self, record: &mut Record) {
        let mut detail = format!("principal={} role={}", self.subject, self.role);
        if let Some(end) = self.expire_time {
            detail.push_str(&format!(" expire_time_ms={}", end.unix_ms()));
        }
        if !self.reason.as_str().is_empty() {
            detail.push_str(&format!(" reason={}", self.reason.as_str()));
        }
        record.detail = clip(&detail, MAX_DETAIL_BYTES).into_owned().into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        own::unconfined(act)?;
        if self.change == RoleChange::Bind {
            in_the_future(act, self.expire_time)?;
            duties::keep_apart(act, &self.subject, &self.role).await?;
        }
        let mut changes = act.custody.change(act.permit)?;
        changes
            .edit_roles(&self.subject, |roles| {
                roles.retain(|held| held.role != self.role);
                if self.change == RoleChange::Bind {
                    let (role, expire_time) = (self.role.clone(), self.expire_time);
                    roles.push(HeldRole { role, expire_time });
                }
            })
            .await?;
        Ok(Changed { changes, past: Past::default() })
    }

    async fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        _: Past,
    ) -> Result<RoleBinding, Refusal> {
        Ok(custody.role_binding(permit, &self.subject).await?)
    }
}

// === impl ListRoleBindings ===

impl UseCase for ListRoleBindings {
    type Reply = (Vec<RoleBinding>, Option<String>);

    const ACTION: Action = Action::ListRoleBindings;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let bindings =
            act.custody.role_bindings(act.permit, self.after.as_deref(), self.page_size).await?;
        let full = bindings.len() == self.page_size;
        let next = bindings.last().filter(|_| full).map(|last| last.subject.to_string());
        Ok((bindings, next))
    }
}
