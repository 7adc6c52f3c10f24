//! Registered stores, scans and waivers: what callers say of places that Bulla never sees.

use crate::census::{RegisteredStore, Scans, VersionCensus, Waiver};
use crate::keys::{KeyId, ScanId, StoreName, StoreNumber, StoreRef};
use crate::policy::Permit;

use super::Custody;
use super::changes::Changes;
use super::error::CustodyError;
use super::rows::{
    CensusRecord, Record, ScansRecord, StoreNameRecord, VersionRecord, WaiverRecord,
};

/// A record that something may be judged by, and the revision that it was read at.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// The record.
    pub record: T,
    /// When it last changed; `None` where there is no row, and the record is an empty one.
    pub(super) revision: Option<u64>,
}

// === impl Custody ===

impl Custody {
    /// The store that `named` names.
    pub async fn store(
        &self,
        permit: &Permit,
        named: &StoreRef,
    ) -> Result<Read<RegisteredStore>, CustodyError> {
        let number = match named {
            StoreRef::Number(number) => *number,
            StoreRef::Name(name) => self.store_number(permit, name).await?,
        };
        let tenant = self.tenant(permit.tenant())?;
        let row_id = number.as_u32().to_be_bytes().to_vec();
        let found = self.load::<RegisteredStore>(&tenant, row_id).await?;
        let (record, revision) = found.ok_or(CustodyError::NotFound)?;
        Ok(Read { record, revision: Some(revision) })
    }

    async fn store_number(
        &self,
        permit: &Permit,
        name: &StoreName,
    ) -> Result<StoreNumber, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let row_id = name.as_str().as_bytes().to_vec();
        let found = self.load::<StoreNameRecord>(&tenant, row_id).await?;
        Ok(found.ok_or(CustodyError::NotFound)?.0.number)
    }

    /// Registered stores in the order of their numbers, after `after` (0: from the first), at most
    /// `limit`.
    pub async fn stores(
        &self,
        permit: &Permit,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Read<RegisteredStore>>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = Some(after.to_be_bytes().to_vec());
        let found = self.records::<RegisteredStore>(&tenant, Vec::new(), after, limit).await?;
        Ok(found.into_iter().map(Read::of).collect())
    }

    /// Every registered store. There are at most [`STORES_REGISTERED_MAX`].
    pub async fn all_stores(
        &self,
        permit: &Permit,
    ) -> Result<Vec<Read<RegisteredStore>>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.all_records::<RegisteredStore>(&tenant, &[]).await?;
        Ok(found.into_iter().map(Read::of).collect())
    }

    /// What one version has done, as far as it is counted.
    pub async fn census(
        &self,
        permit: &Permit,
        key: KeyId,
        version: u32,
    ) -> Result<Read<VersionCensus>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let row_id = VersionRecord::row_id_of(key, version);
        let found = self.load::<CensusRecord>(&tenant, row_id).await?;
        Ok(Read::or_default(found.map(|(row, revision)| (row.census, revision))))
    }

    /// What the versions of a key have done, in ascending order, as far as it is counted.
    pub async fn censuses_of(
        &self,
        permit: &Permit,
        key: KeyId,
    ) -> Result<Vec<(u32, VersionCensus)>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.all_records::<CensusRecord>(&tenant, key.as_bytes()).await?;
        Ok(found.into_iter().map(|(row, _)| (row.version, row.census)).collect())
    }

    /// The scans of a store for blobs of a key.
    pub async fn scans(
        &self,
        permit: &Permit,
        key: KeyId,
        store: StoreNumber,
    ) -> Result<Read<Scans>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.load::<ScansRecord>(&tenant, ScansRecord::row_id_of(key, store)).await?;
        Ok(Read::or_default(found.map(|(row, revision)| (row.scans, revision))))
    }

    /// The scans of every store for blobs of a key, in the order of the stores.
    pub async fn scans_of(
        &self,
        permit: &Permit,
        key: KeyId,
    ) -> Result<Vec<(StoreNumber, Read<Scans>)>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.all_records::<ScansRecord>(&tenant, key.as_bytes()).await?;
        let read = |(row, revision): (ScansRecord, u64)| {
            (row.store, Read { record: row.scans, revision: Some(revision) })
        };
        Ok(found.into_iter().map(read).collect())
    }

    /// That a version's blobs which name no store need no scan, if somebody said so.
    pub async fn waiver(
        &self,
        permit: &Permit,
        key: KeyId,
        version: u32,
    ) -> Result<Read<Option<Waiver>>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let row_id = VersionRecord::row_id_of(key, version);
        let found = self.load::<WaiverRecord>(&tenant, row_id).await?;
        Ok(Read::or_default(found.map(|(row, revision)| (Some(row.waiver), revision))))
    }

    /// A new scan's id.
    pub fn new_scan_id(&self) -> Result<ScanId, CustodyError> {
        Ok(ScanId::from_bytes(self.draw_id()?))
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// A store that is new, under the name and number that it has.
    pub fn put_new_store(&mut self, store: &RegisteredStore) {
        self.put(store, None);
        self.put(&StoreNameRecord { name: store.name.clone(), number: store.number }, None);
    }

    /// A store that differs from `was`.
    pub fn put_store(&mut self, store: &RegisteredStore, was: &Read<RegisteredStore>) {
        self.put(store, was.revision);
    }

    /// The scans of a store for blobs of a key, which differ from `was`.
    pub fn put_scans(&mut self, key: KeyId, store: StoreNumber, scans: Scans, was: &Read<Scans>) {
        self.put(&ScansRecord { key, store, scans }, was.revision);
    }

    /// A waiver, in place of the one that was there.
    pub fn put_waiver(
        &mut self,
        key: KeyId,
        version: u32,
        waiver: Waiver,
        was: &Read<Option<Waiver>>,
    ) {
        self.put(&WaiverRecord { key, version, waiver }, was.revision);
    }

    /// Nothing may have been counted about this version.
    pub fn expect_census(&mut self, key: KeyId, version: u32, was: &Read<VersionCensus>) {
        let row = self.row_key::<CensusRecord>(VersionRecord::row_id_of(key, version));
        self.expect(row, was.revision);
    }

    /// Nothing may have been said about this store.
    pub fn expect_store(&mut self, was: &Read<RegisteredStore>) {
        let row = self.row_key::<RegisteredStore>(was.record.row_id());
        self.expect(row, was.revision);
    }

    /// No scan may have begun or ended.
    pub fn expect_scans(&mut self, key: KeyId, store: StoreNumber, was: &Read<Scans>) {
        let row = self.row_key::<ScansRecord>(ScansRecord::row_id_of(key, store));
        self.expect(row, was.revision);
    }
}

// === impl Read ===

impl<T> Read<T> {
    pub(super) fn of((record, revision): (T, u64)) -> Self {
        Self { record, revision: Some(revision) }
    }

    pub(super) fn or_default(found: Option<(T, u64)>) -> Self
    where
        T: Default,
    {
        found.map_or_else(|| Self { record: T::default(), revision: None }, Self::of)
    }
}

/// The most stores of one tenant.
pub const STORES_REGISTERED_MAX: usize = 10_000;
