//! Rows of who may do what: policies, relation tuples, grants.

use bulla_proto::stored;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::custody::records::{GrantEntry, PolicyEntry};
use crate::keys::{Description, KeyId, Timestamp};
use crate::policy::{
    Action, Grant, Object, PolicyId, PolicySource, PrincipalId, Relation, RelationName, SubjectRef,
};

use super::{Malformed, Record, array, time};

/// A relation tuple. Its row's id is the hash of its text, so that any tuple has one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct RelationRecord(pub(in crate::custody) Relation);

// === impl PolicyEntry ===

impl Record for PolicyEntry {
    const KIND: u8 = 21;

    fn row_id(&self) -> Vec<u8> {
        self.source.id.as_str().as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::PolicyBody {
            text: self.source.text.to_string(),
            description: self.description.as_str().to_owned(),
            principal: self.principal.to_string(),
            update_time_ms: self.update_time.unix_ms(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::PolicyBody::decode(body)?;
        let id = std::str::from_utf8(id).map_err(|_| Malformed)?;
        Ok(Self {
            source: PolicySource { id: PolicyId::parse(id)?, text: body.text.into() },
            description: Description::parse(&body.description)?,
            principal: author(&body.principal)?,
            update_time: Timestamp::from_unix_ms(body.update_time_ms),
        })
    }
}

// === impl RelationRecord ===

impl RelationRecord {
    /// The id of a tuple's row.
    pub(in crate::custody) fn row_id_of(relation: &Relation) -> Vec<u8> {
        Sha256::digest(relation.to_string()).to_vec()
    }
}

impl Record for RelationRecord {
    const KIND: u8 = 22;

    fn row_id(&self) -> Vec<u8> {
        Self::row_id_of(&self.0)
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::RelationBody {
            object: self.0.object.to_string(),
            relation: self.0.name.to_string(),
            subject: self.0.subject.to_string(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::RelationBody::decode(body)?;
        let record = Self(Relation::new(
            Object::parse(&body.object)?,
            RelationName::parse(&body.relation)?,
            SubjectRef::parse(&body.subject)?,
        )?);
        if record.row_id() == id { Ok(record) } else { Err(Malformed) }
    }
}

// === impl GrantEntry ===

impl Record for GrantEntry {
    const KIND: u8 = 23;

    fn row_id(&self) -> Vec<u8> {
        self.grant.id.to_vec()
    }

    /// When it ends, the scheduler removes it.
    fn due_at(&self) -> Option<Timestamp> {
        self.grant.expire_time
    }

    fn encode(&self) -> Vec<u8> {
        let grant = &self.grant;
        stored::GrantBody {
            key_id: grant.key.as_bytes().to_vec(),
            principal: grant.principal.to_string(),
            actions: grant.actions.iter().map(|action| action.name().to_owned()).collect(),
            encryption_context: grant.encryption_context.clone(),
            expire_time_ms: grant.expire_time.map_or(0, Timestamp::unix_ms),
            retiring_principal: self
                .retiring_principal
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            name: self.name.as_str().to_owned(),
            grantor: self.grantor.to_string(),
            create_time_ms: self.create_time.unix_ms(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::GrantBody::decode(body)?;
        let retiring_principal = match body.retiring_principal.as_str() {
            "" => None,
            text => Some(PrincipalId::parse(text)?),
        };
        let actions = body.actions.iter().map(|name| Action::named(name).ok_or(Malformed));
        Ok(Self {
            grant: Grant {
                id: array(id)?,
                key: KeyId::from_slice(&body.key_id)?,
                principal: PrincipalId::parse(&body.principal)?,
                actions: actions.collect::<Result<_, _>>()?,
                encryption_context: body.encryption_context,
                expire_time: time(body.expire_time_ms),
            },
            retiring_principal,
            name: Description::parse(&body.name)?,
            grantor: author(&body.grantor)?,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
        })
    }
}

/// Who made it: a caller, or whoever installs, whose name no caller can have.
fn author(text: &str) -> Result<PrincipalId, Malformed> {
    let installer = PrincipalId::installer();
    if text == installer.as_str() { Ok(installer) } else { Ok(PrincipalId::parse(text)?) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::keys::GrantId;

    fn survives<R: Record + PartialEq + std::fmt::Debug>(record: &R) -> Result<(), TestCaseError> {
        prop_assert_eq!(&R::decode(&record.row_id(), &record.encode()).unwrap(), record);
        Ok(())
    }

    fn name() -> impl Strategy<Value = String> {
        "[a-z][a-z0-9-]{0,62}"
    }

    fn principal() -> impl Strategy<Value = PrincipalId> {
        "spiffe://[a-z0-9]{1,9}/[A-Za-z0-9_-]{1,99}".prop_map(|id| PrincipalId::parse(&id).unwrap())
    }

    fn end() -> impl Strategy<Value = Option<Timestamp>> {
        prop::option::of((1..=i64::MAX).prop_map(Timestamp::from_unix_ms))
    }

    prop_compose! {
        fn relation()(
            kind in 0..3,
            group in name(),
            ring in "[a-z0-9]{1,63}(/[a-z0-9]{1,63}){0,7}",
            key in any::<[u8; 16]>(),
            name in prop::sample::select(&RelationName::ALL[1..]),
            who in principal(),
            members in prop::option::of(name()),
        ) -> Relation {
            let object = match kind {
                0 => format!("group:{group}"),
                1 => format!("ring:{ring}"),
                _ => format!("key:{}", KeyId::from_bytes(key)),
            };
            let name = if kind == 0 { RelationName::Member } else { name };
            let subject = members.map_or(who.to_string(), |group| format!("group:{group}#member"));
            let subject = SubjectRef::parse(&subject).unwrap();
            Relation::new(Object::parse(&object).unwrap(), name, subject).unwrap()
        }
    }

    prop_compose! {
        fn grant()(
            id in any::<[u8; 16]>(),
            key in any::<[u8; 16]>(),
            people in [principal(), principal(), principal()],
            retires in any::<bool>(),
            actions in prop::collection::vec(prop::sample::select(Action::ALL), 1..9),
            encryption_context in prop::collection::btree_map(".{1,9}", ".{0,9}", 0..5),
            expire_time in end(),
            name in "[a-z ]{0,99}",
            created in 0..=i64::MAX,
        ) -> GrantEntry {
            let [principal, grantor, retiring] = people;
            let key = KeyId::from_bytes(key);
            let grant = Grant { id, key, principal, actions, encryption_context, expire_time };
            GrantEntry {
                grant,
                retiring_principal: retires.then_some(retiring),
                name: Description::parse(&name).unwrap(),
                grantor,
                create_time: Timestamp::from_unix_ms(created),
            }
        }
    }

    proptest! {
        #[test]
        fn a_policy_survives_being_stored(
            id in name(),
            text in ".{0,999}",
            description in "[a-z ]{0,99}",
            principal in principal(),
            updated in 0..=i64::MAX,
        ) {
            survives(&PolicyEntry {
                source: PolicySource { id: PolicyId::parse(&id).unwrap(), text: text.into() },
                description: Description::parse(&description).unwrap(),
                principal,
                update_time: Timestamp::from_unix_ms(updated),
            })?;
        }

        #[test]
        fn a_relation_survives_being_stored_and_stands_in_one_place(
            one in relation(),
            other in relation(),
        ) {
            let (one, other) = (RelationRecord(one), RelationRecord(other));
            survives(&one)?;
            prop_assert_eq!(one == other, one.row_id() == other.row_id());
            if one != other {
                prop_assert_eq!(RelationRecord::decode(&one.row_id(), &other.encode()), Err(Malformed));
            }
        }

        #[test]
        fn a_grant_survives_being_stored_and_is_due_when_it_ends(grant in grant()) {
            survives(&grant)?;
            prop_assert_eq!(grant.due_at(), grant.grant.expire_time);
        }

        #[test]
        fn no_body_of_access_makes_the_program_panic(
            id in prop::collection::vec(any::<u8>(), 0..40),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = PolicyEntry::decode(&id, &body);
            let _ = GrantEntry::decode(&id, &body);
            prop_assert_eq!(RelationRecord::decode(&id, &body), Err(Malformed));
        }
    }

    /// The bodies as they were first released. They are read for ever.
    #[test]
    fn golden_rows_of_access_are_what_they_were() {
        let path = format!("{}/tests/golden/access-rows-v1.txt", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("BULLA_BLESS").is_some() && !std::path::Path::new(&path).exists() {
            std::fs::write(&path, blessed()).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        let lines = golden.lines().filter(|line| !line.starts_with('#'));
        let rows: BTreeMap<&str, (Vec<u8>, Vec<u8>)> = lines
            .map(|line| {
                let words: Vec<_> = line.split(' ').collect();
                let [kind, id, body] = words[..] else { panic!("{line}") };
                (kind, (hex::decode(id).unwrap(), hex::decode(body).unwrap()))
            })
            .collect();
        let [policy, relation, grant] = first_released();
        assert_eq!(rows["21"], policy);
        assert_eq!(rows["22"], relation);
        assert_eq!(rows["23"], grant);
        for (kind, (id, body)) in &rows {
            let reads = match *kind {
                "21" => PolicyEntry::decode(id, body).is_ok(),
                "22" => RelationRecord::decode(id, body).is_ok(),
                _ => GrantEntry::decode(id, body).is_ok(),
            };
            assert!(reads, "kind {kind}");
        }
    }

    fn blessed() -> String {
        let mut text = String::from("# kind, id, body; the last two in hexadecimal\n");
        for (kind, (id, body)) in (21..).zip(first_released()) {
            text.push_str(&format!("{kind} {} {}\n", hex::encode(id), hex::encode(body)));
        }
        text
    }

    fn first_released() -> [(Vec<u8>, Vec<u8>); 3] {
        let who = |name: &str| PrincipalId::parse(&format!("spiffe://one.test/{name}")).unwrap();
        let policy = PolicyEntry {
            source: PolicySource {
                id: PolicyId::parse("office-hours").unwrap(),
                text: "forbid (principal, action, resource) when { context.hour < 8 };".into(),
            },
            description: Description::parse("nobody works at night").unwrap(),
            principal: who("operator"),
            update_time: Timestamp::from_unix_ms(1_790_000_000_000),
        };
        let relation = RelationRecord(
            Relation::new(
                Object::parse("ring:payments/cards").unwrap(),
                RelationName::User,
                SubjectRef::parse("group:payments#member").unwrap(),
            )
            .unwrap(),
        );
        let grant = GrantEntry {
            grant: Grant {
                id: *GrantId::from_bytes([7; 16]).as_bytes(),
                key: KeyId::from_bytes([3; 16]),
                principal: who("app"),
                actions: vec![Action::Decrypt, Action::GenerateDataKey],
                encryption_context: [("app".to_owned(), "orders".to_owned())].into(),
                expire_time: Some(Timestamp::from_unix_ms(1_790_000_000_001)),
            },
            retiring_principal: Some(who("retirer")),
            name: Description::parse("night batch").unwrap(),
            grantor: who("operator"),
            create_time: Timestamp::from_unix_ms(1_790_000_000_000),
        };
        [row(&policy), row(&relation), row(&grant)]
    }

    fn row<R: Record>(record: &R) -> (Vec<u8>, Vec<u8>) {
        (record.row_id(), record.encode())
    }
}
