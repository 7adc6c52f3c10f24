//! How many of each thing a tenant may have: by every way in which one is made or goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bulla::keys::{
    AccountName, Description, GrantId, KeyId, KeyRef, Quota, Reason, RotationPeriod, State,
    TenantId, TenantLimits, TenantName, TenantRef, TenantUsage, Timestamp,
};
use bulla::policy::{
    Action, CredentialKind, Object, PolicyId, PolicySource, Principal, PrincipalId, Relation,
    RelationName, Role, Scope, Subject, SubjectRef,
};
use bulla::service::{
    BindRole, Caller, Change, ChangeTenant, CompromiseVersion, CreateGrant, CreateServiceAccount,
    DeletePolicy, DeleteServiceAccount, EncryptionContext, GetTenant, PutPolicy, Refusal,
    RevokeGrant, RoleChange, TenantChange, VersionChange, WriteRelations,
};
use proptest::prelude::*;

use super::{DAY, HOUR, Program, SECOND, START, Site};

/// What can be made and taken away, and what there is.
struct Tenant {
    program: Program,
    operator: Caller,
    landlord: Caller,
    key: KeyId,
    policies: BTreeSet<u8>,
    grants: Vec<GrantId>,
    bound: BTreeSet<u8>,
    related: BTreeSet<u8>,
    accounts: BTreeSet<u8>,
    keys: u64,
}

fn principal(name: &str) -> PrincipalId {
    PrincipalId::parse(&format!("spiffe://demo.bulla/{name}")).unwrap()
}

fn account(which: u8) -> AccountName {
    AccountName::parse(&format!("a{which}")).unwrap()
}

fn remote(name: &str, tenant: TenantId) -> Caller {
    let subject =
        Subject::new(Principal::new(principal(name), tenant), CredentialKind::Certificate);
    Caller::remote(Arc::new(subject), "127.0.0.1:1".parse().unwrap())
}

fn binding(name: &str, role: Role, change: RoleChange) -> BindRole {
    BindRole {
        subject: SubjectRef::Principal(principal(name)),
        role: role.into(),
        expire_time: None,
        change,
        reason: Reason::none(),
        request: None,
    }
}

// === impl Tenant ===

impl Tenant {
    async fn new(site: &Site) -> Self {
        let program = site.program().await;
        let installation = program.custody().add_tenant(TenantName::INSTALLATION).await.unwrap();
        for (name, role, tenant) in
            [("boss", Role::Operator, site.tenant), ("landlord", Role::TenantManager, installation)]
        {
            let bind = binding(name, role, RoleChange::Bind);
            let installer = Caller::installer(tenant);
            program.desk.perform_change(&installer, Action::BindRole, Ok(bind)).await.unwrap();
        }
        let key = program.create_key(RotationPeriod::NEVER, None).await;
        Self {
            operator: remote("boss", site.tenant),
            landlord: remote("landlord", installation),
            program,
            key,
            policies: BTreeSet::new(),
            grants: Vec::new(),
            bound: BTreeSet::new(),
            related: BTreeSet::new(),
            accounts: BTreeSet::new(),
            keys: 1,
        }
    }

    async fn change<C: Change>(&self, change: C) -> Result<C::Reply, Refusal> {
        self.program.desk.perform_change(&self.operator, change.action(), Ok(change)).await
    }

    async fn limit(&self, limits: TenantLimits) {
        let tenant = TenantRef::Name(TenantName::parse("demo").unwrap());
        let change = TenantChange::Update { description: None, limits: Some(limits) };
        let change = ChangeTenant { tenant, change, request: None };
        let desk = &self.program.desk;
        desk.perform_change(&self.landlord, Action::UpdateTenant, Ok(change)).await.unwrap();
    }

    async fn usage(&self) -> TenantUsage {
        let tenant = TenantRef::Name(TenantName::parse("demo").unwrap());
        self.program.desk.perform(&self.landlord, Ok(GetTenant { tenant })).await.unwrap().1
    }

    /// As it has to be by what was done: two principals hold roles from the start.
    fn expected(&self) -> TenantUsage {
        TenantUsage {
            keys: self.keys,
            policies: self.policies.len() as u64,
            grants: self.grants.len() as u64,
            role_bindings: self.bound.len() as u64 + 2,
            relations: self.related.len() as u64,
            service_accounts: self.accounts.len() as u64,
        }
    }

    async fn grant(&self, expire_time: Option<i64>) -> Result<GrantId, Refusal> {
        let principal = principal("app");
        let grant = CreateGrant {
            key: KeyRef::Id(self.key),
            grantee: SubjectRef::Principal(principal.clone()),
            principal,
            actions: vec![Action::Decrypt],
            context: EncryptionContext::empty(),
            expire_time: expire_time.map(Timestamp::from_unix_ms),
            retiring_principal: None,
            name: Description::default(),
            request: None,
        };
        Ok(self.change(grant).await?.id())
    }

    /// One step of a history. Whether it was refused for a quota.
    async fn step(&mut self, what: u8, which: u8) -> bool {
        let outcome = match what {
            0 => {
                let text = "forbid (principal == Bulla::Principal::\"spiffe://demo.bulla/app\", \
                            action == Bulla::Action::\"crypto.decrypt\", resource);";
                let id = PolicyId::parse(&format!("p{which}")).unwrap();
                let source = PolicySource { id, text: text.into() };
                let put = PutPolicy { source, description: Description::default(), request: None };
                self.change(put).await.map(|_| _ = self.policies.insert(which))
            }
            1 => {
                let delete = DeletePolicy {
                    id: PolicyId::parse(&format!("p{which}")).unwrap(),
                    request: None,
                };
                self.change(delete).await.map(|()| _ = self.policies.remove(&which))
            }
            2 => self.grant(None).await.map(|id| self.grants.push(id)),
            3 => match self.grants.pop() {
                Some(id) => self.change(RevokeGrant { grant: id, request: None }).await.map(|_| ()),
                None => Ok(()),
            },
            4 | 5 => {
                let name = format!("b{which}");
                let change = if what == 4 { RoleChange::Bind } else { RoleChange::Unbind };
                let bound = self.change(binding(&name, Role::Auditor, change)).await;
                bound.map(|_| match change {
                    RoleChange::Bind => _ = self.bound.insert(which),
                    RoleChange::Unbind => _ = self.bound.remove(&which),
                })
            }
            6 | 7 => {
                let tuple = Relation::new(
                    Object::parse(&format!("group:g{which}")).unwrap(),
                    RelationName::Member,
                    SubjectRef::Principal(principal("app")),
                );
                let tuple = vec![tuple.unwrap()];
                let (add, remove) = if what == 6 { (tuple, vec![]) } else { (vec![], tuple) };
                self.change(WriteRelations { add, remove, request: None }).await.map(|_| {
                    if what == 6 {
                        self.related.insert(which);
                    } else {
                        self.related.remove(&which);
                    }
                })
            }
            8 => {
                let make = CreateServiceAccount {
                    name: account(which),
                    description: Description::default(),
                    scope: Scope::default(),
                    keys: Vec::new(),
                    request: None,
                };
                self.change(make).await.map(|_| _ = self.accounts.insert(which))
            }
            9 => {
                let name = account(which);
                let delete = DeleteServiceAccount { name, request: None };
                self.change(delete).await.map(|()| _ = self.accounts.remove(&which))
            }
            _ => self.program.try_key().await.map(|_| self.keys += 1),
        };
        match outcome {
            Ok(()) => false,
            Err(Refusal::QuotaExceeded(exceeded)) => {
                assert_eq!(exceeded.used, u64::from(exceeded.limit), "refused below the limit");
                true
            }
            // What is not there is not taken away, and what is there is not made again.
            Err(Refusal::Denied { .. } | Refusal::AlreadyExists { .. }) => false,
            Err(other) => panic!("step {what}: {other:?}"),
        }
    }
}

/// Few of everything.
const FEW: TenantLimits = TenantLimits {
    uses_per_second: 0,
    principal_uses_per_second: 0,
    management_per_second: 0,
    keys: 3,
    versions_per_key: 3,
    policies: 2,
    grants: 2,
    role_bindings: 4,
    relations: 3,
    service_accounts: 2,
};

fn is_quota<T>(outcome: Result<T, Refusal>, quota: Quota, limit: u32) -> bool {
    let refusal = outcome.err();
    matches!(&refusal, Some(Refusal::QuotaExceeded(it))
        if it.quota == quota && (it.used, it.limit) == (u64::from(limit), limit))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Whatever is made and taken away in whatever order: there are never more than there may be,
    /// nothing is refused below that, and the rows that count say what there is.
    #[test]
    fn e07_no_history_of_changes_passes_a_quota_and_none_is_refused_below_it(
        steps in prop::collection::vec((0..11_u8, 0..5_u8), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let site = Site::new().await;
            let mut tenant = Tenant::new(&site).await;
            tenant.limit(FEW).await;
            for (what, which) in steps {
                tenant.step(what, which).await;
                assert_eq!(tenant.usage().await, tenant.expected());
                let used = tenant.expected();
                assert!(used.keys <= 3 && used.policies <= 2 && used.grants <= 2);
                assert!(used.role_bindings <= 4 && used.relations <= 3 && used.service_accounts <= 2);
            }
            // Another program on the same rows says the same.
            tenant.program = site.program().await;
            assert_eq!(tenant.usage().await, tenant.expected());
        });
    }
}

#[tokio::test]
async fn a_limit_that_is_lowered_takes_nothing_away_and_one_that_is_raised_lets_more_in() {
    let site = Site::new().await;
    let tenant = Tenant::new(&site).await;
    for _ in 0..4 {
        tenant.program.create_key(RotationPeriod::NEVER, None).await;
    }
    tenant.limit(FEW).await;
    let refused = tenant.program.try_key().await;
    let refusal = refused.err().unwrap();
    assert_eq!((refusal.reason(), refusal.class()), ("QUOTA_EXCEEDED", "keys"));
    assert!(
        refusal.to_string().starts_with("keys: there are 5, and there may be 3; "),
        "{refusal}"
    );
    assert_eq!(tenant.usage().await.keys, 5);
    tenant.limit(TenantLimits { keys: 6, ..FEW }).await;
    tenant.program.try_key().await.unwrap();
    assert!(is_quota(tenant.program.try_key().await, Quota::Keys, 6));
}

#[tokio::test]
async fn a_tuple_that_takes_anothers_place_passes_at_the_limit() {
    let site = Site::new().await;
    let mut tenant = Tenant::new(&site).await;
    tenant.limit(FEW).await;
    for which in 0..3 {
        assert!(!tenant.step(6, which).await);
    }
    let tuple = |group: &str| {
        let object = Object::parse(&format!("group:{group}")).unwrap();
        Relation::new(object, RelationName::Member, SubjectRef::Principal(principal("app")))
            .unwrap()
    };
    let write = |add: &[&str], remove: &[&str]| WriteRelations {
        add: add.iter().map(|group| tuple(group)).collect(),
        remove: remove.iter().map(|group| tuple(group)).collect(),
        request: None,
    };
    assert!(is_quota(tenant.change(write(&["x"], &[])).await, Quota::Relations, 3));
    assert!(is_quota(tenant.change(write(&["x", "y"], &["g0"])).await, Quota::Relations, 3));
    tenant.change(write(&["x"], &["g0"])).await.unwrap();
    // What is there already adds nothing.
    tenant.change(write(&["x", "g1"], &[])).await.unwrap();
    assert_eq!(tenant.usage().await.relations, 3);
}

#[tokio::test]
async fn a_grant_that_ends_no_longer_counts() {
    let site = Site::new().await;
    let mut tenant = Tenant::new(&site).await;
    tenant.limit(FEW).await;
    tenant.program.scheduler.look().await.unwrap();
    for _ in 0..2 {
        tenant.grant(Some(START + HOUR)).await.unwrap();
    }
    assert!(is_quota(tenant.grant(None).await, Quota::Grants, 2));
    site.pass(&[&tenant.program], HOUR);
    tenant.program.settle().await;
    assert_eq!(tenant.usage().await.grants, 0);
    tenant.grant(None).await.unwrap();
}

#[tokio::test]
async fn a_key_with_as_many_versions_as_it_may_have_waits_visibly_and_rotates_once_one_is_destroyed()
 {
    let site = Site::new().await;
    let mut tenant = Tenant::new(&site).await;
    tenant.limit(FEW).await;
    let key = tenant.program.create_key(RotationPeriod::NEVER, Some(START + 8 * DAY)).await;
    for expected in [2, 3] {
        assert_eq!(tenant.program.rotate(key).await.unwrap(), expected);
    }
    assert!(is_quota(tenant.program.rotate(key).await, Quota::VersionsPerKey, 3));
    let program = &mut tenant.program;
    program.scheduler.look().await.unwrap();
    site.pass(&[&*program], 8 * DAY);
    for is_tried in [true, false] {
        let mut deferred = 0;
        for _ in 0..3 {
            let done = program.scheduler.look().await.unwrap();
            assert_eq!((done.rotated, done.failed), (0, 0));
            deferred += done.deferred;
        }
        // It is tried once, and counted as left for later for as long as it is.
        assert_eq!(deferred > 0, is_tried);
        let reading = program.desk.office().metrics.scheduler();
        assert_eq!((reading.due, reading.deferred), (1, 1));
    }
    assert_eq!(program.states(key).await.len(), 3, "none was prepared either");
    let asked = program.desk.rotate_due(&program.manager).await.unwrap();
    assert_eq!((asked.rotated.len(), asked.failed.as_slice()), (0, [key].as_slice()));
    program.schedule_destroy(key, 1).await;
    site.pass(&[&*program], 7 * DAY + SECOND);
    assert_eq!(program.settle().await.destroyed, 1);
    site.pass(&[&*program], HOUR);
    let done = program.settle().await;
    assert_eq!((done.rotated, done.failed), (1, 0));
    assert_eq!(program.desk.office().metrics.scheduler().deferred, 0);
    assert_eq!(program.states(key).await[3], State::Active);
}

#[tokio::test]
async fn g04_no_quota_stands_in_the_way_of_replacing_a_compromised_version() {
    let site = Site::new().await;
    let tenant = Tenant::new(&site).await;
    tenant.limit(FEW).await;
    let (program, key) = (&tenant.program, tenant.key);
    for _ in 0..2 {
        program.rotate(key).await.unwrap();
    }
    let compromise = CompromiseVersion(VersionChange {
        key: KeyRef::Id(key),
        version: 3,
        reason: Reason::parse("leaked").unwrap(),
        request: None,
    });
    let action = Action::CompromiseVersion;
    let done = program.desk.perform_change(&program.manager, action, Ok(compromise)).await.unwrap();
    assert_eq!(done.replacement.unwrap().number(), 4);
    // It is one more than there may be, and another rotation waits until two are destroyed.
    let refused = program.rotate(key).await.err().unwrap().to_string();
    assert!(refused.contains("there are 4, and there may be 3"), "{refused}");
}

/// A tenant that was made before anything was counted: what there is is counted once, and those who make
/// the first ones at the same time do not pass together.
#[tokio::test]
async fn e07_of_sixty_four_at_once_as_many_are_made_as_there_is_room_for_by_two_programs() {
    let site = Site::new().await;
    let tenant = Tenant::new(&site).await;
    tenant.limit(TenantLimits { keys: 11, grants: 0, ..FEW }).await;
    let other = site.program().await;
    let makers = (0..64).map(|at| {
        let program = if at % 2 == 0 { &tenant.program } else { &other };
        async move {
            loop {
                match program.try_key().await {
                    Ok(_) => return true,
                    Err(Refusal::QuotaExceeded(_)) => return false,
                    // The other program was faster; a client tries again.
                    Err(Refusal::Conflict) => tokio::task::yield_now().await,
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    });
    let made = futures_util::future::join_all(makers).await;
    assert_eq!(made.iter().filter(|made| **made).count(), 10);
    assert_eq!(tenant.usage().await.keys, 11);
}
