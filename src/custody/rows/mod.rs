//! What each kind of row means: between domain values and the bodies of `bulla.store.v1`.
//!
//! Reading parses into types that cannot be wrong; a body that does not is [`Malformed`], which after
//! a good MAC can only be a defect of this program or of a newer one.

mod access;
mod approvals;
mod campaigns;
mod census;
#[cfg(test)]
mod golden;
mod installation;
mod ladder;
mod outbox;
mod people;
mod scheduler;
mod store;
mod tenants;
mod usage;

use bulla_proto::stored;
use prost::Message;

use crate::keys::{
    Alias, CampaignId, Description, Key, KeyId, KeyRing, Reason, RotationLimit, RotationPeriod,
    State, Tags, Timestamp, Version, VersionParts,
};
use crate::policy::{HeldRole, RoleName, SubjectRef};

pub(super) use access::RelationRecord;
pub(super) use approvals::{ProposalRecord, RuleRecord};
pub(super) use campaigns::{ClaimRecord, ProblemRecord, ProgressRecord};
pub(super) use census::{CENSUS_ROW, CensusPosition, CensusRecord, ScansRecord, WaiverRecord};
pub(super) use installation::{
    AUDIT_KEY_ROW, AuditKeyRecord, INSTALLATION_ROW, Installation, RootSlot,
};
pub(super) use ladder::PlaceRecord;
pub(super) use outbox::OutboxRecord;
pub(super) use people::{AccountRecord, CredentialRecord};
pub(super) use scheduler::{ReplicaRecord, SCHEDULER_ROW, SchedulerRecord};
pub(super) use store::StoreNameRecord;
pub(super) use tenants::TenantRecord;
pub(super) use usage::UsageRecord;

/// A kind of row that custody reads and writes.
pub(super) trait Record: Sized {
    /// The number in the row's key. Never reused.
    const KIND: u8;

    /// The id in the row's key.
    fn row_id(&self) -> Vec<u8>;

    /// When the scheduler must look at it.
    fn due_at(&self) -> Option<Timestamp>;

    /// The body.
    fn encode(&self) -> Vec<u8>;

    /// From the id and the body of a row whose MAC was good.
    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed>;
}

/// A version and its wrapped material.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct VersionRecord {
    pub(super) key: KeyId,
    pub(super) version: Version,
    pub(super) wrapped_material: Vec<u8>,
    pub(super) tenant_key_generation: u32,
}

/// An alias and the key it points at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct AliasRecord {
    pub(super) alias: Alias,
    pub(super) key: KeyId,
}

/// The roles that a principal, or each member of a group, holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct BindingRecord {
    pub(super) subject: SubjectRef,
    pub(super) roles: Vec<HeldRole>,
}

/// The outcome of a mutation, kept for a caller that asks again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RequestRecord {
    pub(super) id: [u8; 32],
    pub(super) digest: [u8; 32],
    pub(super) key: Option<KeyId>,
    pub(super) version: u32,
    pub(super) replacement_version: u32,
    pub(super) campaign: Option<CampaignId>,
    pub(super) made: Option<[u8; 16]>,
    pub(super) create_time: Timestamp,
}

/// The body is not what its kind must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the row's body is malformed")]
pub(super) struct Malformed;

/// How long the outcome of a mutation is kept, in milliseconds: 24 hours.
pub(super) const REQUEST_KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

// === impl Key ===

impl Record for Key {
    const KIND: u8 = 4;

    fn row_id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        // A disabled key does not rotate, and must not stand in the way of those that do.
        if self.disabled { None } else { self.due_time() }
    }

    fn encode(&self) -> Vec<u8> {
        stored::KeyBody {
            key_ring: self.key_ring.as_ref().map(ToString::to_string).unwrap_or_default(),
            description: self.description.as_str().to_owned(),
            tags: self.tags.pairs().clone(),
            disabled: self.disabled,
            primary_version: self.primary_version,
            latest_version: self.latest_version,
            rotation_period_ms: self.rotation_period.as_ms().unwrap_or(0),
            create_time_ms: self.create_time.unix_ms(),
            rotate_time_ms: self.rotate_time.unix_ms(),
            aliases: self.aliases.iter().map(ToString::to_string).collect(),
            rotation_wraps: self.rotation_wraps.as_u64(),
            rotation_bytes: self.rotation_bytes.as_u64(),
            rotation_time_ms: self.rotation_time.map_or(0, Timestamp::unix_ms),
            prepared_version: self.prepared_version.unwrap_or(0),
            ladder: self.ladder.as_ref().map(ladder::ladder_body),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::KeyBody::decode(body)?;
        let key_ring = match body.key_ring.as_str() {
            "" => None,
            ring => Some(KeyRing::parse(ring)?),
        };
        let numbers = [body.primary_version, body.prepared_version];
        if body.primary_version == 0 || numbers.iter().any(|number| *number > body.latest_version) {
            return Err(Malformed);
        }
        Ok(Self {
            id: KeyId::from_slice(id)?,
            key_ring,
            description: Description::parse(&body.description)?,
            tags: Tags::parse(body.tags)?,
            aliases: body.aliases.iter().map(|a| Alias::parse(a)).collect::<Result<_, _>>()?,
            disabled: body.disabled,
            primary_version: body.primary_version,
            latest_version: body.latest_version,
            prepared_version: (body.prepared_version != 0).then_some(body.prepared_version),
            rotation_period: RotationPeriod::from_ms(body.rotation_period_ms)?,
            rotation_wraps: RotationLimit::wraps(body.rotation_wraps)?,
            rotation_bytes: RotationLimit::bytes(body.rotation_bytes)?,
            rotation_time: time(body.rotation_time_ms),
            ladder: body.ladder.as_ref().map(ladder::ladder).transpose()?,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
            rotate_time: Timestamp::from_unix_ms(body.rotate_time_ms),
        })
    }
}

// === impl VersionRecord ===

impl VersionRecord {
    /// The id of a version's row: the key's 16 bytes, then the number, so that versions sort.
    pub(super) fn row_id_of(key: KeyId, number: u32) -> Vec<u8> {
        let mut id = key.as_bytes().to_vec();
        id.extend_from_slice(&number.to_be_bytes());
        id
    }

    /// The key and the number in such an id.
    pub(super) fn parse_row_id(id: &[u8]) -> Result<(KeyId, u32), Malformed> {
        let (key, number) = id.split_at_checked(16).ok_or(Malformed)?;
        Ok((KeyId::from_slice(key)?, u32::from_be_bytes(array(number)?)))
    }
}

impl Record for VersionRecord {
    const KIND: u8 = 5;

    fn row_id(&self) -> Vec<u8> {
        Self::row_id_of(self.key, self.version.number())
    }

    fn due_at(&self) -> Option<Timestamp> {
        match self.version.state() {
            State::DestroyScheduled => self.version.parts().destroy_time,
            _ => None,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let parts = self.version.parts();
        let millis = |time: Option<Timestamp>| time.map_or(0, Timestamp::unix_ms);
        stored::VersionBody {
            state: u32::from(parts.state.number()),
            former_state: parts.former_state.map_or(0, |state| u32::from(state.number())),
            create_time_ms: parts.create_time.unix_ms(),
            activate_time_ms: millis(parts.activate_time),
            deactivate_time_ms: millis(parts.deactivate_time),
            destroy_time_ms: millis(parts.destroy_time),
            state_time_ms: parts.state_time.unix_ms(),
            reason: parts.reason.as_str().to_owned(),
            wrapped_material: self.wrapped_material.clone(),
            tenant_key_generation: self.tenant_key_generation,
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::VersionBody::decode(body)?;
        let (key, number) = Self::parse_row_id(id)?;
        let former_state = match body.former_state {
            0 => None,
            number => Some(State::from_number(number).ok_or(Malformed)?),
        };
        let version = Version::from_parts(VersionParts {
            number,
            state: State::from_number(body.state).ok_or(Malformed)?,
            former_state,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
            activate_time: time(body.activate_time_ms),
            deactivate_time: time(body.deactivate_time_ms),
            destroy_time: time(body.destroy_time_ms),
            state_time: Timestamp::from_unix_ms(body.state_time_ms),
            reason: Reason::parse(&body.reason)?,
        })?;
        Ok(Self {
            key,
            version,
            wrapped_material: body.wrapped_material,
            tenant_key_generation: body.tenant_key_generation,
        })
    }
}

// === impl AliasRecord ===

impl Record for AliasRecord {
    const KIND: u8 = 6;

    fn row_id(&self) -> Vec<u8> {
        self.alias.as_str().as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::AliasBody { key_id: self.key.as_bytes().to_vec() }.encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::AliasBody::decode(body)?;
        let alias = Alias::parse(std::str::from_utf8(id).map_err(|_| Malformed)?)?;
        Ok(Self { alias, key: KeyId::from_slice(&body.key_id)? })
    }
}

// === impl BindingRecord ===

impl Record for BindingRecord {
    const KIND: u8 = 7;

    fn row_id(&self) -> Vec<u8> {
        self.subject.to_string().into_bytes()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        let ends = self
            .roles
            .iter()
            .filter_map(|held| held.expire_time.map(|end| (held.role.to_string(), end.unix_ms())));
        stored::RoleBindingBody {
            roles: self.roles.iter().map(|held| held.role.to_string()).collect(),
            expire_times_ms: ends.collect(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::RoleBindingBody::decode(body)?;
        let id = std::str::from_utf8(id).map_err(|_| Malformed)?;
        let held = |role: &String| {
            let expire_time = body.expire_times_ms.get(role).copied();
            let expire_time = expire_time.map(Timestamp::from_unix_ms);
            let role = RoleName::parse(role).map_err(|_| Malformed)?;
            Ok(HeldRole { role, expire_time })
        };
        Ok(Self {
            subject: SubjectRef::parse(id).map_err(|_| Malformed)?,
            roles: body.roles.iter().map(held).collect::<Result<_, Malformed>>()?,
        })
    }
}

// === impl RequestRecord ===

impl Record for RequestRecord {
    const KIND: u8 = 8;

    fn row_id(&self) -> Vec<u8> {
        self.id.to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        Some(self.create_time.plus_ms(REQUEST_KEPT_MS))
    }

    fn encode(&self) -> Vec<u8> {
        stored::RequestBody {
            digest: self.digest.to_vec(),
            key_id: self.key.map(|key| key.as_bytes().to_vec()).unwrap_or_default(),
            version: self.version,
            replacement_version: self.replacement_version,
            campaign_id: self.campaign.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            create_time_ms: self.create_time.unix_ms(),
            made_id: self.made.map(Vec::from).unwrap_or_default(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::RequestBody::decode(body)?;
        let key = match body.key_id.as_slice() {
            [] => None,
            id => Some(KeyId::from_slice(id)?),
        };
        let campaign = match body.campaign_id.as_slice() {
            [] => None,
            id => Some(CampaignId::from_slice(id)?),
        };
        let made = match body.made_id.as_slice() {
            [] => None,
            id => Some(array(id)?),
        };
        Ok(Self {
            id: array(id)?,
            digest: array(&body.digest)?,
            made,
            key,
            version: body.version,
            replacement_version: body.replacement_version,
            campaign,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
        })
    }
}

macro_rules! malformed_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Malformed {
            fn from(_: $error) -> Self {
                Self
            }
        }
    )*};
}

malformed_from!(
    prost::DecodeError,
    crate::approval::MalformedRule,
    crate::campaign::MalformedProblem,
    crate::campaign::PlaceTooLong,
    crate::keys::MalformedId,
    crate::keys::MalformedName,
    crate::keys::OutOfRange,
    crate::keys::Inconsistent,
    crate::policy::MalformedObject,
    crate::policy::MalformedPolicyId,
    crate::policy::MalformedRelation,
    crate::policy::MalformedGroup,
    crate::policy::MalformedNetwork,
    crate::policy::MalformedPrincipal,
    crate::policy::MalformedSubject
);

/// 0 stands for no time.
fn time(millis: i64) -> Option<Timestamp> {
    (millis != 0).then(|| Timestamp::from_unix_ms(millis))
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed)
}

#[cfg(test)]
mod tests;
