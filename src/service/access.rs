//! Who holds which role.

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey, RoleBinding};
use crate::policy::{Action, Permit, PrincipalId, Role};

use super::change::{Change, Changed};
use super::perform::{Act, UseCase};
use super::refusal::Refusal;

/// Gives a role, or takes it away.
pub struct BindRole {
    /// Whose.
    pub principal: PrincipalId,
    /// Which.
    pub role: Role,
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
    /// After this principal.
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
    pub roles: Vec<Role>,
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

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn whom(&self) -> Option<&PrincipalId> {
        Some(&self.principal)
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("principal={} role={}", self.principal, self.role).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let mut changes = act.custody.change(act.permit)?;
        changes
            .edit_roles(&self.principal, |roles| match self.change {
                RoleChange::Bind => roles.push(self.role),
                RoleChange::Unbind => roles.retain(|role| *role != self.role),
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
        let whose = crate::policy::Principal::new(self.principal.clone(), permit.tenant());
        let roles = custody.roles(&whose).await?.to_vec();
        Ok(RoleBinding { principal: self.principal.clone(), roles })
    }
}

// === impl ListRoleBindings ===

impl UseCase for ListRoleBindings {
    type Reply = (Vec<RoleBinding>, Option<String>);

    const ACTION: Action = Action::ListRoleBindings;

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let bindings =
            act.custody.role_bindings(act.permit, self.after.as_deref(), self.page_size).await?;
        let full = bindings.len() == self.page_size;
        let next = bindings.last().filter(|_| full).map(|last| last.principal.to_string());
        Ok((bindings, next))
    }
}

// === impl WhoAmI ===

impl UseCase for WhoAmI {
    type Reply = WhoAmIReply;

    const ACTION: Action = Action::WhoAmI;

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<WhoAmIReply, Refusal> {
        let principal = act.permit.principal();
        Ok(WhoAmIReply {
            principal: principal.id().clone(),
            tenant: act.custody.tenant_name(principal.tenant()).unwrap_or_default(),
            roles: act.roles().to_vec(),
        })
    }
}
