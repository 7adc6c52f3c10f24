//! Rows of tenants: what they are called, their wrapped keys, whether they may work and how much.

use bulla_proto::stored;
use prost::Message;

use crate::keys::{Description, Reason, TenantId, TenantLimits, TenantName, Timestamp};

use super::{Malformed, Record, array};

/// A tenant and its wrapped key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct TenantRecord {
    pub(in crate::custody) id: TenantId,
    pub(in crate::custody) name: TenantName,
    pub(in crate::custody) wrapped_key: Vec<u8>,
    pub(in crate::custody) key_generation: u32,
    pub(in crate::custody) create_time: Timestamp,
    pub(in crate::custody) description: Description,
    /// Why it is suspended, if it is.
    pub(in crate::custody) suspended: Option<Reason>,
    pub(in crate::custody) limits: TenantLimits,
}

// === impl TenantRecord ===

impl Record for TenantRecord {
    const KIND: u8 = 3;

    fn row_id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        let reason = self.suspended.as_ref().map(|reason| reason.as_str().to_owned());
        let limits = self.limits;
        stored::Tenant {
            name: self.name.to_string(),
            wrapped_key: self.wrapped_key.clone(),
            key_generation: self.key_generation,
            create_time_ms: self.create_time.unix_ms(),
            description: self.description.as_str().to_owned(),
            suspended: reason.is_some(),
            suspend_reason: reason.unwrap_or_default(),
            // One that says nothing is left out: such a body is as it always was.
            limits: (limits != TenantLimits::default()).then_some(stored::TenantLimitsBody {
                uses_per_second: limits.uses_per_second,
                principal_uses_per_second: limits.principal_uses_per_second,
                management_per_second: limits.management_per_second,
                keys: limits.keys,
                versions_per_key: limits.versions_per_key,
                policies: limits.policies,
                grants: limits.grants,
                role_bindings: limits.role_bindings,
                relations: limits.relations,
                service_accounts: limits.service_accounts,
            }),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::Tenant::decode(body)?;
        let reason = Reason::parse(&body.suspend_reason)?;
        let limits = body.limits.unwrap_or_default();
        Ok(Self {
            id: TenantId::from_bytes(array(id)?),
            name: TenantName::parse(&body.name)?,
            wrapped_key: body.wrapped_key,
            key_generation: body.key_generation,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
            description: Description::parse(&body.description)?,
            suspended: body.suspended.then_some(reason),
            limits: TenantLimits {
                uses_per_second: limits.uses_per_second,
                principal_uses_per_second: limits.principal_uses_per_second,
                management_per_second: limits.management_per_second,
                keys: limits.keys,
                versions_per_key: limits.versions_per_key,
                policies: limits.policies,
                grants: limits.grants,
                role_bindings: limits.role_bindings,
                relations: limits.relations,
                service_accounts: limits.service_accounts,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plain() -> TenantRecord {
        TenantRecord {
            id: TenantId::from_bytes([4; 16]),
            name: TenantName::parse("demo").unwrap(),
            wrapped_key: vec![6; 138],
            key_generation: 1,
            create_time: Timestamp::from_unix_ms(1_790_000_000_000),
            description: Description::default(),
            suspended: None,
            limits: TenantLimits::default(),
        }
    }

    #[test]
    fn a_tenant_survives_being_stored() {
        let full = TenantRecord {
            description: Description::parse("cards and loans").unwrap(),
            suspended: Some(Reason::parse("audit finding").unwrap()),
            limits: TenantLimits {
                uses_per_second: 1,
                grants: 7,
                service_accounts: 3,
                ..TenantLimits::default()
            },
            ..plain()
        };
        let unsaid = TenantRecord { suspended: Some(Reason::none()), ..plain() };
        for record in [plain(), full, unsaid] {
            assert_eq!(TenantRecord::decode(&record.row_id(), &record.encode()).unwrap(), record);
        }
        assert_eq!(TenantRecord::decode(b"short", &plain().encode()), Err(Malformed));
        let nameless = stored::Tenant { name: "Root".into(), ..Default::default() };
        assert_eq!(TenantRecord::decode(&[4; 16], &nameless.encode_to_vec()), Err(Malformed));
    }

    /// A body as the first release wrote it: name, wrapped key, generation and time, no more.
    #[test]
    fn a_tenant_of_the_first_release_is_read_and_written_as_it_was() {
        let mut body = vec![0x0a, 4, b'd', b'e', b'm', b'o', 0x12, 0x8a, 0x01];
        body.extend([6; 138]);
        body.extend([0x18, 1, 0x20, 0x80, 0xbc, 0xb1, 0xb2, 0x8c, 0x34]);
        let record = TenantRecord::decode(&[4; 16], &body).unwrap();
        let create_time = Timestamp::from_unix_ms(1_790_033_288_704);
        assert_eq!(record, TenantRecord { create_time, ..plain() });
        assert_eq!(record.encode(), body);
    }
}
