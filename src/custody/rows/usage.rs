//! Rows that count: how many of something that is limited a tenant has.

use bulla_proto::stored;
use prost::Message;

use crate::keys::{Quota, Timestamp};

use super::{Malformed, Record};

/// How many rows there are of what a quota is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::custody) struct UsageRecord {
    pub(in crate::custody) quota: Quota,
    pub(in crate::custody) count: u64,
}

// === impl UsageRecord ===

impl UsageRecord {
    /// The id of a quota's row.
    pub(in crate::custody) fn row_id_of(quota: Quota) -> Vec<u8> {
        quota.name().as_bytes().to_vec()
    }
}

impl Record for UsageRecord {
    const KIND: u8 = 29;

    fn row_id(&self) -> Vec<u8> {
        Self::row_id_of(self.quota)
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::UsageBody { count: self.count }.encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::UsageBody::decode(body)?;
        let name = std::str::from_utf8(id).map_err(|_| Malformed)?;
        Ok(Self { quota: Quota::named(name).ok_or(Malformed)?, count: body.count })
    }
}
