//! What callers can have done: one file for each use case, and [`Desk::perform`], the one way in.
//!
//! `perform` decides, acts, records and only then replies. Nothing here knows of gRPC, of rows or of
//! certificates, and no use case runs without the permit that the decision gave.

mod access;
mod accounts;
mod act;
mod aliases;
mod approval_rules;
mod caller;
mod campaign_stores;
mod change;
mod compromise_version;
mod create_campaign;
mod create_key;
mod decide_problem;
mod decision;
mod decrypt;
mod destroy_version;
mod encrypt;
mod error_reason;
mod exchange_token;
mod exposure;
mod generate_data_key;
mod generate_random;
mod inspect;
mod ladder;
mod outbox;
mod perform;
mod prepare_version;
mod proposals;
mod prove_audit;
mod re_encrypt;
mod read_audit;
mod read_campaigns;
mod read_census;
mod read_keys;
mod read_metrics;
mod record;
mod refusal;
mod report_progress;
mod retire_check;
mod rotate_due;
mod rotate_key;
mod scans;
mod schedule_destroy;
mod status;
mod step_campaign;
mod step_ladder;
mod step_version;
mod stores;
mod tenants;
mod update_key;
mod version_change;
mod waive_unnamed_store;
mod watch_keys;
mod wrapping;

pub use access::{
    Asked, BindRole, ChangedAnswer, CreateGrant, DeletePolicy, Explain, Explained, GetPolicy,
    GetPolicySchema, Judgement, ListGrants, ListPolicies, ListRelations, ListRoleBindings,
    PolicyView, PutPolicy, RELATIONS_MAX, RevokeGrant, RoleChange, SimulatePolicies, Simulated,
    WhoAmI, WhoAmIReply, WriteRelations,
};
pub use accounts::{
    CreateCredential, CreateServiceAccount, CreatedCredential, DeleteServiceAccount,
    ListCredentials, ListServiceAccounts, RevokeCredential,
};
pub use aliases::{DeleteAlias, ListAliases, SetAlias};
pub use approval_rules::{DeleteApprovalRule, ListApprovalRules, PutApprovalRule};
pub use change::{Change, Changed, Considered};
pub use compromise_version::{CompromiseVersion, Compromised};
pub use create_campaign::CreateCampaign;
pub use create_key::CreateKey;
pub use decide_problem::{DecideProblem, Which};
pub use decrypt::{Decrypt, DecryptMany, Opened};
pub use destroy_version::DestroyVersion;
pub use encrypt::{Encrypt, Wrapped};
pub use error_reason::ErrorReason;
pub use exchange_token::{ExchangeToken, Exchanged, NewToken, TokenSigner};
pub use exposure::{Exposure, ExposureView, GetExposure};
pub use generate_data_key::{DataKeyPair, GenerateDataKeys, GeneratedDataKeys};
pub use generate_random::GenerateRandom;
pub use inspect::{Inspect, Inspected};
pub use ladder::{GetLadder, LadderView, ResumeLadder, SetLadder, VersionOnLadder};
pub use outbox::Unended;
pub use perform::{Act, Asks, Caller, Desk, Office, ReceiptSlot, UseCase};
pub use proposals::{CastVote, GetProposal, ListProposals, ProposalView, Propose};
pub use prove_audit::{
    GetCheckpoint, GetRecord, Proof, ProveConsistency, ProveInclusion, ProvenRecord,
};
pub use re_encrypt::{Destination, Moved, ReEncrypt, ReEncryptMany};
pub use read_audit::{AuditPage, AuditRecord, ReadAudit};
pub use read_campaigns::{
    CampaignPage, CampaignStore, CampaignView, GetCampaign, ListCampaigns, ListProblems,
    ProblemKey, ProblemPage, StoreProblem,
};
pub use read_census::{CensusView, GetCensus};
pub use read_keys::{GetKey, GetVersion, KeyPage, KeyView, ListKeys, ListVersions, VersionPage};
pub use read_metrics::{Counted, ReadMetrics};
pub use record::HashedKeys;
pub use refusal::Refusal;
pub use report_progress::{FoundProblem, Progressed, ReportProgress, Said};
pub use retire_check::{Judged, RetireCheck};
pub use rotate_due::{Due, RotatedDue};
pub use rotate_key::{RotateKey, Rotated};
pub use scans::{BeginScan, ReportScan};
pub use schedule_destroy::ScheduleDestroy;
pub use status::{Status, StatusReply};
pub use step_campaign::{CampaignOrder, StepCampaign};
pub use step_version::{StepVersion, VersionStep};
pub use stores::{ListStores, RegisterStore, ReportRestore, StorePage};
pub use tenants::{ChangeTenant, CreateTenant, GetTenant, ListTenants, TenantChange};
pub use update_key::{SetKeyEnabled, UpdateKey};
pub use version_change::VersionChange;
pub use waive_unnamed_store::WaiveUnnamedStore;
pub use watch_keys::{KeyChange, WatchKeys, WatchPage};

pub use crate::crypto::EncryptionContext;
pub use crate::custody::{
    AliasEntry, CREDENTIAL_MS_DEFAULT, CREDENTIAL_MS_MAX, GrantEntry, NewSecret, NewTenant,
    RelationPlace, RequestKey, RoleBinding, TrustedAccount, TrustedCredential, TrustedTenant,
    TrustedVersion,
};
