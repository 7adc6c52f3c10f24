//! Why, and what would change it.

use super::*;
use crate::policy::Role;

fn explain(world: &World, asked: &Asked) -> crate::policy::Explanation {
    asked.question(|question| world.explain(question))
}

#[test]
fn an_explanation_says_what_the_decision_was_made_from() {
    let world = world_of(Material {
        bindings: vec![bound("group:outer#member", &["key-user"])],
        relations: vec![member("outer", "group:team#member"), member("team", APP)],
        ..Material::default()
    });
    let why = explain(&world, &Asked::new(APP, Action::Decrypt));
    assert_eq!(names(&why.decision.unwrap()), ["role-key-user"]);
    assert_eq!(why.roles, [RoleName::from(Role::KeyUser)]);
    assert_eq!(why.groups, [group("outer"), group("team")]);
    assert_eq!((why.errors, why.remedy), (vec![], None));
    let now = Timestamp::from_unix_ms(0);
    assert_eq!(world.groups(&subject(APP), now), [group("outer"), group("team")]);
}

#[test]
fn the_remedy_is_a_grant_on_the_key_and_the_grant_allows_it() {
    let world = world_of(Material::default());
    for action in Action::ALL.iter().filter(|action| action.is_grantable()) {
        let asked = Asked::new(APP, *action);
        let key = asked.key.clone().unwrap();
        let expected =
            format!("bulla grant create {} --principal {APP} --action {}", key.id, action.name());
        assert_eq!(explain(&world, &asked).remedy, Some(expected));
        let grants = vec![granted(1, APP, &key, &[*action])];
        let after = world.next(Material { grants, ..Material::default() });
        assert_eq!(asked.class(&after), "allowed");
    }
}

#[test]
fn the_remedy_for_the_rest_is_the_role_that_gives_least_and_the_role_allows_it() {
    let world = world_of(Material::default());
    let remedy = |action: Action| explain(&world, &Asked::new(APP, action)).remedy;
    for action in Action::ALL.iter().filter(|a| !a.is_grantable() && !a.needs_no_policy()) {
        let Some(command) = remedy(*action) else {
            assert!(action.name().starts_with("tenants."), "{action:?}");
            continue;
        };
        let role = command.strip_prefix(&format!("bulla role bind {APP} ")).unwrap();
        let bindings = vec![bound(APP, &[role])];
        let after = world.next(Material { bindings, ..Material::default() });
        assert_eq!(Asked::new(APP, *action).class(&after), "allowed");
    }
    assert_eq!(remedy(Action::ListProposals), Some(format!("bulla role bind {APP} approver")));
    assert_eq!(remedy(Action::BindRole), Some(format!("bulla role bind {APP} operator")));
    let at_large = Asked { key: None, ..Asked::new(APP, Action::Decrypt) };
    let expected = Some(format!("bulla role bind {APP} key-user"));
    assert_eq!(explain(&world, &at_large).remedy, expected);
}

#[test]
fn nothing_is_proposed_that_would_not_help() {
    let forbid =
        source("no", "forbid (principal, action == Bulla::Action::\"crypto.encrypt\", resource);");
    let world = world_of(Material {
        bindings: vec![bound(APP, &["operator"]), bound(OTHER, &["key-manager", "key-rewrapper"])],
        policies: vec![forbid],
        ..Material::default()
    });
    let cases = [
        (APP, Action::Decrypt, "no_policy"),
        (APP, Action::Encrypt, "forbidden"),
        (OTHER, Action::Decrypt, "no_policy"),
        (OTHER, Action::RotateKey, "separation_of_duties"),
        (APP, Action::CreateTenant, "no_policy"),
    ];
    for (principal, action, class) in cases {
        let why = explain(&world, &Asked::new(principal, action));
        assert_eq!(why.decision.unwrap_err().class(), class);
        assert_eq!(why.remedy, None, "{principal} {action:?}");
    }
}

#[test]
fn d01_an_explanation_says_what_could_not_be_evaluated_and_why() {
    let errs = "permit (principal, action, resource) when { context.encryption_context.getTag(\"a\") == \"1\" };";
    let world = world_of(Material { policies: vec![source("errs", errs)], ..Material::default() });
    let why = explain(&world, &Asked::new(APP, Action::Decrypt));
    assert_eq!(why.errors.len(), 1);
    assert_eq!(&*why.errors[0].0, "errs");
    assert!(why.errors[0].1.contains("tag"), "{:?}", why.errors);
    let world =
        world_of(Material { policies: vec![source("odd", "permit (")], ..Material::default() });
    let why = explain(&world, &Asked::new(APP, Action::Decrypt));
    assert_eq!(why.errors, [("odd".into(), "it does not parse".to_owned())]);
}
