//! Rows of the installation itself: what it is and how its root key opens.

use bulla_proto::stored;
use prost::Message;

use crate::keys::Timestamp;

use super::{Malformed, Record, array};

/// What this store is. One row, of no tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct Installation {
    pub(in crate::custody) id: [u8; 16],
    pub(in crate::custody) environment: String,
    pub(in crate::custody) create_time: Timestamp,
    pub(in crate::custody) root_generation: u32,
}

/// The root key, wrapped for one way of opening it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct RootSlot {
    pub(in crate::custody) id: [u8; 16],
    pub(in crate::custody) kind: String,
    pub(in crate::custody) root_generation: u32,
    pub(in crate::custody) wrapped_root: Vec<u8>,
    pub(in crate::custody) create_time: Timestamp,
}

/// The key that signs the audit log's checkpoints. One row, of no tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct AuditKeyRecord {
    pub(in crate::custody) generation: u32,
    pub(in crate::custody) wrapped: Vec<u8>,
    /// The next generation while the key is changed, and the log's end when that began.
    pub(in crate::custody) next: Option<(Vec<u8>, u64)>,
}

/// The id of the one row of the audit log's key.
pub(in crate::custody) const AUDIT_KEY_ROW: &[u8] = b"audit-key";

/// The id of the one installation row.
pub(in crate::custody) const INSTALLATION_ROW: &[u8] = b"installation";

// === impl Installation ===

impl Record for Installation {
    const KIND: u8 = 1;

    fn row_id(&self) -> Vec<u8> {
        INSTALLATION_ROW.to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::Installation {
            installation_id: self.id.to_vec(),
            environment: self.environment.clone(),
            create_time_ms: self.create_time.unix_ms(),
            root_generation: self.root_generation,
        }
        .encode_to_vec()
    }

    fn decode(_: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::Installation::decode(body)?;
        Ok(Self {
            id: array(&body.installation_id)?,
            environment: body.environment,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
            root_generation: body.root_generation,
        })
    }
}

// === impl RootSlot ===

impl Record for RootSlot {
    const KIND: u8 = 2;

    fn row_id(&self) -> Vec<u8> {
        self.id.to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::RootSlot {
            slot_kind: self.kind.clone(),
            root_generation: self.root_generation,
            wrapped_root: self.wrapped_root.clone(),
            create_time_ms: self.create_time.unix_ms(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::RootSlot::decode(body)?;
        Ok(Self {
            id: array(id)?,
            kind: body.slot_kind,
            root_generation: body.root_generation,
            wrapped_root: body.wrapped_root,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
        })
    }
}

// === impl AuditKeyRecord ===

impl Record for AuditKeyRecord {
    const KIND: u8 = 31;

    fn row_id(&self) -> Vec<u8> {
        AUDIT_KEY_ROW.to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        let (next_wrapped, next_after) = self.next.clone().unwrap_or_default();
        stored::AuditKeyBody {
            generation: self.generation,
            wrapped: self.wrapped.clone(),
            next_wrapped,
            next_after,
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::AuditKeyBody::decode(body)?;
        if id != AUDIT_KEY_ROW || body.generation == 0 || body.wrapped.is_empty() {
            return Err(Malformed);
        }
        let next = (!body.next_wrapped.is_empty()).then_some((body.next_wrapped, body.next_after));
        Ok(Self { generation: body.generation, wrapped: body.wrapped, next })
    }
}
