//! Where rows become trusted records and wrapped material becomes a usable key.
//!
//! The only module that sees a row, a MAC or an unwrapped key-encryption key. Everything that it gives
//! was verified under a key of the row's tenant; everything that acts for a caller demands a
//! [`Permit`] and reads in that permit's tenant and no other. It never decides who may do what, and
//! never tells a caller why something did not open.

mod access;
mod approvals;
mod audit_key;
mod cache;
mod campaigns;
mod census;
mod changes;
mod credentials;
mod error;
mod ladder;
mod lease;
mod mac;
mod outbox;
mod prove;
mod read;
mod records;
mod replicas;
mod rows;
mod seal;
mod spent;
mod start;
mod stores;
mod tenant;
mod tenants;
mod usage;
mod watch;
mod world;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch::Sender};

use crate::clock::Clock;
use crate::crypto::{Kek, MacKey, Random};
use crate::keys::{KeyId, Timestamp, Use};
use crate::policy::Permit;
use crate::store::{Store, StoreStatus};

use cache::Caches;
use census::Place;
use credentials::LastUses;
use tenant::Tenants;

pub use access::RelationPlace;
pub use approvals::{TrustedProposal, TrustedRule};
pub use audit_key::AuditSeeds;
pub use campaigns::{TrustedCampaign, TrustedClaim, TrustedProblem, TrustedProgress};
pub use changes::{Changes, Past, RequestKey};
pub use credentials::{
    CREDENTIAL_MS_DEFAULT, CREDENTIAL_MS_MAX, NewSecret, TrustedAccount, TrustedCredential,
};
pub use error::CustodyError;
pub use lease::{Budget, LEASE_MS, Lease, Mandate, Spend, Turn, Witness};
pub use records::{AliasEntry, GrantEntry, PolicyEntry, RoleBinding, TrustedKey, TrustedVersion};
pub use replicas::REPORT_MS;
pub use seal::{KeyFile, Seal, SealError};
pub use start::{Installed, StartError, create, open};
pub use stores::{Read, STORES_REGISTERED_MAX};
pub use tenants::{NewTenant, TrustedTenant};
pub use watch::{Due, DuePage, DuePlace, KeyChange, Watched};

/// The trusted records of one store.
pub struct Custody {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    installation: rows::Installation,
    seal_kind: String,
    /// Wraps tenant keys. In locked memory.
    root: Kek,
    /// Authenticates the rows of no tenant.
    root_row_mac: MacKey,
    /// Makes the seed of the key that signs this installation's own tokens.
    root_token: MacKey,
    /// Swapped as a whole when a tenant is added.
    tenants: ArcSwap<Tenants>,
    caches: Caches,
    /// Every change up to this revision of the store has been forgotten from the caches.
    followed: Sender<u64>,
    /// Uses of credentials that are not written down yet.
    last_uses: LastUses,
    /// How far the census has come, once it is known. Held while the log is counted.
    census_place: Mutex<Option<Place>>,
}

// === impl Custody ===

impl Custody {
    /// The material of `version`, if `permit`, the key and the version's state all allow `wanted`.
    ///
    /// The one door to a usable key-encryption key.
    pub fn material<'v>(
        &self,
        permit: &Permit,
        key: &TrustedKey,
        version: &'v TrustedVersion,
        wanted: Use,
    ) -> Result<&'v Kek, CustodyError> {
        let tenant = permit.tenant();
        let fits = key.tenant == tenant && version.tenant == tenant && version.key() == key.id();
        if !fits || !permit.opens(key.id()) || !permit.covers(wanted) {
            return Err(CustodyError::NotCovered);
        }
        if key.key.disabled {
            return Err(CustodyError::KeyDisabled);
        }
        if !version.version().allows(wanted) {
            return Err(CustodyError::VersionNotUsable {
                version: version.number(),
                state: version.version().state(),
            });
        }
        match version.kek.get() {
            Some(kek) => Ok(kek),
            None => {
                let kek = self.tenant(tenant)?.open_version(&version.record)?;
                Ok(version.kek.get_or_init(|| kek))
            }
        }
    }

    /// Where randomness comes from.
    pub fn random(&self) -> &dyn Random {
        &*self.random
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.clock.unix_ms())
    }

    /// A new key's id.
    pub fn new_key_id(&self) -> Result<KeyId, CustodyError> {
        Ok(KeyId::from_bytes(self.draw_id()?))
    }

    /// 16 bytes that nobody has drawn before.
    pub fn draw_id(&self) -> Result<[u8; 16], CustodyError> {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// How the store stands.
    pub async fn store_status(&self) -> Result<StoreStatus, CustodyError> {
        Ok(self.store.status().await?)
    }

    /// The kind of the slot that opened the root key.
    pub fn seal_kind(&self) -> &str {
        &self.seal_kind
    }

    /// What names this installation in its audit log and its blobs.
    pub fn installation_id(&self) -> [u8; 16] {
        self.installation.id
    }
}
