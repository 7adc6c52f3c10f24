//! Everything that can be asked for, one action for each right that can be given.

use crate::keys::Use;

macro_rules! actions {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident = $text:literal $(on $key:ident)? $(manages $access:ident)?
        $(uses $($used:ident),+)?;
    )+) => {
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

            /// Whether it is done to one key. All others are done to the tenant as a whole.
            pub const fn is_on_key(self) -> bool {
                match self {
                    $(Self::$name => said!($($key)?),)+
                }
            }

            /// Whether it changes who may do what. Whoever may, uses no key.
            pub const fn manages_access(self) -> bool {
                match self {
                    $(Self::$name => said!($($access)?),)+
                }
            }
        }
    };
}

/// Whether a word stands in the table.
macro_rules! said {
    () => {
        false
    };
    ($word:ident) => {
        true
    };
}

actions! {
    /// Make one or many data keys.
    GenerateDataKey = "crypto.generate_data_key" on key uses Wrap;
    /// Make a data key that only its wrapped form leaves.
    GenerateDataKeyWithoutPlaintext = "crypto.generate_data_key_without_plaintext" on key uses Wrap;
    /// Wrap a small payload.
    Encrypt = "crypto.encrypt" on key uses Wrap;
    /// Open blobs.
    Decrypt = "crypto.decrypt" on key uses Decrypt;
    /// Re-wrap blobs of a key.
    ReEncryptFrom = "crypto.re_encrypt_from" on key uses ReEncryptFrom;
    /// Re-wrap blobs to a key.
    ReEncryptTo = "crypto.re_encrypt_to" on key uses Wrap;
    /// Read a blob's header.
    Inspect = "crypto.inspect" on key;
    /// Draw random bytes.
    GenerateRandom = "crypto.generate_random";
    /// Make a key.
    CreateKey = "keys.create_key";
    /// See a key.
    GetKey = "keys.get_key" on key;
    /// See all keys.
    ListKeys = "keys.list_keys";
    /// Change what describes a key.
    UpdateKey = "keys.update_key" on key;
    /// Stop a key.
    DisableKey = "keys.disable_key" on key;
    /// Let a key work again.
    EnableKey = "keys.enable_key" on key;
    /// Make a new Active version.
    RotateKey = "keys.rotate_key" on key;
    /// Make the version that the next rotation makes Active.
    PrepareVersion = "keys.prepare_version" on key;
    /// See a key's versions.
    ListVersions = "keys.list_versions" on key;
    /// See one version.
    GetVersion = "keys.get_version" on key;
    /// Suspend a version.
    SuspendVersion = "keys.suspend_version" on key;
    /// Resume a version.
    ResumeVersion = "keys.resume_version" on key;
    /// Restrict a version to re-wrapping.
    RestrictVersion = "keys.restrict_version" on key;
    /// Undo a restriction.
    UnrestrictVersion = "keys.unrestrict_version" on key;
    /// Mark a version as compromised.
    CompromiseVersion = "keys.compromise_version" on key;
    /// Schedule a version's destruction.
    ScheduleDestroy = "keys.schedule_destroy" on key;
    /// Schedule it although RetireCheck does not say SAFE. Needed besides.
    ScheduleDestroyNotSafe = "keys.schedule_destroy_not_safe" on key;
    /// Destroy a version whose time has come. The scheduler's alone.
    DestroyVersion = "keys.destroy_version" on key;
    /// Cancel a scheduled destruction.
    CancelDestroy = "keys.cancel_destroy" on key;
    /// Point an alias at a key.
    SetAlias = "keys.set_alias" on key;
    /// Remove an alias.
    DeleteAlias = "keys.delete_alias" on key;
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
    GetCensus = "rotation.get_census" on key;
    /// Ask whether a version can be let go.
    RetireCheck = "rotation.retire_check" on key;
    /// Let blobs that name no store go without a scan.
    WaiveUnnamedStore = "rotation.waive_unnamed_store" on key;
    /// Begin a scan.
    BeginScan = "rotation.begin_scan" on key;
    /// Say what a scan found.
    ReportScan = "rotation.report_scan" on key;
    /// Begin a campaign.
    CreateCampaign = "rotation.create_campaign" on key;
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
    SetLadder = "rotation.set_ladder" on key;
    /// See where versions stand on the ladder.
    GetLadder = "rotation.get_ladder" on key;
    /// Let a paused version go on.
    ResumeLadder = "rotation.resume_ladder" on key;
    /// Take a version's next step on the ladder. The scheduler's alone.
    StepLadder = "rotation.step_ladder" on key;
    /// See who received or opened something of a version.
    GetExposure = "rotation.get_exposure" on key;
    /// Give a role.
    BindRole = "access.bind_role" manages access;
    /// Take a role away.
    UnbindRole = "access.unbind_role" manages access;
    /// See who holds which role.
    ListRoleBindings = "access.list_role_bindings";
    /// Say who is a member of what, and who stands in which relation to a key or ring.
    WriteRelations = "access.write_relations" manages access;
    /// See who stands in which relation to what.
    ListRelations = "access.list_relations";
    /// Give one principal some actions on one key.
    CreateGrant = "access.create_grant" on key manages access;
    /// See grants.
    ListGrants = "access.list_grants";
    /// Take a grant away.
    RevokeGrant = "access.revoke_grant" manages access;
    /// Take away a grant that names one. Every authenticated principal may ask.
    RetireGrant = "access.retire_grant";
    /// Make or replace a policy.
    PutPolicy = "access.put_policy" manages access;
    /// Delete a policy.
    DeletePolicy = "access.delete_policy" manages access;
    /// See a policy.
    GetPolicy = "access.get_policy";
    /// See all policies.
    ListPolicies = "access.list_policies";
    /// See what policies may speak of.
    GetPolicySchema = "access.get_policy_schema";
    /// Ask what other policies would answer.
    SimulatePolicies = "access.simulate_policies";
    /// Ask why somebody may or may not do something.
    Explain = "access.explain";
    /// Make a service account.
    CreateServiceAccount = "access.create_service_account" manages access;
    /// See service accounts.
    ListServiceAccounts = "access.list_service_accounts";
    /// End a service account.
    DeleteServiceAccount = "access.delete_service_account" manages access;
    /// Make a credential of a service account.
    CreateCredential = "access.create_credential" manages access;
    /// See the credentials that there are, never what they are.
    ListCredentials = "access.list_credentials";
    /// End a credential.
    RevokeCredential = "access.revoke_credential" manages access;
    /// Have a short-lived token for less than one may. Every authenticated principal may.
    ExchangeToken = "access.exchange_token";
    /// Make a tenant.
    CreateTenant = "tenants.create_tenant" manages access;
    /// See a tenant.
    GetTenant = "tenants.get_tenant";
    /// See all tenants.
    ListTenants = "tenants.list_tenants";
    /// Change what describes a tenant.
    UpdateTenant = "tenants.update_tenant" manages access;
    /// Stop everything of a tenant.
    SuspendTenant = "tenants.suspend_tenant" manages access;
    /// Let a tenant work again.
    ResumeTenant = "tenants.resume_tenant" manages access;
    /// Ask others to approve a request.
    Propose = "approvals.propose";
    /// Approve another's request.
    Approve = "approvals.approve";
    /// Reject another's request.
    Reject = "approvals.reject";
    /// See a proposal.
    GetProposal = "approvals.get_proposal";
    /// See all proposals.
    ListProposals = "approvals.list_proposals";
    /// Say which action needs whose approval.
    PutApprovalRule = "approvals.put_approval_rule" manages access;
    /// Let an action go without approval again.
    DeleteApprovalRule = "approvals.delete_approval_rule" manages access;
    /// See which actions need whose approval.
    ListApprovalRules = "approvals.list_approval_rules";
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
    /// The action with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }

    /// Whether it works with the material of a key.
    pub const fn uses_keys(self) -> bool {
        !self.uses().is_empty()
    }

    /// Whether a grant can give it: what is done to one key, and does not give rights on.
    pub const fn is_grantable(self) -> bool {
        self.is_on_key() && !self.manages_access()
    }

    /// Whether every authenticated principal may, without a policy.
    pub const fn needs_no_policy(self) -> bool {
        matches!(self, Self::WhoAmI | Self::ExchangeToken | Self::RetireGrant)
    }

    /// Whether only the tenant that stands for the installation has it.
    pub(super) fn is_of_the_installation(self) -> bool {
        self.name().starts_with("tenants.")
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

    #[test]
    fn an_action_is_found_by_its_exact_name() {
        for action in Action::ALL {
            assert_eq!(Action::named(action.name()), Some(*action));
        }
        assert_eq!(Action::named("crypto.Decrypt"), None);
    }

    #[test]
    fn what_uses_keys_is_on_a_key_and_manages_no_access() {
        for action in Action::ALL.iter().filter(|action| action.uses_keys()) {
            assert!(action.is_on_key() && !action.manages_access(), "{action:?}");
        }
        let free: Vec<_> = Action::ALL.iter().filter(|action| action.needs_no_policy()).collect();
        assert_eq!(free, [&Action::RetireGrant, &Action::ExchangeToken, &Action::WhoAmI]);
        let count = |test: fn(Action) -> bool| Action::ALL.iter().filter(|a| test(**a)).count();
        assert_eq!(count(Action::is_of_the_installation), 6);
    }
}
