//! Tests of JSON output.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;

#[test]
fn a_message_is_shown_under_its_proto_names_with_every_field() {
    let key = kms::Key {
        key_id: "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf".into(),
        aliases: vec!["demo".into()],
        tags: [("team".to_owned(), "cards".to_owned())].into(),
        enabled: true,
        active_version: 2,
        rotation_period: Some(Duration { seconds: 7_776_000, nanos: 0 }),
        create_time: Some(Timestamp { seconds: 1_800_000_000, nanos: 120_000_000 }),
        ..Default::default()
    };
    let shown = of(&kms::GetKeyResponse { key: Some(key) }).unwrap();
    assert_eq!(
        shown.compact(),
        concat!(
            r#"{"key":{"key_id":"a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf","aliases":["demo"],"#,
            r#""key_ring":"","description":"","tags":{"team":"cards"},"enabled":true,"#,
            r#""active_version":2,"latest_version":0,"rotation_period":"7776000s","#,
            r#""create_time":"2027-01-15T08:00:00.120Z","next_rotation_time":null,"etag":"","#,
            r#""rotation_wraps":0,"rotation_bytes":0,"rotation_time":null,"#,
            r#""prepared_version":0}}"#,
            "\n"
        )
    );
}

#[test]
fn enumerations_bytes_and_wide_integers() {
    let version = kms::Version { version: 7, state: 4, ..Default::default() };
    let shown = of(&kms::SuspendVersionResponse { version: Some(version) }).unwrap();
    assert!(shown.compact().contains(r#""version":7,"state":"VERSION_STATE_REWRAP_ONLY""#));
    let record = kms::Record { sequence: u64::MAX, hash: vec![0xff; 3], ..Default::default() };
    let shown = of(&record).unwrap().compact();
    assert!(shown.contains(r#""sequence":18446744073709551615"#));
    assert!(shown.contains(r#""hash":"////""#));
}

#[test]
fn of_a_oneof_only_what_is_there_is_shown() {
    let deleted = kms::watch_keys_response::Change::DeletedAlias("old".into());
    let shown = of(&kms::WatchKeysResponse { cursor: "7".into(), change: Some(deleted) });
    assert_eq!(shown.unwrap().compact(), "{\"cursor\":\"7\",\"deleted_alias\":\"old\"}\n");
}

#[test]
fn a_state_of_a_newer_server_is_shown_by_its_number() {
    let shown = of(&kms::InspectResponse { state: 99, ..Default::default() }).unwrap();
    assert!(shown.compact().contains(r#""state":99"#));
}

#[test]
fn b09_h05_json_is_safe_to_look_at_and_still_means_the_same() {
    let text = "\u{1b}[2J\n\u{9b}\u{202e}\u{e0041}\"\\é";
    let shown = Json::object([("reason", Json::text(text))]).pretty();
    assert!(!shown.trim_end().chars().any(|c| c != '\n' && acts_on_a_terminal(c)), "{shown}");
    let back: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(back["reason"], text);
}

#[test]
fn every_field_of_every_described_message_has_a_type_that_is_read() {
    let known = [
        Type::String,
        Type::Bytes,
        Type::Message,
        Type::Bool,
        Type::Uint32,
        Type::Uint64,
        Type::Int32,
        Type::Int64,
        Type::Enum,
    ];
    let ours = index().messages.iter().filter(|(name, _)| name.starts_with(".bulla.kms."));
    for (name, message) in ours {
        for field in &message.field {
            assert!(known.contains(&field.r#type()), "{name}.{}", field.name());
        }
    }
    assert!(index().messages.contains_key(kms::WhoAmIResponse::NAME));
}
