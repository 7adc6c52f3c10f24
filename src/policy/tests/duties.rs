//! What nobody may do together, however they came to the rights.

use super::*;

fn denied(world: &World, action: Action) -> &'static str {
    Asked::new(APP, action).class(world)
}

#[test]
fn d09_whoever_manages_access_uses_no_key() {
    let actions: Vec<_> =
        Action::ALL.iter().filter(|action| action.manages_access()).copied().collect();
    for manages in actions.iter().filter(|action| !action.name().starts_with("tenants.")) {
        let text = format!(
            "permit (principal == Bulla::Principal::\"{APP}\", action == \
             Bulla::Action::\"{}\", resource);",
            manages.name()
        );
        let policies = vec![source("access", &text)];
        let bindings = vec![bound(APP, &["key-user"])];
        let world = world_of(Material { policies, bindings, ..Material::default() });
        assert_eq!(denied(&world, *manages), "allowed");
        for action in Action::ALL.iter().filter(|action| action.uses_keys()) {
            let expected = match action {
                Action::ReEncryptFrom | Action::ReEncryptTo => "no_policy",
                _ => "no_god",
            };
            assert_eq!(denied(&world, *action), expected, "{manages:?} {action:?}");
        }
        assert_eq!(denied(&world, Action::GetKey), "allowed");
        assert_eq!(Asked::new(OTHER, *manages).class(&world), "no_policy");
    }
}

#[test]
fn d09_a_right_to_manage_access_that_a_policy_forbids_is_none() {
    let bindings = vec![bound(APP, &["key-user", "operator"])];
    let forbid = "forbid (principal, action in Bulla::Action::\"manage_access\", resource);";
    let policies = vec![source("frozen", forbid)];
    let world = world_of(Material { policies, bindings: bindings.clone(), ..Material::default() });
    assert_eq!(denied(&world, Action::Decrypt), "allowed");
    assert_eq!(
        denied(&world_of(Material { bindings, ..Material::default() }), Action::Decrypt),
        "no_god"
    );
}

#[test]
fn d09_whether_one_manages_access_is_asked_at_the_moment() {
    let text = "permit (principal in Bulla::Role::\"key-user\", action in \
                Bulla::Action::\"manage_access\", resource) when { context.now < 20 };";
    let error = "permit (principal in Bulla::Role::\"key-user\", action in \
                 Bulla::Action::\"manage_access\", resource) when { \
                 context.encryption_context.getTag(\"a\") == \"1\" };";
    let of = |text: &str| {
        let bindings = vec![bound(APP, &["key-user"])];
        world_of(Material { bindings, policies: vec![source("some", text)], ..Material::default() })
    };
    let world = of(text);
    for (now, expected) in [(19, "no_god"), (20, "allowed"), (19, "no_god")] {
        assert_eq!(Asked::new(APP, Action::Decrypt).at(now).class(&world), expected);
    }
    // What cannot be known is taken to be so.
    let world = of(error);
    for (value, expected) in [("1", "no_god"), ("2", "allowed")] {
        assert_eq!(Asked::new(APP, Action::Decrypt).with("a", value).class(&world), expected);
    }
    assert_eq!(denied(&world, Action::Decrypt), "no_god");
}

#[test]
fn d09_a_right_to_grant_on_one_key_rules_out_using_that_key() {
    let text = format!(
        "permit (principal, action == Bulla::Action::\"access.create_grant\", resource == \
         Bulla::Key::\"{}\");",
        facts(1, "").id
    );
    let policies = vec![source("grants", &text)];
    let bindings = vec![bound(APP, &["key-user"])];
    let world = world_of(Material { policies, bindings, ..Material::default() });
    for (key, expected) in [(facts(1, "a"), "no_god"), (facts(2, "a"), "allowed")] {
        assert_eq!(Asked::new(APP, Action::Decrypt).on(key).class(&world), expected);
    }
}

#[test]
fn d09_duties_that_exclude_each_other_deny_whatever_they_give() {
    let pairs = [
        ("key-manager", "key-user", true),
        ("key-manager", "key-rewrapper", true),
        ("key-user", "auditor", true),
        ("key-manager", "auditor", false),
        ("key-rewrapper", "auditor", false),
        ("key-rewrapper", "key-user", false),
        ("approver", "key-user", false),
    ];
    for (one, other, torn) in pairs {
        for subjects in [[APP, APP], [APP, "group:team#member"], ["group:team#member", APP]] {
            let bindings = vec![bound(subjects[0], &[one]), bound(subjects[1], &[other])];
            let relations = vec![member("team", APP)];
            let world = world_of(Material { bindings, relations, ..Material::default() });
            let expected = if torn { "separation_of_duties" } else { "allowed" };
            let action = if (one, other) == ("approver", "key-user") {
                Action::Encrypt
            } else {
                Action::GetKey
            };
            assert_eq!(denied(&world, action), expected, "{one} {other}");
            assert_eq!(denied(&world, Action::WhoAmI), "allowed");
            assert_eq!(denied(&world, Action::ReportRestore) == "no_policy", one != "key-manager");
        }
    }
}

#[test]
fn d09_duties_by_relation_count_like_duties_by_role() {
    let ring = || Object::Ring(KeyRing::parse("payments").unwrap());
    let cases = [
        (RelationName::Manager, RelationName::User, true),
        (RelationName::Manager, RelationName::Rewrapper, true),
        (RelationName::User, RelationName::Rewrapper, false),
        (RelationName::Manager, RelationName::Viewer, false),
    ];
    for (one, other, torn) in cases {
        let relations =
            vec![related(ring(), one, APP), related(Object::Key(facts(1, "").id), other, APP)];
        let world = world_of(Material { relations, ..Material::default() });
        let expected = if torn { "separation_of_duties" } else { "allowed" };
        assert_eq!(denied(&world, Action::GetKey), expected, "{one:?} {other:?}");
        let elsewhere = Asked::new(APP, Action::GetKey).on(facts(2, "payments"));
        assert_eq!(elsewhere.class(&world), "allowed");
    }
}

#[test]
fn d09_nobody_changes_what_they_themselves_hold() {
    let bindings = vec![bound(APP, &["operator"])];
    let relations = vec![member("outer", "group:team#member"), member("team", APP)];
    let world = world_of(Material { bindings, relations, ..Material::default() });
    let cases = [
        (APP, "own_roles"),
        ("group:team#member", "own_roles"),
        ("group:outer#member", "own_roles"),
        ("group:token#member", "own_roles"),
        ("group:others#member", "allowed"),
        (OTHER, "allowed"),
    ];
    for (whom, expected) in cases {
        let mut asked = Asked::new(APP, Action::BindRole);
        asked.subject.groups = vec![group("token")];
        asked.whom = Some(SubjectRef::parse(whom).unwrap());
        assert_eq!(asked.class(&world), expected, "{whom}");
    }
}
