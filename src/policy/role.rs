//! The built-in roles: which actions each gives. No role implies another, and none gives everything.

use std::fmt;

use crate::policy::action::Action;

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
    /// The program's own scheduler. No row can give it.
    Scheduler,
    /// Whoever has the key file and the database, and so the whole installation: gives the first
    /// roles. No row can give it.
    Installer,
}

/// No role has this name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be key-user, key-rewrapper, key-manager, auditor or operator")]
pub struct UnknownRole;

// === impl Role ===

impl Role {
    /// Every role that can be given.
    pub const ALL: [Self; 5] =
        [Self::KeyUser, Self::KeyRewrapper, Self::KeyManager, Self::Auditor, Self::Operator];

    /// The name that people and rows use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyUser => "key-user",
            Self::KeyRewrapper => "key-rewrapper",
            Self::KeyManager => "key-manager",
            Self::Auditor => "auditor",
            Self::Operator => "operator",
            Self::Scheduler => "scheduler",
            Self::Installer => "installer",
        }
    }

    /// The role with this name.
    pub fn parse(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or(UnknownRole)
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
            ],
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(Role::parse(role.name()), Ok(role));
        }
        for bad in ["", "root", "Key-User", "key-user ", "*", "scheduler", "installer"] {
            assert_eq!(Role::parse(bad), Err(UnknownRole), "{bad:?}");
        }
    }
}
