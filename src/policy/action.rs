//! Everything that can be asked for, one action for each right that can be given.

use crate::keys::Use;

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal $(uses $($used:ident),+)?;)+) => {
        /// Something a principal can be allowed to do.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Action {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name in policies and in the audit log.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// What this action may do with the material of a version; nothing, for most.
            pub const fn uses(self) -> &'static [Use] {
                match self {
                    $(Self::$name => &[$($(Use::$used),+)?],)+
                }
            }
        }
    };
}

actions! {
    /// Make one or many data keys.
    GenerateDataKey = "crypto.generate_data_key" uses Wrap;
    /// Make a data key that only its wrapped form leaves.
    GenerateDataKeyWithoutPlaintext = "crypto.generate_data_key_without_plaintext" uses Wrap;
    /// Wrap a small payload.
    Encrypt = "crypto.encrypt" uses Wrap;
    /// Open blobs.
    Decrypt = "crypto.decrypt" uses Decrypt;
    /// Re-wrap blobs of a key.
    ReEncryptFrom = "crypto.re_encrypt_from" uses ReEncryptFrom;
    /// Re-wrap blobs to a key.
    ReEncryptTo = "crypto.re_encrypt_to" uses Wrap;
    /// Read a blob's header.
    Inspect = "crypto.inspect";
    /// Draw random bytes.
    GenerateRandom = "crypto.generate_random";
    /// Make a key.
    CreateKey = "keys.create_key";
    /// See a key.
    GetKey = "keys.get_key";
    /// See all keys.
    ListKeys = "keys.list_keys";
    /// Change what describes a key.
    UpdateKey = "keys.update_key";
    /// Stop a key.
    DisableKey = "keys.disable_key";
    /// Let a key work again.
    EnableKey = "keys.enable_key";
    /// Make a new Active version.
    RotateKey = "keys.rotate_key";
    /// Make the version that the next rotation makes Active.
    PrepareVersion = "keys.prepare_version";
    /// See a key's versions.
    ListVersions = "keys.list_versions";
    /// See one version.
    GetVersion = "keys.get_version";
    /// Suspend a version.
    SuspendVersion = "keys.suspend_version";
    /// Resume a version.
    ResumeVersion = "keys.resume_version";
    /// Restrict a version to re-wrapping.
    RestrictVersion = "keys.restrict_version";
    /// Undo a restriction.
    UnrestrictVersion = "keys.unrestrict_version";
    /// Mark a version as compromised.
    CompromiseVersion = "keys.compromise_version";
    /// Schedule a version's destruction.
    ScheduleDestroy = "keys.schedule_destroy";
    /// Schedule it although RetireCheck does not say SAFE. Needed besides.
    ScheduleDestroyNotSafe = "keys.schedule_destroy_not_safe";
    /// Destroy a version whose time has come. The scheduler's alone.
    DestroyVersion = "keys.destroy_version";
    /// Cancel a scheduled destruction.
    CancelDestroy = "keys.cancel_destroy";
    /// Point an alias at a key.
    SetAlias = "keys.set_alias";
    /// Remove an alias.
    DeleteAlias = "keys.delete_alias";
    /// See all aliases.
    ListAliases = "keys.list_aliases";
    /// Follow changes to keys.
    WatchKeys = "keys.watch_keys";
    /// Give a store its number.
    RegisterStore = "rotation.register_store";
    /// See the registered stores.
    ListStores = "rotation.list_stores";
    /// Say that a store was restored.
    ReportRestore = "rotation.report_restore";
    /// See what each version has issued, moved and opened.
    GetCensus = "rotation.get_census";
    /// Ask whether a version can be let go.
    RetireCheck = "rotation.retire_check";
    /// Let blobs that name no store go without a scan.
    WaiveUnnamedStore = "rotation.waive_unnamed_store";
    /// Begin a scan.
    BeginScan = "rotation.begin_scan";
    /// Say what a scan found.
    ReportScan = "rotation.report_scan";
    /// Begin a campaign.
    CreateCampaign = "rotation.create_campaign";
    /// See a campaign and its problems.
    GetCampaign = "rotation.get_campaign";
    /// See all campaigns.
    ListCampaigns = "rotation.list_campaigns";
    /// Stop a campaign for a while.
    PauseCampaign = "rotation.pause_campaign";
    /// Let a campaign go on.
    ResumeCampaign = "rotation.resume_campaign";
    /// Give a campaign up.
    AbandonCampaign = "rotation.abandon_campaign";
    /// Say how far an agent has come.
    ReportProgress = "rotation.report_progress";
    /// Decide about a blob that does not open.
    DecideProblem = "rotation.decide_problem";
    /// Rotate what is due.
    RotateDue = "rotation.rotate_due";
    /// Set how old versions of a key are retired by themselves.
    SetLadder = "rotation.set_ladder";
    /// See where versions stand on the ladder.
    GetLadder = "rotation.get_ladder";
    /// Let a paused version go on.
    ResumeLadder = "rotation.resume_ladder";
    /// Take a version's next step on the ladder. The scheduler's alone.
    StepLadder = "rotation.step_ladder";
    /// See who received or opened something of a version.
    GetExposure = "rotation.get_exposure";
    /// Give a role.
    BindRole = "access.bind_role";
    /// Take a role away.
    UnbindRole = "access.unbind_role";
    /// See who holds which role.
    ListRoleBindings = "access.list_role_bindings";
    /// Ask who one is. Every authenticated principal may.
    WhoAmI = "access.who_am_i";
    /// Read the tenant's audit records.
    ReadAudit = "audit.read";
    /// See how the program stands.
    Status = "operator.status";
    /// Read what the program counts about itself.
    ReadMetrics = "operator.metrics";
}

impl Action {
    /// Whether it is done to one key. All others are done to the tenant as a whole.
    pub const fn is_on_key(self) -> bool {
        match self {
            Self::GenerateDataKey
            | Self::GenerateDataKeyWithoutPlaintext
            | Self::Encrypt
            | Self::Decrypt
            | Self::ReEncryptFrom
            | Self::ReEncryptTo
            | Self::Inspect
            | Self::GetKey
            | Self::UpdateKey
            | Self::DisableKey
            | Self::EnableKey
            | Self::RotateKey
            | Self::PrepareVersion
            | Self::ListVersions
            | Self::GetVersion
            | Self::SuspendVersion
            | Self::ResumeVersion
            | Self::RestrictVersion
            | Self::UnrestrictVersion
            | Self::CompromiseVersion
            | Self::ScheduleDestroy
            | Self::ScheduleDestroyNotSafe
            | Self::DestroyVersion
            | Self::CancelDestroy
            | Self::SetAlias
            | Self::DeleteAlias
            | Self::GetCensus
            | Self::RetireCheck
            | Self::WaiveUnnamedStore
            | Self::BeginScan
            | Self::ReportScan
            | Self::CreateCampaign
            | Self::SetLadder
            | Self::GetLadder
            | Self::ResumeLadder
            | Self::StepLadder
            | Self::GetExposure => true,
            Self::GenerateRandom
            | Self::CreateKey
            | Self::ListKeys
            | Self::ListAliases
            | Self::WatchKeys
            | Self::RegisterStore
            | Self::ListStores
            | Self::ReportRestore
            | Self::GetCampaign
            | Self::ListCampaigns
            | Self::PauseCampaign
            | Self::ResumeCampaign
            | Self::AbandonCampaign
            | Self::ReportProgress
            | Self::DecideProblem
            | Self::RotateDue
            | Self::BindRole
            | Self::UnbindRole
            | Self::ListRoleBindings
            | Self::WhoAmI
            | Self::ReadAudit
            | Self::Status
            | Self::ReadMetrics => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn d02_every_action_has_a_name_of_its_own() {
        let names: BTreeSet<_> = Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(names.len(), Action::ALL.len());
    }

    #[test]
    fn only_crypto_actions_use_material() {
        for action in Action::ALL {
            assert!(action.uses().is_empty() || action.name().starts_with("crypto."));
        }
    }
}
