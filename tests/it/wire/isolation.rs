//! What must not open, must not be seen and must not be told apart.

use std::collections::BTreeMap;

use bulla::api::methods::METHODS;
use bulla_proto::kms::{self, decrypt_result, re_encrypt_result};
use prost::Message;
use tonic::Code;

use super::{
    Raw, Shared, audit_end, blob, decrypt_of, fresh, new_key, on_both_stores, pairs, reason,
    records, refused, rotate,
};
use crate::server::{TestServer, spiffe_id};

on_both_stores!(
    f07_every_blob_that_does_not_open_gets_the_same_answer,
    d06_many_good_and_bad_blobs_are_answered_in_order,
    e01_c02_another_tenants_names_are_as_if_they_were_not_there,
    re_encrypt_moves_a_blob_to_another_key_context_and_store,
    re_encrypt_stream_answers_ten_thousand_blobs_in_order,
);

const NOT_THERE: &str = "00000000-0000-4000-8000-000000000000";
const SAME: (Code, &str) = (Code::InvalidArgument, "INVALID_CIPHERTEXT");

async fn f07_every_blob_that_does_not_open_gets_the_same_answer(server: Shared) {
    let manager = server.client("operator").await;
    let user = server.client("app").await;
    let raw = Raw::connect(&server, "app").await;
    let (key, other) = (new_key(&manager).await, new_key(&manager).await);
    let made = blob(&user, &key, &[("row", "1")]).await;
    let of_other = blob(&user, &other, &[("row", "1")]).await;
    let user_of_two = server.client("app2").await;
    let key_of_two = new_key(&server.client("operator2").await).await;
    let of_two = blob(&user_of_two, &key_of_two, &[("row", "1")]).await;

    let right = decrypt_of(&made.ciphertext, &[("row", "1")]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut asked = right.clone();
        change(&mut asked.ciphertext);
        asked
    };
    let mut cases: Vec<(String, kms::DecryptRequest, Option<&str>)> = Vec::new();
    for at in 0..made.ciphertext.len() {
        let class = match at {
            0..4 => Some("magic"),
            4 => Some("suite"),
            5 => Some("type"),
            6..22 => Some("unknown_key"),
            22..26 => Some("unknown_version"),
            _ => None,
        };
        cases.push((format!("byte {at}"), with(&|blob| blob[at] ^= 1 << (at % 8)), class));
    }
    for length in [0, 1, 29, 30, 106, 107, made.ciphertext.len() - 1] {
        let class = (length < 107).then_some("length");
        cases.push((format!("cut to {length}"), with(&|blob| blob.truncate(length)), class));
    }
    let class = Some("length");
    cases.push(("too long".into(), with(&|blob| blob.resize(4203, 0)), class));
    cases.push(("one byte more".into(), with(&|blob| blob.push(0)), None));
    cases.push(("f03 suite 0".into(), with(&|blob| blob[4] = 0), Some("suite")));
    cases.push(("f03 suite 2".into(), with(&|blob| blob[4] = 2), Some("suite")));
    for kind in [0x10, 0x11, 0x12, 0x20, 0x00, 0xff] {
        cases.push((format!("f06 type {kind}"), with(&|blob| blob[5] = kind), Some("type")));
    }
    cases.push(("version 0".into(), with(&|blob| blob[22..26].fill(0)), Some("version")));
    let class = Some("unknown_version");
    cases.push(("version 2".into(), with(&|blob| blob[25] = 2), class));
    let contexts: [&[(&str, &str)]; 6] = [
        &[],
        &[("row", "2")],
        &[("row", "1 ")],
        &[("Row", "1")],
        &[("row", "1"), ("x", "")],
        &[("row1", "")],
    ];
    for context in contexts {
        let asked = decrypt_of(&made.ciphertext, context);
        cases.push((format!("context {context:?}"), asked, None));
    }
    let named = kms::DecryptRequest { key: other.clone(), ..right.clone() };
    cases.push(("another key named".into(), named, Some("other_key")));
    let asked = decrypt_of(&of_two.ciphertext, &[("row", "1")]);
    cases.push(("e01 another tenant's".into(), asked, Some("unknown_key")));
    // The header of one blob before the body of another.
    let spliced = with(&|blob| blob[30..].copy_from_slice(&of_other.ciphertext[30..]));
    cases.push(("f05 spliced".into(), spliced, None));

    let mut answers = Vec::new();
    for (what, asked, _) in &cases {
        let status = raw.call("/bulla.kms.v1.Crypto/Decrypt", asked).await;
        let status = status.err().unwrap_or_else(|| panic!("{what}: opened"));
        assert_eq!((status.code(), reason(&status).as_str()), SAME, "{what}");
        answers.push((status.message().to_owned(), status.details().to_vec()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for all");
    let address = raw.address.to_string();
    let recorded: Vec<_> = records(&server, "auditor", 0)
        .await
        .into_iter()
        .filter(|record| record.source_address == address)
        .collect();
    assert_eq!(recorded.len(), cases.len());
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for ((what, _, class), record) in cases.iter().zip(&recorded) {
        assert_eq!(&*record.outcome, "REFUSED", "{what}");
        assert!(!record.class.is_empty(), "{what}");
        if let Some(class) = class {
            assert_eq!(record.class, *class, "{what}");
        }
        *classes.entry(record.class.clone()).or_default() += 1;
    }
    println!("not opened: {} cases {classes:?}", cases.len());
    // Named rightly, by id, it opens.
    let named = kms::DecryptRequest { key, ..right };
    assert_eq!(user.decrypt(named).await.unwrap().plaintext, made.plaintext);
    // A key of another tenant, named, is as one that does not exist.
    let asked = |key: &str| kms::DecryptRequest {
        key: key.to_owned(),
        ..decrypt_of(&made.ciphertext, &[("row", "1")])
    };
    let path = "/bulla.kms.v1.Crypto/Decrypt";
    let theirs = raw.call(path, &asked(&key_of_two)).await.unwrap_err();
    let none = raw.call(path, &asked(NOT_THERE)).await.unwrap_err();
    assert_eq!(theirs.code(), Code::PermissionDenied);
    assert_eq!((theirs.message(), theirs.details()), (none.message(), none.details()));
}

async fn d06_many_good_and_bad_blobs_are_answered_in_order(server: Shared) {
    let manager = server.client("operator").await;
    let user = server.client("app").await;
    let key = new_key(&manager).await;
    let made = user
        .generate_data_keys(kms::GenerateDataKeysRequest {
            key: key.clone(),
            encryption_context: pairs(&[("t", "1")]),
            count: 100,
            ..Default::default()
        })
        .await
        .unwrap()
        .data_keys;
    let distinct: std::collections::BTreeSet<_> =
        made.iter().map(|pair| pair.plaintext.clone()).collect();
    assert_eq!(distinct.len(), 100);
    let requests: Vec<_> = made
        .iter()
        .enumerate()
        .map(|(at, pair)| match at % 4 {
            0 | 1 => decrypt_of(&pair.ciphertext, &[("t", "1")]),
            2 => decrypt_of(&pair.ciphertext, &[("t", "2")]),
            _ => kms::DecryptRequest {
                key: NOT_THERE.into(),
                ..decrypt_of(&pair.ciphertext, &[("t", "1")])
            },
        })
        .collect();
    let start = audit_end(&server).await;
    let results = user.decrypt_many(kms::DecryptManyRequest { requests }).await.unwrap().results;
    assert_eq!(results.len(), 100);
    for (at, (result, pair)) in results.into_iter().zip(made).enumerate() {
        match (at % 4, result.outcome.unwrap()) {
            (0 | 1, decrypt_result::Outcome::Opened(opened)) => {
                assert_eq!(opened.plaintext, pair.plaintext, "item {at}");
            }
            (2, decrypt_result::Outcome::Refusal(refusal)) => {
                assert_eq!(refusal.reason, "INVALID_CIPHERTEXT", "item {at}");
            }
            (3, decrypt_result::Outcome::Refusal(refusal)) => {
                assert_eq!(refusal.reason, "PERMISSION_DENIED", "item {at}");
            }
            (_, _) => panic!("item {at}: another's answer"),
        }
    }
    let all = records(&server, "auditor", start).await;
    let is_it = |record: &&kms::Record| {
        record.items == 100 && record.item_details.iter().any(|item| item.key_id == key)
    };
    let record = all.iter().find(is_it).unwrap();
    let count = |reason: &str| -> u32 {
        let items = record.item_details.iter().filter(|item| item.reason == reason);
        items.map(|item| item.count).sum()
    };
    assert_eq!(count(""), 50);
    assert_eq!((count("INVALID_CIPHERTEXT"), count("PERMISSION_DENIED")), (25, 25));
}

async fn e01_c02_another_tenants_names_are_as_if_they_were_not_there(server: Shared) {
    let manager = server.client("operator").await;
    let user = server.client("app").await;
    let alias = fresh("theirs");
    let asked = kms::CreateKeyRequest { alias: alias.clone(), ..Default::default() };
    let key = manager.create_key(asked).await.unwrap().key.unwrap().key_id;
    let made = blob(&user, &key, &[]).await;
    let own = new_key(&server.client("operator2").await).await;
    let own_blob = blob(&server.client("app2").await, &own, &[]).await;

    // A version step has the same fields as any other: key 1, version 2.
    let step = |key: &str| {
        kms::SuspendVersionRequest { key: key.into(), version: 1, ..Default::default() }
            .encode_to_vec()
    };
    let only_key = |key: &str| kms::GetKeyRequest { key: key.into() }.encode_to_vec();
    let counted = |key: &str| {
        kms::GenerateDataKeysRequest { key: key.into(), count: 2, ..Default::default() }
            .encode_to_vec()
    };
    let encrypt = |key: &str| {
        kms::EncryptRequest { key: key.into(), plaintext: vec![1], ..Default::default() }
            .encode_to_vec()
    };
    let set_alias = |key: &str| {
        kms::SetAliasRequest { alias: "mine".into(), key: key.into(), ..Default::default() }
            .encode_to_vec()
    };
    let list_aliases = |key: &str| {
        kms::ListAliasesRequest { key: key.into(), ..Default::default() }.encode_to_vec()
    };
    let decrypt = |key: &str| {
        kms::DecryptRequest { key: key.into(), ..decrypt_of(&own_blob.ciphertext, &[]) }
            .encode_to_vec()
    };
    let re_encrypt = |key: &str| {
        kms::ReEncryptRequest {
            ciphertext: own_blob.ciphertext.clone(),
            destination_key: key.into(),
            ..Default::default()
        }
        .encode_to_vec()
    };
    type Asked<'a> = &'a dyn Fn(&str) -> Vec<u8>;
    let calls: &[(&str, &str, Asked)] = &[
        ("app2", "Crypto/GenerateDataKey", &only_key),
        ("app2", "Crypto/GenerateDataKeyWithoutPlaintext", &only_key),
        ("app2", "Crypto/GenerateDataKeys", &counted),
        ("app2", "Crypto/Encrypt", &encrypt),
        ("app2", "Crypto/Decrypt", &decrypt),
        ("app2", "Crypto/ReEncrypt", &re_encrypt),
        ("app2", "Keys/GetKey", &only_key),
        ("operator2", "Keys/GetKey", &only_key),
        ("operator2", "Keys/UpdateKey", &only_key),
        ("operator2", "Keys/DisableKey", &only_key),
        ("operator2", "Keys/EnableKey", &only_key),
        ("operator2", "Keys/RotateKey", &only_key),
        ("operator2", "Keys/ListVersions", &only_key),
        ("operator2", "Keys/GetVersion", &step),
        ("operator2", "Keys/SuspendVersion", &step),
        ("operator2", "Keys/ResumeVersion", &step),
        ("operator2", "Keys/RestrictVersion", &step),
        ("operator2", "Keys/UnrestrictVersion", &step),
        ("operator2", "Keys/CompromiseVersion", &step),
        ("operator2", "Keys/ScheduleDestroy", &step),
        ("operator2", "Keys/CancelDestroy", &step),
        ("operator2", "Keys/SetAlias", &set_alias),
        ("operator2", "Keys/ListAliases", &list_aliases),
        // Its one name is the alias, in the place of a key.
        ("operator2", "Keys/DeleteAlias", &only_key),
    ];
    let mut cases = 0;
    let mut answers = std::collections::BTreeSet::new();
    for (caller, method, asked) in calls {
        let raw = Raw::connect(&server, caller).await;
        let path = format!("/bulla.kms.v1.{method}");
        let not_there = fresh("no-such");
        for named in [key.as_str(), alias.as_str(), NOT_THERE, not_there.as_str()] {
            if *method == "Keys/DeleteAlias" && (named == key || named == NOT_THERE) {
                continue;
            }
            let (_, status) = raw.message(&path, &asked(named)).await;
            assert_eq!(status.code(), Code::PermissionDenied, "{method} {named}: {status:?}");
            answers.insert((status.message().to_owned(), status.details().to_vec()));
            cases += 1;
        }
    }
    // And a role that is missing gives that same answer.
    let raw = Raw::connect(&server, "nobody").await;
    let (_, status) = raw.message("/bulla.kms.v1.Keys/RotateKey", &only_key(&key)).await;
    answers.insert((status.message().to_owned(), status.details().to_vec()));
    assert_eq!(answers.len(), 1, "{answers:?}");

    // Blobs: the other tenant's does not open, does not move, and its header tells nothing more.
    let user_of_two = server.client("app2").await;
    let (code, why) = refused(user_of_two.decrypt(decrypt_of(&made.ciphertext, &[])).await);
    assert_eq!((code, why.as_str()), SAME);
    let asked = kms::ReEncryptRequest {
        ciphertext: made.ciphertext.clone(),
        destination_key: own.clone(),
        ..Default::default()
    };
    let (code, why) = refused(user_of_two.re_encrypt(asked).await);
    assert_eq!((code, why.as_str()), SAME);
    let asked = kms::InspectRequest { ciphertext: made.ciphertext.clone() };
    let seen = user_of_two.inspect(asked).await.unwrap();
    assert_eq!((seen.state, seen.decryptable, seen.aliases.len()), (0, false, 0));
    // The same alias in another tenant is another name.
    let manager_of_two = server.client("operator2").await;
    let asked =
        kms::SetAliasRequest { alias: alias.clone(), key: own.clone(), ..Default::default() };
    manager_of_two.set_alias(asked).await.unwrap();
    let asked = kms::GetKeyRequest { key: alias };
    assert_eq!(manager.get_key(asked).await.unwrap().key.unwrap().key_id, key);
    let listed = manager_of_two.list_keys(kms::ListKeysRequest::default()).await.unwrap();
    assert!(listed.keys.iter().all(|shown| shown.key_id != key));
    // Nothing of it was changed.
    let shown = manager.get_key(kms::GetKeyRequest { key }).await.unwrap().key.unwrap();
    assert_eq!((shown.latest_version, shown.active_version, shown.enabled), (1, 1, true));
    println!("another tenant's names: {cases} cases");
}

async fn re_encrypt_moves_a_blob_to_another_key_context_and_store(server: Shared) {
    let manager = server.client("operator").await;
    let (user, rewrapper) = (server.client("app").await, server.client("rewrapper").await);
    let (one, other) = (new_key(&manager).await, new_key(&manager).await);
    let asked = kms::GenerateDataKeyRequest {
        key: one.clone(),
        encryption_context: pairs(&[("row", "1")]),
        key_bytes: 64,
        store: 7,
    };
    let made = user.generate_data_key(asked).await.unwrap();
    rotate(&manager, &one).await.unwrap();
    let new_context = kms::Context { pairs: pairs(&[("row", "2"), ("table", "t")]) };
    let mut cases = 0;
    for (key, is_other) in [("", false), (one.as_str(), false), (other.as_str(), true)] {
        for context in [None, Some(kms::Context::default()), Some(new_context.clone())] {
            for store in [None, Some(0), Some(9)] {
                let asked = kms::ReEncryptRequest {
                    ciphertext: made.ciphertext.clone(),
                    source_encryption_context: pairs(&[("row", "1")]),
                    destination_key: key.to_owned(),
                    destination_encryption_context: context.clone(),
                    store,
                };
                let moved = rewrapper.re_encrypt(asked).await.unwrap();
                let expected = if is_other { (&other, 1) } else { (&one, 2) };
                assert_eq!((&moved.key_id, moved.version), expected);
                assert_eq!((&moved.source_key_id, moved.source_version), (&one, 1));
                let encryption_context = match &context {
                    Some(context) => context.pairs.clone(),
                    None => pairs(&[("row", "1")]),
                };
                let asked = kms::DecryptRequest {
                    ciphertext: moved.ciphertext,
                    encryption_context,
                    key: String::new(),
                };
                let opened = user.decrypt(asked.clone()).await.unwrap();
                assert_eq!(opened.plaintext, made.plaintext);
                assert_eq!(opened.store, store.unwrap_or(7));
                if context.is_some() {
                    let old = pairs(&[("row", "1")]);
                    let asked = kms::DecryptRequest { encryption_context: old, ..asked };
                    assert_eq!(refused(user.decrypt(asked).await).1, "INVALID_CIPHERTEXT");
                }
                cases += 1;
            }
        }
    }
    println!("re-encrypt: {cases} cases");
    // D10: whoever opens may not move, and whoever moves may not open.
    let asked = kms::ReEncryptRequest { ciphertext: made.ciphertext.clone(), ..Default::default() };
    assert_eq!(refused(user.re_encrypt(asked).await).0, Code::PermissionDenied);
    let asked = decrypt_of(&made.ciphertext, &[("row", "1")]);
    assert_eq!(refused(rewrapper.decrypt(asked).await).0, Code::PermissionDenied);
    let asked = kms::GenerateDataKeyRequest { key: one, ..Default::default() };
    assert_eq!(refused(rewrapper.generate_data_key(asked).await).0, Code::PermissionDenied);
}

async fn re_encrypt_stream_answers_ten_thousand_blobs_in_order(server: Shared) {
    let manager = server.client("operator").await;
    let (user, rewrapper) = (server.client("app").await, server.client("rewrapper").await);
    let key = new_key(&manager).await;
    let mut made = Vec::new();
    for _ in 0..10 {
        let asked =
            kms::GenerateDataKeysRequest { key: key.clone(), count: 1000, ..Default::default() };
        made.extend(user.generate_data_keys(asked).await.unwrap().data_keys);
    }
    rotate(&manager, &key).await.unwrap();
    // Every hundredth has a context that it was not wrapped with.
    let requests: Vec<_> = made
        .chunks(500)
        .map(|chunk| kms::ReEncryptStreamRequest {
            requests: chunk
                .iter()
                .enumerate()
                .map(|(at, pair)| kms::ReEncryptRequest {
                    ciphertext: pair.ciphertext.clone(),
                    source_encryption_context: match at % 100 {
                        99 => pairs(&[("x", "")]),
                        _ => BTreeMap::new(),
                    },
                    ..Default::default()
                })
                .collect(),
        })
        .collect();
    let mut replies = rewrapper.re_encrypt_stream(tokio_stream::iter(requests)).await.unwrap();
    let mut results = Vec::new();
    while let Some(reply) = replies.message().await.unwrap() {
        results.extend(reply.results);
    }
    assert_eq!(results.len(), 10_000);
    let mut moved = Vec::new();
    for (at, result) in results.into_iter().enumerate() {
        match result.outcome.unwrap() {
            re_encrypt_result::Outcome::Moved(blob) if at % 100 != 99 => {
                assert_eq!((blob.source_version, blob.version), (1, 2));
                moved.push((at, blob.ciphertext));
            }
            re_encrypt_result::Outcome::Refusal(refusal) if at % 100 == 99 => {
                assert_eq!(refusal.reason, "INVALID_CIPHERTEXT");
            }
            _ => panic!("item {at}: another's answer"),
        }
    }
    for chunk in moved.chunks(1000) {
        let requests = chunk.iter().map(|(_, blob)| decrypt_of(blob, &[])).collect();
        let opened = user.decrypt_many(kms::DecryptManyRequest { requests }).await.unwrap();
        for ((at, _), result) in chunk.iter().zip(opened.results) {
            let Some(decrypt_result::Outcome::Opened(opened)) = result.outcome else {
                panic!("item {at} does not open");
            };
            assert_eq!(opened.plaintext, made[*at].plaintext, "item {at}");
        }
    }
    // A message without blobs ends the stream with what is wrong with it.
    let empty = tokio_stream::iter([kms::ReEncryptStreamRequest::default()]);
    let mut replies = rewrapper.re_encrypt_stream(empty).await.unwrap();
    let error = replies.message().await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::InvalidArgument, "INVALID_ARGUMENT"));
}

/// Which roles let a method through. Whatever has no row here is refused to all.
const ALLOWED: &[(&str, &[&str])] = {
    const USER: &str = "key-user";
    const REWRAPPER: &str = "key-rewrapper";
    const MANAGER: &str = "key-manager";
    const AUDITOR: &str = "auditor";
    const OPERATOR: &str = "operator";
    const NONE: &str = "";
    const APPROVER: &str = "approver";
    const LANDLORD: &str = "tenant-manager";
    const ALL: &[&str] = &[NONE, USER, REWRAPPER, MANAGER, AUDITOR, OPERATOR, APPROVER, LANDLORD];
    &[
        ("/bulla.kms.v1.Crypto/GenerateDataKey", &[USER]),
        ("/bulla.kms.v1.Crypto/GenerateDataKeyWithoutPlaintext", &[USER]),
        ("/bulla.kms.v1.Crypto/GenerateDataKeys", &[USER]),
        ("/bulla.kms.v1.Crypto/Encrypt", &[USER]),
        ("/bulla.kms.v1.Crypto/Decrypt", &[USER]),
        ("/bulla.kms.v1.Crypto/DecryptMany", &[USER]),
        ("/bulla.kms.v1.Crypto/ReEncrypt", &[REWRAPPER]),
        ("/bulla.kms.v1.Crypto/ReEncryptStream", &[REWRAPPER]),
        ("/bulla.kms.v1.Crypto/Inspect", &[USER, REWRAPPER, MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Crypto/GenerateRandom", &[USER]),
        ("/bulla.kms.v1.Keys/CreateKey", &[MANAGER]),
        ("/bulla.kms.v1.Keys/GetKey", &[USER, REWRAPPER, MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Keys/ListKeys", &[MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Keys/UpdateKey", &[MANAGER]),
        ("/bulla.kms.v1.Keys/DisableKey", &[MANAGER]),
        ("/bulla.kms.v1.Keys/EnableKey", &[MANAGER]),
        ("/bulla.kms.v1.Keys/RotateKey", &[MANAGER]),
        ("/bulla.kms.v1.Keys/ListVersions", &[REWRAPPER, MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Keys/GetVersion", &[REWRAPPER, MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Keys/SuspendVersion", &[MANAGER]),
        ("/bulla.kms.v1.Keys/ResumeVersion", &[MANAGER]),
        ("/bulla.kms.v1.Keys/RestrictVersion", &[MANAGER]),
        ("/bulla.kms.v1.Keys/UnrestrictVersion", &[MANAGER]),
        ("/bulla.kms.v1.Keys/CompromiseVersion", &[MANAGER]),
        ("/bulla.kms.v1.Keys/ScheduleDestroy", &[MANAGER]),
        ("/bulla.kms.v1.Keys/CancelDestroy", &[MANAGER]),
        ("/bulla.kms.v1.Keys/SetAlias", &[MANAGER]),
        ("/bulla.kms.v1.Keys/DeleteAlias", &[MANAGER]),
        ("/bulla.kms.v1.Keys/ListAliases", &[MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Keys/WatchKeys", &[MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Rotation/RegisterStore", &[MANAGER]),
        ("/bulla.kms.v1.Rotation/ListStores", &[REWRAPPER, MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Rotation/ReportRestore", &[MANAGER, OPERATOR]),
        ("/bulla.kms.v1.Rotation/GetCensus", &[MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Rotation/RetireCheck", &[MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Rotation/WaiveUnnamedStore", &[MANAGER]),
        ("/bulla.kms.v1.Rotation/BeginScan", &[REWRAPPER]),
        ("/bulla.kms.v1.Rotation/ReportScan", &[REWRAPPER]),
        ("/bulla.kms.v1.Rotation/CreateCampaign", &[MANAGER]),
        ("/bulla.kms.v1.Rotation/GetCampaign", &[REWRAPPER, MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Rotation/ListCampaigns", &[REWRAPPER, MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Rotation/PauseCampaign", &[MANAGER]),
        ("/bulla.kms.v1.Rotation/ResumeCampaign", &[MANAGER]),
        ("/bulla.kms.v1.Rotation/AbandonCampaign", &[MANAGER]),
        ("/bulla.kms.v1.Rotation/ReportProgress", &[REWRAPPER]),
        ("/bulla.kms.v1.Rotation/ListProblems", &[REWRAPPER, MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Rotation/DecideProblem", &[MANAGER]),
        ("/bulla.kms.v1.Rotation/RotateDue", &[MANAGER]),
        ("/bulla.kms.v1.Rotation/SetLadder", &[MANAGER]),
        ("/bulla.kms.v1.Rotation/GetLadder", &[MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Rotation/ResumeLadder", &[MANAGER]),
        ("/bulla.kms.v1.Rotation/GetExposure", &[MANAGER, AUDITOR]),
        ("/bulla.kms.v1.Access/BindRole", &[OPERATOR]),
        ("/bulla.kms.v1.Access/UnbindRole", &[OPERATOR]),
        ("/bulla.kms.v1.Access/ListRoleBindings", &[OPERATOR, AUDITOR]),
        ("/bulla.kms.v1.Access/WriteRelations", &[OPERATOR]),
        ("/bulla.kms.v1.Access/ListRelations", &[OPERATOR, AUDITOR]),
        ("/bulla.kms.v1.Access/CreateGrant", &[OPERATOR]),
        ("/bulla.kms.v1.Access/ListGrants", &[OPERATOR, AUDITOR]),
        ("/bulla.kms.v1.Access/RevokeGrant", &[OPERATOR]),
        ("/bulla.kms.v1.Access/PutPolicy", &[OPERATOR]),
        ("/bulla.kms.v1.Access/DeletePolicy", &[OPERATOR]),
        ("/bulla.kms.v1.Access/GetPolicy", &[OPERATOR, AUDITOR]),
        ("/bulla.kms.v1.Access/ListPolicies", &[OPERATOR, AUDITOR]),
        ("/bulla.kms.v1.Access/GetPolicySchema", &[OPERATOR, AUDITOR]),
        ("/bulla.kms.v1.Access/SimulatePolicies", &[OPERATOR]),
        ("/bulla.kms.v1.Access/Explain", &[OPERATOR, AUDITOR]),
        ("/bulla.kms.v1.Access/CreateServiceAccount", &[OPERATOR]),
        ("/bulla.kms.v1.Access/ListServiceAccounts", &[OPERATOR, AUDITOR]),
        ("/bulla.kms.v1.Access/DeleteServiceAccount", &[OPERATOR]),
        ("/bulla.kms.v1.Access/CreateCredential", &[OPERATOR]),
        ("/bulla.kms.v1.Access/ListCredentials", &[OPERATOR, AUDITOR]),
        ("/bulla.kms.v1.Access/RevokeCredential", &[OPERATOR]),
        ("/bulla.kms.v1.Access/ExchangeToken", ALL),
        ("/bulla.kms.v1.Access/WhoAmI", ALL),
        ("/bulla.kms.v1.Approvals/Propose", &[USER, REWRAPPER, MANAGER, OPERATOR]),
        ("/bulla.kms.v1.Approvals/Approve", &[APPROVER]),
        ("/bulla.kms.v1.Approvals/Reject", &[APPROVER]),
        ("/bulla.kms.v1.Approvals/GetProposal", &[MANAGER, AUDITOR, OPERATOR, APPROVER]),
        ("/bulla.kms.v1.Approvals/ListProposals", &[MANAGER, AUDITOR, OPERATOR, APPROVER]),
        ("/bulla.kms.v1.Approvals/PutApprovalRule", &[OPERATOR]),
        ("/bulla.kms.v1.Approvals/DeleteApprovalRule", &[OPERATOR]),
        ("/bulla.kms.v1.Approvals/ListApprovalRules", &[AUDITOR, OPERATOR, APPROVER]),
        // In the installation's own tenant alone, whatever somebody's role is called elsewhere.
        ("/bulla.kms.v1.Tenants/CreateTenant", &[]),
        ("/bulla.kms.v1.Tenants/GetTenant", &[]),
        ("/bulla.kms.v1.Tenants/ListTenants", &[]),
        ("/bulla.kms.v1.Tenants/UpdateTenant", &[]),
        ("/bulla.kms.v1.Tenants/SuspendTenant", &[]),
        ("/bulla.kms.v1.Tenants/ResumeTenant", &[]),
        ("/bulla.kms.v1.Audit/ListRecords", &[AUDITOR]),
        ("/bulla.kms.v1.Audit/TailRecords", &[AUDITOR]),
        ("/bulla.kms.v1.Audit/GetCheckpoint", &[AUDITOR]),
        ("/bulla.kms.v1.Audit/GetRecord", &[AUDITOR]),
        ("/bulla.kms.v1.Audit/ProveInclusion", &[AUDITOR]),
        ("/bulla.kms.v1.Audit/ProveConsistency", &[AUDITOR]),
        ("/bulla.kms.v1.Operator/Status", &[OPERATOR]),
        ("/grpc.health.v1.Health/Check", ALL),
        ("/grpc.health.v1.Health/Watch", ALL),
    ]
};

/// Only who has the right learns what is wrong with a request, so an empty one tells the two apart.
/// A server of its own: it gives `nobody` one role after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d02_d04_each_role_is_let_in_where_the_table_says_and_nowhere_else() {
    let server = TestServer::start();
    let operator = server.client("operator").await;
    let raw = Raw::connect(&server, "nobody").await;
    let principal = spiffe_id("nobody");
    let mut cases = 0;
    for role in [
        "",
        "key-user",
        "key-rewrapper",
        "key-manager",
        "auditor",
        "operator",
        "approver",
        "tenant-manager",
    ] {
        if !role.is_empty() {
            let asked = kms::BindRoleRequest {
                principal: principal.clone(),
                role: role.into(),
                ..Default::default()
            };
            operator.bind_role(asked).await.unwrap();
        }
        for method in METHODS.iter().filter(|method| !method.path.contains(".Bench/")) {
            let row = ALLOWED.iter().find(|(path, _)| *path == method.path);
            let allowed = row.is_some_and(|(_, roles)| roles.contains(&role));
            let answer = raw.is_let_in(method.path, &[]).await;
            let let_in = !matches!(&answer, Err(status) if status.code() == Code::PermissionDenied);
            assert_eq!(let_in, allowed, "{role:?} {}: {answer:?}", method.path);
            cases += 1;
        }
        if !role.is_empty() {
            let asked = kms::UnbindRoleRequest {
                principal: principal.clone(),
                role: role.into(),
                ..Default::default()
            };
            operator.unbind_role(asked).await.unwrap();
        }
    }
    println!("roles: {cases} cases");
    assert_eq!(ALLOWED.len() * 8, cases);
}
