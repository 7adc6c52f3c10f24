//! Rights that end by themselves, and what other programs on the store see of a change.

use bulla::policy::{Object, Relation, RelationName};
use bulla::service::{CreateGrant, EncryptionContext, ListGrants, WriteRelations};

use super::*;

const APP: &str = "spiffe://demo.bulla/app";

fn app(site: &Site) -> Caller {
    let principal = Principal::new(PrincipalId::parse(APP).unwrap(), site.tenant);
    let subject = Subject::new(principal, CredentialKind::Certificate);
    Caller::remote(subject.into(), "127.0.0.1:2".parse().unwrap())
}

async fn bind(program: &Program, site: &Site, role: Role, subject: &str, end: Option<i64>) {
    let bind = BindRole {
        subject: SubjectRef::parse(subject).unwrap(),
        role: role.into(),
        expire_time: end.map(Timestamp::from_unix_ms),
        change: RoleChange::Bind,
        reason: Reason::none(),
        request: None,
    };
    let installer = Caller::installer(site.tenant);
    program.desk.perform_change(&installer, Action::BindRole, Ok(bind)).await.unwrap();
}

async fn may_see(program: &Program, caller: &Caller, key: KeyId) -> bool {
    program.desk.perform(caller, Ok(GetKey { key: KeyRef::Id(key) })).await.is_ok()
}

fn grant(key: KeyId, end: i64) -> CreateGrant {
    let principal = PrincipalId::parse(APP).unwrap();
    CreateGrant {
        key: KeyRef::Id(key),
        grantee: SubjectRef::Principal(principal.clone()),
        principal,
        actions: vec![Action::GetKey],
        context: EncryptionContext::empty(),
        expire_time: Some(Timestamp::from_unix_ms(end)),
        retiring_principal: None,
        name: Description::default(),
        request: None,
    }
}

#[tokio::test]
async fn d11_a_role_ends_at_its_time_and_not_before() {
    let site = Site::new().await;
    let program = site.program().await;
    let key = program.create_key(RotationPeriod::NEVER, None).await;
    let app = app(&site);
    assert!(!may_see(&program, &app, key).await);
    bind(&program, &site, Role::KeyUser, APP, Some(START + HOUR)).await;
    assert!(may_see(&program, &app, key).await);
    site.pass(&[&program], HOUR - 1);
    assert!(may_see(&program, &app, key).await);
    site.pass(&[&program], 1);
    assert!(!may_see(&program, &app, key).await);
    let past = BindRole {
        subject: SubjectRef::parse(APP).unwrap(),
        role: Role::KeyUser.into(),
        expire_time: Some(Timestamp::from_unix_ms(START + HOUR)),
        change: RoleChange::Bind,
        reason: Reason::none(),
        request: None,
    };
    let installer = Caller::installer(site.tenant);
    let refused = program.desk.perform_change(&installer, Action::BindRole, Ok(past)).await;
    assert!(refused.is_err_and(|refusal| refusal.class() == "expire_time"));
    // A clock that is put back brings the time back with it, and nothing else.
    bind(&program, &site, Role::Auditor, APP, None).await;
    assert!(may_see(&program, &app, key).await);
}

#[tokio::test]
async fn d11_a_grant_ends_at_its_time_and_is_then_removed() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let key = program.create_key(RotationPeriod::NEVER, None).await;
    let (app, operator) = (app(&site), program.manager.clone());
    bind(&program, &site, Role::Operator, operator.principal().id().as_str(), None).await;
    let create = Ok(grant(key, START + HOUR));
    program.desk.perform_change(&operator, Action::CreateGrant, create).await.unwrap();
    let rows = async |program: &Program| {
        let tenant = site.tenant;
        let scan = bulla::store::Scan {
            tenant: *tenant.as_bytes(),
            kind: 23,
            prefix: Vec::new(),
            after: None,
            limit: 10,
        };
        let listed = ListGrants { key: None, after: None, page_size: 10 };
        let listed = program.desk.perform(&operator, Ok(listed)).await.unwrap().0.len();
        (bulla::store::Store::scan(&*site.store, &scan).await.unwrap().len(), listed)
    };
    program.settle().await;
    assert_eq!((rows(&program).await, may_see(&program, &app, key).await), ((1, 1), true));
    site.pass(&[&program], HOUR);
    assert_eq!((rows(&program).await, may_see(&program, &app, key).await), ((1, 0), false));
    program.settle().await;
    assert_eq!((rows(&program).await, may_see(&program, &app, key).await), ((0, 0), false));
}

#[tokio::test]
async fn d11_a_program_that_has_not_seen_a_revision_says_so_and_one_that_follows_answers() {
    let site = Site::new().await;
    let (program, behind) = (site.program().await, site.program().await);
    let operator = program.manager.clone();
    bind(&program, &site, Role::Operator, operator.principal().id().as_str(), None).await;
    let key = program.create_key(RotationPeriod::NEVER, None).await;
    let app = app(&site);
    assert!(!may_see(&behind, &app, key).await, "and what it decides by is kept");
    let object = Object::Key(key);
    let subject = SubjectRef::parse(APP).unwrap();
    let tuple = Relation::new(object, RelationName::Viewer, subject).unwrap();
    let write = WriteRelations { add: vec![tuple], remove: vec![], request: None };
    let asked = program.desk.perform_change(&operator, Action::WriteRelations, Ok(write));
    let revision = asked.await.unwrap();
    assert!(may_see(&program, &app, key).await);
    assert!(!may_see(&behind, &app, key).await, "it has not followed");
    let fresh = app.clone().at_least(revision);
    let asked = behind.desk.perform(&fresh, Ok(GetKey { key: KeyRef::Id(key) })).await;
    assert!(asked.is_err_and(|refusal| refusal.reason() == "STALE_REPLICA"));
    let follows = behind.custody().follow();
    tokio::select! {
        () = follows => panic!("it never ends"),
        seen = may_see(&behind, &fresh, key) => assert!(seen),
    }
}
