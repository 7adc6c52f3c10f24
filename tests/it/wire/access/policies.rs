//! Policies as code: put, shown, explained and simulated.

use super::*;

on_both_stores!(
    a_policy_is_put_shown_replaced_and_deleted,
    a_built_in_policy_is_replaced_and_stands_again,
    d09_nobody_writes_a_policy_that_is_about_themselves,
    an_explanation_names_what_decides_and_what_would_help,
    a_simulation_says_what_would_change_and_changes_nothing,
);

fn put(id: &str, text: &str) -> kms::PutPolicyRequest {
    kms::PutPolicyRequest {
        policy_id: id.to_owned(),
        text: text.to_owned(),
        description: "of a test".into(),
        ..Default::default()
    }
}

fn delete(id: &str) -> kms::DeletePolicyRequest {
    kms::DeletePolicyRequest { policy_id: id.to_owned(), ..Default::default() }
}

fn get(id: &str) -> kms::GetPolicyRequest {
    kms::GetPolicyRequest { policy_id: id.to_owned() }
}

/// A policy that lets a principal make data keys of a key.
fn permit(caller: &str, key: &str) -> String {
    format!(
        "permit (\n  principal == Bulla::Principal::\"{}\",\n  \
         action == Bulla::Action::\"crypto.generate_data_key\",\n  \
         resource == Bulla::Key::\"{key}\"\n);\n",
        spiffe_id(caller)
    )
}

async fn a_policy_is_put_shown_replaced_and_deleted(server: Shared) {
    let operator = server.client("operator").await;
    let named = server.client("named").await;
    let (key, id) = (new_key(&operator).await, fresh("policy"));
    assert_eq!(refused(operator.get_policy(get(&id)).await), denied());
    let text = permit("named", &key);
    let made = operator.put_policy(put(&id, &text)).await.unwrap().policy.unwrap();
    assert_eq!((&made.text, made.built_in), (&text, false));
    assert_eq!((&made.principal, &*made.description), (&spiffe_id("operator"), "of a test"));
    assert_eq!(operator.get_policy(get(&id)).await.unwrap().policy.unwrap(), made);
    data_key(&named, &key, &[]).await.unwrap();
    let replaced = text.replace("generate_data_key", "decrypt");
    operator.put_policy(put(&id, &replaced)).await.unwrap();
    assert_eq!(refused(data_key(&named, &key, &[]).await), denied());
    operator.put_policy(put(&id, &text)).await.unwrap();
    data_key(&named, &key, &[]).await.unwrap();
    // E01: nothing of it in another tenant.
    assert_eq!(refused(server.client("operator2").await.get_policy(get(&id)).await), denied());
    operator.delete_policy(delete(&id)).await.unwrap();
    assert_eq!(refused(data_key(&named, &key, &[]).await), denied());
    assert_eq!(refused(operator.delete_policy(delete(&id)).await), denied());
    for bad in [
        "",
        "permit (principal, action, resource)",
        "permit (principal, action, resource) when { context.nothing == 1 };",
        "permit (principal == Bulla::Principal::\"Me\", action, resource);",
        "forbid (principal, action, resource); forbid (principal, action, resource);",
    ] {
        let (code, reason) = refused(operator.put_policy(put(&id, bad)).await);
        assert_eq!((code, &*reason), (Code::InvalidArgument, "INVALID_ARGUMENT"), "{bad}");
    }
    let schema = operator.get_policy_schema(kms::GetPolicySchemaRequest {}).await.unwrap().schema;
    assert!(schema.contains("crypto.decrypt"));
}

async fn a_built_in_policy_is_replaced_and_stands_again(server: Shared) {
    let operator = server.client("operator2").await;
    let app = server.client("app2").await;
    let key = new_key(&operator).await;
    let all = || async {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let asked = kms::ListPoliciesRequest { page_size: 3, page_token };
            let page = operator.list_policies(asked).await.unwrap();
            all.extend(page.policies);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return all;
            }
        }
    };
    let before = all().await;
    let ids: Vec<_> = before.iter().map(|policy| policy.policy_id.clone()).collect();
    assert!(ids.is_sorted() && ids.contains(&"role-key-user".to_owned()), "{ids:?}");
    data_key(&app, &key, &[]).await.unwrap();
    let narrower = "permit (principal in Bulla::Role::\"key-user\", \
                    action == Bulla::Action::\"crypto.decrypt\", resource is Bulla::Key);";
    operator.put_policy(put("role-key-user", narrower)).await.unwrap();
    assert_eq!(refused(data_key(&app, &key, &[]).await), denied());
    let now = all().await;
    assert_eq!(now.len(), before.len());
    assert_eq!(now.iter().filter(|policy| !policy.built_in).count(), 1);
    operator.delete_policy(delete("role-key-user")).await.unwrap();
    data_key(&app, &key, &[]).await.unwrap();
    assert_eq!(all().await, before);
    let (code, _) = refused(operator.delete_policy(delete("role-key-user")).await);
    assert_eq!(code, Code::InvalidArgument, "one that comes with the program");
}

async fn d09_nobody_writes_a_policy_that_is_about_themselves(server: Shared) {
    let keeper = server.client("keeper").await;
    let me = spiffe_id("keeper");
    let rotating = "action == Bulla::Action::\"keys.rotate_key\", resource";
    let id = fresh("own");
    for text in [
        format!("permit (principal == Bulla::Principal::\"{me}\", {rotating});"),
        format!("permit (principal in Bulla::Role::\"operator\", {rotating});"),
        format!("permit (principal, {rotating});"),
        format!("permit (principal is Bulla::Principal, {rotating});"),
        format!(
            "permit (principal, {rotating}) when {{ principal == Bulla::Principal::\"{me}\" }};"
        ),
        format!("forbid (principal == Bulla::Principal::\"{me}\", {rotating});"),
    ] {
        assert_eq!(refused(keeper.put_policy(put(&id, &text)).await), denied(), "{text}");
    }
    let widened = format!("permit (principal in Bulla::Role::\"operator\", {rotating});");
    assert_eq!(refused(keeper.put_policy(put("role-operator", &widened)).await), denied());
    let lawful = format!("permit (principal in Bulla::Role::\"{id}\", {rotating});");
    keeper.put_policy(put(&id, &lawful)).await.unwrap();
    keeper.delete_policy(delete(&id)).await.unwrap();
}

fn question(caller: &str, action: &str, key: &str) -> kms::Question {
    kms::Question {
        principal: spiffe_id(caller),
        action: action.to_owned(),
        key: key.to_owned(),
        ..Default::default()
    }
}

async fn an_explanation_names_what_decides_and_what_would_help(server: Shared) {
    let operator = server.client("operator").await;
    let auditor = server.client("auditor").await;
    let key = new_key(&operator).await;
    let ask = |caller: &str, action: &str| kms::ExplainRequest {
        question: Some(question(caller, action, &key)),
    };
    let told = operator.explain(ask("app", "crypto.decrypt")).await.unwrap();
    let decision = told.decision.unwrap();
    assert_eq!((decision.allowed, decision.policies), (true, vec!["role-key-user".to_owned()]));
    assert_eq!((told.roles, &*told.remedy), (vec!["key-user".to_owned()], ""));
    let told = operator.explain(ask("retirer", "crypto.decrypt")).await.unwrap();
    assert_eq!(told.decision.unwrap().class, "no_policy");
    let remedy = format!(
        "bulla grant create {key} --principal {} --action crypto.decrypt",
        spiffe_id("retirer")
    );
    assert_eq!(told.remedy, remedy);
    // Whoever gives no rights is not told how.
    let told = auditor.explain(ask("retirer", "crypto.decrypt")).await.unwrap();
    assert_eq!((told.decision.unwrap().class.as_str(), &*told.remedy), ("no_policy", ""));
    // Whoever manages access uses no key, and no grant would help.
    let told = operator.explain(ask("keeper", "crypto.decrypt")).await.unwrap();
    assert_eq!((told.decision.unwrap().allowed, &*told.remedy), (false, ""));
    assert_eq!(
        refused(server.client("app").await.explain(ask("app", "crypto.decrypt")).await),
        denied()
    );
}

async fn a_simulation_says_what_would_change_and_changes_nothing(server: Shared) {
    let operator = server.client("operator").await;
    let app = server.client("app").await;
    let (key, id) = (new_key(&operator).await, fresh("simulated"));
    for _ in 0..3 {
        data_key(&app, &key, &[]).await.unwrap();
    }
    let forbid = permit("app", &key).replace("permit", "forbid");
    let policy = kms::Policy { policy_id: id.clone(), text: forbid, ..Default::default() };
    let asked = kms::SimulatePoliciesRequest {
        put: vec![policy],
        cases: vec![
            question("app", "crypto.generate_data_key", &key),
            question("app", "crypto.decrypt", &key),
        ],
        replay: 1_000,
        ..Default::default()
    };
    let told = operator.simulate_policies(asked).await.unwrap();
    let answers: Vec<_> = told.decisions.iter().map(|decision| decision.allowed).collect();
    assert_eq!(answers, [false, true]);
    assert!(told.replayed >= 3);
    let [changed] = &told.changed[..] else { panic!("{:?}", told.changed) };
    let asked = changed.question.clone().unwrap();
    assert_eq!((asked.principal, asked.key, changed.count), (spiffe_id("app"), key.clone(), 3));
    let (before, after) = (changed.before.clone().unwrap(), changed.after.clone().unwrap());
    assert_eq!((before.allowed, before.policies), (true, vec!["role-key-user".to_owned()]));
    assert_eq!((&*after.class, after.policies), ("forbidden", vec![id.clone()]));
    data_key(&app, &key, &[]).await.unwrap();
    let wrong = kms::SimulatePoliciesRequest { delete: vec![id], ..Default::default() };
    assert_eq!(refused(operator.simulate_policies(wrong).await).0, Code::InvalidArgument);
}
