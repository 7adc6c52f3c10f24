//! Following changes to keys: in order, from a cursor, and only one's own tenant's.

use bulla_client::{Client, Messages};
use bulla_proto::kms::{self, watch_keys_response::Change};
use tonic::Code;

use super::{Shared, fresh, new_key, on_both_stores, refused, rotate};

on_both_stores!(
    changes_come_in_order_and_a_cursor_goes_on_after_them,
    e01_a_watcher_of_another_tenant_sees_nothing,
    a_cursor_never_skips_the_rest_of_one_change,
);

/// Longer than anything here takes.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);

async fn watch(client: &Client, cursor: &str) -> Messages<kms::WatchKeysResponse> {
    let asked = kms::WatchKeysRequest { cursor: cursor.to_owned() };
    client.watch_keys(asked).await.unwrap()
}

/// Messages about this key and alias, until the alias is removed.
async fn until_removed(
    changes: &mut Messages<kms::WatchKeysResponse>,
    key: &str,
    alias: &str,
) -> Vec<kms::WatchKeysResponse> {
    let mut seen = Vec::new();
    let mut last = 0;
    loop {
        let next = tokio::time::timeout(DEADLINE, changes.message()).await;
        let message = next.expect("nothing more is told").unwrap().unwrap();
        let cursor: u64 = message.cursor.parse().unwrap();
        assert!(cursor >= last, "cursors never go back");
        last = cursor;
        let own = match message.change.as_ref().unwrap() {
            Change::Key(shown) => shown.key_id == key,
            Change::Version(shown) => shown.key_id == key,
            Change::Alias(shown) => shown.alias == alias,
            Change::DeletedAlias(name) => name == alias,
        };
        let removed = matches!(message.change.as_ref().unwrap(), Change::DeletedAlias(_));
        if own {
            seen.push(message);
            if removed {
                return seen;
            }
        }
    }
}

async fn changes_come_in_order_and_a_cursor_goes_on_after_them(server: Shared) {
    let manager = server.client("operator").await;
    let mut first = watch(&manager, "").await;
    let key = new_key(&manager).await;
    let alias = fresh("watched");
    rotate(&manager, &key).await.unwrap();
    let asked =
        kms::SetAliasRequest { alias: alias.clone(), key: key.clone(), ..Default::default() };
    manager.set_alias(asked).await.unwrap();
    let asked = kms::DeleteAliasRequest { alias: alias.clone(), ..Default::default() };
    manager.delete_alias(asked).await.unwrap();
    let seen = until_removed(&mut first, &key, &alias).await;
    let versions: std::collections::BTreeSet<_> = seen
        .iter()
        .filter_map(|message| match message.change.as_ref().unwrap() {
            Change::Version(version) => Some(version.version),
            _ => None,
        })
        .collect();
    assert_eq!(versions, [1, 2].into());
    let latest = seen.iter().rev().find_map(|message| match message.change.as_ref().unwrap() {
        Change::Key(shown) => Some(shown.clone()),
        _ => None,
    });
    assert_eq!(latest.unwrap().latest_version, 2);

    // From each cursor on: nothing that came before it, and the end again.
    let end = &seen.last().unwrap().cursor;
    for cursor in seen.iter().map(|message| &message.cursor).filter(|cursor| *cursor != end) {
        let auditor = server.client("auditor").await;
        let mut resumed = watch(&auditor, cursor).await;
        let again = until_removed(&mut resumed, &key, &alias).await;
        let after: u64 = cursor.parse().unwrap();
        assert!(again.iter().all(|message| message.cursor.parse::<u64>().unwrap() >= after));
        assert_eq!(again.last().unwrap(), seen.last().unwrap());
    }
}

async fn e01_a_watcher_of_another_tenant_sees_nothing(server: Shared) {
    let (one, two) = (server.client("operator").await, server.client("operator2").await);
    let mut theirs = watch(&two, "").await;
    let alias = fresh("secret");
    let asked = kms::CreateKeyRequest { alias: alias.clone(), ..Default::default() };
    let key = one.create_key(asked).await.unwrap().key.unwrap().key_id;
    rotate(&one, &key).await.unwrap();
    let own = new_key(&two).await;
    loop {
        let message = theirs.message().await.unwrap().unwrap();
        match message.change.unwrap() {
            Change::Key(shown) => {
                assert_ne!(shown.key_id, key);
                if shown.key_id == own {
                    break;
                }
            }
            Change::Version(shown) => assert_ne!(shown.key_id, key),
            Change::Alias(shown) => assert_ne!(shown.alias, alias),
            Change::DeletedAlias(name) => assert_ne!(name, alias),
        }
    }
    let app = server.client("app").await;
    let (code, reason) = refused(app.watch_keys(kms::WatchKeysRequest::default()).await);
    assert_eq!((code, &*reason), (Code::PermissionDenied, "PERMISSION_DENIED"));
}
async fn a_cursor_never_skips_the_rest_of_one_change(server: Shared) {
    let manager = server.client("operator").await;
    let mut first = watch(&manager, "").await;
    let alias = fresh("whole");
    let asked = kms::CreateKeyRequest { alias: alias.clone(), ..Default::default() };
    let key = manager.create_key(asked).await.unwrap().key.unwrap().key_id;
    let asked = kms::DeleteAliasRequest { alias: alias.clone(), ..Default::default() };
    rotate(&manager, &key).await.unwrap();
    manager.delete_alias(asked).await.unwrap();
    let seen = until_removed(&mut first, &key, &alias).await;
    for at in 0..seen.len() - 1 {
        let mut resumed = watch(&manager, &seen[at].cursor).await;
        let again = until_removed(&mut resumed, &key, &alias).await;
        // An alias that is gone is told of as gone only.
        let is_alias = |message: &&_| matches!(kind(message).split(' ').next(), Some("alias"));
        for message in seen[at + 1..].iter().filter(|message| !is_alias(message)) {
            let told = again.iter().any(|other| kind(other) == kind(message));
            assert!(told, "after {:?} nothing is said of {message:?}", seen[at]);
        }
    }
}

fn kind(message: &kms::WatchKeysResponse) -> String {
    match message.change.as_ref().unwrap() {
        Change::Key(shown) => format!("key {}", shown.key_id),
        Change::Version(shown) => format!("version {}", shown.version),
        Change::Alias(shown) => format!("alias {}", shown.alias),
        Change::DeletedAlias(name) => format!("no alias {name}"),
    }
}
