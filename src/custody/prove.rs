//! Proving that every version of a key still opens, from rows as the store has them now.
//!
//! A rotation is when a key's past stops being exercised: what does not open then would be found out
//! when somebody needs it. Nothing here trusts the cache.

use crate::keys::State;
use crate::policy::Permit;

use super::Custody;
use super::error::CustodyError;
use super::read;
use super::records::TrustedKey;
use super::rows::VersionRecord;

// === impl Custody ===

impl Custody {
    /// Reads every version of the key afresh and opens each that is not destroyed. Gives how many those
    /// are.
    ///
    /// # Errors
    /// [`CustodyError::VersionDoesNotOpen`]: a row was changed from outside or is missing.
    pub async fn prove_versions(
        &self,
        permit: &Permit,
        key: &TrustedKey,
    ) -> Result<u32, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let prefix = key.id().as_bytes().to_vec();
        let (mut proven, mut live) = (0_u32, 0_u32);
        while proven < key.key().latest_version {
            let after = Some(VersionRecord::row_id_of(key.id(), proven));
            let rows =
                read::page::<VersionRecord>(&*self.store, tenant.id, prefix.clone(), after, PAGE)
                    .await?;
            let next = |proven: u32| proven.saturating_add(1);
            if rows.is_empty() {
                return Err(CustodyError::VersionDoesNotOpen { version: next(proven) });
            }
            for row in rows {
                let version = next(proven);
                let unopened = |error| match error {
                    CustodyError::Tampered { .. } => CustodyError::VersionDoesNotOpen { version },
                    other => other,
                };
                let record: VersionRecord = tenant.trust(&row).map_err(unopened)?;
                if record.version.number() != version {
                    return Err(CustodyError::VersionDoesNotOpen { version });
                }
                if record.version.state() != State::Destroyed {
                    tenant.open_version(&record).map_err(unopened)?;
                    live = live.saturating_add(1);
                }
                proven = version;
            }
        }
        Ok(live)
    }
}

const PAGE: usize = 100;
