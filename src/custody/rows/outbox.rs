//! A row that says only that a change was committed: it is part of the change's own commit.

use bulla_proto::stored;
use prost::Message;

use crate::keys::Timestamp;

use super::{Malformed, Record, time};

/// The change that the audit record `started_sequence` announced was committed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct OutboxRecord {
    pub(in crate::custody) started_sequence: u64,
    pub(in crate::custody) started_time_us: i64,
    pub(in crate::custody) due_time: Timestamp,
}

// === impl OutboxRecord ===

impl OutboxRecord {
    pub(in crate::custody) fn row_id_of(started_sequence: u64) -> Vec<u8> {
        started_sequence.to_be_bytes().to_vec()
    }
}

impl Record for OutboxRecord {
    const KIND: u8 = 30;

    fn row_id(&self) -> Vec<u8> {
        Self::row_id_of(self.started_sequence)
    }

    fn due_at(&self) -> Option<Timestamp> {
        Some(self.due_time)
    }

    fn encode(&self) -> Vec<u8> {
        stored::OutboxBody {
            started_time_us: self.started_time_us,
            due_time_ms: self.due_time.unix_ms(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::OutboxBody::decode(body)?;
        Ok(Self {
            started_sequence: u64::from_be_bytes(id.try_into().map_err(|_| Malformed)?),
            started_time_us: body.started_time_us,
            due_time: time(body.due_time_ms).ok_or(Malformed)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn it_is_what_it_was_after_encoding_and_decoding_and_its_id_is_eight_bytes() {
        let record = OutboxRecord {
            started_sequence: 0x0102_0304_0506_0708,
            started_time_us: -1,
            due_time: Timestamp::from_unix_ms(5),
        };
        let (id, body) = (record.row_id(), record.encode());
        assert_eq!(id, [1, 2, 3, 4, 5, 6, 7, 8]);
        // Golden: field 1 as the ten bytes of -1, field 2 as 5.
        assert_eq!(body, [8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 16, 5]);
        assert_eq!(OutboxRecord::decode(&id, &body).unwrap(), record);
        assert_eq!(OutboxRecord::decode(&id[1..], &body), Err(Malformed));
        assert_eq!(OutboxRecord::decode(&id, &[]), Err(Malformed), "without a time to go");
    }
}
