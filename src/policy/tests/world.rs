//! Worlds that follow on each other.

use std::sync::Arc;

use super::*;

const FORBID: &str = "forbid (principal, action == Bulla::Action::\"crypto.decrypt\", resource);";

fn id(text: &str) -> PolicyId {
    PolicyId::parse(text).unwrap()
}

fn base() -> World {
    let policies = vec![source("one", FORBID), source("two", FORBID)];
    world_of(Material {
        policies,
        bindings: vec![bound(APP, &["key-user"])],
        ..Material::default()
    })
}

#[test]
fn a_policy_that_did_not_change_is_not_parsed_again() {
    let world = base();
    let text = FORBID.replace("decrypt", "encrypt");
    let policies = vec![source("one", FORBID), source("two", &text)];
    let next = world.next(Material { policies, ..Material::default() });
    let same =
        |name: &str| Arc::ptr_eq(world.policy(&id(name)).unwrap(), next.policy(&id(name)).unwrap());
    assert!(same("one") && !same("two") && same("role-key-user"));
    assert_eq!(&**next.policy(&id("two")).unwrap().text(), text);
    assert_eq!((next.tenant(), next.policies().count()), (TENANT, 2 + 11));
}

#[test]
fn other_policies_are_tried_without_changing_anything() {
    let world = base();
    let decrypt = Asked::new(APP, Action::Decrypt);
    assert_eq!(decrypt.class(&world), "forbidden");
    let without = world.with_policies(vec![], &[id("one"), id("two")]).unwrap();
    assert_eq!(decrypt.class(&without), "allowed");
    let without_one = world.with_policies(vec![], &[id("one")]).unwrap();
    let expected = Err(Denied::Forbidden { policies: ["two".into()].into() });
    assert_eq!(decrypt.answer(&without_one), expected);
    let encrypt = FORBID.replace("decrypt", "encrypt");
    let with = without.with_policies(vec![source("three", &encrypt)], &[]).unwrap();
    assert_eq!(
        (decrypt.class(&with), Asked::new(APP, Action::Encrypt).class(&with)),
        ("allowed", "forbidden")
    );
    let replaced =
        world.with_policies(vec![source("one", &encrypt), source("two", &encrypt)], &[]).unwrap();
    assert_eq!(decrypt.class(&replaced), "allowed");
    assert_eq!(decrypt.class(&world), "forbidden");
}

#[test]
fn a_proposed_set_is_refused_for_what_is_wrong_in_it() {
    let world = base();
    let problem = world.with_policies(vec![source("bad", "permit (")], &[]).err().unwrap();
    assert_eq!(problem.policy, "bad");
    let problem = world.with_policies(vec![], &[id("absent")]).err().unwrap();
    assert_eq!(
        problem.to_string(),
        "policy absent: there is no such policy; look at the ids: bulla policy list"
    );
}

#[test]
fn a_tenant_replaces_what_a_role_gives_and_has_it_back_by_deleting_that() {
    let text = "permit (principal in Bulla::Role::\"key-user\", action == Bulla::Action::\"crypto.encrypt\", resource);";
    let material = Material { bindings: vec![bound(APP, &["key-user"])], ..Material::default() };
    let world = world_of(material);
    let own = world.with_policies(vec![source("role-key-user", text)], &[]).unwrap();
    let back = own.with_policies(vec![], &[id("role-key-user")]).unwrap();
    for (world, decrypt) in [(&world, "allowed"), (&own, "no_policy"), (&back, "allowed")] {
        assert_eq!(Asked::new(APP, Action::Encrypt).class(world), "allowed");
        assert_eq!(Asked::new(APP, Action::Decrypt).class(world), decrypt);
    }
}

#[test]
fn a_role_of_ones_own_gives_what_policies_say_and_is_held_by_groups_too() {
    let text = "permit (principal in Bulla::Role::\"teller\", action == Bulla::Action::\"crypto.encrypt\", resource);";
    let world = world_of(Material {
        bindings: vec![bound("group:branch#member", &["teller"])],
        policies: vec![source("tellers", text)],
        ..Material::default()
    });
    let mut asked = Asked::new(APP, Action::Encrypt);
    assert_eq!(asked.class(&world), "no_policy");
    asked.subject.groups = vec![group("branch")];
    assert_eq!(asked.answer(&world), Ok(vec!["tellers".to_owned()]));
    let roles = world.roles(&asked.subject, asked.now);
    assert_eq!(roles, [RoleName::parse("teller").unwrap()]);
}

#[test]
fn bindings_of_one_subject_in_several_rows_all_count() {
    let bindings = vec![bound(APP, &["operator"]), bound(APP, &["approver"])];
    let world = world_of(Material { bindings, ..Material::default() });
    assert_eq!(world.roles(&subject(APP), Timestamp::from_unix_ms(0)).len(), 2);
}

#[test]
fn membership_is_asked_however_deep_and_is_not_said_of_whoever_is_in_too_many_groups() {
    let relations = vec![member("outer", "group:team#member"), member("team", APP)];
    let world = world_of(Material { relations, ..Material::default() });
    let of = |principal: &str, asserted: &[GroupName], name: &str| {
        world.is_member(subject(principal).principal.id(), asserted, &group(name))
    };
    assert!(of(APP, &[], "outer") && of(APP, &[], "team") && of(OTHER, &[group("team")], "outer"));
    assert!(!of(OTHER, &[], "outer") && !of(APP, &[], "other"));
    let many: Vec<_> = (0..300).map(|number| group(&format!("g{number}"))).collect();
    assert!(!of(APP, &many, "team"));
}
