//! Keys, versions and names through the API: what each step leads to, and what each state allows.

use std::collections::BTreeSet;

use bulla_client::{Client, Error};
use bulla_proto::health::{HealthCheckRequest, HealthCheckResponse};
use bulla_proto::kms::{self, VersionState as State};
use prost::Message;
use tonic::Code;

use super::{
    Raw, Shared, audit_end, blob, decrypt_of, fresh, new_key, on_both_stores, pairs, records,
    refused, rotate,
};
use crate::server::spiffe_id;

on_both_stores!(
    a_key_is_made_shown_listed_and_changed,
    versions_and_aliases_come_in_pages,
    an_alias_is_pointed_elsewhere_and_removed,
    every_step_is_taken_or_refused_as_the_table_says,
    every_state_allows_what_the_table_says,
    a_disabled_key_does_nothing_and_an_enabled_one_works_again,
    a_blob_opens_after_ten_rotations,
    g02_concurrent_rotations_make_dense_versions_and_one_active,
    a_request_id_makes_one_change_however_often_it_is_sent,
    roles_take_effect_at_once_and_d09_nobody_changes_their_own,
    every_call_is_recorded_with_its_class,
    health_says_serving,
);

const NOT_USABLE: (Code, &str) = (Code::FailedPrecondition, "VERSION_NOT_USABLE");
const DISABLED: (Code, &str) = (Code::FailedPrecondition, "KEY_DISABLED");
const DENIED: (Code, &str) = (Code::PermissionDenied, "PERMISSION_DENIED");
const INVALID: (Code, &str) = (Code::InvalidArgument, "INVALID_ARGUMENT");

/// What can be done to a version by a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Call {
    Rotate,
    Suspend,
    Resume,
    Restrict,
    Unrestrict,
    Compromise,
    Schedule,
    Cancel,
}

const CALLS: [Call; 8] = [
    Call::Rotate,
    Call::Suspend,
    Call::Resume,
    Call::Restrict,
    Call::Unrestrict,
    Call::Compromise,
    Call::Schedule,
    Call::Cancel,
];

/// Where version 1 can be brought: the state, what it was before that if it matters, and how.
const PLACES: &[(State, Option<State>, &[Call])] = {
    use Call::{Compromise, Restrict, Rotate, Schedule, Suspend};
    &[
        (State::Active, None, &[]),
        (State::Deactivated, None, &[Rotate]),
        (State::RewrapOnly, None, &[Rotate, Restrict]),
        (State::Suspended, Some(State::Active), &[Suspend]),
        (State::Suspended, Some(State::Deactivated), &[Rotate, Suspend]),
        // Superseded while it was suspended: it never becomes Active again.
        (State::Suspended, Some(State::Deactivated), &[Suspend, Rotate]),
        (State::Suspended, Some(State::RewrapOnly), &[Rotate, Restrict, Suspend]),
        (State::Compromised, None, &[Compromise]),
        (State::Compromised, None, &[Rotate, Compromise]),
        (State::Compromised, None, &[Suspend, Compromise]),
        (State::DestroyScheduled, Some(State::Deactivated), &[Rotate, Schedule]),
        (State::DestroyScheduled, Some(State::RewrapOnly), &[Rotate, Restrict, Schedule]),
        (State::DestroyScheduled, Some(State::Active), &[Suspend, Schedule]),
        (State::DestroyScheduled, Some(State::Compromised), &[Compromise, Schedule]),
    ]
};

/// DESIGN section 2, as far as calls reach: what the call makes of version 1, if it is legal.
fn expected(state: State, former: Option<State>, call: Call) -> Option<State> {
    use State::{Active, Compromised, Deactivated, DestroyScheduled, RewrapOnly, Suspended};
    match (call, state) {
        (Call::Rotate, Active) => Some(Deactivated),
        (Call::Rotate, other) => Some(other),
        (Call::Suspend, Active | Deactivated | RewrapOnly) => Some(Suspended),
        (Call::Resume, Suspended) => former,
        (Call::Restrict, Deactivated) => Some(RewrapOnly),
        (Call::Unrestrict, RewrapOnly) => Some(Deactivated),
        (Call::Compromise, Active | Deactivated | RewrapOnly | Suspended) => Some(Compromised),
        (Call::Schedule, Deactivated | RewrapOnly | Suspended | Compromised) => {
            Some(DestroyScheduled)
        }
        (Call::Cancel, DestroyScheduled) if former == Some(Compromised) => Some(Compromised),
        (Call::Cancel, DestroyScheduled) => Some(Suspended),
        _ => None,
    }
}

async fn take(manager: &Client, key: &str, call: Call) -> Result<(), Error> {
    let (key, version, request_id) = (key.to_owned(), 1, String::new());
    let reason = format!("{call:?}");
    macro_rules! step {
        ($method:ident, $request:ident) => {{
            let asked = kms::$request { key, version, request_id, reason };
            manager.$method(asked).await.map(|_| ())
        }};
    }
    match call {
        Call::Rotate => rotate(manager, &key).await.map(|_| ()),
        Call::Suspend => step!(suspend_version, SuspendVersionRequest),
        Call::Resume => step!(resume_version, ResumeVersionRequest),
        Call::Restrict => step!(restrict_version, RestrictVersionRequest),
        Call::Unrestrict => step!(unrestrict_version, UnrestrictVersionRequest),
        Call::Compromise => step!(compromise_version, CompromiseVersionRequest),
        Call::Cancel => step!(cancel_destroy, CancelDestroyRequest),
        Call::Schedule => {
            let wait = None;
            let asked = kms::ScheduleDestroyRequest {
                key,
                version,
                wait,
                request_id,
                reason,
                not_safe: true,
            };
            manager.schedule_destroy(asked).await.map(|_| ())
        }
    }
}

async fn version(manager: &Client, key: &str, version: u32) -> kms::Version {
    let asked = kms::GetVersionRequest { key: key.to_owned(), version };
    manager.get_version(asked).await.unwrap().version.unwrap()
}

async fn versions(manager: &Client, key: &str, page_size: u32) -> Vec<kms::Version> {
    let mut asked =
        kms::ListVersionsRequest { key: key.to_owned(), page_size, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let page = manager.list_versions(asked.clone()).await.unwrap();
        assert!(page.versions.len() <= page_size as usize);
        all.extend(page.versions);
        if page.next_page_token.is_empty() {
            return all;
        }
        asked.page_token = page.next_page_token;
    }
}

async fn keys_in(manager: &Client, key_ring: &str, page_size: u32) -> Vec<kms::Key> {
    let key_ring = key_ring.to_owned();
    let mut asked = kms::ListKeysRequest { page_size, key_ring, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let page = manager.list_keys(asked.clone()).await.unwrap();
        assert!(page.keys.len() <= page_size as usize);
        all.extend(page.keys);
        if page.next_page_token.is_empty() {
            return all;
        }
        asked.page_token = page.next_page_token;
    }
}

async fn aliases_of(manager: &Client, key: &str, page_size: u32) -> Vec<String> {
    let key = key.to_owned();
    let mut asked = kms::ListAliasesRequest { page_size, key, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let page = manager.list_aliases(asked.clone()).await.unwrap();
        assert!(page.aliases.len() <= page_size as usize);
        all.extend(page.aliases.into_iter().map(|entry| entry.alias));
        if page.next_page_token.is_empty() {
            return all;
        }
        asked.page_token = page.next_page_token;
    }
}

async fn get(manager: &Client, key: &str) -> Result<kms::Key, Error> {
    let asked = kms::GetKeyRequest { key: key.to_owned() };
    Ok(manager.get_key(asked).await?.key.unwrap())
}

async fn set_alias(manager: &Client, alias: &str, key: &str) -> Result<kms::Alias, Error> {
    let asked =
        kms::SetAliasRequest { alias: alias.to_owned(), key: key.to_owned(), ..Default::default() };
    Ok(manager.set_alias(asked).await?.alias.unwrap())
}

// === keys and names ===

async fn a_key_is_made_shown_listed_and_changed(server: Shared) {
    let manager = server.client("operator").await;
    let ring = fresh("ring");
    let inner = format!("{ring}/cards");
    let alias = fresh("orders");
    let asked = kms::CreateKeyRequest {
        alias: alias.clone(),
        key_ring: inner.clone(),
        description: "card numbers".into(),
        tags: pairs(&[("team", "payments"), ("", "")][..1]),
        ..Default::default()
    };
    let made = manager.create_key(asked.clone()).await.unwrap().key.unwrap();
    assert_eq!(made.aliases, [alias.as_str()]);
    assert_eq!((&*made.key_ring, &*made.description), (&*inner, "card numbers"));
    assert_eq!((made.enabled, made.active_version, made.latest_version), (true, 1, 1));
    assert_eq!(made.rotation_period.unwrap().seconds, 90 * 24 * 60 * 60);
    let next = made.next_rotation_time.unwrap().seconds - made.create_time.unwrap().seconds;
    assert_eq!(next, 90 * 24 * 60 * 60);
    assert_eq!(get(&manager, &made.key_id).await.unwrap(), made);
    assert_eq!(get(&manager, &alias).await.unwrap(), made);
    // The name is taken.
    let taken = refused(manager.create_key(asked).await);
    assert_eq!(taken, (Code::AlreadyExists, "ALREADY_EXISTS".into()));

    let mut ids = BTreeSet::from([made.key_id.clone()]);
    for at in 0..4 {
        let key_ring = if at % 2 == 0 { ring.clone() } else { inner.clone() };
        let asked = kms::CreateKeyRequest { key_ring, ..Default::default() };
        ids.insert(manager.create_key(asked).await.unwrap().key.unwrap().key_id);
    }
    // A ring whose name only begins alike is another one.
    let asked = kms::CreateKeyRequest { key_ring: format!("{ring}x"), ..Default::default() };
    manager.create_key(asked).await.unwrap();
    for page_size in [1, 3, 1000] {
        let listed: Vec<_> = keys_in(&manager, &ring, page_size).await;
        let listed: Vec<_> = listed.into_iter().map(|key| key.key_id).collect();
        assert_eq!(listed, ids.iter().cloned().collect::<Vec<_>>(), "page_size {page_size}");
        assert_eq!(keys_in(&manager, &inner, page_size).await.len(), 3);
        let all: Vec<_> = keys_in(&manager, "", page_size.max(3)).await;
        let all: BTreeSet<_> = all.into_iter().map(|key| key.key_id).collect();
        assert!(ids.is_subset(&all));
    }

    let updated = manager
        .update_key(kms::UpdateKeyRequest {
            key: alias.clone(),
            key_ring: Some(String::new()),
            description: Some(String::new()),
            tags: Some(kms::Tags { pairs: pairs(&[("a", "b")]) }),
            rotation_period: Some(prost_types::Duration::default()),
            ..Default::default()
        })
        .await
        .unwrap()
        .key
        .unwrap();
    assert_eq!((&*updated.key_ring, &*updated.description), ("", ""));
    assert_eq!(updated.tags, pairs(&[("a", "b")]));
    assert_eq!((updated.rotation_period, updated.next_rotation_time), (None, None));
    assert_ne!(updated.etag, made.etag);
    // What is absent stays.
    let asked = kms::UpdateKeyRequest {
        key: alias.clone(),
        description: Some("x".into()),
        ..Default::default()
    };
    let again = manager.update_key(asked).await.unwrap().key.unwrap();
    assert_eq!((&*again.description, again.tags), ("x", pairs(&[("a", "b")])));
    assert_eq!(again.rotation_period, None);
}

async fn versions_and_aliases_come_in_pages(server: Shared) {
    let manager = server.client("operator").await;
    let key = new_key(&manager).await;
    for expected in 2..=7 {
        assert_eq!(rotate(&manager, &key).await.unwrap(), expected);
    }
    let names: BTreeSet<_> = (0..7).map(|_| fresh("name")).collect();
    for name in &names {
        set_alias(&manager, name, &key).await.unwrap();
    }
    for page_size in [1, 3, 7, 1000] {
        let listed = versions(&manager, &key, page_size).await;
        let numbers: Vec<_> = listed.iter().map(|version| version.version).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7], "page_size {page_size}");
        let active = listed.iter().filter(|version| version.state() == State::Active).count();
        assert_eq!((active, listed[6].state()), (1, State::Active));
        let sorted: Vec<_> = names.iter().cloned().collect();
        assert_eq!(aliases_of(&manager, &key, page_size).await, sorted);
        let all: BTreeSet<_> = aliases_of(&manager, "", page_size).await.into_iter().collect();
        assert!(names.is_subset(&all));
    }
    assert_eq!(version(&manager, &key, 3).await.reason, "");
    let asked = kms::GetVersionRequest { key: key.clone(), version: 8 };
    let (code, reason) = refused(manager.get_version(asked).await);
    assert_eq!((code, &*reason), DENIED);
}

async fn an_alias_is_pointed_elsewhere_and_removed(server: Shared) {
    let manager = server.client("operator").await;
    let user = server.client("app").await;
    let (one, other) = (new_key(&manager).await, new_key(&manager).await);
    let alias = fresh("current");
    assert_eq!(set_alias(&manager, &alias, &one).await.unwrap().key_id, one);
    let before = blob(&user, &alias, &[("row", "1")]).await;
    assert_eq!(set_alias(&manager, &alias, &other).await.unwrap().key_id, other);
    assert_eq!(get(&manager, &alias).await.unwrap().key_id, other);
    assert!(get(&manager, &one).await.unwrap().aliases.is_empty());
    assert_eq!(get(&manager, &other).await.unwrap().aliases, [alias.as_str()]);
    // A blob names its key by id: it opens whatever the alias points at now.
    let opened = user.decrypt(decrypt_of(&before.ciphertext, &[("row", "1")])).await.unwrap();
    assert_eq!((opened.plaintext, opened.key_id), (before.plaintext, one.clone()));
    // Pointed at where it points already, nothing changes.
    set_alias(&manager, &alias, &alias).await.unwrap();
    assert_eq!(get(&manager, &other).await.unwrap().aliases, [alias.as_str()]);
    let asked = kms::DeleteAliasRequest { alias: alias.clone(), ..Default::default() };
    manager.delete_alias(asked.clone()).await.unwrap();
    let gone = refused(get(&manager, &alias).await);
    assert_eq!((gone.0, &*gone.1), DENIED);
    let twice = refused(manager.delete_alias(asked).await);
    assert_eq!((twice.0, &*twice.1), DENIED);
    assert!(get(&manager, &other).await.unwrap().aliases.is_empty());
}

// === the table of steps ===

async fn every_step_is_taken_or_refused_as_the_table_says(server: Shared) {
    let manager = server.client("operator").await;
    let (mut allowed, mut forbidden) = (0, 0);
    for (state, former, way) in PLACES {
        for call in CALLS {
            let what = format!("{call:?} from {state:?} ({former:?}) by {way:?}");
            let key = new_key(&manager).await;
            for step in *way {
                take(&manager, &key, *step).await.unwrap();
            }
            let before = version(&manager, &key, 1).await;
            assert_eq!(before.state(), *state, "{what}");
            let outcome = take(&manager, &key, call).await;
            let after = version(&manager, &key, 1).await;
            match expected(*state, *former, call) {
                Some(becomes) => {
                    outcome.unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(after.state(), becomes, "{what}");
                    allowed += 1;
                }
                None => {
                    let (code, reason) = refused(outcome);
                    assert_eq!((code, &*reason), NOT_USABLE, "{what}");
                    assert_eq!(after, before, "{what}");
                    forbidden += 1;
                }
            }
            let all = versions(&manager, &key, 1000).await;
            let active: Vec<_> =
                all.iter().filter(|version| version.state() == State::Active).collect();
            assert!(active.len() <= 1, "{what}");
            let shown = get(&manager, &key).await.unwrap();
            let number = active.first().map_or(0, |version| version.version);
            assert_eq!(shown.active_version, number, "{what}");
            assert_eq!(shown.latest_version as usize, all.len(), "{what}");
            if call == Call::Compromise && *state == State::Active {
                assert_eq!(number, 2, "a compromised version is replaced at once");
            }
        }
    }
    println!("steps: {allowed} allowed, {forbidden} refused");
    assert_eq!(allowed + forbidden, PLACES.len() * CALLS.len());
}

async fn every_state_allows_what_the_table_says(server: Shared) {
    let manager = server.client("operator").await;
    let (user, rewrapper) = (server.client("app").await, server.client("rewrapper").await);
    let mut cases = 0;
    for (state, former, way) in PLACES {
        let what = format!("{state:?} ({former:?}) by {way:?}");
        let key = new_key(&manager).await;
        let spare = new_key(&manager).await;
        let made = blob(&user, &key, &[("row", "7")]).await;
        for step in *way {
            take(&manager, &key, *step).await.unwrap();
        }
        let wraps = *state == State::Active;
        let opens = wraps || *state == State::Deactivated;
        let moves = opens || matches!(state, State::RewrapOnly | State::Compromised);

        let opened = user.decrypt(decrypt_of(&made.ciphertext, &[("row", "7")])).await;
        check(&what, opens, opened.map(|opened| assert_eq!(opened.plaintext, made.plaintext)));
        let moved = rewrapper
            .re_encrypt(kms::ReEncryptRequest {
                ciphertext: made.ciphertext.clone(),
                source_encryption_context: pairs(&[("row", "7")]),
                destination_key: spare.clone(),
                ..Default::default()
            })
            .await;
        check(&what, moves, moved.as_ref().map(|_| ()).map_err(Clone::clone));
        if let Ok(moved) = moved {
            let opened =
                user.decrypt(decrypt_of(&moved.ciphertext, &[("row", "7")])).await.unwrap();
            assert_eq!((opened.plaintext, opened.key_id), (made.plaintext, spare), "{what}");
        }
        // The key wraps under version 1, or under another that took its place, or not at all.
        let latest = get(&manager, &key).await.unwrap().latest_version;
        let asked = kms::GenerateDataKeyRequest { key: key.clone(), ..Default::default() };
        let wrapped = user.generate_data_key(asked).await;
        check(
            &what,
            wraps || latest > 1,
            wrapped.map(|made| assert_eq!(made.version, latest, "{what}")),
        );
        let asked = kms::InspectRequest { ciphertext: made.ciphertext.clone() };
        let seen = user.inspect(asked).await.unwrap();
        assert_eq!((seen.state(), seen.decryptable), (*state, opens), "{what}");
        assert_eq!((seen.version, seen.plaintext_bytes, seen.suite), (1, 32, 1));
        cases += 4;
    }
    println!("uses: {cases} cases");
}

#[track_caller]
fn check(what: &str, allowed: bool, outcome: Result<(), Error>) {
    match (allowed, outcome) {
        (true, Ok(())) => {}
        (false, Err(error)) => assert_eq!((error.code(), error.reason()), NOT_USABLE, "{what}"),
        (true, Err(error)) => panic!("{what}: {error}"),
        (false, Ok(())) => panic!("{what}: was allowed"),
    }
}

async fn a_disabled_key_does_nothing_and_an_enabled_one_works_again(server: Shared) {
    let manager = server.client("operator").await;
    let (user, rewrapper) = (server.client("app").await, server.client("rewrapper").await);
    let key = new_key(&manager).await;
    let made = blob(&user, &key, &[]).await;
    let asked = kms::DisableKeyRequest { key: key.clone(), ..Default::default() };
    let shown = manager.disable_key(asked).await.unwrap().key.unwrap();
    assert!(!shown.enabled);
    let generate = kms::GenerateDataKeyRequest { key: key.clone(), ..Default::default() };
    let again = kms::ReEncryptRequest { ciphertext: made.ciphertext.clone(), ..Default::default() };
    for outcome in [
        user.generate_data_key(generate.clone()).await.map(|_| ()),
        user.decrypt(decrypt_of(&made.ciphertext, &[])).await.map(|_| ()),
        rewrapper.re_encrypt(again.clone()).await.map(|_| ()),
        rotate(&manager, &key).await.map(|_| ()),
    ] {
        let (code, reason) = refused(outcome);
        assert_eq!((code, &*reason), DISABLED);
    }
    // A leak does not wait for the key to be enabled.
    take(&manager, &key, Call::Compromise).await.unwrap();
    assert_eq!(get(&manager, &key).await.unwrap().active_version, 2);
    let asked = kms::EnableKeyRequest { key: key.clone(), ..Default::default() };
    assert!(manager.enable_key(asked).await.unwrap().key.unwrap().enabled);
    assert_eq!(user.generate_data_key(generate).await.unwrap().version, 2);
    assert_eq!(rewrapper.re_encrypt(again).await.unwrap().version, 2);
}

async fn a_blob_opens_after_ten_rotations(server: Shared) {
    let manager = server.client("operator").await;
    let user = server.client("app").await;
    let key = new_key(&manager).await;
    let mut blobs = vec![blob(&user, &key, &[("a", "b")]).await];
    for expected in 2..=11 {
        assert_eq!(rotate(&manager, &key).await.unwrap(), expected);
        blobs.push(blob(&user, &key, &[("a", "b")]).await);
        for (at, made) in blobs.iter().enumerate() {
            let opened = user.decrypt(decrypt_of(&made.ciphertext, &[("a", "b")])).await.unwrap();
            assert_eq!(opened.plaintext, made.plaintext);
            assert_eq!(opened.version as usize, at + 1);
        }
    }
}

// === races and repeats ===

async fn g02_concurrent_rotations_make_dense_versions_and_one_active(server: Shared) {
    let manager = server.client("operator").await;
    let key = new_key(&manager).await;
    let mut tasks = Vec::new();
    for _ in 0..8 {
        // On four connections and more, so that every runtime of the server takes part.
        let manager = server.client("operator").await;
        for _ in 0..4 {
            let (manager, key) = (manager.clone(), key.clone());
            tasks.push(tokio::spawn(async move { rotate(&manager, &key).await }));
        }
    }
    let mut made = BTreeSet::from([1]);
    let mut conflicts = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(version) => assert!(made.insert(version), "version {version} came twice"),
            Err(error) => {
                assert_eq!((error.code(), error.reason()), (Code::Aborted, "CONFLICT"));
                conflicts += 1;
            }
        }
    }
    let all = versions(&manager, &key, 1000).await;
    let numbers: BTreeSet<_> = all.iter().map(|version| version.version).collect();
    assert_eq!(numbers, made);
    assert_eq!(numbers, (1..=all.len() as u32).collect());
    assert!(all.len() > 1);
    let active: Vec<_> = all.iter().filter(|version| version.state() == State::Active).collect();
    assert_eq!(active.len(), 1);
    assert_eq!(active[0].version as usize, all.len());
    println!("rotations: {} done, {conflicts} lost a race", all.len() - 1);
}

async fn a_request_id_makes_one_change_however_often_it_is_sent(server: Shared) {
    let manager = server.client("operator").await;
    let key = new_key(&manager).await;
    let request_id = fresh("once");
    let asked = kms::RotateKeyRequest {
        key: key.clone(),
        request_id: request_id.clone(),
        reason: "planned".into(),
    };
    let mut tasks = Vec::new();
    for _ in 0..16 {
        let (manager, asked) = (server.client("operator").await, asked.clone());
        tasks.push(tokio::spawn(async move { manager.rotate_key(asked).await }));
    }
    for task in tasks {
        let rotated = task.await.unwrap().unwrap();
        assert_eq!(rotated.version.unwrap().version, 2);
    }
    assert_eq!(get(&manager, &key).await.unwrap().latest_version, 2);
    // Another request under that id, be it of another method, is refused and changes nothing.
    let other = kms::RotateKeyRequest { reason: "another".into(), ..asked.clone() };
    let error = manager.rotate_key(other).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), INVALID);
    assert_eq!(error.field_violations()[0].field, "request_id");
    let disable = kms::DisableKeyRequest {
        key: key.clone(),
        request_id: request_id.clone(),
        reason: "planned".into(),
    };
    let (code, reason) = refused(manager.disable_key(disable).await);
    assert_eq!((code, &*reason), INVALID);
    let shown = get(&manager, &key).await.unwrap();
    assert_eq!((shown.latest_version, shown.enabled), (2, true));
    // It still gives the first outcome when more has happened since.
    assert_eq!(rotate(&manager, &key).await.unwrap(), 3);
    assert_eq!(manager.rotate_key(asked.clone()).await.unwrap().version.unwrap().version, 2);
    // Another tenant's ids are its own.
    let other_manager = server.client("operator2").await;
    let create = kms::CreateKeyRequest { request_id, ..Default::default() };
    let theirs = other_manager.create_key(create.clone()).await.unwrap().key.unwrap();
    let again = other_manager.create_key(create).await.unwrap().key.unwrap();
    assert_eq!(theirs.key_id, again.key_id);
}

// === roles, records, health ===

async fn roles_take_effect_at_once_and_d09_nobody_changes_their_own(server: Shared) {
    let operator = server.client("operator").await;
    let nobody = server.client("nobody").await;
    let random = kms::GenerateRandomRequest { random_bytes: 8 };
    let who = nobody.who_am_i(kms::WhoAmIRequest {}).await.unwrap();
    assert_eq!((&*who.tenant, who.roles.len()), ("one", 0));
    assert_eq!(who.principal, spiffe_id("nobody"));
    for _ in 0..3 {
        let (code, reason) = refused(nobody.generate_random(random).await);
        assert_eq!((code, &*reason), DENIED);
        let asked = kms::BindRoleRequest {
            principal: spiffe_id("nobody"),
            role: "key-user".into(),
            ..Default::default()
        };
        let binding = operator.bind_role(asked).await.unwrap().binding.unwrap();
        assert_eq!(binding.roles, ["key-user"]);
        nobody.generate_random(random).await.unwrap();
        let asked = kms::UnbindRoleRequest {
            principal: spiffe_id("nobody"),
            role: "key-user".into(),
            ..Default::default()
        };
        let binding = operator.unbind_role(asked).await.unwrap().binding.unwrap();
        assert!(binding.roles.is_empty());
    }
    refused(nobody.generate_random(random).await);
    let bindings =
        operator.list_role_bindings(kms::ListRoleBindingsRequest::default()).await.unwrap();
    let own = bindings.bindings.iter().find(|binding| binding.principal == spiffe_id("operator"));
    assert_eq!(own.unwrap().roles, ["key-manager", "operator"]);
    assert!(bindings.bindings.iter().all(|binding| !binding.principal.contains("two.test")));
    for role in ["key-user", "auditor", "operator", "key-manager"] {
        let principal = spiffe_id("operator");
        let bind = kms::BindRoleRequest {
            principal: principal.clone(),
            role: role.into(),
            ..Default::default()
        };
        let unbind = kms::UnbindRoleRequest { principal, role: role.into(), ..Default::default() };
        assert_eq!(refused(operator.bind_role(bind).await).0, Code::PermissionDenied, "{role}");
        assert_eq!(refused(operator.unbind_role(unbind).await).0, Code::PermissionDenied, "{role}");
    }
    for role in ["", "Key-User", "*", "scheduler", "installer"] {
        let asked = kms::BindRoleRequest {
            principal: spiffe_id("nobody"),
            role: role.into(),
            ..Default::default()
        };
        let error = operator.bind_role(asked).await.unwrap_err();
        assert_eq!((error.code(), error.reason()), INVALID, "{role}");
        assert_eq!(error.field_violations()[0].field, "role");
    }
}

async fn every_call_is_recorded_with_its_class(server: Shared) {
    let manager = server.client("operator").await;
    let user = server.client("app").await;
    let start = audit_end(&server).await;
    let key = new_key(&manager).await;
    let made = blob(&user, &key, &[("row", "1")]).await;
    user.decrypt(decrypt_of(&made.ciphertext, &[("row", "1")])).await.unwrap();
    refused(user.decrypt(decrypt_of(&made.ciphertext, &[("row", "2")])).await);
    let request_id = fresh("recorded");
    let asked = kms::RotateKeyRequest {
        key: key.clone(),
        request_id: request_id.clone(),
        reason: "yearly".into(),
    };
    manager.rotate_key(asked.clone()).await.unwrap();
    manager.rotate_key(asked).await.unwrap();
    refused(take(&manager, &key, Call::Resume).await);
    refused(rotate(&user, &key).await);
    let asked =
        kms::GenerateDataKeyRequest { key: key.clone(), key_bytes: 15, ..Default::default() };
    refused(user.generate_data_key(asked).await);

    let all = records(&server, "auditor", start).await;
    let sequences: Vec<_> = all.iter().map(|record| record.sequence).collect();
    assert!(sequences.is_sorted_by(|one, next| one < next));
    let own: Vec<_> = all.iter().filter(|record| record.key_id == key).collect();
    let told: Vec<_> = own
        .iter()
        .map(|record| (&*record.action, &*record.outcome, &*record.reason, &*record.class))
        .collect();
    let bad_key_resume = ("keys.resume_version", "REFUSED", "VERSION_NOT_USABLE", "");
    assert_eq!(
        told,
        [
            ("keys.create_key", "STARTED", "", ""),
            ("keys.create_key", "SUCCEEDED", "", ""),
            ("crypto.generate_data_key", "SUCCEEDED", "", ""),
            ("crypto.decrypt", "SUCCEEDED", "", ""),
            ("crypto.decrypt", "REFUSED", "INVALID_CIPHERTEXT", own[4].class.as_str()),
            ("keys.rotate_key", "STARTED", "", ""),
            ("keys.rotate_key", "SUCCEEDED", "", ""),
            ("keys.rotate_key", "SUCCEEDED", "", ""),
            bad_key_resume,
        ]
    );
    assert!(!own[4].class.is_empty());
    assert_eq!(own[3].encryption_context, pairs(&[("row", "1")]));
    assert_eq!((own[3].version, own[3].items), (1, 1));
    assert_eq!((own[6].version, &*own[6].request_id), (2, &*request_id));
    assert_eq!(own[6].started_sequence, own[5].sequence);
    assert_eq!(own[1].started_sequence, own[0].sequence);
    assert_eq!(own[3].principal, spiffe_id("app"));
    assert!(own[3].source_address.starts_with("127.0.0.1:"));
    // A call that may not even know whether the key is there names it in its detail only.
    let denied = all.iter().find(|record| {
        record.action == "keys.rotate_key"
            && record.detail.contains(&key)
            && record.class == "no_policy"
    });
    assert_eq!(denied.unwrap().outcome, "REFUSED");
    assert!(all.iter().any(|record| record.class == "key_bytes"
        && record.reason == "INVALID_ARGUMENT"
        && record.principal == spiffe_id("app")));

    // The other tenant's auditor sees its own records only; nobody else sees any.
    manager_of_two_makes_a_record(&server).await;
    let theirs = records(&server, "auditor2", 0).await;
    assert!(!theirs.is_empty());
    assert!(theirs.iter().all(|record| record.principal.contains("two.test")
        || record.principal.contains("bulla.internal")));
    assert!(all.iter().all(|record| !record.principal.contains("two.test")));
    let (code, reason) = refused(user.list_records(kms::ListRecordsRequest::default()).await);
    assert_eq!((code, &*reason), DENIED);

    // The tail begins with what is there and goes on with what comes.
    let auditor = server.client("auditor").await;
    let mut tail =
        auditor.tail_records(kms::TailRecordsRequest { last: 3, filter: None }).await.unwrap();
    let later = new_key(&manager).await;
    let mut last = 0;
    loop {
        let record = tail.message().await.unwrap().unwrap().record.unwrap();
        assert!(record.sequence > last, "each record comes once and in order");
        assert!(record.principal.contains("one.test") || record.principal.contains("internal"));
        last = record.sequence;
        if record.key_id == later && record.outcome == "SUCCEEDED" {
            break;
        }
    }
}

async fn manager_of_two_makes_a_record(server: &crate::server::TestServer) {
    new_key(&server.client("operator2").await).await;
}

async fn health_says_serving(server: Shared) {
    // Whoever has a certificate may ask, without a role.
    let raw = Raw::connect(&server, "nobody").await;
    for service in ["", "bulla.kms.v1.Crypto"] {
        let asked = HealthCheckRequest { service: service.into() };
        let answer = raw.call("/grpc.health.v1.Health/Check", &asked).await.unwrap();
        assert_eq!(HealthCheckResponse::decode(answer).unwrap().status, 1);
    }
}
