//! Random worlds: what is found by the index and kept in memory is what Cedar answers about everything.

use proptest::prelude::*;

use super::reference;
use super::*;
use crate::policy::relation::Graph;

/// Bytes that choices are made from, so that a failing case shrinks.
struct Tape<'a>(&'a [u8]);

impl Tape<'_> {
    fn below(&mut self, bound: usize) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first) % bound
    }

    fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

const PEOPLE: [&str; 3] = [APP, OTHER, "spiffe://demo.bulla/third"];
const GROUPS: [&str; 4] = ["red", "green", "blue", "grey"];
const ROLES: [&str; 6] =
    ["key-user", "key-manager", "auditor", "operator", "key-rewrapper", "teller"];
const RINGS: [&str; 5] = ["", "a", "a/b", "a/b/c", "ab"];
const WHO: [&str; 12] = [
    "principal",
    "principal == Bulla::Principal::\"spiffe://demo.bulla/app\"",
    "principal in Bulla::Principal::\"spiffe://demo.bulla/other\"",
    "principal == Bulla::Role::\"teller\"",
    "principal in Bulla::Group::\"red\"",
    "principal in Bulla::Group::\"grey\"",
    "principal in Bulla::Role::\"teller\"",
    "principal in Bulla::Role::\"auditor\"",
    "principal in Bulla::Relation::\"user\"",
    "principal is Bulla::Principal",
    "principal is Bulla::Principal in Bulla::Group::\"blue\"",
    "principal is Bulla::Group",
];
const WHAT: [&str; 9] = [
    "action",
    "action == Bulla::Action::\"crypto.decrypt\"",
    "action == Bulla::Action::\"use_keys\"",
    "action in Bulla::Action::\"use_keys\"",
    "action in [Bulla::Action::\"crypto.encrypt\", Bulla::Action::\"view_keys\"]",
    "action in Bulla::Action::\"manage_access\"",
    "action == Bulla::Action::\"access.create_grant\"",
    "action in Bulla::Action::\"crypto.decrypt\"",
    "action == Bulla::Action::\"access.who_am_i\"",
];
const WHERE: [&str; 12] = [
    "resource",
    "resource is Bulla::Key",
    "resource is Bulla::Tenant",
    "resource in Bulla::KeyRing::\"a\"",
    "resource in Bulla::KeyRing::\"a/b\"",
    "resource is Bulla::Key in Bulla::KeyRing::\"a\"",
    "resource is Bulla::Tenant in Bulla::KeyRing::\"a\"",
    "resource == Bulla::Key::\"01010101-0101-0101-0101-010101010101\"",
    "resource in Bulla::Key::\"02020202-0202-0202-0202-020202020202\"",
    "resource == Bulla::Tenant::\"07070707-0707-0707-0707-070707070707\"",
    "resource == Bulla::Tenant::\"08080808-0808-0808-0808-080808080808\"",
    "resource == Bulla::Key::\"nonsense\"",
];
const WHEN: [&str; 22] = [
    "",
    "",
    "",
    "when { context.now < 20 }",
    "unless { context.hour == 0 }",
    "when { context.encryption_context.hasTag(\"a\") }",
    "when { context.encryption_context.hasTag(\"a\") && context.encryption_context.getTag(\"a\") == \"1\" }",
    // An error, where there is no such pair.
    "when { context.encryption_context.getTag(\"a\") == \"1\" }",
    "when { context has source && context.source.isInRange(ip(\"10.0.0.0/8\")) }",
    "unless { context.environment == \"production\" }",
    "when { context.credential_kind == \"token\" }",
    "when { context.claims.hasTag(\"team\") && context.claims.getTag(\"team\") like \"p*\" }",
    "when { context has end_user && context.end_user in Bulla::Group::\"green\" }",
    "when { context has end_user && context.end_user in Bulla::Role::\"teller\" }",
    "when { resource is Bulla::Key && resource.hasTag(\"t\") && resource.getTag(\"t\") == \"x\" }",
    "when { resource is Bulla::Key && resource in Bulla::KeyRing::\"a/b\" }",
    "unless { principal in Bulla::Group::\"green\" }",
    "when { principal in Bulla::Relation::\"viewer\" }",
    "when { action in Bulla::Action::\"use_keys\" }",
    "when { action in Bulla::Action::\"manage_access\" }",
    // An error at some times only.
    "when { context.now * 461168601842738790 > 0 }",
    "when { context has end_user && context.end_user == principal }",
];
const ACTIONS: [Action; 10] = [
    Action::Decrypt,
    Action::Encrypt,
    Action::Inspect,
    Action::ReEncryptFrom,
    Action::GetKey,
    Action::RotateKey,
    Action::CreateGrant,
    Action::PutPolicy,
    Action::ReadAudit,
    Action::WhoAmI,
];
const TIMES: [i64; 4] = [5, 10, 20, 3_600_000];

fn someone(tape: &mut Tape<'_>) -> String {
    match tape.below(2) {
        0 => tape.of(&PEOPLE).to_owned(),
        _ => format!("group:{}#member", tape.of(&GROUPS)),
    }
}

fn end(tape: &mut Tape<'_>) -> Option<i64> {
    match tape.below(3) {
        0 => Some(tape.of(&TIMES)),
        _ => None,
    }
}

fn key(tape: &mut Tape<'_>) -> KeyFacts {
    let mut key = facts(1 + tape.below(3) as u8, tape.of(&RINGS));
    if tape.below(2) == 0 {
        key.tags.insert("t".to_owned(), tape.of(&["x", "y"]).to_owned());
    }
    key
}

fn pairs(tape: &mut Tape<'_>) -> Vec<(String, String)> {
    match tape.below(3) {
        0 => vec![("a".to_owned(), tape.of(&["1", "2"]).to_owned())],
        1 => vec![("b".to_owned(), "1".to_owned())],
        _ => Vec::new(),
    }
}

fn material(tape: &mut Tape<'_>) -> Material {
    let mut material = Material::default();
    for _ in 0..tape.below(4) {
        let roles = (0..=tape.below(2)).map(|_| {
            let role = tape.of(&ROLES);
            held(role, end(tape))
        });
        let roles = roles.collect();
        material.bindings.push((SubjectRef::parse(&someone(tape)).unwrap(), roles));
    }
    for _ in 0..tape.below(6) {
        let subject = someone(tape);
        let name = tape.of(&RelationName::ON_KEYS);
        material.relations.push(match tape.below(4) {
            0 => related(Object::Key(key(tape).id), name, &subject),
            1 => {
                related(Object::Ring(KeyRing::parse(tape.of(&RINGS[1..])).unwrap()), name, &subject)
            }
            _ => member(tape.of(&GROUPS), &subject),
        });
    }
    for number in 0..tape.below(3) {
        let actions = [tape.of(&ACTIONS), tape.of(&ACTIONS)];
        let key = key(tape);
        let mut grant = granted(number as u8, tape.of(&PEOPLE), &key, &actions);
        grant.encryption_context = pairs(tape).into_iter().collect();
        grant.expire_time = end(tape).map(Timestamp::from_unix_ms);
        material.grants.push(grant);
    }
    for number in 0..tape.below(5) {
        // One of them may stand in the place of a built-in policy.
        let id = match tape.below(6) {
            0 => "role-key-user".to_owned(),
            _ => format!("p{number}"),
        };
        let effect = tape.of(&["permit", "permit", "forbid"]);
        let (who, what, place, when) =
            (tape.of(&WHO), tape.of(&WHAT), tape.of(&WHERE), tape.of(&WHEN));
        let text = format!("{effect} ({who}, {what}, {place}) {when};");
        material.policies.retain(|policy| policy.id.as_str() != id);
        material.policies.push(source(&id, &text));
    }
    material
}

fn asked(tape: &mut Tape<'_>) -> Asked {
    let mut asked = Asked::new(tape.of(&PEOPLE), tape.of(&ACTIONS)).at(tape.of(&TIMES));
    asked.key = asked.key.map(|_| key(tape));
    asked.subject.kind = tape.of(&[CredentialKind::Certificate, CredentialKind::Token]);
    asked.encryption_context = pairs(tape);
    asked.source = tape.of(&[None, Some([10, 1, 1, 1].into()), Some([192, 0, 2, 1].into())]);
    asked.environment = tape.of(&["production", "staging"]);
    if tape.below(3) == 0 {
        asked.subject.end_user = Some(PrincipalId::parse(tape.of(&PEOPLE)).unwrap());
    }
    if tape.below(3) == 0 {
        asked.subject.groups = vec![group(tape.of(&GROUPS))];
    }
    if tape.below(3) == 0 {
        let team = tape.of(&["payments", "other"]).to_owned();
        asked.subject.claims.insert("team".to_owned(), team);
    }
    asked
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn d11_the_index_and_the_memory_answer_what_cedar_answers_about_everything(
        world in proptest::collection::vec(any::<u8>(), 90),
        questions in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 24), 1..6),
    ) {
        let material = material(&mut Tape(&world));
        let world = world_of(material.clone());
        let asked: Vec<_> = questions.iter().map(|tape| asked(&mut Tape(tape))).collect();
        // Twice, so that what was kept is asked for, in a world that has seen all the others.
        for asked in asked.iter().chain(&asked) {
            let expected = reference::answer(&material, asked);
            let answer = asked.of(&world).map(|permit| permit.decided_by().clone());
            prop_assert_eq!(answer, expected, "{:?}\n{:?}", asked, material.policies);
        }
    }

    #[test]
    fn d11_a_permit_that_reads_no_encryption_context_stands_for_any(
        world in proptest::collection::vec(any::<u8>(), 90),
        question in proptest::collection::vec(any::<u8>(), 24),
        other in proptest::collection::vec(any::<u8>(), 4),
    ) {
        let world = world_of(material(&mut Tape(&world)));
        let one = asked(&mut Tape(&question));
        if let Ok(permit) = one.of(&world) && !permit.reads_encryption_context() {
            let encryption_context = pairs(&mut Tape(&other));
            let other = Asked { encryption_context, ..one }.of(&world);
            prop_assert!(other.is_ok(), "{:?}", other);
        }
    }

    #[test]
    fn d12_groups_are_followed_to_their_end_and_cycles_are_harmless(
        edges in proptest::collection::vec((0..8_usize, 0..8_usize), 0..24),
        direct in proptest::collection::vec(0..8_usize, 0..3),
    ) {
        let name = |number: usize| format!("g{number}");
        let mut relations: Vec<_> = edges
            .iter()
            .map(|(of, inner)| member(&name(*of), &format!("group:{}#member", name(*inner))))
            .collect();
        relations.extend(direct.iter().map(|of| member(&name(*of), APP)));
        let mut expected: std::collections::BTreeSet<usize> = direct.iter().copied().collect();
        for _ in 0..8 {
            let more: Vec<_> =
                edges.iter().filter(|(_, inner)| expected.contains(inner)).map(|(of, _)| *of).collect();
            expected.extend(more);
        }
        let found = Graph::new(&relations).groups_of(subject(APP).principal.id(), &[]).unwrap();
        let expected: Vec<_> = expected.into_iter().map(|number| group(&name(number))).collect();
        prop_assert_eq!(found, expected);
    }
}
