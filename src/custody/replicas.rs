//! How far each program that serves has followed the store, so that a version is made Active only
//! once every one of them can load it.
//!
//! A program that holds the lease writes nothing here: it knows its own place. One that is silent for
//! a minute is not waited for.

use crate::keys::{HolderId, TenantId};
use crate::store::{Commit, PAGE_ROWS_MAX};

use super::Custody;
use super::error::CustodyError;
use super::read;
use super::rows::ReplicaRecord;

// === impl Custody ===

impl Custody {
    /// Says how far this program has followed.
    pub async fn report_replica(&self, holder: HolderId) -> Result<(), CustodyError> {
        let revision = *self.followed.borrow();
        let record = ReplicaRecord { holder, revision, report_time: self.store_now().await? };
        let put = self.seal_of_installation(&record);
        let commit = Commit { expect: Vec::new(), puts: vec![put], tombstones: Vec::new() };
        self.store.commit(commit).await?;
        Ok(())
    }

    /// Whether every program that is there, besides `holder` itself, has followed to `revision`.
    /// Programs that have long been silent are forgotten on the way.
    pub async fn have_all_followed(
        &self,
        holder: Option<HolderId>,
        revision: u64,
    ) -> Result<bool, CustodyError> {
        let now = self.store_now().await?;
        let installation = TenantId::INSTALLATION;
        let none = Vec::new();
        let rows =
            read::page::<ReplicaRecord>(&*self.store, installation, none, None, PAGE_ROWS_MAX)
                .await?;
        let mut all = true;
        let mut gone = Vec::new();
        for row in rows {
            let replica: ReplicaRecord = read::trust(&self.root_row_mac, &row)?;
            // The store's clock may have gone back since.
            let apart_ms = replica.report_time.until_ms(now).max(now.until_ms(replica.report_time));
            if apart_ms > FORGET_MS {
                gone.push(row.key);
            } else if apart_ms <= LIVE_MS && Some(replica.holder) != holder {
                all &= replica.revision >= revision;
            }
        }
        if !gone.is_empty() {
            let commit = Commit { expect: Vec::new(), puts: Vec::new(), tombstones: gone };
            self.store.commit(commit).await?;
        }
        Ok(all)
    }
}

/// How often a program says how far it is.
pub const REPORT_MS: u64 = 10_000;
const LIVE_MS: u64 = 60_000;
const FORGET_MS: u64 = 60 * 60 * 1_000;

const _: () = assert!(REPORT_MS.saturating_mul(3) <= LIVE_MS);
