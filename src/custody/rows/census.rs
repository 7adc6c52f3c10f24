//! Rows about what versions still protect: counts, the position in the audit log, waivers, scans.

use std::collections::BTreeMap;

use bulla_proto::stored;
use prost::Message;

use crate::census::{
    FoundBlobs, PrincipalCensus, RunningScan, Scan, Scans, StoreCensus, UseCount, VersionCensus,
    Waiver,
};
use crate::keys::{KeyId, ScanId, StoreNumber, Timestamp};

use super::{Malformed, Record, VersionRecord, array};

/// What a version has done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct CensusRecord {
    pub(in crate::custody) key: KeyId,
    pub(in crate::custody) version: u32,
    pub(in crate::custody) census: VersionCensus,
    /// Set when it has wrapped as much as its key allows. Stands beside the body, not in it.
    pub(in crate::custody) due_at: Option<Timestamp>,
}

/// How far the audit log is counted. One row, of no tenant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::custody) struct CensusPosition(pub(in crate::custody) u64);

/// The scans of one store for blobs of one key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct ScansRecord {
    pub(in crate::custody) key: KeyId,
    pub(in crate::custody) store: StoreNumber,
    pub(in crate::custody) scans: Scans,
}

/// That the blobs of a version that name no store need no scan.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct WaiverRecord {
    pub(in crate::custody) key: KeyId,
    pub(in crate::custody) version: u32,
    pub(in crate::custody) waiver: Waiver,
}

/// The id of the one row that says how far the census has come.
pub(in crate::custody) const CENSUS_ROW: &[u8] = b"census";

// === impl CensusRecord ===

impl Record for CensusRecord {
    const KIND: u8 = 9;

    fn row_id(&self) -> Vec<u8> {
        VersionRecord::row_id_of(self.key, self.version)
    }

    fn due_at(&self) -> Option<Timestamp> {
        self.due_at
    }

    fn encode(&self) -> Vec<u8> {
        let stores = self.census.stores.iter().map(|(number, store)| stored_store(*number, store));
        stored::CensusBody {
            sequence: self.census.sequence,
            wraps: self.census.wraps,
            wrapped_bytes: self.census.wrapped_bytes,
            stores: stores.collect(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::CensusBody::decode(body)?;
        let (key, version) = key_and_number(id)?;
        let census = VersionCensus {
            sequence: body.sequence,
            wraps: body.wraps,
            wrapped_bytes: body.wrapped_bytes,
            stores: body.stores.into_iter().map(store_of).collect(),
        };
        Ok(Self { key, version, census, due_at: None })
    }
}

// === impl CensusPosition ===

impl Record for CensusPosition {
    const KIND: u8 = 10;

    fn row_id(&self) -> Vec<u8> {
        CENSUS_ROW.to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::CensusPositionBody { sequence: self.0 }.encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        if id != CENSUS_ROW {
            return Err(Malformed);
        }
        Ok(Self(stored::CensusPositionBody::decode(body)?.sequence))
    }
}

// === impl ScansRecord ===

impl ScansRecord {
    /// The id of the row: the key's 16 bytes, then the store's number.
    pub(in crate::custody) fn row_id_of(key: KeyId, store: StoreNumber) -> Vec<u8> {
        VersionRecord::row_id_of(key, store.as_u32())
    }
}

impl Record for ScansRecord {
    const KIND: u8 = 13;

    fn row_id(&self) -> Vec<u8> {
        Self::row_id_of(self.key, self.store)
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        let running = self.scans.running.as_ref();
        stored::ScansBody {
            running: running.map(|begun| stored_scan(begun, None, &FoundBlobs::default())),
            ended: self
                .scans
                .ended
                .as_ref()
                .map(|scan| stored_scan(&scan.begun, Some(scan.end_time), &scan.found)),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::ScansBody::decode(body)?;
        let (key, number) = key_and_number(id)?;
        let scans = Scans {
            running: body.running.map(|scan| scan_of(scan).map(|scan| scan.begun)).transpose()?,
            ended: body.ended.map(scan_of).transpose()?,
        };
        Ok(Self { key, store: StoreNumber::new(number).ok_or(Malformed)?, scans })
    }
}

// === impl WaiverRecord ===

impl Record for WaiverRecord {
    const KIND: u8 = 18;

    fn row_id(&self) -> Vec<u8> {
        VersionRecord::row_id_of(self.key, self.version)
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::WaiverBody {
            principal: self.waiver.principal.clone(),
            reason: self.waiver.reason.clone(),
            create_time_ms: self.waiver.create_time.unix_ms(),
            sequence: self.waiver.sequence,
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::WaiverBody::decode(body)?;
        let (key, version) = key_and_number(id)?;
        let waiver = Waiver {
            principal: body.principal,
            reason: body.reason,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
            sequence: body.sequence,
        };
        Ok(Self { key, version, waiver })
    }
}

fn key_and_number(id: &[u8]) -> Result<(KeyId, u32), Malformed> {
    let (key, number) = id.split_at_checked(16).ok_or(Malformed)?;
    Ok((KeyId::from_slice(key)?, u32::from_be_bytes(array(number)?)))
}

fn stored_store(number: u32, store: &StoreCensus) -> stored::CensusStore {
    let used = |used: UseCount| {
        (used.count > 0).then_some(stored::CensusUse {
            count: used.count,
            sequence: used.sequence,
            time_ms: used.time.unix_ms(),
        })
    };
    let principal = |who: &PrincipalCensus| stored::CensusPrincipal {
        principal: who.principal.clone(),
        issued: who.issued,
        moved: who.moved,
        opened: who.opened,
        refused: who.refused,
        last_time_ms: who.last_time.unix_ms(),
    };
    stored::CensusStore {
        store: number,
        issued: used(store.issued),
        moved: used(store.moved),
        opened: used(store.opened),
        refused: used(store.refused),
        principals: store.principals.iter().map(principal).collect(),
        principals_truncated: store.principals_truncated,
    }
}

fn store_of(store: stored::CensusStore) -> (u32, StoreCensus) {
    let used = |used: Option<stored::CensusUse>| {
        used.map_or_else(UseCount::default, |used| UseCount {
            count: used.count,
            sequence: used.sequence,
            time: Timestamp::from_unix_ms(used.time_ms),
        })
    };
    let principal = |who: stored::CensusPrincipal| PrincipalCensus {
        principal: who.principal,
        issued: who.issued,
        moved: who.moved,
        opened: who.opened,
        refused: who.refused,
        last_time: Timestamp::from_unix_ms(who.last_time_ms),
    };
    let census = StoreCensus {
        issued: used(store.issued),
        moved: used(store.moved),
        opened: used(store.opened),
        refused: used(store.refused),
        principals: store.principals.into_iter().map(principal).collect(),
        principals_truncated: store.principals_truncated,
    };
    (store.store, census)
}

fn stored_scan(
    begun: &RunningScan,
    end_time: Option<Timestamp>,
    found: &FoundBlobs,
) -> stored::ScanBody {
    let counts = |counts: &BTreeMap<u32, u64>| {
        let count =
            |(version, count): (&u32, &u64)| stored::ScanCount { version: *version, count: *count };
        counts.iter().map(count).collect()
    };
    stored::ScanBody {
        scan_id: begun.id.as_bytes().to_vec(),
        principal: begun.principal.clone(),
        begin_time_ms: begun.begin_time.unix_ms(),
        begin_sequence: begun.begin_sequence,
        end_time_ms: end_time.map_or(0, Timestamp::unix_ms),
        rows: found.rows,
        versions: counts(&found.versions),
        other_keys: found.other_keys,
        unreadable: found.unreadable,
        abandoned: counts(&found.abandoned),
        samples: found.samples.clone(),
    }
}

fn scan_of(scan: stored::ScanBody) -> Result<Scan, Malformed> {
    let counts = |counts: Vec<stored::ScanCount>| {
        counts.into_iter().map(|count| (count.version, count.count)).collect()
    };
    Ok(Scan {
        begun: RunningScan {
            id: ScanId::from_slice(&scan.scan_id)?,
            principal: scan.principal,
            begin_time: Timestamp::from_unix_ms(scan.begin_time_ms),
            begin_sequence: scan.begin_sequence,
        },
        end_time: Timestamp::from_unix_ms(scan.end_time_ms),
        found: FoundBlobs {
            rows: scan.rows,
            versions: counts(scan.versions),
            other_keys: scan.other_keys,
            unreadable: scan.unreadable,
            abandoned: counts(scan.abandoned),
            samples: scan.samples,
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;
    use crate::audit::{MAX_PRINCIPAL_BYTES, Outcome, Record as AuditRecord};
    use crate::census::uses;
    use crate::policy::Action;
    use crate::store::BODY_BYTES_MAX;

    const KEY: KeyId = KeyId::from_bytes([7; 16]);

    fn survives<R: Record + PartialEq + std::fmt::Debug>(record: &R) {
        let again = R::decode(&record.row_id(), &record.encode()).unwrap();
        assert_eq!(&again, record);
    }

    /// A census in which every list is as long as it may be.
    fn largest() -> VersionCensus {
        let mut census = VersionCensus::default();
        let actions = [Action::GenerateDataKey, Action::Decrypt];
        for at in 0..20_000_u32 {
            let principal = format!("{at:0width$}", width = MAX_PRINCIPAL_BYTES);
            let name = actions[at as usize % 2].name();
            let record = AuditRecord {
                key: Some(KEY),
                version: u32::MAX,
                store: u32::MAX - at % 500,
                items: u32::MAX,
                principal: principal.into(),
                ..AuditRecord::new(i64::MAX, name, Outcome::Succeeded)
            };
            census.apply(u64::MAX - 20_000 + u64::from(at), &record, &uses(&record));
        }
        census
    }

    #[test]
    fn every_record_of_the_census_survives_being_stored() {
        let now = Timestamp::from_unix_ms(1_790_000_000_000);
        survives(&CensusPosition(u64::MAX));
        let waiver =
            Waiver { principal: "a".into(), reason: "none".into(), create_time: now, sequence: 7 };
        survives(&WaiverRecord { key: KEY, version: 3, waiver });
        let store = StoreNumber::new(u32::MAX).unwrap();
        survives(&ScansRecord { key: KEY, store, scans: Scans::default() });
        let id = ScanId::from_bytes([8; 16]);
        let begun =
            RunningScan { id, principal: "agent".into(), begin_time: now, begin_sequence: 5 };
        let mut scans = Scans::default();
        scans.begin(begun.clone());
        let found = FoundBlobs {
            rows: 9,
            versions: BTreeMap::from([(1, 5), (2, 1)]),
            other_keys: 2,
            unreadable: 1,
            abandoned: BTreeMap::from([(1, 5)]),
            samples: vec!["id=5".into()],
        };
        scans.end(id, "agent", now, found).unwrap();
        scans.begin(begun);
        survives(&ScansRecord { key: KEY, store, scans });
        let census = largest();
        survives(&CensusRecord { key: KEY, version: u32::MAX, census, due_at: None });
    }

    #[test]
    fn the_largest_census_fits_into_a_row() {
        let census = largest();
        assert!(census.is_full());
        let row = CensusRecord { key: KEY, version: 1, census, due_at: None };
        assert!(row.encode().len() <= BODY_BYTES_MAX, "{}", row.encode().len());
    }
}
