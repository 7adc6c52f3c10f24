//! Quotas on a real server: sixty-four at once, both stores, and after a restart.

use bulla_client::Client;
use bulla_proto::kms;
use tonic::Code;

use super::refused;
use crate::server::{TestServer, spiffe_id};

const AT_ONCE: usize = 64;

async fn limit(server: &TestServer, limits: kms::TenantLimits) {
    let landlord = server.client("landlord").await;
    let asked = kms::UpdateTenantRequest {
        tenant: "one".into(),
        limits: Some(limits),
        ..Default::default()
    };
    landlord.update_tenant(asked).await.unwrap();
}

async fn usage(server: &TestServer) -> kms::TenantUsage {
    let asked = kms::GetTenantRequest { tenant: "one".into() };
    let tenant = server.client("landlord").await.get_tenant(asked).await.unwrap().tenant;
    tenant.unwrap().usage.unwrap()
}

/// How many of as many at once are made; the others are refused for the quota and nothing else.
async fn made<M>(server: &TestServer, make: M) -> usize
where
    M: AsyncFn(Client, usize) -> Result<(), bulla_client::Error>,
{
    let operator = server.client("operator").await;
    let all = (0..AT_ONCE).map(|at| make(operator.clone(), at));
    let mut count = 0;
    for outcome in futures_util::future::join_all(all).await {
        match outcome {
            Ok(()) => count += 1,
            Err(error) => {
                let found = (error.code(), error.reason());
                assert_eq!(found, (Code::ResourceExhausted, "QUOTA_EXCEEDED"), "{error}");
                assert!(error.message().contains("have it raised: bulla tenant update"), "{error}");
            }
        }
    }
    count
}

async fn every_quota_is_kept(server: &TestServer) {
    let limits = kms::TenantLimits {
        keys: 7,
        policies: 5,
        grants: 6,
        relations: 9,
        role_bindings: 30,
        service_accounts: 4,
        ..Default::default()
    };
    limit(server, limits).await;
    let bound = usize::try_from(usage(server).await.role_bindings.unwrap().used).unwrap();
    let keys = made(server, async |client, _| {
        client.create_key(kms::CreateKeyRequest::default()).await.map(drop)
    });
    assert_eq!(keys.await, 7);
    let list = kms::ListKeysRequest::default();
    let key = server.client("operator").await.list_keys(list).await.unwrap().keys[0].key_id.clone();
    let policies = made(server, async |client, at| {
        let text = format!(
            "forbid (principal == Bulla::Principal::\"{}\", action == \
             Bulla::Action::\"crypto.decrypt\", resource);",
            spiffe_id("granted")
        );
        let policy_id = format!("p-{at}");
        let put = kms::PutPolicyRequest { policy_id, text, ..Default::default() };
        client.put_policy(put).await.map(drop)
    });
    assert_eq!(policies.await, 5);
    let grants = made(server, async |client, _| {
        let grant = kms::CreateGrantRequest {
            key: key.clone(),
            principal: spiffe_id("granted"),
            actions: vec!["crypto.decrypt".into()],
            ..Default::default()
        };
        client.create_grant(grant).await.map(drop)
    });
    assert_eq!(grants.await, 6);
    let relations = made(server, async |client, at| {
        let tuple = kms::Relation {
            object: format!("group:g-{at}"),
            relation: "member".into(),
            subject: spiffe_id("member"),
        };
        let add = vec![tuple];
        client
            .write_relations(kms::WriteRelationsRequest { add, ..Default::default() })
            .await
            .map(drop)
    });
    assert_eq!(relations.await, 9);
    let bindings = made(server, async |client, at| {
        let bind = kms::BindRoleRequest {
            principal: format!("spiffe://one.test/b-{at}"),
            role: "auditor".into(),
            ..Default::default()
        };
        client.bind_role(bind).await.map(drop)
    });
    assert_eq!(bindings.await, 30 - bound);
    let accounts = made(server, async |client, at| {
        let account = kms::ServiceAccount { name: format!("a-{at}"), ..Default::default() };
        let service_account = Some(account);
        let asked = kms::CreateServiceAccountRequest { service_account, ..Default::default() };
        client.create_service_account(asked).await.map(drop)
    });
    assert_eq!(accounts.await, 4);
    all_is_used(server).await;
}

async fn all_is_used(server: &TestServer) {
    let usage = usage(server).await;
    for (used, limit) in [
        (usage.keys, 7),
        (usage.policies, 5),
        (usage.grants, 6),
        (usage.relations, 9),
        (usage.role_bindings, 30),
        (usage.service_accounts, 4),
    ] {
        assert_eq!(used, Some(kms::Used { used: u64::from(limit), limit }));
    }
    assert_eq!(usage.versions_per_key_limit, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e07_of_sixty_four_at_once_exactly_as_many_are_made_as_there_may_be_and_a_restart_forgets_none()
 {
    let mut server = TestServer::start();
    every_quota_is_kept(&server).await;
    server.kill();
    server.serve();
    all_is_used(&server).await;
    let operator = server.client("operator").await;
    let again = refused(operator.create_key(kms::CreateKeyRequest::default()).await);
    assert_eq!(again, (Code::ResourceExhausted, "QUOTA_EXCEEDED".to_owned()));
    // Another tenant has its own, and what goes makes room.
    server.client("operator2").await.create_key(kms::CreateKeyRequest::default()).await.unwrap();
    let delete = kms::DeletePolicyRequest {
        policy_id: operator
            .list_policies(kms::ListPoliciesRequest::default())
            .await
            .unwrap()
            .policies
            .iter()
            .find(|policy| policy.policy_id.starts_with("p-"))
            .unwrap()
            .policy_id
            .clone(),
        ..Default::default()
    };
    operator.delete_policy(delete).await.unwrap();
    assert_eq!(usage(&server).await.policies.unwrap().used, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e07_of_sixty_four_at_once_exactly_as_many_are_made_as_there_may_be_in_memory() {
    every_quota_is_kept(&TestServer::in_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_over_the_highest_is_refused_and_0_is_the_default() {
    let server = TestServer::start();
    let landlord = server.client("landlord").await;
    let asked = |limits| kms::UpdateTenantRequest {
        tenant: "one".into(),
        limits: Some(limits),
        ..Default::default()
    };
    let over = kms::TenantLimits { relations: 100_001, ..Default::default() };
    let error = landlord.update_tenant(asked(over)).await.unwrap_err();
    assert_eq!(error.reason(), "INVALID_ARGUMENT");
    assert_eq!(error.field_violations()[0].field, "limits.relations");
    landlord.update_tenant(asked(kms::TenantLimits::default())).await.unwrap();
    assert_eq!(usage(&server).await.relations.unwrap().limit, 10_000);
}
