//! Where versions stand on their keys' ladders: reading the places, and changing them.

use crate::keys::{KeyId, Place};
use crate::policy::Permit;

use super::Custody;
use super::changes::Changes;
use super::error::CustodyError;
use super::records::TrustedKey;
use super::rows::{PlaceRecord, VersionRecord};
use super::stores::Read;

// === impl Custody ===

impl Custody {
    /// Where a version stands; `None` when it is not on the ladder.
    pub async fn place(
        &self,
        permit: &Permit,
        key: KeyId,
        version: u32,
    ) -> Result<Read<Option<Place>>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let row_id = VersionRecord::row_id_of(key, version);
        let found = self.load::<PlaceRecord>(&tenant, row_id).await?;
        Ok(Read::or_default(found.map(|(row, revision)| (Some(row.place), revision))))
    }

    /// Where the versions of a key stand, in ascending order, after `after`, at most `limit`.
    pub async fn places(
        &self,
        permit: &Permit,
        key: &TrustedKey,
        after: u32,
        limit: usize,
    ) -> Result<Vec<(u32, Place)>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let prefix = key.id().as_bytes().to_vec();
        let after = Some(VersionRecord::row_id_of(key.id(), after));
        let found = self.records::<PlaceRecord>(&tenant, prefix, after, limit).await?;
        Ok(found.into_iter().map(|(row, _)| (row.version, row.place)).collect())
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// Puts a version where it stands now, in place of what was read; `None` takes it off the ladder.
    pub fn put_place(
        &mut self,
        key: KeyId,
        version: u32,
        place: Option<Place>,
        was: &Read<Option<Place>>,
    ) {
        match place {
            Some(place) => self.put(&PlaceRecord { key, version, place }, was.revision),
            None => {
                let row = self.row_key::<PlaceRecord>(VersionRecord::row_id_of(key, version));
                self.remove(row, was.revision);
            }
        }
    }

    /// Puts a version that is new on the ladder at its foot.
    pub fn put_new_place(&mut self, key: KeyId, version: u32, place: Place) {
        self.put(&PlaceRecord { key, version, place }, None);
    }
}
