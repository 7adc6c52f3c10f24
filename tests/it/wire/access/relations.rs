//! Groups, rings and roles.

use super::*;

on_both_stores!(
    a_relation_to_a_ring_holds_for_the_keys_in_it_and_in_the_rings_inside_it,
    a_groups_role_reaches_its_members_through_groups_and_cycles,
    d06_relations_are_written_all_or_none,
    d09_nobody_changes_what_they_hold_themselves_nor_what_a_group_of_theirs_holds,
    roles_that_exclude_each_other_are_not_given_to_one_subject,
    d09_no_member_of_a_group_is_given_a_role_that_excludes_one_it_holds,
);

async fn a_relation_to_a_ring_holds_for_the_keys_in_it_and_in_the_rings_inside_it(server: Shared) {
    let operator = server.client("operator").await;
    let related = server.client("related").await;
    let ring = fresh("ring");
    let inside = [
        key_in(&operator, &ring).await,
        key_in(&operator, &format!("{ring}/a")).await,
        key_in(&operator, &format!("{ring}/a/b")).await,
    ];
    let outside = [key_in(&operator, &format!("{ring}-2")).await, new_key(&operator).await];
    let told = [format!("ring:{ring}#user@{}", spiffe_id("related"))];
    let revision = relate(&operator, &told, &[]).await.unwrap();
    assert!(revision > 0);
    for key in &inside {
        let ciphertext = data_key(&related, key, &[]).await.unwrap();
        related.decrypt(decrypt_of(&ciphertext, &[])).await.unwrap();
    }
    for key in &outside {
        assert_eq!(refused(data_key(&related, key, &[]).await), denied());
    }
    // Using is not managing.
    assert_eq!(refused(super::super::rotate(&related, &inside[0]).await), denied());
    assert!(relate(&operator, &[], &told).await.unwrap() > revision);
    assert_eq!(refused(data_key(&related, &inside[0], &[]).await), denied());
}

async fn a_groups_role_reaches_its_members_through_groups_and_cycles(server: Shared) {
    let operator = server.client("operator").await;
    let member = server.client("member").await;
    let key = new_key(&operator).await;
    let (team, department) = (fresh("team"), fresh("department"));
    let tuples = [
        format!("group:{team}#member@{}", spiffe_id("member")),
        format!("group:{department}#member@group:{team}#member"),
        // A cycle is lawful, and ends nowhere else.
        format!("group:{team}#member@group:{department}#member"),
    ];
    relate(&operator, &tuples, &[]).await.unwrap();
    let subject = format!("group:{department}#member");
    bind(&operator, &subject, "key-user").await.unwrap();
    data_key(&member, &key, &[]).await.unwrap();
    let me = member.who_am_i(kms::WhoAmIRequest {}).await.unwrap();
    assert_eq!((me.roles, me.groups), (vec!["key-user".to_owned()], vec![department, team]));
    assert_eq!(me.credential_kind, "certificate");
    assert_eq!(refused(data_key(&server.client("nobody").await, &key, &[]).await), denied());
    relate(&operator, &[], &tuples).await.unwrap();
    assert_eq!(refused(data_key(&member, &key, &[]).await), denied());
    unbind(&operator, &subject, "key-user").await;
}

async fn d06_relations_are_written_all_or_none(server: Shared) {
    let operator = server.client("operator").await;
    let group = fresh("group");
    let good = |n: usize| format!("group:{group}#member@spiffe://one.test/m{n}");
    let list = || async {
        let asked =
            kms::ListRelationsRequest { object: format!("group:{group}"), ..Default::default() };
        let listed = operator.list_relations(asked).await.unwrap().relations;
        let mut subjects: Vec<_> = listed.into_iter().map(|tuple| tuple.subject).collect();
        subjects.sort();
        subjects
    };
    // One about the caller itself, and one that no object can have: nothing is written.
    let own = format!("group:{group}#member@{}", spiffe_id("operator"));
    assert_eq!(refused(relate(&operator, &[good(1), own, good(2)], &[]).await), denied());
    let unlawful = format!("group:{group}#user@spiffe://one.test/m3");
    let (code, _) = refused(relate(&operator, &[good(1), unlawful], &[]).await);
    assert_eq!((code, list().await.len()), (Code::InvalidArgument, 0));
    let many: Vec<_> = (0..=100).map(good).collect();
    assert_eq!(refused(relate(&operator, &many, &[]).await).1, "TOO_LARGE");
    relate(&operator, &many[..100], &[]).await.unwrap();
    // What is there stays, what is not there stays away.
    relate(&operator, &[good(1), good(100)], &[good(0), good(200)]).await.unwrap();
    let now = list().await;
    assert_eq!((now.len(), now.contains(&"spiffe://one.test/m0".to_owned())), (100, false));
    let of_two = server.client("operator2").await;
    let asked =
        kms::ListRelationsRequest { object: format!("group:{group}"), ..Default::default() };
    assert!(of_two.list_relations(asked).await.unwrap().relations.is_empty(), "E01");
}

async fn d09_nobody_changes_what_they_hold_themselves_nor_what_a_group_of_theirs_holds(
    server: Shared,
) {
    let operator = server.client("operator").await;
    let keeper = server.client("keeper").await;
    let (inner, outer) = (fresh("inner"), fresh("outer"));
    let me = spiffe_id("keeper");
    let tuples = [
        format!("group:{inner}#member@{me}"),
        format!("group:{outer}#member@group:{inner}#member"),
    ];
    relate(&operator, &tuples, &[]).await.unwrap();
    for subject in [me.clone(), format!("group:{inner}#member"), format!("group:{outer}#member")] {
        assert_eq!(refused(bind(&keeper, &subject, "key-user").await), denied(), "{subject}");
        let told = [format!("ring:any#manager@{subject}")];
        assert_eq!(refused(relate(&keeper, &told, &[]).await), denied(), "{subject}");
        let told = [format!("group:{}#member@{subject}", fresh("new"))];
        assert_eq!(refused(relate(&keeper, &told, &[]).await), denied(), "{subject}");
    }
    // Nor takes it away, which could be what a policy forbids them by.
    assert_eq!(refused(relate(&keeper, &[], &tuples[..1]).await), denied());
    relate(&operator, &[], &tuples).await.unwrap();
    bind(&keeper, &format!("group:{inner}#member"), "key-user").await.unwrap();
    unbind(&keeper, &format!("group:{inner}#member"), "key-user").await;
}

async fn roles_that_exclude_each_other_are_not_given_to_one_subject(server: Shared) {
    let operator = server.client("operator").await;
    let excluded = (Code::FailedPrecondition, "SEPARATION_OF_DUTIES".to_owned());
    for (one, other) in
        [("key-manager", "key-user"), ("key-manager", "key-rewrapper"), ("key-user", "auditor")]
    {
        for (held, wanted) in [(one, other), (other, one)] {
            let subject = format!("spiffe://one.test/{}", fresh("torn"));
            bind(&operator, &subject, held).await.unwrap();
            assert_eq!(refused(bind(&operator, &subject, wanted).await), excluded, "{wanted}");
            bind(&operator, &subject, held).await.unwrap();
            // By a group, too.
            let (group, member) = (fresh("torn"), format!("spiffe://one.test/{}", fresh("torn")));
            relate(&operator, &[format!("group:{group}#member@{member}")], &[]).await.unwrap();
            bind(&operator, &format!("group:{group}#member"), held).await.unwrap();
            assert_eq!(refused(bind(&operator, &member, wanted).await), excluded, "{wanted}");
        }
    }
}

async fn d09_no_member_of_a_group_is_given_a_role_that_excludes_one_it_holds(server: Shared) {
    let operator = server.client("operator").await;
    let (inner, outer) = (fresh("inner"), fresh("outer"));
    let member = format!("spiffe://one.test/{}", fresh("torn"));
    let (of_inner, of_outer) = (format!("group:{inner}#member"), format!("group:{outer}#member"));
    let apart = (Code::FailedPrecondition, "SEPARATION_OF_DUTIES".to_owned());
    relate(&operator, &[format!("{of_inner}@{member}"), format!("{of_outer}@{of_inner}")], &[])
        .await
        .unwrap();
    bind(&operator, &member, "key-user").await.unwrap();
    // The role would reach the member through both groups.
    for group in [&of_inner, &of_outer] {
        let error = bind(&operator, group, "auditor").await.unwrap_err();
        assert!(
            error.message().contains(&member) && error.message().contains("key-user"),
            "{error}"
        );
        assert_eq!(refused(Err::<(), _>(error)), apart);
    }
    // And a group whose role excludes it takes neither the member nor a group that it is in.
    let auditors = fresh("auditors");
    bind(&operator, &format!("group:{auditors}#member"), "auditor").await.unwrap();
    for joining in [&member, &of_inner, &of_outer] {
        let told = [format!("group:{auditors}#member@{joining}")];
        assert_eq!(refused(relate(&operator, &told, &[]).await), apart, "{joining}");
    }
    // Once the member has left, both are lawful; and what leaves in the same call is gone.
    let told = [format!("group:{auditors}#member@{of_outer}")];
    relate(&operator, &told, &[format!("{of_inner}@{member}")]).await.unwrap();
    assert_eq!(refused(relate(&operator, &[format!("{of_inner}@{member}")], &[]).await), apart);
    // Two groups at once, of which neither alone would.
    let (users, readers) = (fresh("users"), fresh("readers"));
    bind(&operator, &format!("group:{users}#member"), "key-user").await.unwrap();
    bind(&operator, &format!("group:{readers}#member"), "auditor").await.unwrap();
    let newcomer = format!("spiffe://one.test/{}", fresh("new"));
    let told = [&users, &readers].map(|group| format!("group:{group}#member@{newcomer}"));
    assert_eq!(refused(relate(&operator, &told, &[]).await), apart);
    relate(&operator, &told[..1], &[]).await.unwrap();
}
