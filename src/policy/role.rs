//! The built-in roles: which actions each gives. No role implies another, and none gives everything.

use std::fmt;
use std::sync::Arc;

use crate::policy::action::Action;
use crate::policy::permit::{Denied, Permit};
use crate::policy::principal::{Principal, shown_as_text};
use crate::policy::subject::GroupName;

/// A built-in role.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// A service: makes data keys and opens them.
    KeyUser,
    /// Moves blobs to newer versions and cannot open one.
    KeyRewrapper,
    /// Makes, rotates, suspends and retires keys, and can use none.
    KeyManager,
    /// Reads the audit log, and what keys there are.
    Auditor,
    /// Runs the program and gives out roles, to others only.
    Operator,
    /// Approves or rejects what others propose, where a rule names a group that it is in.
    Approver,
    /// Makes, suspends and resumes tenants. Gives nothing but in the installation's own tenant.
    TenantManager,
    /// The program's own scheduler. No row can give it.
    Scheduler,
    /// Whoever has the key file and the database, and so the whole installation: gives the first
    /// roles. No row can give it.
    Installer,
}

/// The parts of this program that act in a name of their own. There is no other role that a decision
/// without a world could be about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProgramRole {
    /// What is due.
    Scheduler,
    /// Whoever has the key file and the database in hand.
    Installer,
}

/// A role's name: 1 to 63 of `a-z 0-9 -`, beginning with a letter. What it gives is said by policies.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RoleName(Arc<str>);

/// The text names no role that can be given.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a role's name is 1 to 63 of a-z 0-9 - and begins with a letter")]
pub struct MalformedRole;

// === impl RoleName ===

impl RoleName {
    /// Parses the one form. The names of the program's own roles are refused.
    pub fn parse(text: &str) -> Result<Self, MalformedRole> {
        let own = ProgramRole::ALL.iter().any(|own| own.role().name() == text);
        match GroupName::parse(text) {
            Ok(_) if !own => Ok(Self(text.into())),
            _ => Err(MalformedRole),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        Self(role.name().into())
    }
}

shown_as_text!(RoleName);

// === impl ProgramRole ===

impl ProgramRole {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Scheduler, Self::Installer];

    /// The role that it has.
    pub const fn role(self) -> Role {
        match self {
            Self::Scheduler => Role::Scheduler,
            Self::Installer => Role::Installer,
        }
    }
}

// === impl Role ===

impl Role {
    /// Every role that can be given.
    pub const ALL: [Self; 7] = [
        Self::KeyUser,
        Self::KeyRewrapper,
        Self::KeyManager,
        Self::Auditor,
        Self::Operator,
        Self::Approver,
        Self::TenantManager,
    ];

    /// The name that people and rows use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyUser => "key-user",
            Self::KeyRewrapper => "key-rewrapper",
            Self::KeyManager => "key-manager",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::TenantManager => "tenant-manager",
            Self::Scheduler => "scheduler",
            Self::Installer => "installer",
        }
    }

    /// The built-in role with this name.
    pub fn named(name: &RoleName) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name.as_str())
    }

    /// What it gives.
    pub const fn actions(self) -> &'static [Action] {
        match self {
            Self::KeyUser => &[
                Action::GenerateDataKey,
                Action::GenerateDataKeyWithoutPlaintext,
                Action::Encrypt,
                Action::Decrypt,
                Action::Inspect,
                Action::GenerateRandom,
                Action::GetKey,
                Action::Propose,
            ],
            Self::KeyRewrapper => &[
                Action::ReEncryptFrom,
                Action::ReEncryptTo,
                Action::Inspect,
                Action::GetKey,
                Action::GetVersion,
                Action::ListVersions,
                Action::ListStores,
                Action::BeginScan,
                Action::ReportScan,
                Action::GetCampaign,
                Action::ListCampaigns,
                Action::ReportProgress,
                Action::Propose,
            ],
            Self::KeyManager => &[
                Action::Inspect,
                Action::CreateKey,
                Action::GetKey,
                Action::ListKeys,
                Action::UpdateKey,
                Action::DisableKey,
                Action::EnableKey,
                Action::PrepareVersion,
                Action::RotateKey,
                Action::ListVersions,
                Action::GetVersion,
                Action::SuspendVersion,
                Action::ResumeVersion,
                Action::RestrictVersion,
                Action::UnrestrictVersion,
                Action::CompromiseVersion,
                Action::ScheduleDestroy,
                Action::CancelDestroy,
                Action::SetAlias,
                Action::DeleteAlias,
                Action::ListAliases,
                Action::WatchKeys,
                Action::RegisterStore,
                Action::ListStores,
                Action::ReportRestore,
                Action::GetCensus,
                Action::RetireCheck,
                Action::WaiveUnnamedStore,
                Action::CreateCampaign,
                Action::GetCampaign,
                Action::ListCampaigns,
                Action::PauseCampaign,
                Action::ResumeCampaign,
                Action::AbandonCampaign,
                Action::DecideProblem,
                Action::RotateDue,
                Action::SetLadder,
                Action::GetLadder,
                Action::ResumeLadder,
                Action::GetExposure,
                Action::Propose,
                Action::GetProposal,
                Action::ListProposals,
            ],
            Self::Auditor => &[
                Action::ReadAudit,
                Action::Inspect,
                Action::GetKey,
                Action::ListKeys,
                Action::ListVersions,
                Action::GetVersion,
                Action::ListAliases,
                Action::ListRoleBindings,
                Action::WatchKeys,
                Action::ListStores,
                Action::GetCensus,
                Action::RetireCheck,
                Action::GetCampaign,
                Action::ListCampaigns,
                Action::GetLadder,
                Action::GetExposure,
                Action::ListRelations,
                Action::ListGrants,
                Action::GetPolicy,
                Action::ListPolicies,
                Action::GetPolicySchema,
                Action::Explain,
                Action::ListServiceAccounts,
                Action::ListCredentials,
                Action::GetProposal,
                Action::ListProposals,
                Action::ListApprovalRules,
            ],
            Self::Scheduler => &[
                Action::PrepareVersion,
                Action::RotateKey,
                Action::DestroyVersion,
                Action::StepLadder,
            ],
            Self::Installer => &[Action::BindRole, Action::UnbindRole],
            Self::Operator => &[
                Action::Status,
                Action::ReadMetrics,
                Action::BindRole,
                Action::UnbindRole,
                Action::ListRoleBindings,
                Action::ReportRestore,
                Action::ScheduleDestroyNotSafe,
                Action::WriteRelations,
                Action::ListRelations,
                Action::CreateGrant,
                Action::ListGrants,
                Action::RevokeGrant,
                Action::PutPolicy,
                Action::DeletePolicy,
                Action::GetPolicy,
                Action::ListPolicies,
                Action::GetPolicySchema,
                Action::SimulatePolicies,
                Action::Explain,
                Action::CreateServiceAccount,
                Action::ListServiceAccounts,
                Action::DeleteServiceAccount,
                Action::CreateCredential,
                Action::ListCredentials,
                Action::RevokeCredential,
                Action::Propose,
                Action::GetProposal,
                Action::ListProposals,
                Action::PutApprovalRule,
                Action::DeleteApprovalRule,
                Action::ListApprovalRules,
            ],
            Self::Approver => &[
                Action::Approve,
                Action::Reject,
                Action::GetProposal,
                Action::ListProposals,
                Action::ListApprovalRules,
            ],
            Self::TenantManager => &[
                Action::CreateTenant,
                Action::GetTenant,
                Action::ListTenants,
                Action::UpdateTenant,
                Action::SuspendTenant,
                Action::ResumeTenant,
            ],
        }
    }
}

/// The decision about a part of this program, which has its one role from being that part.
pub fn decide_internal(
    principal: &Principal,
    role: ProgramRole,
    action: Action,
) -> Result<Permit, Denied> {
    match role.role().actions().contains(&action) {
        true => Ok(Permit::new(principal.clone(), action, None, Arc::default())),
        false => Err(Denied::NoPolicy),
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_role_implies_another() {
        for one in Role::ALL {
            for other in Role::ALL.into_iter().filter(|other| *other != one) {
                let implied = other.actions().iter().all(|action| one.actions().contains(action));
                assert!(!implied, "{one} implies {other}");
            }
        }
    }

    #[test]
    fn no_role_both_manages_keys_and_uses_them() {
        for role in Role::ALL {
            let uses = role.actions().iter().any(|action| !action.uses().is_empty());
            let manages = role.actions().iter().any(|action| {
                let name = action.name();
                !["get", "list"].iter().any(|verb| name.contains(verb))
                    && (name.starts_with("keys.") || name.starts_with("access."))
            });
            assert!(!(uses && manages), "{role}");
        }
    }

    #[test]
    fn a_role_is_parsed_by_its_exact_name() {
        for role in Role::ALL {
            assert_eq!(Role::named(&RoleName::parse(role.name()).unwrap()), Some(role));
        }
        for bad in ["", "Key-User", "key-user ", "*", "scheduler", "installer"] {
            assert_eq!(RoleName::parse(bad), Err(MalformedRole), "{bad:?}");
        }
    }
}
