//! Who the caller is, as the server sees it.

use crate::audit::Record;
use crate::policy::{Action, CredentialKind, GroupName, PrincipalId, RoleName};
use crate::service::perform::{About, Act, UseCase};
use crate::service::refusal::Refusal;

/// Who the caller is.
pub struct WhoAmI;

/// The caller.
pub struct WhoAmIReply {
    /// The canonical id.
    pub principal: PrincipalId,
    /// The tenant's name.
    pub tenant: String,
    /// Its own and those of its groups, sorted.
    pub roles: Vec<RoleName>,
    /// How it proved who it is.
    pub credential_kind: CredentialKind,
    /// The groups that it is in, sorted.
    pub groups: Vec<GroupName>,
    /// For whom it calls, where an end user's token came along.
    pub end_user: Option<PrincipalId>,
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
        let subject = act.subject();
        Ok(WhoAmIReply {
            principal: principal.id().clone(),
            tenant: act.custody.tenant_name(principal.tenant()).unwrap_or_default(),
            roles: act.roles(),
            credential_kind: subject.kind,
            groups: act.world().await?.groups(subject, act.custody.now()),
            end_user: subject.end_user.clone(),
        })
    }
}
