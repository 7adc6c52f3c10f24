//! Rows of registered stores, by number and by name.

use bulla_proto::stored;
use prost::Message;

use crate::census::{RegisteredStore, Restore, StoreKind, WriteDelay};
use crate::keys::{Owner, StoreName, StoreNumber, Timestamp};

use super::{Malformed, Record, array};

/// The number that a store's name stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct StoreNameRecord {
    pub(in crate::custody) name: StoreName,
    pub(in crate::custody) number: StoreNumber,
}

// === impl RegisteredStore ===

impl Record for RegisteredStore {
    const KIND: u8 = 11;

    fn row_id(&self) -> Vec<u8> {
        self.number.as_u32().to_be_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::StoreBody {
            name: self.name.to_string(),
            owner: self.owner.as_str().to_owned(),
            kind: self.kind.number(),
            write_delay_ms: self.write_delay.as_ms(),
            create_time_ms: self.create_time.unix_ms(),
            restore_time_ms: self.restore.map_or(0, |restore| restore.time.unix_ms()),
            restore_sequence: self.restore.map_or(0, |restore| restore.sequence),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::StoreBody::decode(body)?;
        let number = StoreNumber::new(u32::from_be_bytes(array(id)?)).ok_or(Malformed)?;
        let restore = (body.restore_time_ms != 0).then(|| Restore {
            time: Timestamp::from_unix_ms(body.restore_time_ms),
            sequence: body.restore_sequence,
        });
        Ok(Self {
            number,
            name: StoreName::parse(&body.name)?,
            owner: Owner::parse(&body.owner)?,
            kind: StoreKind::from_number(body.kind).ok_or(Malformed)?,
            write_delay: WriteDelay::from_ms(body.write_delay_ms)?,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
            restore,
        })
    }
}

// === impl StoreNameRecord ===

impl Record for StoreNameRecord {
    const KIND: u8 = 12;

    fn row_id(&self) -> Vec<u8> {
        self.name.as_str().as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::StoreNameBody { store: self.number.as_u32() }.encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::StoreNameBody::decode(body)?;
        let name = StoreName::parse(std::str::from_utf8(id).map_err(|_| Malformed)?)?;
        Ok(Self { name, number: StoreNumber::new(body.store).ok_or(Malformed)? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn survives<R: Record + PartialEq + std::fmt::Debug>(record: &R) {
        let again = R::decode(&record.row_id(), &record.encode()).unwrap();
        assert_eq!(&again, record);
    }

    #[test]
    fn a_store_and_its_name_survive_being_stored() {
        let now = Timestamp::from_unix_ms(1_790_000_000_000);
        let store = RegisteredStore {
            number: StoreNumber::new(7).unwrap(),
            name: StoreName::parse("orders-db/customers.dek").unwrap(),
            owner: Owner::parse("The team of orders").unwrap(),
            kind: StoreKind::PostgreSql,
            write_delay: WriteDelay::from_ms(0).unwrap(),
            create_time: now,
            restore: None,
        };
        survives(&store);
        survives(&StoreNameRecord { name: store.name.clone(), number: store.number });
        survives(&RegisteredStore { restore: Some(Restore { time: now, sequence: 0 }), ..store });
    }

    #[test]
    fn a_store_without_a_number_is_malformed() {
        assert_eq!(RegisteredStore::decode(&[0; 4], &[]), Err(Malformed));
        assert_eq!(StoreNameRecord::decode(b"orders", &[]), Err(Malformed));
    }
}
