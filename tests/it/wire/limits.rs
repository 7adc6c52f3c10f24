//! Every limit of every field, one below, on it and one above; and bytes that are no message.

use std::collections::BTreeMap;

use bulla_proto::kms;
use bytes::Bytes;
use prost::Message;
use tonic::Code;

use super::{Raw, Shared, field, framed, fresh, new_key, on_both_stores, reason, records};

const INVALID: (Code, &str) = (Code::InvalidArgument, "INVALID_ARGUMENT");
const CONTEXT: (Code, &str) = (Code::InvalidArgument, "CONTEXT_TOO_LARGE");
const LARGE: (Code, &str) = (Code::ResourceExhausted, "TOO_LARGE");
const OK: (Code, &str) = (Code::Ok, "");
const DAY_S: i64 = 24 * 60 * 60;

on_both_stores!(
    every_field_is_held_to_its_limits,
    j04_what_is_no_message_is_refused_and_recorded,
    j03_a_message_over_its_limit_is_refused_before_it_is_read,
    d04_d05_an_unknown_method_or_spelling_is_refused_and_recorded,
);

/// Calls of one caller, counted.
struct Calls {
    raw: Raw,
    count: usize,
}

impl Calls {
    async fn expect(
        &mut self,
        method: &str,
        what: &str,
        message: impl Message,
        named: &str,
        expected: (Code, &str),
    ) {
        self.count += 1;
        let path = format!("/bulla.kms.v1.{method}");
        let found = match self.raw.call(&path, &message).await {
            Ok(_) => (Code::Ok, String::new(), String::new()),
            Err(status) => {
                let text = status.message().to_owned();
                let code = status.code();
                if code == Code::InvalidArgument {
                    assert_eq!(field(&status).as_deref(), Some(named), "{method} {what}");
                }
                (code, reason(&status), text)
            }
        };
        let (code, reason, text) = found;
        assert_eq!((code, reason.as_str()), expected, "{method} {what}: {text}");
        if code == Code::ResourceExhausted {
            assert!(text.starts_with(named), "{method} {what}: {text}");
        }
    }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn one_pair(key_bytes: usize, value_bytes: usize) -> BTreeMap<String, String> {
    BTreeMap::from([("k".repeat(key_bytes), "v".repeat(value_bytes))])
}

fn many_pairs(count: usize, value_bytes: usize) -> BTreeMap<String, String> {
    (0..count).map(|at| (format!("{at:04}"), "v".repeat(value_bytes))).collect()
}

/// A context whose encoding, header and tenant included, takes exactly this many bytes.
fn context_of(bytes: usize) -> BTreeMap<String, String> {
    let mut context = many_pairs(8, 1900);
    let so_far: usize = 30 + 16 + 2 + 8 * (4 + 4 + 1900);
    let rest = bytes - so_far - 4 - 4;
    context.insert("rest".into(), "r".repeat(rest));
    context
}

async fn every_field_is_held_to_its_limits(server: Shared) {
    let manager = server.client("operator").await;
    let key = new_key(&manager).await;
    let mut app = Calls { raw: Raw::connect(&server, "app").await, count: 0 };
    let mut operator = Calls { raw: Raw::connect(&server, "operator").await, count: 0 };
    let mut auditor = Calls { raw: Raw::connect(&server, "auditor").await, count: 0 };

    // === Crypto ===
    for (bytes, expected) in [(0, OK), (1, INVALID), (15, INVALID), (16, OK), (17, OK)]
        .into_iter()
        .chain([(63, OK), (64, OK), (65, INVALID), (u32::MAX, INVALID)])
    {
        let what = format!("key_bytes {bytes}");
        let (key, key_bytes) = (key.clone(), bytes);
        let one = kms::GenerateDataKeyRequest { key: key.clone(), key_bytes, ..Default::default() };
        let many = kms::GenerateDataKeysRequest {
            key: key.clone(),
            key_bytes,
            count: 2,
            ..Default::default()
        };
        let mute =
            kms::GenerateDataKeyWithoutPlaintextRequest { key, key_bytes, ..Default::default() };
        app.expect("Crypto/GenerateDataKey", &what, one, "key_bytes", expected).await;
        app.expect("Crypto/GenerateDataKeys", &what, many, "key_bytes", expected).await;
        let method = "Crypto/GenerateDataKeyWithoutPlaintext";
        app.expect(method, &what, mute, "key_bytes", expected).await;
    }
    for (count, expected) in [(0, INVALID), (1, OK), (999, OK), (1000, OK), (1001, LARGE)] {
        let what = format!("count {count}");
        let asked = kms::GenerateDataKeysRequest { key: key.clone(), count, ..Default::default() };
        app.expect("Crypto/GenerateDataKeys", &what, asked, "count", expected).await;
    }
    for (bytes, expected) in [(0, INVALID), (1, OK), (4095, OK), (4096, OK), (4097, LARGE)] {
        let what = format!("plaintext {bytes}");
        let plaintext = vec![7; bytes];
        let asked = kms::EncryptRequest { key: key.clone(), plaintext, ..Default::default() };
        app.expect("Crypto/Encrypt", &what, asked, "plaintext", expected).await;
    }
    for (bytes, expected) in [(0, INVALID), (1, OK), (1023, OK), (1024, OK), (1025, INVALID)] {
        let what = format!("random_bytes {bytes}");
        let asked = kms::GenerateRandomRequest { random_bytes: bytes };
        app.expect("Crypto/GenerateRandom", &what, asked, "random_bytes", expected).await;
    }
    for (what, context, expected) in [
        ("a key of 0", one_pair(0, 1), CONTEXT),
        ("a key of 1", one_pair(1, 0), OK),
        ("a key of 255", one_pair(255, 1), OK),
        ("a key of 256", one_pair(256, 1), OK),
        ("a key of 257", one_pair(257, 1), CONTEXT),
        ("a value of 2047", one_pair(1, 2047), OK),
        ("a value of 2048", one_pair(1, 2048), OK),
        ("a value of 2049", one_pair(1, 2049), CONTEXT),
        ("63 pairs", many_pairs(63, 1), OK),
        ("64 pairs", many_pairs(64, 1), OK),
        ("65 pairs", many_pairs(65, 1), CONTEXT),
        ("16383 bytes", context_of(16383), OK),
        ("16384 bytes", context_of(16384), OK),
        ("16385 bytes", context_of(16385), CONTEXT),
    ] {
        let encryption_context = context;
        let made = kms::GenerateDataKeyRequest {
            key: key.clone(),
            encryption_context: encryption_context.clone(),
            ..Default::default()
        };
        let wrapped = kms::EncryptRequest {
            key: key.clone(),
            plaintext: vec![1],
            encryption_context: encryption_context.clone(),
            ..Default::default()
        };
        app.expect("Crypto/GenerateDataKey", what, made, "encryption_context", expected).await;
        app.expect("Crypto/Encrypt", what, wrapped, "encryption_context", expected).await;
        if expected != OK {
            let opened = kms::DecryptRequest { encryption_context, ..Default::default() };
            app.expect("Crypto/Decrypt", what, opened, "encryption_context", expected).await;
        }
    }
    for (count, expected) in [(0, INVALID), (1, OK), (999, OK), (1000, OK), (1001, LARGE)] {
        let what = format!("{count} requests");
        let requests = vec![kms::DecryptRequest::default(); count];
        let asked = kms::DecryptManyRequest { requests };
        app.expect("Crypto/DecryptMany", &what, asked, "requests", expected).await;
    }

    // === pages ===
    for (page_size, expected) in [(0, OK), (1, OK), (999, OK), (1000, OK), (1001, INVALID)] {
        let what = format!("page_size {page_size}");
        let page_token = String::new();
        let keys = kms::ListKeysRequest { page_size, ..Default::default() };
        let versions =
            kms::ListVersionsRequest { key: key.clone(), page_size, ..Default::default() };
        let aliases = kms::ListAliasesRequest { page_size, ..Default::default() };
        let bindings = kms::ListRoleBindingsRequest { page_size, page_token };
        let records = kms::ListRecordsRequest { page_size, ..Default::default() };
        operator.expect("Keys/ListKeys", &what, keys, "page_size", expected).await;
        operator.expect("Keys/ListVersions", &what, versions, "page_size", expected).await;
        operator.expect("Keys/ListAliases", &what, aliases, "page_size", expected).await;
        operator.expect("Access/ListRoleBindings", &what, bindings, "page_size", expected).await;
        auditor.expect("Audit/ListRecords", &what, records, "page_size", expected).await;
    }
    for token in ["!", "AAAA=", "a", "_w", "bm90LWEta2V5", "QUJD/+=="] {
        let what = format!("page_token {token}");
        let page_token = token.to_owned();
        let keys = kms::ListKeysRequest { page_token: page_token.clone(), ..Default::default() };
        let versions = kms::ListVersionsRequest { key: key.clone(), page_size: 1, page_token };
        operator.expect("Keys/ListKeys", &what, keys, "page_token", INVALID).await;
        operator.expect("Keys/ListVersions", &what, versions, "page_token", INVALID).await;
    }
    for page_token in ["!", "AAAA=", "a", "_w", "QUJD"] {
        let asked = kms::ListAliasesRequest { page_token: page_token.into(), ..Default::default() };
        operator.expect("Keys/ListAliases", page_token, asked, "page_token", INVALID).await;
    }
    for cursor in ["-1", "x", "18446744073709551616", " 1"] {
        let asked = kms::WatchKeysRequest { cursor: cursor.into() };
        operator.expect("Keys/WatchKeys", cursor, asked, "cursor", INVALID).await;
    }

    // === what describes a key ===
    let uuid_like = "abcdef01-2345-6789-abcd-ef0123456789";
    for (what, alias, expected) in [
        ("127", format!("{:a<127}", fresh("a")), OK),
        ("128", format!("{:a<128}", fresh("a")), OK),
        ("129", format!("{:a<129}", fresh("a")), INVALID),
        ("upper case", "Orders".into(), INVALID),
        ("a space", "or ders".into(), INVALID),
        ("a digit first", "1orders".into(), INVALID),
        ("an empty segment", "orders//x".into(), INVALID),
        ("dots", "orders/../x".into(), INVALID),
        ("a slash last", "orders/".into(), INVALID),
        ("like a UUID", uuid_like.into(), INVALID),
        ("like a UUID without hyphens", uuid_like.replace('-', ""), INVALID),
        ("not ASCII", "ord\u{435}rs".into(), INVALID),
    ] {
        let made = kms::CreateKeyRequest { alias: alias.clone(), ..Default::default() };
        let set =
            kms::SetAliasRequest { alias: alias.clone(), key: key.clone(), ..Default::default() };
        operator.expect("Keys/CreateKey", what, made, "alias", expected).await;
        operator.expect("Keys/SetAlias", what, set, "alias", expected).await;
        let deleted = kms::DeleteAliasRequest { alias, ..Default::default() };
        operator.expect("Keys/DeleteAlias", what, deleted, "alias", expected).await;
    }
    for (what, key_ring, expected) in [
        ("7 segments", ["r"; 7].join("/"), OK),
        ("8 segments", ["r"; 8].join("/"), OK),
        ("9 segments", ["r"; 9].join("/"), INVALID),
        ("a segment of 62", "r".repeat(62), OK),
        ("a segment of 63", "r".repeat(63), OK),
        ("a segment of 64", "r".repeat(64), INVALID),
        ("a slash first", "/r".into(), INVALID),
        ("upper case", "R".into(), INVALID),
    ] {
        let made = kms::CreateKeyRequest { key_ring: key_ring.clone(), ..Default::default() };
        let updated = kms::UpdateKeyRequest {
            key: key.clone(),
            key_ring: Some(key_ring.clone()),
            ..Default::default()
        };
        operator.expect("Keys/CreateKey", what, made, "key_ring", expected).await;
        operator.expect("Keys/UpdateKey", what, updated, "key_ring", expected).await;
        let listed = kms::ListKeysRequest { key_ring, ..Default::default() };
        operator.expect("Keys/ListKeys", what, listed, "key_ring", expected).await;
    }
    for (what, tags, expected) in [
        ("49 tags", many_pairs(49, 1), OK),
        ("50 tags", many_pairs(50, 1), OK),
        ("51 tags", many_pairs(51, 1), INVALID),
        ("a key of 0", one_pair(0, 1), INVALID),
        ("a key of 127", one_pair(127, 1), OK),
        ("a key of 128", one_pair(128, 1), OK),
        ("a key of 129", one_pair(129, 1), INVALID),
        ("a value of 255", one_pair(1, 255), OK),
        ("a value of 256", one_pair(1, 256), OK),
        ("a value of 257", one_pair(1, 257), INVALID),
        ("a control character", super::pairs(&[("k", "a\nb")]), INVALID),
    ] {
        let made = kms::CreateKeyRequest { tags: tags.clone(), ..Default::default() };
        let tags = Some(kms::Tags { pairs: tags });
        let updated = kms::UpdateKeyRequest { key: key.clone(), tags, ..Default::default() };
        operator.expect("Keys/CreateKey", what, made, "tags", expected).await;
        operator.expect("Keys/UpdateKey", what, updated, "tags", expected).await;
    }
    for (what, description, expected) in [
        ("0", String::new(), OK),
        ("1023", "d".repeat(1023), OK),
        ("1024", "d".repeat(1024), OK),
        ("1025", "d".repeat(1025), INVALID),
        ("an escape", "\u{1b}[31m".into(), INVALID),
    ] {
        let made = kms::CreateKeyRequest { description: description.clone(), ..Default::default() };
        let description = Some(description);
        let updated = kms::UpdateKeyRequest { key: key.clone(), description, ..Default::default() };
        operator.expect("Keys/CreateKey", what, made, "description", expected).await;
        operator.expect("Keys/UpdateKey", what, updated, "description", expected).await;
    }
    for (what, reason, expected) in [
        ("0", String::new(), OK),
        ("511", "r".repeat(511), OK),
        ("512", "r".repeat(512), OK),
        ("513", "r".repeat(513), INVALID),
        ("a line end", "a\nb".into(), INVALID),
    ] {
        let key = key.clone();
        let rotated = kms::RotateKeyRequest {
            key: key.clone(),
            reason: reason.clone(),
            ..Default::default()
        };
        let disabled = kms::DisableKeyRequest {
            key: key.clone(),
            reason: reason.clone(),
            ..Default::default()
        };
        let enabled = kms::EnableKeyRequest { key, reason, ..Default::default() };
        operator.expect("Keys/RotateKey", what, rotated, "reason", expected).await;
        operator.expect("Keys/DisableKey", what, disabled, "reason", expected).await;
        operator.expect("Keys/EnableKey", what, enabled, "reason", expected).await;
    }
    for (what, request_id, expected) in [
        ("0", String::new(), OK),
        ("1", fresh("x"), OK),
        ("63", format!("{:x<63}", fresh("x")), OK),
        ("64", format!("{:x<64}", fresh("x")), OK),
        ("65", format!("{:x<65}", fresh("x")), INVALID),
        ("a space", "a b".into(), INVALID),
        ("a slash", "a/b".into(), INVALID),
        ("not ASCII", "\u{e9}".into(), INVALID),
    ] {
        let made = kms::CreateKeyRequest { request_id, ..Default::default() };
        operator.expect("Keys/CreateKey", what, made, "request_id", expected).await;
    }
    let nanos = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
    for (what, period, expected) in [
        ("absent", None, OK),
        ("0", seconds(0), OK),
        ("1 ms", nanos(0, 1_000_000), INVALID),
        ("1 h - 1 s", seconds(3599), INVALID),
        ("1 h", seconds(3600), OK),
        ("1 h + 1 s", seconds(3601), OK),
        ("2 y - 1 s", seconds(730 * DAY_S - 1), OK),
        ("2 y", seconds(730 * DAY_S), OK),
        ("2 y + 1 s", seconds(730 * DAY_S + 1), INVALID),
        ("negative", seconds(-1), INVALID),
        ("the least", seconds(i64::MIN), INVALID),
        ("the most", nanos(i64::MAX, i32::MAX), INVALID),
    ] {
        let made = kms::CreateKeyRequest { rotation_period: period, ..Default::default() };
        let updated = kms::UpdateKeyRequest {
            key: key.clone(),
            rotation_period: period,
            ..Default::default()
        };
        operator.expect("Keys/CreateKey", what, made, "rotation_period", expected).await;
        operator.expect("Keys/UpdateKey", what, updated, "rotation_period", expected).await;
    }
    for (what, number, wraps, bytes) in [
        ("0", 0, OK, OK),
        ("99", 99, INVALID, INVALID),
        ("100", 100, OK, INVALID),
        ("4095", 4_095, OK, INVALID),
        ("4096", 4_096, OK, OK),
        ("2^53", 1 << 53, OK, OK),
        ("2^53 + 1", (1 << 53) + 1, INVALID, INVALID),
        ("the most", u64::MAX, INVALID, INVALID),
    ] {
        let of_wraps = kms::CreateKeyRequest { rotation_wraps: number, ..Default::default() };
        operator.expect("Keys/CreateKey", what, of_wraps, "rotation_wraps", wraps).await;
        let of_bytes = kms::UpdateKeyRequest {
            key: key.clone(),
            rotation_bytes: Some(number),
            ..Default::default()
        };
        operator.expect("Keys/UpdateKey", what, of_bytes, "rotation_bytes", bytes).await;
    }
    for (what, seconds, nanos, expected) in [
        ("the epoch", 0, 0, OK),
        ("a millisecond before it", -1, 999_000_000, INVALID),
        ("the end of the year 9999", 253_402_300_799, 999_999_999, OK),
        ("the year 10000", 253_402_300_800, 0, INVALID),
        ("nanos that are no fraction", 1_900_000_000, 1_000_000_000, INVALID),
        ("negative nanos", 1_900_000_000, -1, INVALID),
    ] {
        let rotation_time = Some(prost_types::Timestamp { seconds, nanos });
        let made = kms::CreateKeyRequest { rotation_time, ..Default::default() };
        operator.expect("Keys/CreateKey", what, made, "rotation_time", expected).await;
    }
    for (what, wait, expected) in [
        ("absent", None, OK),
        ("0", seconds(0), INVALID),
        ("7 d - 1 s", seconds(7 * DAY_S - 1), INVALID),
        ("7 d", seconds(7 * DAY_S), OK),
        ("7 d + 1 s", seconds(7 * DAY_S + 1), OK),
        ("365 d - 1 s", seconds(365 * DAY_S - 1), OK),
        ("365 d", seconds(365 * DAY_S), OK),
        ("365 d + 1 s", seconds(365 * DAY_S + 1), INVALID),
        ("negative", seconds(-1), INVALID),
    ] {
        let doomed = new_key(&manager).await;
        super::rotate(&manager, &doomed).await.unwrap();
        let asked =
            kms::ScheduleDestroyRequest { key: doomed, version: 1, wait, ..Default::default() };
        operator.expect("Keys/ScheduleDestroy", what, asked, "wait", expected).await;
    }
    let zero = kms::GetVersionRequest { key: key.clone(), version: 0 };
    operator.expect("Keys/GetVersion", "version 0", zero, "version", INVALID).await;
    for named in ["", "A", "no such", "{}", "ABCDEF01-2345-6789-ABCD-EF0123456789"] {
        let asked = kms::GetKeyRequest { key: named.to_owned() };
        operator.expect("Keys/GetKey", named, asked, "key", INVALID).await;
    }
    let count = app.count + operator.count + auditor.count;
    println!("limits: {count} cases");
}

async fn j04_what_is_no_message_is_refused_and_recorded(server: Shared) {
    let raw = Raw::connect(&server, "app").await;
    let path = "/bulla.kms.v1.Crypto/GenerateDataKey";
    let cases: &[(&str, Bytes)] = &[
        ("not UTF-8 in a string", framed(&[0x0a, 2, 0xff, 0xfe])),
        ("a length beyond the end", framed(&[0x0a, 200, 1])),
        ("a varint without an end", framed(&[0x18, 0xff, 0xff, 0xff])),
        ("tag zero", framed(&[0x00, 0x00])),
        ("the wrong wire type", framed(&[0x08, 1])),
        ("a group that never ends", framed(&[0x0b; 300])),
        ("a frame that is cut short", Bytes::from_static(&[0, 0, 0, 0, 9, 0x0a])),
        ("half a prefix", Bytes::from_static(&[0, 0])),
        ("no frame at all", Bytes::new()),
        ("compressed", Bytes::from_static(&[1, 0, 0, 0, 1, 0x0a])),
    ];
    for (what, body) in cases {
        let (_, status) = raw.bytes(path, body.clone()).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        assert_eq!(reason(&status), "INVALID_ARGUMENT", "{what}");
    }
    // Nor is what does not decode as the one message that begins a stream.
    let begins_streams = ["Keys/WatchKeys", "Audit/TailRecords"];
    for method in begins_streams {
        let (_, status) = raw.bytes(&format!("/bulla.kms.v1.{method}"), framed(&[0x0b; 300])).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{method}: {status:?}");
        assert_eq!(reason(&status), "INVALID_ARGUMENT", "{method}");
    }
    // The connection still serves.
    let who = raw.call("/bulla.kms.v1.Access/WhoAmI", &kms::WhoAmIRequest {}).await.unwrap();
    assert!(kms::WhoAmIResponse::decode(who).unwrap().principal.ends_with("/app"));
    let from_here = of_address(&server, &raw).await;
    let refused: Vec<_> =
        from_here.iter().filter(|record| record.action == "malformed_request").collect();
    assert_eq!(refused.len(), cases.len() + begins_streams.len());
    for record in refused {
        assert_eq!((&*record.outcome, &*record.reason), ("REFUSED", "INVALID_ARGUMENT"));
    }
    println!("malformed: {} cases", cases.len());
}

async fn j03_a_message_over_its_limit_is_refused_before_it_is_read(server: Shared) {
    let raw = Raw::connect(&server, "app").await;
    let claims = |length: u32| {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.push(0);
        Bytes::from(bytes)
    };
    let cases = [
        ("Crypto/GenerateDataKey", claims(64 * 1024 + 1)),
        ("Crypto/GenerateDataKey", claims(u32::MAX)),
        ("Crypto/GenerateDataKey", framed(&vec![0; 64 * 1024 + 1])),
        ("Crypto/DecryptMany", claims(1024 * 1024 + 1)),
        ("Crypto/DecryptMany", framed(&vec![0; 1024 * 1024 + 1])),
        ("Keys/CreateKey", claims(64 * 1024 + 1)),
    ];
    let count = cases.len();
    for (method, body) in cases {
        let (_, status) = raw.bytes(&format!("/bulla.kms.v1.{method}"), body).await;
        assert_eq!(status.code(), Code::ResourceExhausted, "{method}: {status:?}");
        assert_eq!(reason(&status), "TOO_LARGE");
    }
    // Exactly the limit is read, and refused for what is in it.
    let mut full = kms::DecryptRequest { ciphertext: vec![0; 64 * 1024 - 4], ..Default::default() };
    assert_eq!(full.encoded_len(), 64 * 1024);
    let status = raw.call("/bulla.kms.v1.Crypto/Decrypt", &full).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_CIPHERTEXT");
    full.ciphertext.push(0);
    let status = raw.call("/bulla.kms.v1.Crypto/Decrypt", &full).await.unwrap_err();
    assert_eq!(reason(&status), "TOO_LARGE");
    let from_here = of_address(&server, &raw).await;
    let refused = from_here.iter().filter(|record| record.reason == "TOO_LARGE").count();
    assert_eq!(refused, count + 1);
}

async fn d04_d05_an_unknown_method_or_spelling_is_refused_and_recorded(server: Shared) {
    let raw = Raw::connect(&server, "app").await;
    let paths = [
        "/bulla.kms.v1.Crypto/ExportKey",
        "/bulla.kms.v1.Secret/Decrypt",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.channelz.v1.Channelz/GetServers",
        // d05: a path has one spelling.
        "//bulla.kms.v1.Crypto/GenerateRandom",
        "/bulla.kms.v1.Crypto/GenerateRandom/",
        "/bulla.kms.v1.Crypto//GenerateRandom",
        "/bulla.kms.v1.crypto/generaterandom",
        "/bulla.kms.v1.Crypto/generateRandom",
        "/bulla.kms.v1.Crypto%2FGenerateRandom",
        "/bulla.kms.v1.Crypto/Generate%52andom",
        "/bulla.kms.v1.Crypto/./GenerateRandom",
        "/bulla.kms.v1.Keys/../Crypto/GenerateRandom",
        "/",
    ];
    let asked = kms::GenerateRandomRequest { random_bytes: 8 };
    for path in paths {
        let status = raw.call(path, &asked).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
        assert_eq!(reason(&status), "UNKNOWN_METHOD", "{path}");
    }
    raw.call("/bulla.kms.v1.Crypto/GenerateRandom", &asked).await.unwrap();
    let from_here = of_address(&server, &raw).await;
    let refused: Vec<_> =
        from_here.iter().filter(|record| record.action == "unknown_method").collect();
    assert_eq!(refused.len(), paths.len());
    assert!(refused.iter().all(|record| record.outcome == "REFUSED"));
    println!("paths: {} cases", paths.len());
}

/// Every record of what this connection asked for.
async fn of_address(server: &crate::server::TestServer, raw: &Raw) -> Vec<kms::Record> {
    let address = raw.address.to_string();
    let records = records(server, "auditor", 0).await;
    records.into_iter().filter(|record| record.source_address == address).collect()
}
