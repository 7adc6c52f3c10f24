//! One record: the fields, their limits, and both ways between them and a frame's payload.

use std::borrow::Cow;
use std::sync::Arc;

use bulla_proto::stored;
use prost::Message;

use super::Hash;
use super::frame::MAX_PAYLOAD_BYTES;
use super::wire;
use crate::keys::{KeyId, TenantId};

/// The longest `principal`, in bytes: that of a SPIFFE id.
pub const MAX_PRINCIPAL_BYTES: usize = 255;
/// The longest `action`, `source_address`, `credential_kind`, `approval` and id of a policy, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// The longest `reason` and `class`, in bytes, of a record and of an item.
pub const MAX_REASON_BYTES: usize = 32;
/// The longest `request_id`, in bytes.
pub const MAX_REQUEST_ID_BYTES: usize = 128;
/// How many ids `policies` can have.
pub const MAX_POLICIES: usize = 8;
/// The longest `detail`, in bytes. [`super::clip()`] makes a longer text fit.
pub const MAX_DETAIL_BYTES: usize = 1024;
/// The most pairs of an encryption context, as in the wrapped blob's format.
pub const MAX_CONTEXT_PAIRS: usize = 64;
/// The most bytes of all keys and values of an encryption context together.
pub const MAX_CONTEXT_BYTES: usize = 16_384;
/// The most item details of one record: those of the largest batch, each item unlike the others.
pub const MAX_ITEM_DETAILS: usize = 1000;

/// How what was asked for ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// A change is about to be committed; a second record tells how it ended.
    Started,
    /// It was done.
    Succeeded,
    /// It was not allowed.
    Refused,
    /// It was allowed and did not work.
    Failed,
}

/// One record of the audit log.
///
/// Text is borrowed where it can be, so that a record costs no copy on its way into a log's buffer.
/// Text is data: it is stored as it came, control characters included, and whoever shows it escapes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// 16 random bytes of its own, so that a chain value tells nothing about the record. Given by the
    /// log; zeros before.
    pub id: [u8; 16],
    /// Microseconds since the Unix epoch. Not monotonic: the sequence is what orders records.
    pub time_us: i64,
    /// Whose record it is. None where no tenant was known, as before authentication.
    pub tenant: Option<TenantId>,
    /// The caller's name. Empty where it was not known.
    pub principal: Cow<'a, str>,
    /// What was asked for, such as `crypto.generate_data_key`.
    pub action: Cow<'a, str>,
    /// The key that was acted on, when one was found.
    pub key: Option<KeyId>,
    /// The key's version, 0 for none.
    pub version: u32,
    /// The registered store in the blob's header, 0 for none.
    pub store: u32,
    /// The encryption context's pairs, in the order given.
    pub context: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// How it ended.
    pub outcome: Outcome,
    /// The reason that the caller was told, for a refusal or failure.
    pub reason: Cow<'a, str>,
    /// The class of failure, which the caller was not told.
    pub class: Cow<'a, str>,
    /// The caller's id for the request, where it gave one.
    pub request_id: Cow<'a, str>,
    /// The address that the call came from.
    pub source_address: Cow<'a, str>,
    /// How many data keys or blobs the call was about.
    pub items: u32,
    /// What else an auditor should know, in words.
    pub detail: Cow<'a, str>,
    /// The sequence of the [`Outcome::Started`] record that this one ends, 0 for none.
    pub started_sequence: u64,
    /// What a batch did, summed up.
    pub item_details: Vec<RecordItem<'a>>,
    /// Where the blob was moved to, if it was.
    pub destination: Option<Destination>,
    /// Bytes of plaintext that were wrapped, of all items.
    pub wrapped_bytes: u64,
    /// How the caller proved who it is: `certificate`, `token` and so on. Empty where it did not.
    pub credential_kind: Cow<'a, str>,
    /// The end user whose token came with the call, empty for none.
    pub end_user: Cow<'a, str>,
    /// The policies that decided.
    pub policies: DecidedBy,
    /// The store's revision that the decision was made at.
    pub policy_revision: u64,
    /// The proposal that was approved for the call, empty for none.
    pub approval: Cow<'a, str>,
    /// Microseconds from the call's admission to this record.
    pub latency_us: u64,
    /// The root (RFC 6962) over the blobs that the call made, in the order of its reply.
    pub items_root: Option<Hash>,
    /// Its place among its tenant's records, dense from 1. Given by the log; 0 before, and where there
    /// is no tenant.
    pub tenant_sequence: u64,
    /// How many records before it went to the disk in the same write. Given by the log.
    pub write_position: u32,
}

/// The ids of the policies that decided; shared, as one decision stands for many calls.
pub type DecidedBy = Arc<[Arc<str>]>;

/// What a moved blob is under now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Destination {
    /// The key.
    pub key: KeyId,
    /// Its version.
    pub version: u32,
    /// The registered store, 0 for none.
    pub store: u32,
}

/// What a batch did to the blobs of one key, version and store with one outcome.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordItem<'a> {
    /// The key, when one was found.
    pub key: Option<KeyId>,
    /// The key's version, 0 for none.
    pub version: u32,
    /// The registered store, 0 for none.
    pub store: u32,
    /// The reason that the caller was told; empty for success.
    pub reason: Cow<'a, str>,
    /// The class of failure; empty for success.
    pub class: Cow<'a, str>,
    /// How many blobs.
    pub count: u32,
    /// Where they were moved to, if they were.
    pub destination: Option<Destination>,
    /// Bytes of plaintext that were wrapped, of all of them.
    pub wrapped_bytes: u64,
}

/// A field is longer than a frame has room for. Nothing was encoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the audit record's {field} is over its limit of {max}")]
pub struct OverLimit {
    /// The field's name, as in the format.
    pub field: &'static str,
    /// Its limit: bytes, or entries of a list.
    pub max: usize,
}

/// A payload is not a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an audit record: {0}")]
pub struct MalformedRecord(&'static str);

// === impl Outcome ===

impl Outcome {
    /// The word shown to people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "STARTED",
            Self::Succeeded => "SUCCEEDED",
            Self::Refused => "REFUSED",
            Self::Failed => "FAILED",
        }
    }

    pub(super) fn number(self) -> u32 {
        match self {
            Self::Started => 1,
            Self::Succeeded => 2,
            Self::Refused => 3,
            Self::Failed => 4,
        }
    }

    fn from_number(number: u32) -> Result<Self, MalformedRecord> {
        match number {
            1 => Ok(Self::Started),
            2 => Ok(Self::Succeeded),
            3 => Ok(Self::Refused),
            4 => Ok(Self::Failed),
            _ => Err(MalformedRecord("unknown outcome")),
        }
    }
}

// === impl Record ===

impl<'a> Record<'a> {
    /// A record with nothing in it but what every record has.
    pub fn new(time_us: i64, action: impl Into<Cow<'a, str>>, outcome: Outcome) -> Self {
        Self {
            id: [0; 16],
            time_us,
            tenant: None,
            principal: Cow::Borrowed(""),
            action: action.into(),
            key: None,
            version: 0,
            store: 0,
            context: Vec::new(),
            outcome,
            reason: Cow::Borrowed(""),
            class: Cow::Borrowed(""),
            request_id: Cow::Borrowed(""),
            source_address: Cow::Borrowed(""),
            items: 0,
            detail: Cow::Borrowed(""),
            started_sequence: 0,
            item_details: Vec::new(),
            destination: None,
            wrapped_bytes: 0,
            credential_kind: Cow::Borrowed(""),
            end_user: Cow::Borrowed(""),
            policies: DecidedBy::default(),
            policy_revision: 0,
            approval: Cow::Borrowed(""),
            latency_us: 0,
            items_root: None,
            tenant_sequence: 0,
            write_position: 0,
        }
    }

    /// Appends the payload (protobuf, `bulla.store.v1.AuditRecord`) to `out`: at most
    /// [`MAX_PAYLOAD_BYTES`]. On an error `out` is as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), OverLimit> {
        self.encode_as(&self.id, out)
    }

    /// The same under another id.
    pub fn encode_as(&self, id: &[u8; 16], out: &mut Vec<u8>) -> Result<(), OverLimit> {
        self.within_limits()?;
        wire::put_record(out, id, self);
        Ok(())
    }

    /// Reads a payload. Fields of later formats are passed over.
    pub fn decode(payload: &[u8]) -> Result<Record<'static>, MalformedRecord> {
        let stored = stored::AuditRecord::decode(payload)
            .map_err(|_| MalformedRecord("the payload does not parse"))?;
        Ok(Record {
            id: optional(&stored.id, |id| id.try_into())?.unwrap_or_default(),
            time_us: stored.time_us,
            tenant: optional(&stored.tenant_id, TenantId::from_slice)?,
            principal: stored.principal.into(),
            action: stored.action.into(),
            key: optional(&stored.key_id, KeyId::from_slice)?,
            version: stored.version,
            store: stored.store,
            context: stored
                .encryption_context
                .into_iter()
                .map(|pair| (pair.key.into(), pair.value.into()))
                .collect(),
            outcome: Outcome::from_number(stored.outcome)?,
            reason: stored.reason.into(),
            class: stored.class.into(),
            request_id: stored.request_id.into(),
            source_address: stored.source_address.into(),
            items: stored.items,
            detail: stored.detail.into(),
            started_sequence: stored.started_sequence,
            item_details: stored
                .item_details
                .into_iter()
                .map(RecordItem::from_stored)
                .collect::<Result<_, _>>()?,
            destination: Destination::from_stored(
                &stored.destination_key_id,
                stored.destination_version,
                stored.destination_store,
            )?,
            wrapped_bytes: stored.wrapped_bytes,
            credential_kind: stored.credential_kind.into(),
            end_user: stored.end_user.into(),
            policies: stored.policies.into_iter().map(Arc::from).collect(),
            policy_revision: stored.policy_revision,
            approval: stored.approval.into(),
            latency_us: stored.latency_us,
            items_root: optional(&stored.items_root, |root| root.try_into())?,
            tenant_sequence: stored.tenant_sequence,
            write_position: stored.write_position,
        })
    }

    fn within_limits(&self) -> Result<(), OverLimit> {
        limit("principal", self.principal.len(), MAX_PRINCIPAL_BYTES)?;
        limit("action", self.action.len(), MAX_NAME_BYTES)?;
        limit("reason", self.reason.len(), MAX_REASON_BYTES)?;
        limit("class", self.class.len(), MAX_REASON_BYTES)?;
        limit("request_id", self.request_id.len(), MAX_REQUEST_ID_BYTES)?;
        limit("source_address", self.source_address.len(), MAX_NAME_BYTES)?;
        limit("detail", self.detail.len(), MAX_DETAIL_BYTES)?;
        limit("encryption_context", self.context.len(), MAX_CONTEXT_PAIRS)?;
        let context_bytes = self
            .context
            .iter()
            .fold(0_usize, |sum, (k, v)| sum.saturating_add(k.len()).saturating_add(v.len()));
        limit("encryption_context", context_bytes, MAX_CONTEXT_BYTES)?;
        limit("credential_kind", self.credential_kind.len(), MAX_NAME_BYTES)?;
        limit("end_user", self.end_user.len(), MAX_PRINCIPAL_BYTES)?;
        limit("approval", self.approval.len(), MAX_NAME_BYTES)?;
        limit("policies", self.policies.len(), MAX_POLICIES)?;
        for policy in self.policies.iter() {
            limit("policies", policy.len(), MAX_NAME_BYTES)?;
        }
        limit("item_details", self.item_details.len(), MAX_ITEM_DETAILS)?;
        for item in &self.item_details {
            limit("item_details.reason", item.reason.len(), MAX_REASON_BYTES)?;
            limit("item_details.class", item.class.len(), MAX_REASON_BYTES)?;
        }
        Ok(())
    }
}

// === impl RecordItem ===

impl RecordItem<'static> {
    fn from_stored(stored: stored::AuditItem) -> Result<Self, MalformedRecord> {
        Ok(Self {
            key: optional(&stored.key_id, KeyId::from_slice)?,
            version: stored.version,
            store: stored.store,
            reason: stored.reason.into(),
            class: stored.class.into(),
            count: stored.count,
            destination: Destination::from_stored(
                &stored.destination_key_id,
                stored.destination_version,
                stored.destination_store,
            )?,
            wrapped_bytes: stored.wrapped_bytes,
        })
    }
}

// === impl Destination ===

impl Destination {
    fn from_stored(
        key_id: &[u8],
        version: u32,
        store: u32,
    ) -> Result<Option<Self>, MalformedRecord> {
        let key = optional(key_id, KeyId::from_slice)?;
        Ok(key.map(|key| Self { key, version, store }))
    }
}

fn limit(field: &'static str, length: usize, max: usize) -> Result<(), OverLimit> {
    if length > max { Err(OverLimit { field, max }) } else { Ok(()) }
}

fn optional<T, E>(
    bytes: &[u8],
    parse: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<Option<T>, MalformedRecord> {
    if bytes.is_empty() {
        return Ok(None);
    }
    parse(bytes).map(Some).map_err(|_| MalformedRecord("an id or a hash has another length"))
}

/// Every field at its limit, with the longest tags, lengths and numbers that protobuf can need.
const LONGEST_PAYLOAD: usize = (2 + 16) + 11 // id, time_us
    + (2 + 16) * 2 // tenant_id, key_id
    + 6 * 4 // version, store, outcome, items
    + (3 + MAX_PRINCIPAL_BYTES)
    + (2 + MAX_NAME_BYTES) * 2
    + (2 + MAX_REASON_BYTES) * 2
    + (4 + MAX_REQUEST_ID_BYTES)
    + (4 + MAX_DETAIL_BYTES)
    + 12 // started_sequence
    + MAX_CONTEXT_BYTES + MAX_CONTEXT_PAIRS * (4 + 4 + 4)
    + LONGEST_DESTINATION
    + 12 * 3 // wrapped_bytes, policy_revision, latency_us
    + LONGEST_PLACE
    + (3 + MAX_NAME_BYTES) * (2 + MAX_POLICIES) // credential_kind, approval, policies
    + (4 + MAX_PRINCIPAL_BYTES) // end_user
    + MAX_ITEM_DETAILS
        * (3 + 18 + 6 * 3 + (2 + MAX_REASON_BYTES) * 2 + LONGEST_DESTINATION + 11);
const LONGEST_PLACE: usize = 12 + 7; // tenant_sequence, write_position
const LONGEST_DESTINATION: usize = (3 + 16) + 7 * 2;
const _: () = assert!(LONGEST_PAYLOAD <= MAX_PAYLOAD_BYTES, "a lawful record must fit in a frame");

#[cfg(test)]
mod tests;
