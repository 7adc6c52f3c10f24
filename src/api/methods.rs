//! Everything that can be called, one row for each method. A path without a row is refused.
//! Besides the methods of gRPC there is one page, of metrics.
//!
//! The path is compared whole and as it came (attack D05): there is no other spelling.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A method.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// Which service serves it.
    pub service: ServiceName,
    /// How requests come.
    pub shape: Shape,
    /// A request message, in bytes; of a stream, each message.
    pub request_bytes_max: usize,
    /// How long the server works on it at most; of a stream, for ever.
    pub deadline_ms_max: u64,
}

/// A service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServiceName {
    /// `bulla.kms.v1.Crypto`
    Crypto,
    /// `bulla.kms.v1.Keys`
    Keys,
    /// `bulla.kms.v1.Rotation`
    Rotation,
    /// `bulla.kms.v1.Access`
    Access,
    /// `bulla.kms.v1.Approvals`
    Approvals,
    /// `bulla.kms.v1.Tenants`
    Tenants,
    /// `bulla.kms.v1.Audit`
    Audit,
    /// `bulla.kms.v1.Operator`
    Operator,
    /// `bulla.kms.v1.Bench`, in a build for benches only
    Bench,
    /// `grpc.health.v1.Health`, which needs no right
    Health,
    /// The page of metrics, which is plain HTTP
    Metrics,
    /// The public keys of this installation's own tokens, which needs no right
    KeySet,
}

/// How requests and replies come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shape {
    /// One request, one reply.
    Unary,
    /// Either is a stream.
    Stream,
}

/// A method and its place in the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found {
    /// The method.
    pub method: &'static Method,
    /// Its place in [`labels`].
    pub place: usize,
}

/// The row of this path.
pub fn find(path: &str) -> Option<Found> {
    static BY_PATH: LazyLock<HashMap<&'static str, Found>> = LazyLock::new(|| {
        let rows = METHODS.iter().chain(&PAGES).enumerate();
        rows.map(|(place, method)| (method.path, Found { method, place })).collect()
    });
    BY_PATH.get(path).copied()
}

/// The name under which each row is counted, and last the name of whatever has no row.
pub fn labels() -> Vec<&'static str> {
    let rows = METHODS.iter().chain(&PAGES);
    rows.map(|method| method.path.trim_start_matches('/')).chain(["unknown"]).collect()
}

/// The place in [`labels`] of whatever has no row.
pub const UNKNOWN: usize = METHODS.len() + PAGES.len();

const fn unary(service: ServiceName, path: &'static str, request_bytes_max: usize) -> Method {
    Method { path, service, shape: Shape::Unary, request_bytes_max, deadline_ms_max: 30_000 }
}

const fn stream(service: ServiceName, path: &'static str, request_bytes_max: usize) -> Method {
    Method { path, service, shape: Shape::Stream, request_bytes_max, deadline_ms_max: u64::MAX }
}

/// One that reads the whole audit log.
const fn long(service: ServiceName, path: &'static str, request_bytes_max: usize) -> Method {
    Method { path, service, shape: Shape::Unary, request_bytes_max, deadline_ms_max: 600_000 }
}

use ServiceName::{Access, Approvals, Audit, Crypto, Health, Keys, Operator, Rotation, Tenants};

/// The table.
#[rustfmt::skip]
pub const METHODS: &[Method] = &[
    unary (Crypto,   "/bulla.kms.v1.Crypto/GenerateDataKey",                 SMALL),
    unary (Crypto,   "/bulla.kms.v1.Crypto/GenerateDataKeyWithoutPlaintext", SMALL),
    unary (Crypto,   "/bulla.kms.v1.Crypto/GenerateDataKeys",                SMALL),
    unary (Crypto,   "/bulla.kms.v1.Crypto/Encrypt",                         SMALL),
    unary (Crypto,   "/bulla.kms.v1.Crypto/Decrypt",                         SMALL),
    unary (Crypto,   "/bulla.kms.v1.Crypto/DecryptMany",                     LARGE),
    unary (Crypto,   "/bulla.kms.v1.Crypto/ReEncrypt",                       SMALL),
    stream(Crypto,   "/bulla.kms.v1.Crypto/ReEncryptStream",                 LARGE),
    unary (Crypto,   "/bulla.kms.v1.Crypto/Inspect",                         SMALL),
    unary (Crypto,   "/bulla.kms.v1.Crypto/GenerateRandom",                  SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/CreateKey",                         SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/GetKey",                            SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/ListKeys",                          SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/UpdateKey",                         SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/DisableKey",                        SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/EnableKey",                         SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/RotateKey",                         SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/ListVersions",                      SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/GetVersion",                        SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/SuspendVersion",                    SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/ResumeVersion",                     SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/RestrictVersion",                   SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/UnrestrictVersion",                 SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/CompromiseVersion",                 SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/ScheduleDestroy",                   SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/CancelDestroy",                     SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/SetAlias",                          SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/DeleteAlias",                       SMALL),
    unary (Keys,     "/bulla.kms.v1.Keys/ListAliases",                       SMALL),
    stream(Keys,     "/bulla.kms.v1.Keys/WatchKeys",                         SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/RegisterStore",                SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/ListStores",                   SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/ReportRestore",                SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/GetCensus",                    SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/RetireCheck",                  SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/WaiveUnnamedStore",            SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/BeginScan",                    SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/ReportScan",                   SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/CreateCampaign",               SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/GetCampaign",                  SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/ListCampaigns",                SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/PauseCampaign",                SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/ResumeCampaign",               SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/AbandonCampaign",              SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/ReportProgress",               LARGE),
    unary (Rotation, "/bulla.kms.v1.Rotation/ListProblems",                 SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/DecideProblem",                SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/RotateDue",                    SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/SetLadder",                    SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/GetLadder",                    SMALL),
    unary (Rotation, "/bulla.kms.v1.Rotation/ResumeLadder",                 SMALL),
    long  (Rotation, "/bulla.kms.v1.Rotation/GetExposure",                  SMALL),
    unary (Access,   "/bulla.kms.v1.Access/BindRole",                        SMALL),
    unary (Access,   "/bulla.kms.v1.Access/UnbindRole",                      SMALL),
    unary (Access,   "/bulla.kms.v1.Access/ListRoleBindings",                SMALL),
    unary (Access,   "/bulla.kms.v1.Access/WriteRelations",                    LARGE),
    unary (Access,   "/bulla.kms.v1.Access/ListRelations",                     SMALL),
    unary (Access,   "/bulla.kms.v1.Access/CreateGrant",                       SMALL),
    unary (Access,   "/bulla.kms.v1.Access/ListGrants",                        SMALL),
    unary (Access,   "/bulla.kms.v1.Access/RevokeGrant",                       SMALL),
    unary (Access,   "/bulla.kms.v1.Access/PutPolicy",                         SMALL),
    unary (Access,   "/bulla.kms.v1.Access/DeletePolicy",                      SMALL),
    unary (Access,   "/bulla.kms.v1.Access/GetPolicy",                         SMALL),
    unary (Access,   "/bulla.kms.v1.Access/ListPolicies",                      SMALL),
    unary (Access,   "/bulla.kms.v1.Access/GetPolicySchema",                   SMALL),
    unary (Access,   "/bulla.kms.v1.Access/SimulatePolicies",                  LARGE),
    unary (Access,   "/bulla.kms.v1.Access/Explain",                           SMALL),
    unary (Access,   "/bulla.kms.v1.Access/CreateServiceAccount",              SMALL),
    unary (Access,   "/bulla.kms.v1.Access/ListServiceAccounts",               SMALL),
    unary (Access,   "/bulla.kms.v1.Access/DeleteServiceAccount",              SMALL),
    unary (Access,   "/bulla.kms.v1.Access/CreateCredential",                  SMALL),
    unary (Access,   "/bulla.kms.v1.Access/ListCredentials",                   SMALL),
    unary (Access,   "/bulla.kms.v1.Access/RevokeCredential",                  SMALL),
    unary (Access,   "/bulla.kms.v1.Access/ExchangeToken",                     SMALL),
    unary (Approvals,"/bulla.kms.v1.Approvals/Propose",                        SMALL),
    unary (Approvals,"/bulla.kms.v1.Approvals/Approve",                        SMALL),
    unary (Approvals,"/bulla.kms.v1.Approvals/Reject",                         SMALL),
    unary (Approvals,"/bulla.kms.v1.Approvals/GetProposal",                    SMALL),
    unary (Approvals,"/bulla.kms.v1.Approvals/ListProposals",                  SMALL),
    unary (Approvals,"/bulla.kms.v1.Approvals/PutApprovalRule",                SMALL),
    unary (Approvals,"/bulla.kms.v1.Approvals/DeleteApprovalRule",             SMALL),
    unary (Approvals,"/bulla.kms.v1.Approvals/ListApprovalRules",              SMALL),
    unary (Tenants,  "/bulla.kms.v1.Tenants/CreateTenant",                     SMALL),
    unary (Tenants,  "/bulla.kms.v1.Tenants/GetTenant",                        SMALL),
    unary (Tenants,  "/bulla.kms.v1.Tenants/ListTenants",                      SMALL),
    unary (Tenants,  "/bulla.kms.v1.Tenants/UpdateTenant",                     SMALL),
    unary (Tenants,  "/bulla.kms.v1.Tenants/SuspendTenant",                    SMALL),
    unary (Tenants,  "/bulla.kms.v1.Tenants/ResumeTenant",                     SMALL),
    unary (Access,   "/bulla.kms.v1.Access/WhoAmI",                          SMALL),
    unary (Audit,    "/bulla.kms.v1.Audit/ListRecords",                      SMALL),
    stream(Audit,    "/bulla.kms.v1.Audit/TailRecords",                      SMALL),
    unary (Audit,    "/bulla.kms.v1.Audit/GetCheckpoint",                    SMALL),
    unary (Audit,    "/bulla.kms.v1.Audit/GetRecord",                        SMALL),
    unary (Audit,    "/bulla.kms.v1.Audit/ProveInclusion",                   SMALL),
    unary (Audit,    "/bulla.kms.v1.Audit/ProveConsistency",                 SMALL),
    unary (Operator, "/bulla.kms.v1.Operator/Status",                        SMALL),
    unary (Health,   "/grpc.health.v1.Health/Check",                         SMALL),
    stream(Health,   "/grpc.health.v1.Health/Watch",                         SMALL),
    #[cfg(feature = "bench-echo")]
    unary (ServiceName::Bench, "/bulla.kms.v1.Bench/Echo",                   SMALL),
];

/// Pages: `GET` and no body. The keys that tokens are verified with are anybody's to read.
pub const PAGES: [Method; 2] = [
    unary(ServiceName::Metrics, "/metrics", 0),
    unary(ServiceName::KeySet, "/.well-known/jwks.json", 0),
];

/// Room for one blob or one key and the largest encryption context.
const SMALL: usize = 64 * 1024;
/// Room for a batch: the largest message there is.
const LARGE: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn d04_every_method_of_every_service_has_a_row_and_no_row_is_without_a_method() {
        let set = FileDescriptorSet::decode(bulla_proto::DESCRIPTORS).unwrap();
        let mut described = BTreeSet::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let (package, service) = (file.package(), service.name());
                    described.insert(format!("/{package}.{service}/{}", method.name()));
                    let path = format!("/{package}.{service}/{}", method.name());
                    let streams = method.client_streaming() || method.server_streaming();
                    if let Some(Found { method: row, .. }) = find(&path) {
                        assert_eq!(row.shape == Shape::Stream, streams, "{path}");
                        assert!(path.contains(&format!(".{:?}/", row.service)), "{path}");
                    }
                }
            }
        }
        if cfg!(not(feature = "bench-echo")) {
            described.retain(|path| !path.contains(".Bench/"));
        }
        let rows: BTreeSet<_> = METHODS.iter().map(|method| method.path.to_owned()).collect();
        assert_eq!(rows, described);
        assert_eq!(rows.len(), METHODS.len());
        let labels = labels();
        for method in METHODS.iter().chain(&PAGES) {
            let found = find(method.path).unwrap();
            assert_eq!(found.method, method);
            assert_eq!(format!("/{}", labels.get(found.place).unwrap()), method.path);
        }
        assert_eq!((labels.len(), labels.get(UNKNOWN)), (METHODS.len() + 3, Some(&"unknown")));
    }

    #[test]
    fn d05_a_path_has_one_spelling() {
        for path in [
            "bulla.kms.v1.Crypto/Decrypt",
            "//bulla.kms.v1.Crypto/Decrypt",
            "/bulla.kms.v1.Crypto/Decrypt/",
            "/bulla.kms.v1.crypto/decrypt",
            "/bulla.kms.v1.Crypto%2FDecrypt",
            "/bulla.kms.v1.Crypto/../Keys/RotateKey",
            "/metrics/",
            "/Metrics",
            "metrics",
            "/",
            "",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
        assert!(find("/bulla.kms.v1.Crypto/Decrypt").is_some());
    }
}
