//! Attacks by name.

use std::sync::Arc;

use super::*;
use crate::policy::relation::{MAX_GROUP_DEPTH, MAX_GROUPS};
use crate::policy::{Network, Scope};

const PERMIT: &str = "permit (principal, action == Bulla::Action::\"crypto.decrypt\", resource);";
const ERRS: &str = "when { context.encryption_context.getTag(\"a\") == \"1\" }";

fn with_policies(policies: &[(&str, &str)]) -> World {
    let policies = policies.iter().map(|(id, text)| source(id, text)).collect();
    world_of(Material { policies, ..Material::default() })
}

#[test]
fn d01_a_policy_that_cannot_be_evaluated_denies_whatever_else_allows() {
    for effect in ["permit", "forbid"] {
        let text = format!(
            "{effect} (principal, action in Bulla::Action::\"use_keys\", resource) {ERRS};"
        );
        let world = with_policies(&[("allow", PERMIT), ("broken", &text)]);
        let denied = Asked::new(APP, Action::Decrypt).of(&world).unwrap_err();
        assert_eq!(denied, Denied::PolicyError { policies: ["broken".into()].into() });
        // Again, from memory; and with what it reads, it is evaluated as ever.
        assert_eq!(Asked::new(APP, Action::Decrypt).class(&world), "policy_error");
        let expected = if effect == "permit" { "allowed" } else { "forbidden" };
        assert_eq!(Asked::new(APP, Action::Decrypt).with("a", "1").class(&world), expected);
        assert_eq!(Asked::new(APP, Action::Decrypt).with("a", "2").class(&world), "allowed");
    }
}

#[test]
fn d01_a_policy_that_does_not_parse_denies_everything_but_its_repair() {
    let material = Material {
        policies: vec![source("odd", "forbid (principal, action")],
        bindings: vec![bound(APP, &["operator"]), bound(OTHER, &["key-user"])],
        ..Material::default()
    };
    let world = world_of(material);
    let repair = [
        Action::WhoAmI,
        Action::PutPolicy,
        Action::DeletePolicy,
        Action::GetPolicy,
        Action::ListPolicies,
    ];
    for action in Action::ALL {
        let class = Asked::new(APP, *action).class(&world);
        let expected = match repair.contains(action) {
            true => "allowed",
            false if action.name().starts_with("tenants.") => "no_policy",
            false => "policy_error",
        };
        assert_eq!(class, expected, "{action:?}");
    }
    let denied = Asked::new(OTHER, Action::Decrypt).of(&world).unwrap_err();
    assert_eq!(denied, Denied::PolicyError { policies: ["odd".into()].into() });
}

#[test]
fn d01_the_ids_that_a_decision_names_are_at_most_eight_and_short() {
    let policies: Vec<_> = (0..20).map(|n| source(&format!("p{n:02}"), PERMIT)).collect();
    let key = facts(1, "payments/cards");
    let grants = vec![granted(9, APP, &key, &[Action::Decrypt])];
    let world = world_of(Material { policies, grants, ..Material::default() });
    let named = Asked::new(APP, Action::Decrypt).answer(&world).unwrap();
    assert_eq!(named.len(), 8);
    assert_eq!(named[0], "grant-09090909090909090909090909090909");
    assert!(named.iter().all(|id| id.len() <= 64));
}

#[test]
fn d06_a_permit_for_one_key_opens_no_other() {
    let key = facts(1, "payments/cards");
    let grants = vec![granted(1, APP, &key, &[Action::Decrypt])];
    let world = world_of(Material { grants, ..Material::default() });
    let permit = Asked::new(APP, Action::Decrypt).on(key.clone()).of(&world).unwrap();
    assert!(permit.opens(key.id) && !permit.opens(facts(2, "payments/cards").id));
    assert_eq!(permit.key(), Some(key.id));
    for other in [facts(2, "payments/cards"), KeyFacts::none()] {
        assert_eq!(Asked::new(APP, Action::Decrypt).on(other).class(&world), "no_policy");
    }
    // An action on a key that is asked about the tenant opens no key.
    let world = with_policies(&[("all", PERMIT)]);
    let asked = Asked { key: None, ..Asked::new(APP, Action::Decrypt) };
    let permit = asked.of(&world).unwrap();
    assert!(!permit.opens(key.id) && permit.opens(KeyFacts::none().id));
}

#[test]
fn d08_nothing_in_a_grant_becomes_part_of_a_policy() {
    let hostile = [
        "\" || true || \"",
        "*",
        "a\") }; permit(principal, action, resource",
        "\u{0}\n\\",
        "?principal",
    ];
    for text in hostile {
        let key = facts(1, "payments/cards");
        let mut grant = granted(1, APP, &key, &[Action::Decrypt]);
        grant.encryption_context.insert(text.to_owned(), text.to_owned());
        let world = world_of(Material { grants: vec![grant], ..Material::default() });
        let ask = |asked: Asked| asked.class(&world);
        assert_eq!(ask(Asked::new(APP, Action::Decrypt)), "no_policy", "{text:?}");
        assert_eq!(ask(Asked::new(APP, Action::Decrypt).with(text, "x")), "no_policy");
        assert_eq!(ask(Asked::new(APP, Action::Decrypt).with("x", text)), "no_policy");
        assert_eq!(ask(Asked::new(APP, Action::Decrypt).with(text, text)), "allowed");
        assert_eq!(ask(Asked::new(OTHER, Action::Decrypt).with(text, text)), "no_policy");
        assert_eq!(ask(Asked::new(APP, Action::Encrypt).with(text, text)), "no_policy");
    }
}

#[test]
fn d09_a_grant_gives_no_right_to_give_rights() {
    let key = facts(1, "payments/cards");
    let grants = vec![granted(1, APP, &key, Action::ALL)];
    let world = world_of(Material { grants, ..Material::default() });
    for action in Action::ALL {
        let expected =
            action.needs_no_policy() || (action.is_on_key() && *action != Action::CreateGrant);
        assert_eq!(Asked::new(APP, *action).of(&world).is_ok(), expected, "{action:?}");
    }
}

#[test]
fn d11_what_was_allowed_is_not_remembered_by_the_next_world() {
    let bindings = vec![bound(APP, &["key-user"])];
    let key = facts(1, "payments/cards");
    let grants = vec![granted(1, OTHER, &key, &[Action::Decrypt])];
    let before = world_of(Material { bindings, grants, ..Material::default() });
    let after = before.next(Material { revision: 5, ..Material::default() });
    for principal in [APP, OTHER] {
        let asked = Asked::new(principal, Action::Decrypt);
        assert_eq!((asked.class(&before), asked.class(&before)), ("allowed", "allowed"));
        assert_eq!(asked.class(&after), "no_policy");
    }
    assert_eq!((before.revision(), after.revision()), (0, 5));
}

#[test]
fn d11_what_ends_ends_at_its_time_although_it_was_remembered() {
    let key = facts(1, "payments/cards");
    let mut grant = granted(1, OTHER, &key, &[Action::Decrypt]);
    grant.expire_time = Some(Timestamp::from_unix_ms(20));
    let subject = SubjectRef::parse("group:team#member").unwrap();
    let world = world_of(Material {
        bindings: vec![(subject, vec![held("key-user", Some(20)), held("auditor", Some(10))])],
        relations: vec![member("team", APP)],
        grants: vec![grant],
        ..Material::default()
    });
    for (now, app, other) in [
        (9, "separation_of_duties", "allowed"),
        (10, "allowed", "allowed"),
        (19, "allowed", "allowed"),
        (20, "no_policy", "no_policy"),
        (19, "allowed", "allowed"),
        (9, "separation_of_duties", "allowed"),
    ] {
        assert_eq!(Asked::new(APP, Action::Decrypt).at(now).class(&world), app, "{now}");
        assert_eq!(Asked::new(OTHER, Action::Decrypt).at(now).class(&world), other, "{now}");
    }
}

#[test]
fn d11_a_key_that_moves_or_changes_its_tags_is_decided_anew() {
    let text = "permit (principal, action == Bulla::Action::\"crypto.decrypt\", resource in \
                Bulla::KeyRing::\"a\") when { resource is Bulla::Key && resource.hasTag(\"t\") };";
    let world = with_policies(&[("tagged", text)]);
    let mut tagged = facts(1, "a/b");
    tagged.tags.insert("t".to_owned(), "x".to_owned());
    let moved = KeyFacts { ring: Some(KeyRing::parse("ab").unwrap()), ..tagged.clone() };
    for (key, expected) in [
        (tagged.clone(), "allowed"),
        (facts(1, "a/b"), "no_policy"),
        (moved, "no_policy"),
        (tagged, "allowed"),
    ] {
        assert_eq!(Asked::new(APP, Action::Decrypt).on(key).class(&world), expected);
    }
}

#[test]
fn d12_whoever_is_in_more_groups_than_are_followed_is_refused() {
    let bindings = || vec![bound(APP, &["key-user"])];
    let mut asked = Asked::new(APP, Action::Decrypt);
    let wide = |count: usize| (0..count).map(|n| group(&format!("g{n}"))).collect::<Vec<_>>();
    let world = world_of(Material { bindings: bindings(), ..Material::default() });
    asked.subject.groups = wide(MAX_GROUPS);
    assert_eq!(asked.class(&world), "allowed");
    asked.subject.groups = wide(MAX_GROUPS + 1);
    assert_eq!(asked.class(&world), "too_many_groups");
    for (depth, expected) in
        [(MAX_GROUP_DEPTH, "allowed"), (MAX_GROUP_DEPTH + 1, "too_many_groups")]
    {
        let nested =
            (1..depth).map(|n| member(&format!("g{n}"), &format!("group:g{}#member", n - 1)));
        let relations = nested.chain([member("g0", APP)]).collect();
        let world = world_of(Material { bindings: bindings(), relations, ..Material::default() });
        assert_eq!(Asked::new(APP, Action::Decrypt).class(&world), expected, "{depth}");
    }
}

#[test]
fn e01_nobody_is_decided_about_in_another_tenant_nor_in_a_suspended_one() {
    let bindings = vec![bound(APP, &["key-user"])];
    let world = world_of(Material { bindings: bindings.clone(), ..Material::default() });
    let mut asked = Asked::new(APP, Action::Decrypt);
    assert_eq!(asked.class(&world), "allowed");
    asked.subject.principal =
        Principal::new(asked.subject.principal.id().clone(), TenantId::from_bytes([8; 16]));
    assert_eq!(asked.class(&world), "other_tenant");
    let world = world_of(Material { bindings, suspended: true, ..Material::default() });
    for action in Action::ALL {
        assert_eq!(Asked::new(APP, *action).class(&world), "tenant_suspended");
    }
}

#[test]
fn d10_a_credential_is_good_for_its_scope_and_never_for_more() {
    let world =
        world_of(Material { bindings: vec![bound(APP, &["key-user"])], ..Material::default() });
    let base = Scope::default;
    let ring = |ring: &str| KeyRing::parse(ring).unwrap();
    let pair = [("a".to_owned(), "1".to_owned())].into();
    let cases = [
        (base(), "allowed"),
        (Scope { actions: vec![Action::Decrypt], ..base() }, "allowed"),
        (Scope { actions: vec![Action::Encrypt], ..base() }, "out_of_scope"),
        (Scope { keys: vec![facts(1, "").id], ..base() }, "allowed"),
        (Scope { keys: vec![facts(2, "").id], ..base() }, "out_of_scope"),
        (Scope { key_rings: vec![ring("payments")], ..base() }, "allowed"),
        (Scope { key_rings: vec![ring("pay")], ..base() }, "out_of_scope"),
        (
            Scope {
                keys: vec![facts(2, "").id],
                key_rings: vec![ring("payments/cards")],
                ..base()
            },
            "allowed",
        ),
        (Scope { encryption_context: pair, ..base() }, "out_of_scope"),
        (Scope { networks: vec![Network::parse("10.0.0.0/24").unwrap()], ..base() }, "allowed"),
        (
            Scope { networks: vec![Network::parse("10.0.1.0/24").unwrap()], ..base() },
            "out_of_scope",
        ),
    ];
    for (scope, expected) in cases {
        let mut asked = Asked::new(APP, Action::Decrypt);
        asked.subject.scope = Some(Arc::new(scope.clone()));
        assert_eq!(asked.class(&world), expected, "{scope:?}");
        let reads = !scope.encryption_context.is_empty();
        let with = asked.with("b", "1").with("a", "1");
        if expected == "allowed" || reads {
            assert_eq!(with.of(&world).unwrap().reads_encryption_context(), reads, "{scope:?}");
        }
        // It gives nothing that the principal has not.
        let mut stranger = Asked::new(OTHER, Action::Decrypt).with("a", "1");
        stranger.subject.scope = Some(Arc::new(scope));
        assert!(stranger.of(&world).is_err());
    }
}

#[test]
fn d10_a_scope_on_keys_stops_what_asks_about_keys_at_large_and_not_who_one_is() {
    let world = with_policies(&[
        ("all", PERMIT),
        (
            "random",
            "permit (principal, action == Bulla::Action::\"crypto.generate_random\", resource);",
        ),
    ]);
    let scope = |scope: Scope, mut asked: Asked| {
        asked.subject.scope = Some(Arc::new(scope));
        asked.class(&world)
    };
    let keys = || Scope { keys: vec![facts(1, "").id], ..Scope::default() };
    let at_large = Asked { key: None, ..Asked::new(APP, Action::Decrypt) };
    assert_eq!(scope(Scope::default(), at_large.clone()), "allowed");
    assert_eq!(scope(keys(), at_large), "out_of_scope");
    assert_eq!(scope(keys(), Asked::new(APP, Action::GenerateRandom)), "allowed");
    let narrow = Scope { actions: vec![Action::Decrypt], ..keys() };
    assert_eq!(scope(narrow.clone(), Asked::new(APP, Action::WhoAmI)), "allowed");
    assert_eq!(scope(narrow.clone(), Asked::new(APP, Action::GenerateRandom)), "out_of_scope");
    let elsewhere = Scope { networks: vec![Network::parse("192.0.2.0/24").unwrap()], ..narrow };
    assert_eq!(scope(elsewhere.clone(), Asked::new(APP, Action::WhoAmI)), "out_of_scope");
    let nowhere = Asked { source: None, ..Asked::new(APP, Action::WhoAmI) };
    assert_eq!(scope(elsewhere, nowhere), "out_of_scope");
}

#[test]
fn d06_what_is_done_to_the_tenant_is_decided_about_the_tenant_whatever_key_is_named() {
    let text = "permit (principal, action == Bulla::Action::\"audit.read\", resource) when { \
                resource is Bulla::Tenant };";
    let world = with_policies(&[("audit", text)]);
    let asked = Asked::new(APP, Action::ReadAudit);
    assert_eq!(asked.class(&world), "allowed");
    assert_eq!(asked.clone().on(facts(1, "a")).class(&world), "allowed");
    assert_eq!(asked.on(facts(1, "a")).of(&world).unwrap().key(), Some(facts(1, "a").id));
}

#[test]
fn j08_what_no_condition_can_change_is_not_evaluated_and_takes_no_room() {
    let sometimes = "permit (principal, action == Bulla::Action::\"access.create_grant\", \
                     resource) when { context.environment == \"staging\" };";
    let world = world_of(Material {
        bindings: vec![bound(APP, &["key-user"]), bound(OTHER, &["key-user", "operator"])],
        policies: vec![source("sometimes", sometimes)],
        ..Material::default()
    });
    assert_eq!(Asked::new(OTHER, Action::Decrypt).class(&world), "no_god");
    assert_eq!(Asked::new(APP, Action::GetKey).class(&world), "allowed");
    assert_eq!(world.answers.weight().1, 0);
    assert_eq!(Asked::new(APP, Action::Decrypt).class(&world), "allowed");
    assert_eq!(world.answers.weight().1, 1);
}
