//! Grants: one principal, one key, some actions, a context and a time.

use super::*;

on_both_stores!(
    d03_a_grant_works_for_its_key_context_and_actions_and_for_no_other,
    d09_a_grant_gives_nothing_to_its_grantor_and_no_rights_to_give_on,
    c02_a_grant_is_given_up_by_whom_it_names_and_by_nobody_else,
    d07_grants_are_listed_to_whoever_may_see_them_and_only_of_their_tenant,
);

async fn d03_a_grant_works_for_its_key_context_and_actions_and_for_no_other(server: Shared) {
    let operator = server.client("operator").await;
    let granted = server.client("granted").await;
    let (key, other) = (new_key(&operator).await, new_key(&operator).await);
    assert_eq!(refused(data_key(&granted, &key, &[("app", "a")]).await), denied());
    let asked = kms::CreateGrantRequest {
        encryption_context: pairs(&[("app", "a")]),
        name: "of a test".into(),
        request_id: fresh("grant"),
        ..grant_of(&key, "granted", &["crypto.generate_data_key", "crypto.generate_data_key"])
    };
    let made = grant(&operator, asked.clone()).await.unwrap();
    assert_eq!(made.actions, ["crypto.generate_data_key"]);
    assert_eq!((&made.key_id, &made.grantor), (&key, &spiffe_id("operator")));
    // The same request again is the same grant.
    assert_eq!(grant(&operator, asked).await.unwrap(), made);

    let ciphertext = data_key(&granted, &key, &[("app", "a")]).await.unwrap();
    data_key(&granted, &key, &[("app", "a"), ("row", "1")]).await.unwrap();
    for context in [&[][..], &[("app", "b")], &[("app", "a ")], &[("App", "a")]] {
        assert_eq!(refused(data_key(&granted, &key, context).await), denied(), "{context:?}");
    }
    assert_eq!(refused(data_key(&granted, &other, &[("app", "a")]).await), denied());
    // What it does not name: this action, and this principal.
    let opened = granted.decrypt(decrypt_of(&ciphertext, &[("app", "a")])).await;
    assert_eq!(refused(opened), denied());
    let nobody = server.client("nobody").await;
    assert_eq!(refused(data_key(&nobody, &key, &[("app", "a")]).await), denied());
    // The decision is on record under the grant's id.
    let id = format!("grant-{}", made.grant_id.replace('-', ""));
    let recorded = super::super::records(&server, "auditor", 0).await;
    let by_grant = recorded.iter().filter(|record| record.policies == [id.clone()]).count();
    assert_eq!(by_grant, 2, "{id}");

    revoke(&operator, &made).await.unwrap();
    assert_eq!(refused(data_key(&granted, &key, &[("app", "a")]).await), denied());
    assert_eq!(refused(revoke(&operator, &made).await), denied());
}

async fn d09_a_grant_gives_nothing_to_its_grantor_and_no_rights_to_give_on(server: Shared) {
    let operator = server.client("operator").await;
    let key = new_key(&operator).await;
    let to_itself = grant_of(&key, "operator", &["crypto.decrypt"]);
    assert_eq!(refused(grant(&operator, to_itself).await), denied());
    let invalid = (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned());
    for action in [
        "access.create_grant",
        "access.bind_role",
        "access.put_policy",
        "audit.read",
        "keys.create_key",
        "keys.destroy_version",
        "rotation.step_ladder",
        "crypto.Decrypt",
        "*",
        "",
    ] {
        let asked = grant_of(&key, "granted", &["crypto.decrypt", action]);
        assert_eq!(refused(grant(&operator, asked).await), invalid, "{action:?}");
    }
    let past = kms::CreateGrantRequest {
        expire_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        ..grant_of(&key, "granted", &["crypto.decrypt"])
    };
    assert_eq!(refused(grant(&operator, past).await), invalid);
    assert_eq!(refused(grant(&operator, grant_of(&key, "granted", &[])).await), invalid);
    // E01: another tenant's key is as one that is not there.
    let of_two = new_key(&server.client("operator2").await).await;
    for key in [&of_two, "00000000-0000-4000-8000-000000000000", "no-such-alias"] {
        let asked = grant_of(key, "granted", &["crypto.decrypt"]);
        assert_eq!(refused(grant(&operator, asked).await), denied(), "{key}");
    }
}

async fn c02_a_grant_is_given_up_by_whom_it_names_and_by_nobody_else(server: Shared) {
    let operator = server.client("operator").await;
    let key = new_key(&operator).await;
    let asked = kms::CreateGrantRequest {
        retiring_principal: spiffe_id("retirer"),
        ..grant_of(&key, "granted", &["crypto.generate_data_key"])
    };
    let not_there = kms::Grant {
        grant_id: "00000000-0000-4000-8000-000000000000".into(),
        ..Default::default()
    };
    for gives_up in ["granted", "retirer"] {
        let made = grant(&operator, asked.clone()).await.unwrap();
        for other in ["nobody", "app", "auditor", "operator2"] {
            let other = server.client(other).await;
            let one = revoke(&other, &made).await.unwrap_err();
            let two = revoke(&other, &not_there).await.unwrap_err();
            assert_eq!((one.code(), one.reason()), (two.code(), two.reason()));
            assert_eq!(one.to_string(), two.to_string());
        }
        data_key(&server.client("granted").await, &key, &[]).await.unwrap();
        revoke(&server.client(gives_up).await, &made).await.unwrap();
        let after = data_key(&server.client("granted").await, &key, &[]).await;
        assert_eq!(refused(after), denied(), "{gives_up}");
    }
}

async fn d07_grants_are_listed_to_whoever_may_see_them_and_only_of_their_tenant(server: Shared) {
    let operator = server.client("operator").await;
    let key = new_key(&operator).await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(grant(&operator, grant_of(&key, "named", &["keys.get_key"])).await.unwrap());
    }
    made.sort_by(|one, other| one.grant_id.cmp(&other.grant_id));
    let list = |key: &str, page_token: String| kms::ListGrantsRequest {
        key: key.to_owned(),
        page_size: 2,
        page_token,
    };
    for reader in ["operator", "auditor"] {
        let reader = server.client(reader).await;
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = reader.list_grants(list(&key, token)).await.unwrap();
            found.extend(page.grants);
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(found, made);
    }
    // Of another tenant's key there are none, as of one that is not there.
    for key in [key.as_str(), "00000000-0000-4000-8000-000000000000"] {
        let two = server.client("auditor2").await;
        assert!(two.list_grants(list(key, String::new())).await.unwrap().grants.is_empty());
    }
    for other in ["nobody", "app", "rewrapper", "named"] {
        let other = server.client(other).await;
        assert_eq!(refused(other.list_grants(list(&key, String::new())).await), denied());
    }
}
