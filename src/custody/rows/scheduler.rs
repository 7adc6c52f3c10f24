//! Rows of the scheduler: who may do what is due, and how far each program has followed.

use bulla_proto::stored;
use prost::Message;

use crate::keys::{HolderId, Timestamp};

use super::{Malformed, Record};

/// Who may do what is due, on whose clock, and how much of it in this hour. One row, of no tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct SchedulerRecord {
    /// `None` before any program has taken it.
    pub(in crate::custody) holder: Option<HolderId>,
    pub(in crate::custody) fence: u64,
    pub(in crate::custody) expire_time: Timestamp,
    pub(in crate::custody) witnessed_time: Timestamp,
    /// The beginning of the hour that the counts are of, by witnessed time.
    pub(in crate::custody) hour: Timestamp,
    pub(in crate::custody) rotations: u32,
    pub(in crate::custody) destructions: u32,
}

/// A program that serves beside the one that holds the lease.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct ReplicaRecord {
    pub(in crate::custody) holder: HolderId,
    pub(in crate::custody) revision: u64,
    pub(in crate::custody) report_time: Timestamp,
}

/// The id of the one scheduler row.
pub(in crate::custody) const SCHEDULER_ROW: &[u8] = b"scheduler";

// === impl SchedulerRecord ===

impl Record for SchedulerRecord {
    const KIND: u8 = 19;

    fn row_id(&self) -> Vec<u8> {
        SCHEDULER_ROW.to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::SchedulerBody {
            holder_id: self.holder.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            fence: self.fence,
            expire_time_ms: self.expire_time.unix_ms(),
            witnessed_time_ms: self.witnessed_time.unix_ms(),
            hour_ms: self.hour.unix_ms(),
            rotations: self.rotations,
            destructions: self.destructions,
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        if id != SCHEDULER_ROW {
            return Err(Malformed);
        }
        let body = stored::SchedulerBody::decode(body)?;
        let holder = match body.holder_id.as_slice() {
            [] => None,
            id => Some(HolderId::from_slice(id)?),
        };
        Ok(Self {
            holder,
            fence: body.fence,
            expire_time: Timestamp::from_unix_ms(body.expire_time_ms),
            witnessed_time: Timestamp::from_unix_ms(body.witnessed_time_ms),
            hour: Timestamp::from_unix_ms(body.hour_ms),
            rotations: body.rotations,
            destructions: body.destructions,
        })
    }
}

// === impl ReplicaRecord ===

impl Record for ReplicaRecord {
    const KIND: u8 = 20;

    fn row_id(&self) -> Vec<u8> {
        self.holder.as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::ReplicaBody { revision: self.revision, report_time_ms: self.report_time.unix_ms() }
            .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::ReplicaBody::decode(body)?;
        Ok(Self {
            holder: HolderId::from_slice(id)?,
            revision: body.revision,
            report_time: Timestamp::from_unix_ms(body.report_time_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_of_the_scheduler_survive_being_stored() {
        let time = Timestamp::from_unix_ms;
        for holder in [None, Some(HolderId::from_bytes([9; 16]))] {
            let record = SchedulerRecord {
                holder,
                fence: 3,
                expire_time: time(1_790_000_000_000),
                witnessed_time: time(1_790_000_000_001),
                hour: time(1_789_999_200_000),
                rotations: 600,
                destructions: 7,
            };
            let again = SchedulerRecord::decode(&record.row_id(), &record.encode()).unwrap();
            assert_eq!(again, record);
        }
        let record = ReplicaRecord {
            holder: HolderId::from_bytes([9; 16]),
            revision: 77,
            report_time: time(5),
        };
        assert_eq!(ReplicaRecord::decode(&record.row_id(), &record.encode()).unwrap(), record);
        assert_eq!(SchedulerRecord::decode(b"other", &[]), Err(Malformed));
        assert_eq!(ReplicaRecord::decode(b"short", &[]), Err(Malformed));
    }
}
