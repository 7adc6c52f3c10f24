//! How many records each tenant has, so that each record can say its place among its tenant's.
//!
//! Counted by the log thread; kept at each segment's beginning in a file of its own, so that a start
//! reads one segment and not the whole log. The file is derived: where it is missing or does not fit
//! the chain, the one before it and the records after that say the same.
//!
//! ```text
//! "bulla-tenants-v1" ‖ installation_id(16) ‖ u64 first ‖ head(32) ‖ (tenant_id(16) ‖ u64 records)*
//!     ‖ u32 crc32
//! ```

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::place::{Place, read_whole};
use crate::audit::{Chain, Frame, Record};
use crate::keys::TenantId;

#[derive(Clone, Default)]
pub(super) struct Tenants {
    records: HashMap<TenantId, u64>,
    /// What they were before what is not durable yet, latest last.
    before: Vec<(TenantId, u64)>,
}

// === impl Tenants ===

impl Tenants {
    /// The next place among the tenant's records; 0 where there is no tenant.
    pub(super) fn next(&mut self, tenant: Option<TenantId>) -> u64 {
        let Some(tenant) = tenant else { return 0 };
        let known = self.records.entry(tenant).or_default();
        self.before.push((tenant, *known));
        *known = known.saturating_add(1);
        *known
    }

    /// What was given since the last call of this is durable.
    pub(super) fn keep(&mut self) {
        self.before.clear();
    }

    /// It never will be.
    pub(super) fn take_back(&mut self) {
        while let Some((tenant, records)) = self.before.pop() {
            self.records.insert(tenant, records);
        }
    }

    /// Learns from a record of the log.
    pub(super) fn follow(&mut self, frame: &Frame<'_>) {
        if let Ok(Record { tenant: Some(tenant), tenant_sequence, .. }) =
            Record::decode(frame.payload())
        {
            self.records.insert(tenant, tenant_sequence);
        }
    }

    /// Those of a later part of the log count.
    pub(super) fn extend(&mut self, later: Self) {
        self.records.extend(later.records);
    }

    /// The file of a segment that begins after `chain`.
    pub(super) fn to_bytes(&self, installation_id: &[u8; 16], chain: &Chain) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES.saturating_add(4));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(installation_id);
        bytes.extend_from_slice(&chain.sequence().saturating_add(1).to_be_bytes());
        bytes.extend_from_slice(chain.head());
        for (tenant, records) in &self.records {
            bytes.extend_from_slice(tenant.as_bytes());
            bytes.extend_from_slice(&records.to_be_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    /// What the file beside the segment that begins after `chain` says, if it is there and fits.
    pub(super) fn load(place: &Place, chain: &Chain) -> Option<Self> {
        let first = chain.sequence().saturating_add(1);
        let files = [place.tenants(first), place.begins(first)];
        files.iter().find_map(|path| Self::read(place, path, chain))
    }

    /// The same of the file alone that a deletion left where the log begins now.
    pub(super) fn load_beginning(place: &Place, chain: &Chain) -> Option<Self> {
        let first = chain.sequence().saturating_add(1);
        Self::read(place, &place.begins(first), chain)
    }

    fn read(place: &Place, path: &Path, chain: &Chain) -> Option<Self> {
        let bytes = whole(place, path).ok()?;
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let empty = Self::default().to_bytes(&place.installation_id, chain);
        let (head, rows) = body.split_at_checked(HEAD_BYTES)?;
        let fits =
            crc32fast::hash(body).to_be_bytes() == *crc && empty.get(..HEAD_BYTES) == Some(head);
        let (rows, []) = rows.as_chunks::<24>() else { return None };
        let records = rows.iter().filter_map(|row| {
            let (tenant, records) = row.split_at_checked(16)?;
            let tenant = TenantId::from_slice(tenant).ok()?;
            Some((tenant, u64::from_be_bytes(records.try_into().ok()?)))
        });
        fits.then(|| Self { records: records.collect(), before: Vec::new() })
    }
}

fn whole(place: &Place, path: &Path) -> io::Result<Vec<u8>> {
    let file = place.disk.open(path)?;
    let length = file.length()?.min(FILE_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    read_whole(&*file, 0, &mut bytes)?;
    Ok(bytes)
}

const MAGIC: &[u8; 16] = b"bulla-tenants-v1";
const HEAD_BYTES: usize = 16 + 16 + 8 + 32;
/// Four million tenants.
const FILE_BYTES_MAX: u64 = 100 * 1024 * 1024;
