//! The examples of docs/policies.md are accepted, and do what the text around them says.

use super::*;
use crate::policy::validate_policy;

const PAGE: &str = include_str!("../../../docs/policies.md");

/// Every policy of the page, by the name in its first line.
fn examples() -> Vec<PolicySource> {
    let blocks = PAGE.split("```cedar\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|text| {
            let name = text.lines().next().unwrap().strip_prefix("// ").unwrap();
            source(name, text)
        })
        .collect()
}

fn by_token(principal: &str, action: Action, claims: &[(&str, &str)]) -> Asked {
    let mut asked = Asked::new(principal, action);
    asked.subject.kind = CredentialKind::Token;
    let claims = claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    asked.subject.claims = claims.collect();
    asked
}

#[test]
fn every_example_is_accepted() {
    let examples = examples();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let result = validate_policy(&example.id, &example.text);
        assert!(result.is_ok(), "{}", result.unwrap_err());
    }
}

#[test]
fn the_examples_do_what_the_page_says() {
    let relations = vec![
        related(
            Object::Ring(KeyRing::parse("payments").unwrap()),
            RelationName::Manager,
            "group:payments-leads#member",
        ),
        related(
            Object::Ring(KeyRing::parse("payments").unwrap()),
            RelationName::User,
            "group:payments-apps#member",
        ),
        member("tellers", "spiffe://bank.example/alice"),
    ];
    let world = world_of(Material { policies: examples(), relations, ..Material::default() });
    let pod = |namespace: &str, purpose: &str, source: [u8; 4]| {
        let asked = by_token(APP, Action::Decrypt, &[("namespace", namespace)]);
        let mut asked = asked.on(facts(1, "payments/cards/eu")).with("purpose", purpose);
        asked.source = Some(source.into());
        asked.class(&world)
    };
    assert_eq!(pod("checkout", "cards", [10, 20, 1, 1]), "allowed");
    assert_eq!(pod("other", "cards", [10, 20, 1, 1]), "no_policy");
    assert_eq!(pod("checkout", "mail", [10, 20, 1, 1]), "no_policy");
    assert_eq!(pod("checkout", "cards", [10, 21, 1, 1]), "no_policy");

    let gateway = |end_user: Option<&str>| {
        let mut asked =
            Asked::new("spiffe://bank.example/gateway", Action::Decrypt).on(facts(1, "customers"));
        asked.subject.end_user = end_user.map(|user| PrincipalId::parse(user).unwrap());
        asked.class(&world)
    };
    assert_eq!(gateway(Some("spiffe://bank.example/alice")), "allowed");
    assert_eq!(gateway(Some("spiffe://bank.example/bob")), "no_policy");
    assert_eq!(gateway(None), "no_policy");

    let job = |action: Action, branch: &str| {
        let claims = [("repository", "acme/app"), ("ref", branch)];
        by_token(APP, action, &claims).on(facts(1, "deploy")).class(&world)
    };
    assert_eq!(job(Action::Encrypt, "refs/heads/main"), "allowed");
    assert_eq!(job(Action::Encrypt, "refs/heads/other"), "no_policy");
    assert_eq!(job(Action::Decrypt, "refs/heads/main"), "no_policy");

    let team = |groups: &[&str], action: Action, now: i64| {
        let mut asked = Asked::new(OTHER, action).on(facts(1, "payments")).at(now);
        asked.subject.groups = groups.iter().map(|name| group(name)).collect();
        asked.class(&world)
    };
    // A Tuesday at 11 and at 17 o'clock, and a Saturday.
    let (office, evening, saturday) = (1_795_519_920_000, 1_795_539_600_000, 1_795_865_520_000);
    assert_eq!(team(&["payments-leads"], Action::ScheduleDestroy, office), "allowed");
    assert_eq!(team(&["payments-leads"], Action::ScheduleDestroy, evening), "forbidden");
    assert_eq!(team(&["payments-leads"], Action::ScheduleDestroy, saturday), "forbidden");
    assert_eq!(team(&["payments-leads"], Action::RotateKey, saturday), "allowed");
    assert_eq!(team(&["payments-apps"], Action::Decrypt, office), "allowed");
    let both = ["payments-apps", "payments-leads"];
    assert_eq!(team(&both, Action::Decrypt, office), "separation_of_duties");
}
