//! What is accepted as a policy, and what its author is told otherwise.

use super::*;
use crate::policy::limits::{MAX_DEPTH, MAX_OPERATORS};
use crate::policy::{MAX_POLICY_BYTES, validate_policy};

fn problem(text: &str) -> Option<String> {
    let id = PolicyId::parse("mine").unwrap();
    validate_policy(&id, text).err().map(|problem| problem.to_string())
}

fn when(condition: &str) -> String {
    format!(
        "permit (principal, action in Bulla::Action::\"use_keys\", resource) when {{ {condition} }};"
    )
}

#[test]
fn an_accepted_policy_is_what_its_author_wrote() {
    let text = when("context.environment == \"staging\"");
    let parsed = validate_policy(&PolicyId::parse("mine").unwrap(), &text).unwrap();
    assert_eq!(
        (parsed.id().as_str(), &**parsed.text(), parsed.to_string()),
        ("mine", &*text, text.clone())
    );
    assert_eq!(problem(&format!("@id(\"mine\") {text}")), None);
}

#[test]
fn what_is_wrong_is_said_with_its_line_and_what_to_do() {
    let cases = [
        ("permit (principal,\n action,\n resource", "policy mine, line 3: "),
        ("", "policy mine, line 1: "),
        ("permit (principal == ?principal, action, resource);", "policy mine"),
        (
            "permit (principal, action, resource); permit (principal, action, resource);",
            "policy mine",
        ),
        (
            "@id(\"other\") forbid (principal, action, resource);",
            "policy mine: its annotation @id is another id; leave the annotation out",
        ),
        (
            "permit (principal, action == Bulla::Action::\"crypto.decrpyt\", resource);",
            "policy mine, line 1: for policy `mine`, unrecognized action `Bulla::Action::\"crypto.decrpyt\"`; ",
        ),
        (
            "permit (principal,\n action == Action::\"crypto.decrypt\", resource);",
            "policy mine, line 2: ",
        ),
        (
            "permit (principal in Bulla::Relation::\"owner\", action in Bulla::Action::\"use_keys\", resource);",
            "policy mine, line 1: ",
        ),
    ];
    for (text, expected) in cases {
        let problem = problem(text).unwrap();
        assert!(problem.starts_with(expected), "{text}\n{problem}");
        assert!(problem.contains("; "), "{problem}");
    }
    for condition in [
        "context.unheard_of",
        "context.source.isLoopback()",
        "resource.getTag(\"env\") == \"prod\"",
        "context.encryption_context.getTag(\"a\") == \"1\"",
        "principal.name == \"x\"",
        "context.now == \"noon\"",
        "context.environment == \"production\" && false",
        "ip(context.environment).isLoopback()",
        "context.environment == \"prоduction\"",
    ] {
        let text = when(&format!("\n{condition}\n"));
        let problem = problem(&text).unwrap();
        assert!(problem.starts_with("policy mine, line ") && problem.contains("; "), "{problem}");
    }
}

#[test]
fn c01_a_policy_about_a_name_that_nobody_can_have_is_refused() {
    let principal = |id: &str| {
        format!(
            "permit (principal == Bulla::Principal::\"{id}\", action in Bulla::Action::\"use_keys\", resource);"
        )
    };
    let place = |place: &str| {
        format!(
            "permit (principal, action in Bulla::Action::\"use_keys\", resource == Bulla::{place});"
        )
    };
    assert_eq!(problem(&principal(APP)), None);
    assert_eq!(problem(&place("Key::\"01010101-0101-0101-0101-010101010101\"")), None);
    for text in [
        principal("spiffe://Demo.bulla/app"),
        principal("spiffe://demo.bulla/app "),
        principal("spiffe://demo.bulla/аpp"),
        principal("app"),
        place("Key::\"01010101-0101-0101-0101-01010101010A\""),
        place("Key::\"{01010101-0101-0101-0101-010101010101}\""),
        when("principal in Bulla::Group::\"Payments\""),
        when("principal in Bulla::Role::\"scheduler\""),
        when("resource in Bulla::KeyRing::\"payments/\""),
        "permit (principal, action == Bulla::Action::\"audit.read\", resource == Bulla::Tenant::\"acme\");".to_owned(),
    ] {
        let problem = problem(&text).unwrap();
        assert!(problem.contains("nothing can be called Bulla::") && problem.contains("; write a"), "{problem}");
    }
}

#[test]
fn d09_one_statement_does_not_permit_both_to_use_keys_and_to_manage_access() {
    let both = [
        "permit (principal, action, resource);",
        "permit (principal in Bulla::Role::\"root\", action, resource) when { context.now > 5 };",
        "permit (principal, action in [Bulla::Action::\"use_keys\", Bulla::Action::\"manage_access\"], resource);",
        "permit (principal, action in [Bulla::Action::\"crypto.decrypt\", Bulla::Action::\"access.create_grant\"], resource is Bulla::Key);",
    ];
    for text in both {
        assert!(problem(text).unwrap().contains("nobody may do both"), "{text}");
        assert_eq!(problem(&text.replacen("permit", "forbid", 1)), None);
    }
    for text in [
        "permit (principal, action, resource is Bulla::Tenant);",
        "permit (principal, action in [Bulla::Action::\"manage_keys\", Bulla::Action::\"view_access\"], resource);",
        "permit (principal, action in Bulla::Action::\"use_keys\", resource);",
    ] {
        assert_eq!(problem(text), None);
    }
}

#[test]
fn d12_a_policy_is_bounded_in_size_depth_and_operators() {
    let padded = |length: usize| {
        let text = when("context.now > 5");
        format!("{text}{}", " ".repeat(length - text.len()))
    };
    assert_eq!(problem(&padded(MAX_POLICY_BYTES)), None);
    assert!(problem(&padded(MAX_POLICY_BYTES + 1)).unwrap().contains("16384 are the most"));
    let nested =
        |depth: usize| when(&format!("{}context.now > 5{}", "(".repeat(depth), ")".repeat(depth)));
    assert_eq!(problem(&nested(MAX_DEPTH - 1)), None);
    assert_eq!(
        problem(&nested(MAX_DEPTH)).unwrap(),
        "policy mine, line 1: brackets nest deeper than 24; make several policies of it"
    );
    let refused = [
        when(&"!".repeat(MAX_OPERATORS + 1)),
        when(&format!("context.now > 5{}", " && context.now > 5".repeat(MAX_OPERATORS / 3))),
        when(&format!("context{}", ".a".repeat(MAX_OPERATORS + 1))),
        when(&format!("{} context.now", "if true then 1 else ".repeat(MAX_OPERATORS + 1))),
        when(&"context has a || ".repeat(MAX_OPERATORS)),
    ];
    for text in refused {
        let problem = problem(&text).unwrap();
        assert!(problem.contains("more than 160 operators"), "{problem}");
    }
}

#[test]
fn d12_brackets_and_operators_in_strings_and_comments_do_not_count() {
    let text = when(&format!(
        "context.environment == \"\\\"{}\" // {}\n",
        "(".repeat(MAX_OPERATORS),
        "((.&&".repeat(MAX_OPERATORS)
    ));
    assert_eq!(problem(&text), None);
    assert!(problem(&when("\"unended")).is_some());
}

#[test]
fn d12_the_deepest_policy_that_is_accepted_needs_little_stack() {
    // As many operators as are allowed, in the shapes that nest deepest, on the 2 MiB of a test's thread.
    let chain = |count: usize| format!("context.now > 5{}", " && context.now > 5".repeat(count));
    let sum = |count: usize| format!("context.now{} > 5", " + 1".repeat(count));
    let ifs = |count: usize| {
        format!("{}1{} > 0", "(if context.now > 5 then 1 else ".repeat(count), ")".repeat(count))
    };
    for condition in [chain(50), sum(155), ifs(20)] {
        let text = when(&condition);
        assert_eq!(problem(&text), None);
        let policies = vec![source("deep", &text)];
        let world = world_of(Material { policies, ..Material::default() });
        assert_eq!(Asked::new(APP, Action::Decrypt).at(6).class(&world), "allowed");
    }
}
