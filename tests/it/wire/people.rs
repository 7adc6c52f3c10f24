//! Tenants, approvals and service accounts, as their callers see them.

use bulla_client::{Kind, Proposing};
use bulla_proto::kms;
use tonic::Code;

use super::{Shared, fresh, new_key, on_both_stores, refused};
use crate::server::spiffe_id;

on_both_stores!(
    e01_tenants_are_the_installations_business_and_their_rows_nobodys_but_their_own,
    d13_a_rule_holds_a_change_back_until_two_others_let_one_execution_through,
    a_service_account_has_two_credentials_at_most_and_each_is_shown_once,
);

fn denied() -> (Code, String) {
    (Code::PermissionDenied, "PERMISSION_DENIED".to_owned())
}

async fn e01_tenants_are_the_installations_business_and_their_rows_nobodys_but_their_own(
    server: Shared,
) {
    let landlord = server.client("landlord").await;
    let name = fresh("tenant");
    let create = kms::CreateTenantRequest { name: name.clone(), ..Default::default() };
    let made = landlord.create_tenant(create.clone()).await.unwrap().tenant.unwrap();
    assert_eq!((&made.name, made.suspended), (&name, false));
    assert_eq!(refused(landlord.create_tenant(create.clone()).await).1, "ALREADY_EXISTS");
    for bad in ["installation", "Root", "", "a b", &made.tenant_id] {
        let create = kms::CreateTenantRequest { name: bad.to_owned(), ..Default::default() };
        assert!(landlord.create_tenant(create).await.is_err(), "{bad:?}");
    }
    let named = |tenant: &str| kms::SuspendTenantRequest {
        tenant: tenant.to_owned(),
        reason: "audit finding".to_owned(),
        ..Default::default()
    };
    let suspended = landlord.suspend_tenant(named(&name)).await.unwrap().tenant.unwrap();
    assert!(suspended.suspended && suspended.suspend_reason == "audit finding");
    let resume = kms::ResumeTenantRequest { tenant: made.tenant_id, ..Default::default() };
    assert!(!landlord.resume_tenant(resume).await.unwrap().tenant.unwrap().suspended);
    assert_eq!(refused(landlord.suspend_tenant(named("installation")).await).1, "INVALID_ARGUMENT");
    // Nobody else manages tenants, and whoever does reaches nothing of theirs.
    let operator = server.client("operator").await;
    assert_eq!(refused(operator.create_tenant(create).await), denied());
    let list = kms::ListTenantsRequest::default();
    assert_eq!(refused(operator.list_tenants(list).await), denied());
    let get = kms::GetKeyRequest { key: new_key(&operator).await };
    assert_eq!(refused(landlord.get_key(get).await), denied());
    // Suspended is stopped at once, and resumed it works again.
    landlord.suspend_tenant(named("two")).await.unwrap();
    let user = server.client("app2").await;
    assert_eq!(refused(user.who_am_i(kms::WhoAmIRequest {}).await), denied());
    let resume = kms::ResumeTenantRequest { tenant: "two".to_owned(), ..Default::default() };
    landlord.resume_tenant(resume).await.unwrap();
    user.who_am_i(kms::WhoAmIRequest {}).await.unwrap();
}

async fn d13_a_rule_holds_a_change_back_until_two_others_let_one_execution_through(server: Shared) {
    let operator = server.client("operator").await;
    let rule = |needed| kms::PutApprovalRuleRequest {
        rule: Some(kms::ApprovalRule {
            action: "access.bind_role".to_owned(),
            group: "board".to_owned(),
            needed,
            lifetime: None,
        }),
        ..Default::default()
    };
    assert_eq!(refused(operator.put_approval_rule(rule(0)).await).1, "INVALID_ARGUMENT");
    operator.put_approval_rule(rule(3)).await.unwrap();
    let expire_time = std::time::SystemTime::now() + std::time::Duration::from_secs(3_600);
    let bind = kms::BindRoleRequest {
        principal: spiffe_id("nobody"),
        role: "key-user".to_owned(),
        expire_time: Some(expire_time.into()),
        ..Default::default()
    };
    let required = (Code::FailedPrecondition, "APPROVAL_REQUIRED".to_owned());
    assert_eq!(refused(operator.bind_role(bind.clone()).await), required);

    let proposing = Proposing::new("night shift", true);
    let proposed = operator.proposing(&proposing).bind_role(bind.clone()).await.unwrap_err();
    assert_eq!(proposed.kind(), Kind::Proposed);
    let made = proposing.made().unwrap().clone();
    assert!(made.break_glass && made.needed == 2 && made.summary.contains("key-user"));
    let vote = kms::ApproveRequest {
        proposal_id: made.proposal_id.clone(),
        digest: made.digest.clone(),
        ..Default::default()
    };
    assert_eq!(refused(operator.approve(vote.clone()).await), denied());
    assert_eq!(refused(server.client("app").await.approve(vote.clone()).await), denied());
    let other = kms::ApproveRequest { digest: vec![0; 32], ..vote.clone() };
    let approver = server.client("approver").await;
    assert_eq!(refused(approver.approve(other).await).1, "INVALID_ARGUMENT");
    approver.approve(vote.clone()).await.unwrap();
    assert_eq!(refused(approver.approve(vote.clone()).await).1, "PROPOSAL_STATE");
    let approved = operator.with_approval(&made.proposal_id).unwrap();
    assert_eq!(refused(approved.bind_role(bind.clone()).await), required);
    server.client("approver1").await.approve(vote).await.unwrap();

    // Another request, and another's: refused. Sixty-four at once: one is made.
    let wider = kms::BindRoleRequest { role: "auditor".to_owned(), ..bind.clone() };
    assert_eq!(refused(approved.bind_role(wider).await), required);
    let tries = (0..64).map(|_| {
        let (approved, bind) = (approved.clone(), bind.clone());
        tokio::spawn(async move { approved.bind_role(bind).await.is_ok() })
    });
    let mut done = 0;
    for ended in tries.collect::<Vec<_>>() {
        done += usize::from(ended.await.unwrap());
    }
    assert_eq!(done, 1);
    assert_eq!(refused(approved.bind_role(bind).await), required);
    let delete = kms::DeleteApprovalRuleRequest {
        action: "access.bind_role".to_owned(),
        ..Default::default()
    };
    operator.delete_approval_rule(delete).await.unwrap();
}

async fn a_service_account_has_two_credentials_at_most_and_each_is_shown_once(server: Shared) {
    let operator = server.client("operator").await;
    let name = fresh("account");
    let account = kms::ServiceAccount {
        name: name.clone(),
        actions: vec!["crypto.decrypt".to_owned()],
        networks: vec!["10.0.0.0/8".to_owned()],
        ..Default::default()
    };
    let create = |service_account| kms::CreateServiceAccountRequest {
        service_account: Some(service_account),
        ..Default::default()
    };
    let made = operator.create_service_account(create(account.clone())).await.unwrap();
    assert_eq!(made.service_account.unwrap().principal, format!("service://{name}"));
    let again = operator.create_service_account(create(account)).await;
    assert_eq!(refused(again).1, "ALREADY_EXISTS");
    let ask = kms::CreateCredentialRequest { service_account: name.clone(), ..Default::default() };
    let long = prost_types::Duration { seconds: 91 * 86_400, nanos: 0 };
    let long = kms::CreateCredentialRequest { lifetime: Some(long), ..ask.clone() };
    assert_eq!(refused(operator.create_credential(long).await).1, "INVALID_ARGUMENT");
    let once = kms::CreateCredentialRequest { request_id: fresh("once"), ..ask.clone() };
    let one = operator.create_credential(once.clone()).await.unwrap();
    assert!(one.secret.starts_with("bulla_") && one.secret.len() == 97);
    assert_eq!(refused(operator.create_credential(once).await).1, "INVALID_ARGUMENT");
    let two = operator.create_credential(ask.clone()).await.unwrap();
    assert_ne!(one.secret, two.secret);
    assert_eq!(refused(operator.create_credential(ask.clone()).await).1, "TOO_LARGE");
    let credential_id = one.credential.unwrap().credential_id;
    let revoke = kms::RevokeCredentialRequest { credential_id, ..Default::default() };
    operator.revoke_credential(revoke).await.unwrap();
    operator.create_credential(ask).await.unwrap();
    let list = kms::ListCredentialsRequest { service_account: name.clone(), ..Default::default() };
    assert_eq!(operator.list_credentials(list.clone()).await.unwrap().credentials.len(), 2);
    let delete = kms::DeleteServiceAccountRequest { name, ..Default::default() };
    operator.delete_service_account(delete).await.unwrap();
    assert!(operator.list_credentials(list).await.unwrap().credentials.is_empty());
}

/// A group of groups votes: whoever is in it twice has one vote, and a vote counts for as long as its
/// voter is a member.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d13_members_of_nested_groups_vote_once_and_who_has_left_no_longer_counts() {
    let server = crate::server::TestServer::start();
    let operator = server.client("operator").await;
    let tuple = |object: &str, subject: &str| kms::Relation {
        object: object.to_owned(),
        relation: "member".to_owned(),
        subject: subject.to_owned(),
    };
    let of_approver1 = tuple("group:inner", &spiffe_id("approver1"));
    let write = |add: Vec<kms::Relation>, remove: Vec<kms::Relation>| {
        let asked = kms::WriteRelationsRequest { add, remove, ..Default::default() };
        let operator = operator.clone();
        async move { operator.write_relations(asked).await.unwrap() }
    };
    let tuples = vec![
        tuple("group:board", "group:inner#member"),
        tuple("group:inner", &spiffe_id("approver")),
        tuple("group:board", &spiffe_id("approver")),
        of_approver1.clone(),
    ];
    write(tuples, vec![]).await;
    let rule = kms::ApprovalRule {
        action: "access.bind_role".to_owned(),
        group: "board".to_owned(),
        needed: 2,
        lifetime: None,
    };
    let rule = kms::PutApprovalRuleRequest { rule: Some(rule), ..Default::default() };
    operator.put_approval_rule(rule).await.unwrap();
    let bind = kms::BindRoleRequest {
        principal: spiffe_id("nobody"),
        role: "key-user".to_owned(),
        ..Default::default()
    };
    let proposing = Proposing::new("a second pair of hands", false);
    operator.proposing(&proposing).bind_role(bind.clone()).await.unwrap_err();
    let made = proposing.made().unwrap().clone();
    let vote = kms::ApproveRequest {
        proposal_id: made.proposal_id.clone(),
        digest: made.digest.clone(),
        ..Default::default()
    };
    let approved = operator.with_approval(&made.proposal_id).unwrap();
    let required = (Code::FailedPrecondition, "APPROVAL_REQUIRED".to_owned());
    // In the group by two ways, and one vote.
    let approver = server.client("approver").await;
    approver.approve(vote.clone()).await.unwrap();
    assert_eq!(refused(approver.approve(vote.clone()).await).1, "PROPOSAL_STATE");
    assert_eq!(refused(approved.bind_role(bind.clone()).await), required);
    // In it only by a group inside it.
    server.client("approver1").await.approve(vote.clone()).await.unwrap();
    write(vec![], vec![of_approver1.clone()]).await;
    assert_eq!(refused(approved.bind_role(bind.clone()).await), required);
    // One of the two ways is enough to stay.
    write(vec![of_approver1], vec![tuple("group:board", &spiffe_id("approver"))]).await;
    approved.bind_role(bind.clone()).await.unwrap();
    assert_eq!(refused(approved.bind_role(bind).await), required);
}
