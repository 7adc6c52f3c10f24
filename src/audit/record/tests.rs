//! Tests of records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::*;
use crate::audit::clip;
use proptest::prelude::*;

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out).unwrap();
    out
}

/// What the generated code would store: the reference that the direct encoder must agree with.
fn as_stored(record: &Record<'_>) -> stored::AuditRecord {
    let id = |key: Option<KeyId>| key.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
    stored::AuditRecord {
        id: if record.id == [0; 16] { Vec::new() } else { record.id.to_vec() },
        time_us: record.time_us,
        tenant_id: record.tenant.map_or_else(Vec::new, |id| id.as_bytes().to_vec()),
        principal: record.principal.to_string(),
        action: record.action.to_string(),
        key_id: id(record.key),
        version: record.version,
        store: record.store,
        encryption_context: record
            .context
            .iter()
            .map(|(k, v)| stored::Pair { key: k.to_string(), value: v.to_string() })
            .collect(),
        outcome: record.outcome.number(),
        reason: record.reason.to_string(),
        class: record.class.to_string(),
        request_id: record.request_id.to_string(),
        source_address: record.source_address.to_string(),
        items: record.items,
        detail: record.detail.to_string(),
        started_sequence: record.started_sequence,
        item_details: record
            .item_details
            .iter()
            .map(|item| stored::AuditItem {
                key_id: id(item.key),
                version: item.version,
                store: item.store,
                reason: item.reason.to_string(),
                class: item.class.to_string(),
                count: item.count,
                destination_key_id: id(item.destination.map(|to| to.key)),
                destination_version: item.destination.map_or(0, |to| to.version),
                destination_store: item.destination.map_or(0, |to| to.store),
                wrapped_bytes: item.wrapped_bytes,
            })
            .collect(),
        destination_key_id: id(record.destination.map(|to| to.key)),
        destination_version: record.destination.map_or(0, |to| to.version),
        destination_store: record.destination.map_or(0, |to| to.store),
        wrapped_bytes: record.wrapped_bytes,
        credential_kind: record.credential_kind.to_string(),
        end_user: record.end_user.to_string(),
        policies: record.policies.iter().map(ToString::to_string).collect(),
        policy_revision: record.policy_revision,
        approval: record.approval.to_string(),
        latency_us: record.latency_us,
        items_root: record.items_root.map(|root| root.to_vec()).unwrap_or_default(),
        tenant_sequence: record.tenant_sequence,
        write_position: record.write_position,
    }
}

fn text(max_chars: usize) -> impl Strategy<Value = Cow<'static, str>> {
    proptest::collection::vec(any::<char>(), 0..=max_chars)
        .prop_map(|chars| Cow::Owned(chars.into_iter().collect()))
}

const LONGEST_DESTINATION_ITEM: Destination =
    Destination { key: KeyId::from_bytes([3; 16]), version: u32::MAX, store: u32::MAX };

fn item() -> impl Strategy<Value = RecordItem<'static>> {
    let numbers = any::<([u32; 3], u64)>();
    let parts = (any::<Option<[u8; 16]>>(), numbers, text(8), text(8), moved());
    parts.prop_map(|(key, numbers, reason, class, destination)| RecordItem {
        key: key.map(KeyId::from_bytes),
        version: numbers.0[0],
        store: numbers.0[1],
        reason,
        class,
        count: numbers.0[2],
        destination,
        wrapped_bytes: numbers.1,
    })
}

fn moved() -> impl Strategy<Value = Option<Destination>> {
    any::<Option<([u8; 16], u32, u32)>>().prop_map(|parts| {
        parts.map(|(key, version, store)| Destination {
            key: KeyId::from_bytes(key),
            version,
            store,
        })
    })
}

prop_compose! {
    fn record()(
        time_us in any::<i64>(),
        ids in any::<(Option<[u8; 16]>, Option<[u8; 16]>, [u8; 16])>(),
        places in any::<(u64, u64, u32)>(),
        items_root in any::<Option<[u8; 32]>>(),
        numbers in any::<([u32; 3], u64, u64)>(),
        outcome in prop_oneof![
            Just(Outcome::Started), Just(Outcome::Succeeded),
            Just(Outcome::Refused), Just(Outcome::Failed),
        ],
        names in (text(60), text(16), text(16)),
        reasons in (text(8), text(8), text(32), text(200)),
        context in proptest::collection::vec((text(40), text(40)), 0..8),
        item_details in proptest::collection::vec(item(), 0..8),
        destination in moved(),
        decided in (proptest::collection::vec(text(8), 0..4), any::<u64>(), text(16), text(40)),
    ) -> Record<'static> {
        Record {
            tenant: ids.0.map(TenantId::from_bytes),
            principal: names.0,
            key: ids.1.map(KeyId::from_bytes),
            version: numbers.0[0],
            store: numbers.0[1],
            context,
            reason: reasons.0,
            class: reasons.1,
            request_id: reasons.2,
            source_address: names.2,
            items: numbers.0[2],
            detail: reasons.3,
            started_sequence: numbers.1,
            item_details,
            destination,
            wrapped_bytes: numbers.2,
            policies: decided.0.iter().map(|id| Arc::from(&**id)).collect(),
            policy_revision: decided.1,
            approval: decided.2,
            id: ids.2,
            latency_us: places.0,
            items_root,
            tenant_sequence: places.1,
            write_position: places.2,
            credential_kind: clip(&decided.3, MAX_NAME_BYTES).into_owned().into(),
            end_user: decided.3,
            ..Record::new(time_us, names.1, outcome)
        }
    }
}

proptest! {
    #[test]
    fn a_record_is_what_it_was_after_encoding_and_decoding(record in record()) {
        let bytes = encoded(&record);
        prop_assert_eq!(&Record::decode(&bytes).unwrap(), &record);
    }

    #[test]
    fn the_direct_encoder_writes_what_the_generated_one_does(record in record()) {
        prop_assert_eq!(encoded(&record), as_stored(&record).encode_to_vec());
    }

    #[test]
    fn j05_any_bytes_decode_to_a_record_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        let _ = Record::decode(&bytes);
    }

    #[test]
    fn clipping_keeps_to_the_limit(words in text(40), max in 0_usize..64) {
        let clipped = clip(&words, max);
        prop_assert!(clipped.len() <= max);
        prop_assert!(words.len() > max || clipped == words);
    }
}

/// Every field at its limit.
fn fullest() -> Record<'static> {
    let long = |bytes: usize| Cow::<'static, str>::Owned("x".repeat(bytes));
    let pair_bytes = MAX_CONTEXT_BYTES / MAX_CONTEXT_PAIRS / 2;
    Record {
        tenant: Some(TenantId::from_bytes([1; 16])),
        principal: long(MAX_PRINCIPAL_BYTES),
        key: Some(KeyId::from_bytes([2; 16])),
        version: u32::MAX,
        store: u32::MAX,
        context: vec![(long(pair_bytes), long(pair_bytes)); MAX_CONTEXT_PAIRS],
        reason: long(MAX_REASON_BYTES),
        class: long(MAX_REASON_BYTES),
        request_id: long(MAX_REQUEST_ID_BYTES),
        source_address: long(MAX_NAME_BYTES),
        items: u32::MAX,
        detail: long(MAX_DETAIL_BYTES),
        started_sequence: u64::MAX,
        item_details: vec![
            RecordItem {
                key: Some(KeyId::from_bytes([3; 16])),
                version: u32::MAX,
                store: u32::MAX,
                reason: long(MAX_REASON_BYTES),
                class: long(MAX_REASON_BYTES),
                count: u32::MAX,
                destination: Some(LONGEST_DESTINATION_ITEM),
                wrapped_bytes: u64::MAX,
            };
            MAX_ITEM_DETAILS
        ],
        destination: Some(LONGEST_DESTINATION_ITEM),
        wrapped_bytes: u64::MAX,
        credential_kind: long(MAX_NAME_BYTES),
        end_user: long(MAX_PRINCIPAL_BYTES),
        policies: vec![Arc::from("x".repeat(MAX_NAME_BYTES)); MAX_POLICIES].into(),
        policy_revision: u64::MAX,
        approval: long(MAX_NAME_BYTES),
        ..Record::new(-1, long(MAX_NAME_BYTES), Outcome::Failed)
    }
}

#[test]
fn the_fullest_lawful_record_fits_in_a_frame() {
    let bytes = encoded(&fullest());
    assert!(bytes.len() <= LONGEST_PAYLOAD, "{} > {LONGEST_PAYLOAD}", bytes.len());
    assert_eq!(Record::decode(&bytes).unwrap(), fullest());
}

#[test]
fn one_more_than_any_limit_is_refused_by_the_fields_name_and_writes_nothing() {
    type Spoil = fn(&mut Record<'static>);
    let cases: [(&str, Spoil); 11] = [
        ("principal", |r| r.principal.to_mut().push('x')),
        ("action", |r| r.action.to_mut().push('x')),
        ("reason", |r| r.reason.to_mut().push('x')),
        ("class", |r| r.class.to_mut().push('x')),
        ("request_id", |r| r.request_id.to_mut().push('x')),
        ("source_address", |r| r.source_address.to_mut().push('x')),
        ("detail", |r| r.detail.to_mut().push('x')),
        ("encryption_context", |r| r.context[0].0.to_mut().push('x')),
        ("encryption_context", |r| r.context.push(Default::default())),
        ("item_details", |r| r.item_details.push(r.item_details[0].clone())),
        ("item_details.class", |r| r.item_details[9].class.to_mut().push('x')),
    ];
    for (field, spoil) in cases {
        let mut record = fullest();
        spoil(&mut record);
        let mut out = b"before".to_vec();
        assert_eq!(record.encode(&mut out).unwrap_err().field, field);
        assert_eq!(out, b"before");
    }
}

#[test]
fn h05_control_characters_line_breaks_and_quotes_stay_data() {
    let nasty = "a\nb\r\u{1b}[31m\u{202e}\u{0}\"},{\"outcome\":\"SUCCEEDED\"\u{2028}";
    let record = Record {
        principal: nasty.into(),
        detail: nasty.into(),
        context: vec![(nasty.into(), nasty.into())],
        ..Record::new(0, "crypto.decrypt", Outcome::Refused)
    };
    let back = Record::decode(&encoded(&record)).unwrap();
    assert_eq!(back, record);
    let shown = serde_json::to_string(&back.detail).unwrap();
    assert!(!shown.bytes().any(|byte| byte.is_ascii_control()), "{shown}");
    assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), nasty);
}

#[test]
fn what_no_record_can_mean_is_not_decoded() {
    let valid = as_stored(&Record::new(1, "a", Outcome::Started));
    let bad = |change: fn(&mut stored::AuditRecord)| {
        let mut stored = valid.clone();
        change(&mut stored);
        Record::decode(&stored.encode_to_vec()).unwrap_err()
    };
    assert_eq!(bad(|r| r.outcome = 5), MalformedRecord("unknown outcome"));
    assert_eq!(bad(|r| r.outcome = 0), MalformedRecord("unknown outcome"));
    assert_eq!(
        bad(|r| r.key_id = vec![1; 15]),
        MalformedRecord("an id or a hash has another length")
    );
    assert_eq!(
        bad(|r| r.tenant_id = vec![1; 17]),
        MalformedRecord("an id or a hash has another length")
    );
}

#[test]
fn a_clipped_text_ends_with_a_mark() {
    assert_eq!(clip("abcdefgh", 8), "abcdefgh");
    assert_eq!(clip("abcdefghi", 8), "abcde…");
    assert_eq!(clip("ääää", 7), "ää…");
    assert_eq!(clip("abcd", 2), "");
}
