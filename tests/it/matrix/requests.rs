//! The request of each row. Everything in it is lawful, so that only rights and states can refuse it; where
//! an answer of the table is INVALID_ARGUMENT, the request asks for what nobody can do, and changes nothing.

// Of some requests every field is set.
#![allow(clippy::needless_update)]

use bulla_client::kms;
use prost::Message;

use super::people::pair;
use super::things::{Thing, fresh, harmless_policy, waive};

/// What requests name besides the thing that they are about.
pub(super) struct Names {
    /// An enabled key of the own tenant, with a blob.
    pub(super) own: Thing,
    /// A registered store of the own tenant.
    pub(super) store: String,
}

/// The message of this row about this thing.
pub(super) fn message(row: &str, thing: &Thing, names: &Names) -> Vec<u8> {
    let (service, method) = row.split_once('/').unwrap();
    match service {
        "Crypto" => crypto(method, thing, names),
        "Keys" => keys(method, thing),
        "Rotation" => rotation(method, thing, names),
        "Access" => access(method, thing),
        "Approvals" => approvals(method, thing, names),
        "Tenants" => tenants(method, thing),
        "Audit" | "Operator" | "Health" => plain(method),
        _ => panic!("no request for {row}"),
    }
}

/// A message of these fields; all others, if there are any, are as they are when nobody sets them.
macro_rules! of {
    ($Request:ident { $($field:ident : $value:expr),* $(,)? }) => {
        kms::$Request { $($field: $value.into(),)* ..Default::default() }.encode_to_vec()
    };
}

fn crypto(method: &str, thing: &Thing, names: &Names) -> Vec<u8> {
    let (key, ciphertext) = (thing.name.clone(), thing.blob.clone());
    let encryption_context = pair("matrix");
    let moved = |ciphertext: Vec<u8>, destination_key: String| kms::ReEncryptRequest {
        ciphertext,
        source_encryption_context: pair("matrix"),
        destination_key,
        ..Default::default()
    };
    match method {
        "GenerateDataKey" => {
            of!(GenerateDataKeyRequest { key: key, encryption_context: encryption_context })
        }
        "GenerateDataKeyWithoutPlaintext" => {
            of!(GenerateDataKeyWithoutPlaintextRequest {
                key: key,
                encryption_context: encryption_context
            })
        }
        "GenerateDataKeys" => {
            of!(GenerateDataKeysRequest {
                key: key,
                count: 2_u32,
                encryption_context: encryption_context
            })
        }
        "Encrypt" => {
            of!(EncryptRequest { key: key, plaintext: [1], encryption_context: encryption_context })
        }
        "Decrypt" => {
            of!(DecryptRequest { ciphertext: ciphertext, encryption_context: encryption_context })
        }
        "Decrypt@key" => {
            let blob = if thing.blob.is_empty() { names.own.blob.clone() } else { ciphertext };
            of!(DecryptRequest {
                ciphertext: blob,
                key: key,
                encryption_context: encryption_context
            })
        }
        "DecryptMany" => {
            let one = kms::DecryptRequest { ciphertext, encryption_context, key: String::new() };
            of!(DecryptManyRequest { requests: [one] })
        }
        "ReEncrypt" => moved(ciphertext, String::new()).encode_to_vec(),
        "ReEncrypt@destination" => moved(names.own.blob.clone(), key).encode_to_vec(),
        "ReEncryptStream" => {
            of!(ReEncryptStreamRequest { requests: [moved(ciphertext, String::new())] })
        }
        "Inspect" => of!(InspectRequest { ciphertext: ciphertext }),
        "GenerateRandom" => of!(GenerateRandomRequest { random_bytes: 16_u32 }),
        _ => panic!("no request for Crypto/{method}"),
    }
}

fn keys(method: &str, thing: &Thing) -> Vec<u8> {
    let (key, version) = (thing.name.clone(), thing.version);
    match method {
        "CreateKey" => of!(CreateKeyRequest { description: "matrix" }),
        "GetKey" => of!(GetKeyRequest { key: key }),
        "ListKeys" => of!(ListKeysRequest { page_size: 1_u32 }),
        "UpdateKey" => of!(UpdateKeyRequest { key: key, description: fresh("matrix") }),
        "DisableKey" => of!(DisableKeyRequest { key: key }),
        "EnableKey" => of!(EnableKeyRequest { key: key }),
        "RotateKey" => of!(RotateKeyRequest { key: key }),
        "ListVersions" => of!(ListVersionsRequest { key: key }),
        "GetVersion" => of!(GetVersionRequest { key: key, version: version }),
        "SuspendVersion" => of!(SuspendVersionRequest { key: key, version: version }),
        "ResumeVersion" => of!(ResumeVersionRequest { key: key, version: version }),
        "RestrictVersion" => of!(RestrictVersionRequest { key: key, version: version }),
        "UnrestrictVersion" => of!(UnrestrictVersionRequest { key: key, version: version }),
        "CompromiseVersion" => {
            of!(CompromiseVersionRequest { key: key, version: version, reason: "matrix" })
        }
        "ScheduleDestroy" => {
            of!(ScheduleDestroyRequest { key: key, version: version, reason: "matrix" })
        }
        "ScheduleDestroy@not_safe" => {
            of!(ScheduleDestroyRequest {
                key: key,
                version: version,
                reason: "matrix",
                not_safe: true
            })
        }
        "CancelDestroy" => of!(CancelDestroyRequest { key: key, version: version }),
        "SetAlias" => of!(SetAliasRequest { key: key, alias: fresh("alias") }),
        "DeleteAlias" => of!(DeleteAliasRequest { alias: key }),
        "ListAliases" => of!(ListAliasesRequest { page_size: 1_u32 }),
        "ListAliases@key" => of!(ListAliasesRequest { key: key }),
        "WatchKeys" => of!(WatchKeysRequest {}),
        _ => panic!("no request for Keys/{method}"),
    }
}

fn rotation(method: &str, thing: &Thing, names: &Names) -> Vec<u8> {
    let (key, version) = (thing.name.clone(), thing.version);
    let campaign_id = thing.name.clone();
    let store = names.store.clone();
    match method {
        "RegisterStore" => of!(RegisterStoreRequest {
            name: fresh("matrix/store"),
            owner: "matrix",
            kind: kms::StoreKind::Postgresql,
        }),
        "ListStores" => of!(ListStoresRequest { page_size: 1_u32 }),
        "ReportRestore" => of!(ReportRestoreRequest { store: key, reason: "matrix" }),
        "GetCensus" => of!(GetCensusRequest { key: key }),
        "RetireCheck" => of!(RetireCheckRequest { key: key, version: version }),
        "WaiveUnnamedStore" => waive(&key, version),
        "BeginScan" => of!(BeginScanRequest { key: key, store: store }),
        "BeginScan@store" => of!(BeginScanRequest { key: names.own.name.clone(), store: key }),
        "ReportScan" => of!(ReportScanRequest { key: key, store: store, scan_id: NO_ID }),
        "CreateCampaign" => of!(CreateCampaignRequest { key: key, stores: [store] }),
        "GetCampaign" => of!(GetCampaignRequest { campaign_id: campaign_id }),
        "ListCampaigns" => of!(ListCampaignsRequest { page_size: 1_u32 }),
        "ListCampaigns@key" => of!(ListCampaignsRequest { key: key }),
        "PauseCampaign" => of!(PauseCampaignRequest { campaign_id: campaign_id, reason: "matrix" }),
        "ResumeCampaign" => {
            of!(ResumeCampaignRequest { campaign_id: campaign_id, reason: "matrix" })
        }
        "AbandonCampaign" => {
            of!(AbandonCampaignRequest { campaign_id: campaign_id, reason: "matrix" })
        }
        // A pass that was never begun.
        "ReportProgress" => of!(ReportProgressRequest {
            campaign_id: campaign_id,
            store: store,
            agent_id: NO_ID,
            pass: 7_u32,
        }),
        "ListProblems" => of!(ListProblemsRequest { campaign_id: campaign_id }),
        // A problem that nobody reported.
        "DecideProblem" => of!(DecideProblemRequest {
            campaign_id: campaign_id,
            store: store,
            digest: [7; 32],
            decision: kms::ProblemDecision::Retry,
            reason: "matrix",
        }),
        "RotateDue" => of!(RotateDueRequest {}),
        "SetLadder" => of!(SetLadderRequest { key: key, ladder: ladder() }),
        "GetLadder" => of!(GetLadderRequest { key: key }),
        "ResumeLadder" => of!(ResumeLadderRequest { key: key, version: version, reason: "matrix" }),
        "GetExposure" => of!(GetExposureRequest { key: key, version: version }),
        _ => panic!("no request for Rotation/{method}"),
    }
}

fn access(method: &str, thing: &Thing) -> Vec<u8> {
    let name = thing.name.clone();
    let principal = format!("spiffe://one.matrix.test/{}", fresh("new"));
    let question = |key: String| kms::Question {
        principal: "spiffe://one.matrix.test/somebody".into(),
        action: if key.is_empty() { "keys.list_keys" } else { "crypto.decrypt" }.into(),
        key,
        ..Default::default()
    };
    match method {
        "BindRole" => of!(BindRoleRequest { principal: principal, role: "key-user" }),
        // One that it does not hold.
        "UnbindRole" => of!(UnbindRoleRequest { principal: principal, role: "key-user" }),
        "ListRoleBindings" => of!(ListRoleBindingsRequest { page_size: 1_u32 }),
        "WriteRelations" => {
            let new = kms::Relation {
                object: "ring:matrix".into(),
                relation: "viewer".into(),
                subject: principal,
            };
            of!(WriteRelationsRequest { add: [new] })
        }
        "ListRelations" => of!(ListRelationsRequest { page_size: 1_u32 }),
        "CreateGrant" => of!(CreateGrantRequest {
            key: name,
            principal: principal,
            actions: ["crypto.decrypt".to_owned()],
        }),
        "ListGrants" => of!(ListGrantsRequest { page_size: 1_u32 }),
        "ListGrants@key" => of!(ListGrantsRequest { key: name }),
        "RevokeGrant" => of!(RevokeGrantRequest { grant_id: name }),
        "PutPolicy" => {
            of!(PutPolicyRequest { policy_id: fresh("policy"), text: harmless_policy() })
        }
        "DeletePolicy" => of!(DeletePolicyRequest { policy_id: name }),
        "GetPolicy" => of!(GetPolicyRequest { policy_id: name }),
        "ListPolicies" => of!(ListPoliciesRequest { page_size: 1_u32 }),
        "GetPolicySchema" => of!(GetPolicySchemaRequest {}),
        "SimulatePolicies" => of!(SimulatePoliciesRequest { cases: [question(String::new())] }),
        "Explain" => of!(ExplainRequest { question: question(String::new()) }),
        "Explain@key" => of!(ExplainRequest { question: question(name) }),
        "CreateServiceAccount" => {
            let account = kms::ServiceAccount { name: fresh("account"), ..Default::default() };
            of!(CreateServiceAccountRequest { service_account: account })
        }
        "ListServiceAccounts" => of!(ListServiceAccountsRequest { page_size: 1_u32 }),
        "DeleteServiceAccount" => of!(DeleteServiceAccountRequest { name: name }),
        "CreateCredential" => of!(CreateCredentialRequest { service_account: name }),
        "ListCredentials" => of!(ListCredentialsRequest { service_account: name }),
        "RevokeCredential" => of!(RevokeCredentialRequest { credential_id: name }),
        "ExchangeToken" => of!(ExchangeTokenRequest { audience: "bulla" }),
        "WhoAmI" => of!(WhoAmIRequest {}),
        _ => panic!("no request for Access/{method}"),
    }
}

fn approvals(method: &str, thing: &Thing, names: &Names) -> Vec<u8> {
    let proposal_id = thing.name.clone();
    let digest = if thing.digest.is_empty() { vec![7; 32] } else { thing.digest.clone() };
    // One that nobody of this tenant can ever need: it holds no other call of the matrix back.
    let rule = kms::ApprovalRule {
        action: "tenants.create_tenant".into(),
        group: "board".into(),
        needed: 2,
        lifetime: None,
    };
    match method {
        "Propose" => of!(ProposeRequest { method: "/bulla.kms.v1.Keys/GetKey", reason: "matrix" }),
        "Propose@waive" => of!(ProposeRequest {
            method: "/bulla.kms.v1.Rotation/WaiveUnnamedStore",
            request: waive(&names.own.name, 1),
            reason: fresh("matrix"),
        }),
        "Approve" => of!(ApproveRequest { proposal_id: proposal_id, digest: digest }),
        "Reject" => of!(RejectRequest { proposal_id: proposal_id, reason: "matrix" }),
        "GetProposal" => of!(GetProposalRequest { proposal_id: proposal_id }),
        "ListProposals" => of!(ListProposalsRequest { page_size: 1_u32 }),
        "PutApprovalRule" => of!(PutApprovalRuleRequest { rule: rule }),
        "DeleteApprovalRule" => of!(DeleteApprovalRuleRequest { action: "keys.disable_key" }),
        "ListApprovalRules" => of!(ListApprovalRulesRequest {}),
        _ => panic!("no request for Approvals/{method}"),
    }
}

fn tenants(method: &str, thing: &Thing) -> Vec<u8> {
    let tenant = thing.name.clone();
    match method {
        "CreateTenant" => of!(CreateTenantRequest { name: fresh("tenant") }),
        "GetTenant" => of!(GetTenantRequest { tenant: tenant }),
        "ListTenants" => of!(ListTenantsRequest { page_size: 1_u32 }),
        "UpdateTenant" => of!(UpdateTenantRequest { tenant: tenant, description: fresh("matrix") }),
        "SuspendTenant" => of!(SuspendTenantRequest { tenant: tenant, reason: "matrix" }),
        "ResumeTenant" => of!(ResumeTenantRequest { tenant: tenant }),
        _ => panic!("no request for Tenants/{method}"),
    }
}

fn plain(method: &str) -> Vec<u8> {
    match method {
        "ListRecords" => of!(ListRecordsRequest { page_size: 1_u32 }),
        "TailRecords" => of!(TailRecordsRequest {}),
        "GetCheckpoint" => of!(GetCheckpointRequest {}),
        // One that is nobody's: a record that is there has an owner, whom `wire` asks for.
        "GetRecord" => of!(GetRecordRequest { sequence: u64::MAX }),
        "ProveInclusion" => of!(ProveInclusionRequest { sequence: 1_u64 }),
        "ProveConsistency" => of!(ProveConsistencyRequest { first_size: 1_u64 }),
        "Status" => of!(StatusRequest {}),
        // The default of a health check: the whole server.
        "Check" | "Watch" => Vec::new(),
        _ => panic!("no request for {method}"),
    }
}

fn ladder() -> kms::Ladder {
    let hours = |hours: i64| Some(prost_types::Duration { seconds: hours * 3_600, nanos: 0 });
    kms::Ladder {
        restrict_after: hours(1),
        brownouts: 1,
        brownout_length: hours(1),
        brownout_after: hours(1),
        suspend_after: hours(1),
        destroy_after: hours(1),
        destroy_wait: hours(7 * 24),
    }
}

/// An id in its form that nothing has.
pub(super) const NO_ID: &str = "00000000-0000-4000-8000-000000000000";
