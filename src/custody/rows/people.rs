//! Rows of service accounts and of their credentials, whose secrets they do not hold.

use bulla_proto::stored;
use prost::Message;

use crate::keys::{AccountName, CredentialId, Description, KeyId, KeyRing, Timestamp};
use crate::policy::{Action, Network, Scope};

use super::{Malformed, Record, array, time};

/// A service account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct AccountRecord {
    pub(in crate::custody) name: AccountName,
    pub(in crate::custody) description: Description,
    pub(in crate::custody) scope: Scope,
    pub(in crate::custody) create_time: Timestamp,
    /// Those that were not revoked; one of them may have expired since.
    pub(in crate::custody) credentials: Vec<CredentialId>,
}

/// A credential of a service account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct CredentialRecord {
    pub(in crate::custody) id: CredentialId,
    pub(in crate::custody) account: AccountName,
    /// SHA-256 of its secret.
    pub(in crate::custody) secret_digest: [u8; 32],
    pub(in crate::custody) create_time: Timestamp,
    pub(in crate::custody) expire_time: Timestamp,
    /// To the minute.
    pub(in crate::custody) last_use_time: Option<Timestamp>,
    pub(in crate::custody) last_use_address: String,
}

// === impl AccountRecord ===

impl Record for AccountRecord {
    const KIND: u8 = 24;

    fn row_id(&self) -> Vec<u8> {
        self.name.as_str().as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::ServiceAccountBody {
            description: self.description.as_str().to_owned(),
            scope: Some(scope_body(&self.scope)),
            create_time_ms: self.create_time.unix_ms(),
            credential_ids: self.credentials.iter().map(|id| id.as_bytes().to_vec()).collect(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::ServiceAccountBody::decode(body)?;
        let credentials = body.credential_ids.iter().map(|id| CredentialId::from_slice(id));
        Ok(Self {
            name: AccountName::parse(std::str::from_utf8(id).map_err(|_| Malformed)?)?,
            description: Description::parse(&body.description)?,
            // Without one nothing would be restricted.
            scope: scope(body.scope.ok_or(Malformed)?)?,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
            credentials: credentials.collect::<Result<_, _>>()?,
        })
    }
}

// === impl CredentialRecord ===

impl Record for CredentialRecord {
    const KIND: u8 = 25;

    fn row_id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        Some(self.expire_time)
    }

    fn encode(&self) -> Vec<u8> {
        stored::CredentialBody {
            service_account: self.account.to_string(),
            secret_digest: self.secret_digest.to_vec(),
            create_time_ms: self.create_time.unix_ms(),
            expire_time_ms: self.expire_time.unix_ms(),
            last_use_time_ms: self.last_use_time.map_or(0, Timestamp::unix_ms),
            last_use_address: self.last_use_address.clone(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::CredentialBody::decode(body)?;
        Ok(Self {
            id: CredentialId::from_slice(id)?,
            account: AccountName::parse(&body.service_account)?,
            secret_digest: array(&body.secret_digest)?,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
            expire_time: Timestamp::from_unix_ms(body.expire_time_ms),
            last_use_time: time(body.last_use_time_ms),
            last_use_address: body.last_use_address,
        })
    }
}

fn scope_body(scope: &Scope) -> stored::ScopeBody {
    stored::ScopeBody {
        actions: scope.actions.iter().map(|action| action.name().to_owned()).collect(),
        key_ids: scope.keys.iter().map(|key| key.as_bytes().to_vec()).collect(),
        key_rings: scope.key_rings.iter().map(ToString::to_string).collect(),
        encryption_context: scope.encryption_context.clone(),
        networks: scope.networks.iter().map(ToString::to_string).collect(),
    }
}

/// What is not understood is refused, never left out: a list that lost an entry could become empty, and
/// an empty one does not restrict.
fn scope(body: stored::ScopeBody) -> Result<Scope, Malformed> {
    let action = |name: &String| Action::named(name).ok_or(Malformed);
    Ok(Scope {
        actions: body.actions.iter().map(action).collect::<Result<_, _>>()?,
        keys: body.key_ids.iter().map(|id| KeyId::from_slice(id)).collect::<Result<_, _>>()?,
        key_rings: body.key_rings.iter().map(|r| KeyRing::parse(r)).collect::<Result<_, _>>()?,
        encryption_context: body.encryption_context,
        networks: body.networks.iter().map(|n| Network::parse(n)).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn survives<R: Record + PartialEq + std::fmt::Debug>(record: &R) {
        assert_eq!(&R::decode(&record.row_id(), &record.encode()).unwrap(), record);
    }

    fn scopes() -> impl Strategy<Value = Scope> {
        let networks = ["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"];
        (
            prop::collection::vec(prop::sample::select(Action::ALL), 0..4),
            prop::collection::vec(any::<[u8; 16]>().prop_map(KeyId::from_bytes), 0..3),
            prop::collection::vec("[a-z]{1,9}(/[a-z]{1,9})?", 0..3),
            prop::collection::btree_map("[a-z]{1,5}", "[a-z]{0,5}", 0..3),
            prop::collection::vec(prop::sample::select(networks.to_vec()), 0..3),
        )
            .prop_map(|(actions, keys, rings, encryption_context, networks)| Scope {
                actions,
                keys,
                key_rings: rings.iter().map(|ring| KeyRing::parse(ring).unwrap()).collect(),
                encryption_context,
                networks: networks.iter().map(|text| Network::parse(text).unwrap()).collect(),
            })
    }

    proptest! {
        #[test]
        fn a_service_account_survives_being_stored(
            scope in scopes(),
            ids in prop::collection::vec(any::<[u8; 16]>(), 0..3),
            millis in 1..i64::MAX,
        ) {
            survives(&AccountRecord {
                name: AccountName::parse("billing").unwrap(),
                description: Description::parse("nightly").unwrap(),
                scope,
                create_time: Timestamp::from_unix_ms(millis),
                credentials: ids.into_iter().map(CredentialId::from_bytes).collect(),
            });
        }

        #[test]
        fn a_credential_survives_being_stored(id: [u8; 16], digest: [u8; 32], used: Option<u32>) {
            survives(&CredentialRecord {
                id: CredentialId::from_bytes(id),
                account: AccountName::parse("billing").unwrap(),
                secret_digest: digest,
                create_time: Timestamp::from_unix_ms(1),
                expire_time: Timestamp::from_unix_ms(2),
                last_use_time: used.map(|at| Timestamp::from_unix_ms(i64::from(at).max(1))),
                last_use_address: "192.0.2.7".to_owned(),
            });
        }
    }

    #[test]
    fn a_scope_that_is_not_understood_is_not_a_wider_one() {
        let body = |scope: Option<stored::ScopeBody>| {
            stored::ServiceAccountBody { scope, ..Default::default() }.encode_to_vec()
        };
        let decode = |scope| AccountRecord::decode(b"billing", &body(scope)).map(|_| ());
        assert_eq!(decode(None), Err(Malformed));
        assert_eq!(decode(Some(stored::ScopeBody::default())), Ok(()));
        let with = |change: fn(&mut stored::ScopeBody)| {
            let mut scope = stored::ScopeBody::default();
            change(&mut scope);
            decode(Some(scope))
        };
        assert_eq!(with(|scope| scope.actions.push("crypto.new".into())), Err(Malformed));
        assert_eq!(with(|scope| scope.key_ids.push(vec![1])), Err(Malformed));
        assert_eq!(with(|scope| scope.key_rings.push("A".into())), Err(Malformed));
        assert_eq!(with(|scope| scope.networks.push("10.0.0.1/8".into())), Err(Malformed));
    }
}
