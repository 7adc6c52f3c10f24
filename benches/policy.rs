//! What a decision costs, among ten, a thousand and a hundred thousand policies.
//!
//! One table: each row is a kind of question, each column a number of policies. Targets: 0.3 µs for what was
//! asked before, 5 µs for what was not. Memory is given out and wiped as the program does it.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]

use std::collections::BTreeMap;
use std::hint::black_box;

use bulla::crypto::memory::WipingAllocator;
use bulla::keys::{KeyId, KeyRing, TenantId, Timestamp};
use bulla::policy::{
    Action, Circumstances, CredentialKind, GroupName, HeldRole, KeyFacts, Material, Object,
    PolicyId, PolicySource, Principal, PrincipalId, Question, Relation, RelationName, Role,
    Subject, SubjectRef, Target, World,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: WipingAllocator<MiMalloc> = WipingAllocator::over(MiMalloc);

const TENANT: TenantId = TenantId::from_bytes([1; 16]);

/// A tenant in which each application has a policy, a ring and a group of its own.
fn material(policies: usize) -> Material {
    let mut material = Material::default();
    for number in 0..policies {
        let text = match number % 4 {
            0 => format!(
                "permit (principal == Bulla::Principal::\"spiffe://bank/app-{number}\", action in \
                 Bulla::Action::\"use_keys\", resource in Bulla::KeyRing::\"ring-{number}\") when \
                 {{ context.encryption_context.hasTag(\"purpose\") && \
                 context.encryption_context.getTag(\"purpose\") == \"cards\" }};"
            ),
            1 => format!(
                "permit (principal in Bulla::Group::\"team-{number}\", action in \
                 Bulla::Action::\"view_keys\", resource in Bulla::KeyRing::\"ring-{number}\");"
            ),
            2 => format!(
                "forbid (principal in Bulla::Group::\"team-{number}\", action in \
                 Bulla::Action::\"manage_keys\", resource) when {{ resource is Bulla::Key && \
                 resource.hasTag(\"env\") && resource.getTag(\"env\") == \"prod\" }};"
            ),
            _ => format!(
                "permit (principal == Bulla::Principal::\"spiffe://bank/app-{number}\", action == \
                 Bulla::Action::\"crypto.decrypt\", resource in Bulla::KeyRing::\"ring-{number}\");"
            ),
        };
        let id = PolicyId::parse(&format!("p{number}")).unwrap();
        material.policies.push(PolicySource { id, text: text.into() });
    }
    let user = HeldRole { role: Role::KeyUser.into(), expire_time: None };
    material.bindings.push((SubjectRef::Principal(id("spiffe://bank/by-role")), vec![user]));
    material.relations.push(Relation {
        object: Object::Ring(KeyRing::parse("ring-1").unwrap()),
        name: RelationName::User,
        subject: SubjectRef::Members(GroupName::parse("tellers").unwrap()),
    });
    material
}

fn id(text: &str) -> PrincipalId {
    PrincipalId::parse(text).unwrap()
}

/// Who asks, about a key in which ring.
struct Case {
    name: &'static str,
    principal: &'static str,
    groups: &'static [&'static str],
    ring: &'static str,
}

const CASES: &[Case] = &[
    Case { name: "role", principal: "spiffe://bank/by-role", groups: &[], ring: "ring-9/x" },
    Case { name: "policy", principal: "spiffe://bank/app-3", groups: &[], ring: "ring-3" },
    Case { name: "context", principal: "spiffe://bank/app-4", groups: &[], ring: "ring-4" },
    Case { name: "relation", principal: "spiffe://bank/p", groups: &["tellers"], ring: "ring-1/a" },
    Case { name: "nobody", principal: "spiffe://bank/nobody", groups: &["a", "b"], ring: "ring-4" },
];

fn decide(criterion: &mut Criterion) {
    for policies in [10, 1_000, 100_000] {
        let material = material(policies);
        let world = World::new(TENANT, material);
        let mut numbers = 0_u64;
        for case in CASES {
            let mut subject = Subject::new(
                Principal::new(id(case.principal), TENANT),
                CredentialKind::Certificate,
            );
            subject.groups = case.groups.iter().map(|g| GroupName::parse(g).unwrap()).collect();
            let mut key = KeyFacts {
                id: KeyId::from_bytes([5; 16]),
                ring: Some(KeyRing::parse(case.ring).unwrap()),
                tags: BTreeMap::new(),
            };
            let pairs = |note: u64| {
                let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
                vec![pair("note", &note.to_string()), pair("purpose", "cards")]
            };
            let ask =
                |world: &World, subject: &Subject, key: &KeyFacts, pairs: &[(String, String)]| {
                    let circumstances = Circumstances {
                        now: Timestamp::from_unix_ms(1),
                        source: Some([10, 0, 0, 1].into()),
                        environment: "production",
                        encryption_context: pairs,
                    };
                    let question = Question {
                        subject,
                        action: Action::Decrypt,
                        target: Target::Key(key),
                        whom: None,
                        circumstances: &circumstances,
                    };
                    world.decide(&question).is_ok()
                };
            let same = pairs(0);
            assert_eq!(ask(&world, &subject, &key, &same), case.name != "nobody", "{}", case.name);
            let name = |kind: &str| format!("{kind}/{}/{policies}", case.name);
            criterion.bench_function(&name("hit"), |bencher| {
                bencher.iter(|| black_box(ask(&world, &subject, &key, &same)));
            });
            // A key in a ring, or with a context, that was never asked about.
            criterion.bench_function(&name("miss"), |bencher| {
                bencher.iter_batched(
                    || {
                        numbers += 1;
                        let ring = format!("{}/n{numbers}", case.ring.split('/').next().unwrap());
                        key.ring = Some(KeyRing::parse(&ring).unwrap());
                        (key.clone(), pairs(numbers))
                    },
                    |(key, pairs)| black_box(ask(&world, &subject, &key, &pairs)),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

fn change(criterion: &mut Criterion) {
    for policies in [10, 1_000, 100_000] {
        let world = World::new(TENANT, material(policies));
        let id = PolicyId::parse("p1").unwrap();
        let changed =
            PolicySource { id: id.clone(), text: "forbid (principal, action, resource);".into() };
        criterion.bench_function(&format!("change one/{policies}"), |bencher| {
            bencher.iter(|| world.with_policies(vec![changed.clone()], &[]).unwrap().revision());
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = decide, change
}
criterion_main!(benches);
