//! Who holds which role.

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey, RoleBinding};
use crate::keys::Timestamp;
use crate::policy::{Action, HeldRole, Permit, PrincipalId, RoleName, SubjectRef};

use super::change::{Change, Changed};
use super::perform::{About, Act, UseCase};
use super::refusal::Refusal;

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

/// Who the caller is.
pub struct WhoAmI;

/// The caller.
pub struct WhoAmIReply {
    /// The canonical id.
    pub principal: PrincipalId,
    /// The tenant's name.
    pub tenant: String,
    /// Sorted.
    pub roles: Vec<RoleName>,
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

    fn describe(&self, record: &mut Record) {
        record.detail = format!("principal={} role={}", self.subject, self.role).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
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

// === impl WhoAmI ===

impl UseCase for WhoAmI {
    type Reply = WhoAmIReply;

    const ACTION: Action = Action::WhoAmI;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<WhoAmIReply, Refusal> {
        let principal = act.permit.principal();
        Ok(WhoAmIReply {
            principal: principal.id().clone(),
            tenant: act.custody.tenant_name(principal.tenant()).unwrap_or_default(),
            roles: act.roles(),
        })
    }
}
