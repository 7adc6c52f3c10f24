//! The census: the audit log counted into rows, as far as the log is durable.
//!
//! The rows of a chunk of the log and the position after it are one commit. A row also knows the
//! last record that it has counted, so that a chunk too large for one commit, or a position that a
//! crash left behind, doubles nothing. Costs the callers' way nothing: it only reads what they have
//! made durable.

use std::collections::{BTreeMap, BTreeSet};

use crate::census::{VersionCensus, VersionUse, is_spent, uses};
use crate::keys::{Key, KeyId, TenantId};
use crate::store::{Commit, Expect, LOAD_KEYS_MAX, Put, Row, RowKey};
use crate::trail::{Entry, Trail};

use super::Custody;
use super::error::CustodyError;
use super::rows::{CENSUS_ROW, CensusPosition, CensusRecord, Record, VersionRecord};

/// How far the census has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The last record that was counted.
    sequence: u64,
    /// As it is stored, which may be less: what counts nothing is not worth a commit.
    stored_sequence: u64,
    /// Of the row; `None` where there is none yet.
    revision: Option<u64>,
}

/// A version, and whose it is. In the order of their rows.
type VersionOf = (TenantId, KeyId, u32);

/// Records that say something of versions.
#[derive(Default)]
struct Chunk {
    entries: Vec<(Entry, Vec<VersionUse>)>,
    versions: BTreeSet<VersionOf>,
}

// === impl Custody ===

impl Custody {
    /// Counts what the log has now, and gives the last sequence that is counted: 0 when the log is
    /// not the one that was counted before, which no later look can mend.
    ///
    /// # Errors
    /// The log or the store cannot be read or written, or a row was changed from outside. What was
    /// counted stays counted.
    pub async fn fold_census(&self, trail: &Trail) -> Result<u64, CustodyError> {
        let end = *trail.durable().borrow();
        self.catch_up(trail, end).await
    }

    /// The same, as far as `to_sequence` at least.
    ///
    /// # Errors
    /// As of [`Custody::fold_census`].
    pub async fn catch_up(&self, trail: &Trail, to_sequence: u64) -> Result<u64, CustodyError> {
        let mut known = self.census_place.lock().await;
        // What an error leaves behind is not known until it is read again.
        let mut place = match known.take() {
            Some(place) => place,
            None => self.census_place().await?,
        };
        let end = *trail.durable().borrow();
        if place.sequence > end {
            return self.lose(&mut place).await.map(|()| 0);
        }
        while place.sequence < to_sequence {
            let reached = place.sequence;
            self.fold_chunk(trail, &mut place).await?;
            if place.sequence == reached {
                break;
            }
        }
        *known = Some(place);
        Ok(place.sequence)
    }

    /// Counts again and again, for as long as the future is polled.
    pub async fn run_census(&self, trail: &Trail) {
        let mut ticks = tokio::time::interval(FOLD_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.fold_census(trail).await {
                tracing::warn!(%error, "cannot count the audit log");
            }
        }
    }

    /// As far as the log is counted for good: 0 where nothing is, or another log was counted.
    ///
    /// # Errors
    /// The row cannot be read, or was changed from outside.
    pub async fn counted_sequence(&self) -> Result<u64, CustodyError> {
        let place = self.census_place().await?;
        Ok(if place.sequence == LOST { 0 } else { place.sequence })
    }

    async fn census_place(&self) -> Result<Place, CustodyError> {
        let found = self.load_of_installation(CENSUS_ROW).await?;
        let revision = found.as_ref().map(|(_, revision)| *revision);
        let sequence = found.map_or(0, |(CensusPosition(sequence), _)| sequence);
        Ok(Place { sequence, stored_sequence: sequence, revision })
    }

    /// The log is shorter than what was counted: another log stands in its place. It will grow, so
    /// that this is kept, or records would be passed over later without anybody's knowing.
    async fn lose(&self, place: &mut Place) -> Result<(), CustodyError> {
        if place.stored_sequence != LOST {
            tracing::error!(
                counted = place.sequence,
                "the audit log was replaced; no version is SAFE from now on"
            );
            place.sequence = LOST;
            self.commit_census(place, Vec::new(), Vec::new(), true).await?;
        }
        Ok(())
    }

    async fn fold_chunk(&self, trail: &Trail, place: &mut Place) -> Result<(), CustodyError> {
        let mut chunk = Chunk::default();
        let start = place.sequence;
        loop {
            let page = trail.read(place.sequence, PAGE).await?;
            let Some(last) = page.last().map(|entry| entry.sequence) else { break };
            page.into_iter().for_each(|entry| chunk.add(entry));
            place.sequence = last;
            let is_long = place.sequence.saturating_sub(start) >= CHUNK_RECORDS;
            if is_long || chunk.versions.len() >= VERSIONS_MAX {
                break;
            }
        }
        if chunk.versions.is_empty() {
            let behind = place.sequence.saturating_sub(place.stored_sequence);
            if behind >= POSITION_BEHIND_MAX {
                self.commit_census(place, Vec::new(), Vec::new(), true).await?;
            }
            return Ok(());
        }
        let versions: Vec<_> = chunk.versions.iter().copied().collect();
        let mut parts = versions.chunks(VERSIONS_MAX).peekable();
        while let Some(part) = parts.next() {
            self.count(&chunk, part, place, parts.peek().is_none()).await?;
        }
        Ok(())
    }

    /// Counts what the chunk says of these versions. With the last of them goes the position.
    async fn count(
        &self,
        chunk: &Chunk,
        versions: &[VersionOf],
        place: &mut Place,
        is_last: bool,
    ) -> Result<(), CustodyError> {
        let mut counted = self.censuses(versions).await?;
        for (entry, uses) in &chunk.entries {
            let Some(tenant) = entry.record.tenant else { continue };
            for (version, uses) in by_version(uses) {
                if let Some(row) = counted.get_mut(&(tenant, version.0, version.1)) {
                    row.census.apply(entry.sequence, &entry.record, &uses);
                }
            }
        }
        let (mut expect, mut puts, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
        for ((tenant, key, version), row) in counted {
            let spent = row
                .key
                .is_some_and(|key| key.primary_version == version && is_spent(&key, &row.census));
            let due_at = spent.then(|| self.now());
            let record = CensusRecord { key, version, census: row.census, due_at };
            let put = self.tenant(tenant)?.seal(&record);
            bytes = bytes.saturating_add(put.body.len());
            expect.push(Expect { key: put.key.clone(), revision: row.revision });
            puts.push(put);
            if bytes >= COMMIT_BYTES {
                let part = (std::mem::take(&mut expect), std::mem::take(&mut puts));
                self.commit_census(place, part.0, part.1, false).await?;
                bytes = 0;
            }
        }
        if is_last || !puts.is_empty() {
            self.commit_census(place, expect, puts, is_last).await?;
        }
        Ok(())
    }

    /// The rows of these versions as they stand, and their keys. Tenants that are gone are left
    /// out.
    async fn censuses(
        &self,
        versions: &[VersionOf],
    ) -> Result<BTreeMap<VersionOf, Counted>, CustodyError> {
        let known = versions.iter().filter(|(tenant, ..)| self.tenant(*tenant).is_ok());
        let known: Vec<_> = known.copied().collect();
        let wanted: Vec<_> = known.iter().flat_map(rows_of).collect();
        let rows = self.rows(&wanted).await?;
        let mut counted = BTreeMap::new();
        let mut rows = rows.into_iter();
        for version in known {
            let tenant = self.tenant(version.0)?;
            let (census, key): (Option<Row>, _) = (rows.next().flatten(), rows.next().flatten());
            let revision = census.as_ref().map(|row| row.revision);
            let census = census.map(|row| tenant.trust::<CensusRecord>(&row)).transpose()?;
            let key = key.map(|row| tenant.trust::<Key>(&row)).transpose()?;
            let census = census.map(|record| record.census).unwrap_or_default();
            counted.insert(version, Counted { census, revision, key });
        }
        Ok(counted)
    }

    async fn commit_census(
        &self,
        place: &mut Place,
        mut expect: Vec<Expect>,
        mut puts: Vec<Put>,
        with_position: bool,
    ) -> Result<(), CustodyError> {
        if with_position {
            let put = self.seal_of_installation(&CensusPosition(place.sequence));
            expect.push(Expect { key: put.key.clone(), revision: place.revision });
            puts.push(put);
        }
        let revision = self.store.commit(Commit { expect, puts, tombstones: Vec::new() }).await?;
        if with_position {
            place.stored_sequence = place.sequence;
            place.revision = Some(revision);
        }
        Ok(())
    }
}

/// A version's row while it is counted.
struct Counted {
    census: VersionCensus,
    revision: Option<u64>,
    key: Option<Key>,
}

// === impl Chunk ===

impl Chunk {
    fn add(&mut self, entry: Entry) {
        let Some(tenant) = entry.record.tenant else { return };
        let uses = uses(&entry.record);
        if uses.is_empty() {
            return;
        }
        self.versions.extend(uses.iter().map(|used| (tenant, used.key, used.version)));
        self.entries.push((entry, uses));
    }
}

/// What one record says, by version.
fn by_version(uses: &[VersionUse]) -> BTreeMap<(KeyId, u32), Vec<VersionUse>> {
    let mut by_version: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for used in uses {
        by_version.entry((used.key, used.version)).or_default().push(*used);
    }
    by_version
}

fn rows_of((tenant, key, version): &VersionOf) -> [RowKey; 2] {
    let tenant = *tenant.as_bytes();
    [
        RowKey::new(tenant, CensusRecord::KIND, VersionRecord::row_id_of(*key, *version)),
        RowKey::new(tenant, Key::KIND, key.as_bytes().to_vec()),
    ]
}

/// Stands for a position in a log that is gone.
const LOST: u64 = u64::MAX;
const FOLD_EVERY: std::time::Duration = std::time::Duration::from_secs(1);
/// Records that are read at once.
const PAGE: usize = 1_000;
/// Records that one commit counts, more or less.
const CHUNK_RECORDS: u64 = 20_000;
/// How far the stored position may lie behind while nothing is counted: reading it again is cheap.
const POSITION_BEHIND_MAX: u64 = 10_000;
/// Versions of one commit, which are two rows each to load.
const VERSIONS_MAX: usize = 500;
const _: () = assert!(VERSIONS_MAX * 2 <= LOAD_KEYS_MAX);
/// Bytes of rows after which a commit is made: half of what one may have, and a row more fits.
const COMMIT_BYTES: usize = 8 * 1024 * 1024;
