//! Tests of rows.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::keys::{DestroyWait, Present, Step, TenantId, TenantLimits, TenantName};

fn survives<R: Record + PartialEq + std::fmt::Debug>(record: &R) {
    let again = R::decode(&record.row_id(), &record.encode()).unwrap();
    assert_eq!(&again, record);
}

#[test]
fn every_record_survives_being_stored() {
    let now = Timestamp::from_unix_ms(1_790_000_000_000);
    let key_id = KeyId::from_bytes([3; 16]);
    let (mut key, version) =
        Key::create(key_id, RotationPeriod::DEFAULT, Present::of(now)).unwrap();
    survives(&key);
    key.key_ring = Some(KeyRing::parse("payments/cards").unwrap());
    key.description = Description::parse("cards").unwrap();
    key.tags = Tags::parse([("team".into(), "payments".into())].into()).unwrap();
    key.aliases = vec![Alias::parse("cards").unwrap(), Alias::parse("b").unwrap()];
    key.disabled = true;
    key.rotation_period = RotationPeriod::NEVER;
    key.rotation_wraps = RotationLimit::wraps(100).unwrap();
    key.rotation_bytes = RotationLimit::bytes(4_096).unwrap();
    key.rotation_time = Some(now.plus_ms(7));
    key.latest_version = 2;
    key.prepared_version = Some(2);
    survives(&key);

    let record = |version: Version| VersionRecord {
        key: key_id,
        version,
        wrapped_material: vec![1; 138],
        tenant_key_generation: 1,
    };
    survives(&record(version.clone()));
    let aside = version.step(Step::Suspend, Reason::parse("leak?").unwrap(), now).unwrap();
    survives(&record(aside.clone()));
    let doomed = aside.schedule_destroy(DestroyWait::DEFAULT, Reason::none(), now).unwrap();
    survives(&record(doomed.clone()));
    survives(&record(doomed.step(Step::Destroy, Reason::none(), now).unwrap()));

    survives(&Installation {
        id: [1; 16],
        environment: "staging".into(),
        create_time: now,
        root_generation: 1,
    });
    survives(&RootSlot {
        id: [2; 16],
        kind: "key-file".into(),
        root_generation: 1,
        wrapped_root: vec![5; 138],
        create_time: now,
    });
    survives(&TenantRecord {
        id: TenantId::from_bytes([4; 16]),
        name: TenantName::parse("demo").unwrap(),
        wrapped_key: vec![6; 138],
        key_generation: 1,
        create_time: now,
        description: Description::default(),
        suspended: None,
        limits: TenantLimits::default(),
    });
    survives(&AliasRecord { alias: Alias::parse("cards").unwrap(), key: key_id });
    survives(&BindingRecord {
        subject: SubjectRef::parse("spiffe://demo.bulla/app").unwrap(),
        roles: ["key-user", "auditor"]
            .map(|role| HeldRole { role: RoleName::parse(role).unwrap(), expire_time: None })
            .into(),
    });
    survives(&RequestRecord {
        id: [7; 32],
        digest: [8; 32],
        key: Some(key_id),
        version: 3,
        replacement_version: 4,
        campaign: Some(CampaignId::from_bytes([9; 16])),
        made: None,
        create_time: now,
    });
}

#[test]
fn a_body_that_is_not_its_kind_is_malformed() {
    let id = [3; 16];
    assert_eq!(Key::decode(&id, &[]), Err(Malformed), "no version");
    assert_eq!(Key::decode(&id, &[0xff; 9]), Err(Malformed));
    assert_eq!(Key::decode(&id[1..], &[]), Err(Malformed));
    assert_eq!(VersionRecord::decode(&id, &[]), Err(Malformed));
    assert_eq!(AliasRecord::decode(&[0xff], &[]), Err(Malformed));
    assert_eq!(BindingRecord::decode(b"root", &[]), Err(Malformed));
}
