//! Rows about retirement: a key's ladder, inside its own body, and where each version stands on it.

use bulla_proto::stored;
use prost::Message;

use crate::keys::{DestroyWait, KeyId, Ladder, LadderParts, Place, Reason, Rung, Timestamp};

use super::{Malformed, Record, VersionRecord, time};

/// Where a version stands on its key's ladder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct PlaceRecord {
    pub(in crate::custody) key: KeyId,
    pub(in crate::custody) version: u32,
    pub(in crate::custody) place: Place,
}

pub(super) fn ladder_body(ladder: &Ladder) -> stored::LadderBody {
    let parts = ladder.parts();
    stored::LadderBody {
        restrict_after_ms: parts.restrict_after_ms,
        brownouts: parts.brownouts,
        brownout_length_ms: parts.brownout_length_ms,
        brownout_after_ms: parts.brownout_after_ms,
        suspend_after_ms: parts.suspend_after_ms,
        destroy_after_ms: parts.destroy_after_ms,
        destroy_wait_ms: parts.destroy_wait.as_ms(),
    }
}

pub(super) fn ladder(body: &stored::LadderBody) -> Result<Ladder, Malformed> {
    let parts = LadderParts {
        restrict_after_ms: body.restrict_after_ms,
        brownouts: body.brownouts,
        brownout_length_ms: body.brownout_length_ms,
        brownout_after_ms: body.brownout_after_ms,
        suspend_after_ms: body.suspend_after_ms,
        destroy_after_ms: body.destroy_after_ms,
        destroy_wait: DestroyWait::from_ms(body.destroy_wait_ms)?,
    };
    Ladder::from_parts(parts).map_err(|_| Malformed)
}

// === impl PlaceRecord ===

impl Record for PlaceRecord {
    const KIND: u8 = 17;

    fn row_id(&self) -> Vec<u8> {
        VersionRecord::row_id_of(self.key, self.version)
    }

    fn due_at(&self) -> Option<Timestamp> {
        self.place.due_time()
    }

    fn encode(&self) -> Vec<u8> {
        let millis = |time: Option<Timestamp>| time.map_or(0, Timestamp::unix_ms);
        stored::LadderPlaceBody {
            step: u32::from(self.place.rung.number()),
            brownouts_done: self.place.brownouts_done,
            step_time_ms: millis(self.place.step_time),
            step_sequence: self.place.step_sequence,
            next_time_ms: millis(self.place.next_time),
            pause_reason: self.place.pause_reason.as_str().to_owned(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::LadderPlaceBody::decode(body)?;
        let (key, version) = VersionRecord::parse_row_id(id)?;
        let place = Place {
            rung: Rung::from_number(body.step).ok_or(Malformed)?,
            brownouts_done: body.brownouts_done,
            step_time: time(body.step_time_ms),
            step_sequence: body.step_sequence,
            next_time: time(body.next_time_ms),
            pause_reason: Reason::parse(&body.pause_reason)?,
        };
        Ok(Self { key, version, place })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::Present;

    #[test]
    fn a_place_on_the_ladder_survives_being_stored() {
        let now = Timestamp::from_unix_ms(1_790_000_000_000);
        let waiting = Place::waiting(Present::of(now));
        let later = Place {
            rung: Rung::Between,
            brownouts_done: 2,
            step_time: Some(now),
            step_sequence: 77,
            next_time: None,
            pause_reason: Reason::parse("somebody was refused").unwrap(),
        };
        for place in [waiting, later] {
            let record = PlaceRecord { key: KeyId::from_bytes([3; 16]), version: 4, place };
            assert_eq!(PlaceRecord::decode(&record.row_id(), &record.encode()).unwrap(), record);
        }
        assert_eq!(PlaceRecord::decode(b"short", &[]), Err(Malformed));
        let body = stored::LadderPlaceBody { step: 6, ..Default::default() }.encode_to_vec();
        assert_eq!(PlaceRecord::decode(&[0; 20], &body), Err(Malformed));
    }
}
