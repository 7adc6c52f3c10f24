//! How much a tenant and a principal may ask for: rates of use and of management, and a fair share of a
//! server that has more to do than it can.
//!
//! Never locks out: a limit that was reached says when to try again, and an attacker who fails in
//! another's name spends its own address's allowance only (attack C03). Names of callers are in no map
//! that grows without bound (J08).

mod bucket;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use quick_cache::sync::Cache;

use crate::keys::TenantId;
use crate::policy::{Principal, PrincipalId};

use bucket::Bucket;

/// Rates of one tenant, in calls a second; 0 is unlimited. A batch counts one for every
/// [`ITEMS_PER_TOKEN`] items begun.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rates {
    /// Uses of keys, of the whole tenant.
    pub uses_per_second: u32,
    /// Uses of keys, of one principal.
    pub principal_uses_per_second: u32,
    /// Everything else, of the whole tenant.
    pub management_per_second: u32,
}

/// What kind of call it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// It uses keys.
    Use,
    /// Everything else.
    Management,
}

/// Too much was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many calls; try again in {retry_after_ms} ms")]
pub struct Limited {
    /// Which limit, for the record.
    pub class: &'static str,
    /// When it is worth trying again.
    pub retry_after_ms: u64,
    /// The first refusal of this caller in this second: the one that is recorded. The others are
    /// counted, and the next record says how many they were.
    pub is_first: bool,
    /// How many refusals of this caller were not recorded before this one.
    pub untold: u32,
}

/// The buckets of one server. Shared by all its runtimes.
pub struct Limiter {
    began: Instant,
    /// What a tenant has that has no rates of its own.
    rates: Rates,
    /// How many calls under way are too many to be given to one tenant alone.
    busy_calls: u32,
    under_way: AtomicU32,
    tenants: Cache<TenantId, Arc<TenantLoad>>,
    principals: Cache<(TenantId, PrincipalId), Arc<PrincipalLoad>>,
    failures: Cache<IpAddr, Arc<Bucket>>,
    /// Tenants with calls under way now.
    active_tenants: AtomicU32,
}

#[derive(Default)]
struct TenantLoad {
    uses: Bucket,
    management: Bucket,
    under_way: AtomicU32,
}

#[derive(Default)]
struct PrincipalLoad {
    uses: Bucket,
    /// The second of the last refusal that was recorded, and how many were not since.
    told_second: AtomicU64,
    untold: AtomicU32,
}

/// A call that is under way; it ends when this is dropped.
pub struct UnderWay {
    limiter: Arc<Limiter>,
    tenant: Arc<TenantLoad>,
}

// === impl Rates ===

impl Rates {
    fn or(self, other: Self) -> Self {
        let or = |own: u32, other: u32| if own == 0 { other } else { own };
        Self {
            uses_per_second: or(self.uses_per_second, other.uses_per_second),
            principal_uses_per_second: or(
                self.principal_uses_per_second,
                other.principal_uses_per_second,
            ),
            management_per_second: or(self.management_per_second, other.management_per_second),
        }
    }
}

// === impl Limiter ===

impl Limiter {
    /// Empty, for a server that is busy with `busy_calls` calls under way and gives tenants these
    /// rates.
    pub fn new(busy_calls: u32, rates: Rates) -> Arc<Self> {
        Arc::new(Self::empty(busy_calls, rates))
    }

    fn empty(busy_calls: u32, rates: Rates) -> Self {
        Self {
            began: Instant::now(),
            rates,
            busy_calls,
            under_way: AtomicU32::new(0),
            tenants: Cache::new(TENANTS_MAX),
            principals: Cache::new(PRINCIPALS_MAX),
            failures: Cache::new(ADDRESSES_MAX),
            active_tenants: AtomicU32::new(0),
        }
    }

    /// Lets a call begin, or says why not. `own` are the tenant's own rates; where one is 0, the
    /// server's holds.
    ///
    /// # Errors
    /// [`Limited`], when a rate is spent, or when the server is busy and the tenant already has more
    /// than its share of the calls under way.
    pub fn begin(
        self: &Arc<Self>,
        caller: &Principal,
        kind: Kind,
        items: u32,
        own: Rates,
    ) -> Result<UnderWay, Limited> {
        self.begin_at(self.now_us(), caller, kind, items, own.or(self.rates))
    }

    fn begin_at(
        self: &Arc<Self>,
        now_us: u64,
        caller: &Principal,
        kind: Kind,
        items: u32,
        rates: Rates,
    ) -> Result<UnderWay, Limited> {
        let tenant = self.tenant(caller.tenant());
        let tokens = items.div_ceil(ITEMS_PER_TOKEN).max(1);
        let spent = |class| move |wait_us: u64| (class, wait_us);
        let taken = match kind {
            Kind::Use => take(&tenant.uses, now_us, tokens, rates.uses_per_second)
                .map_err(spent("tenant_uses"))
                .and_then(|()| match rates.principal_uses_per_second {
                    0 => Ok(()),
                    rate => take(&self.principal(caller).uses, now_us, tokens, rate)
                        .map_err(spent("principal_uses")),
                }),
            Kind::Management => {
                take(&tenant.management, now_us, tokens, rates.management_per_second)
                    .map_err(spent("tenant_management"))
            }
        };
        let shared = taken.and_then(|()| match self.has_its_share(&tenant) {
            true => Err(("fair_share", BUSY_WAIT_US)),
            false => Ok(()),
        });
        match shared {
            Ok(()) => Ok(self.enter(tenant)),
            Err((class, wait_us)) => Err(self.limited(now_us, caller, class, wait_us)),
        }
    }

    /// Counts a proof from `address` that proved nothing.
    pub fn authentication_failed(&self, address: IpAddr) {
        self.failed_at(self.now_us(), address);
    }

    /// Whether a proof from `address` is worth looking at: not for a moment after too many that proved
    /// nothing. Then nothing expensive is done for it (attack J10).
    pub fn may_authenticate(&self, address: IpAddr) -> bool {
        self.may_authenticate_at(self.now_us(), address)
    }

    fn failed_at(&self, now_us: u64, address: IpAddr) {
        let made = || Ok::<_, std::convert::Infallible>(Arc::new(Bucket::new()));
        let Ok(bucket) = self.failures.get_or_insert_with(&origin_of(address), made);
        // One too many is one too many: how long to wait is told by the bucket when it is asked.
        let _ = bucket.take(now_us, 1, FAILURES_PER_SECOND);
    }

    fn may_authenticate_at(&self, now_us: u64, address: IpAddr) -> bool {
        let bucket = self.failures.get(&origin_of(address));
        bucket.is_none_or(|bucket| !bucket.is_empty(now_us, FAILURES_PER_SECOND))
    }

    fn has_its_share(&self, tenant: &TenantLoad) -> bool {
        let under_way = self.under_way.load(Ordering::Relaxed);
        if under_way < self.busy_calls {
            return false;
        }
        let own = tenant.under_way.load(Ordering::Relaxed);
        let tenants = self.active_tenants.load(Ordering::Relaxed).max(1);
        tenants > 1 && own >= under_way.div_ceil(tenants)
    }

    fn enter(self: &Arc<Self>, tenant: Arc<TenantLoad>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        if tenant.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            self.active_tenants.fetch_add(1, Ordering::Relaxed);
        }
        UnderWay { limiter: Arc::clone(self), tenant }
    }

    fn limited(
        &self,
        now_us: u64,
        caller: &Principal,
        class: &'static str,
        wait_us: u64,
    ) -> Limited {
        let load = self.principal(caller);
        let second = now_us.div_euclid(1_000_000).saturating_add(1);
        let is_first = load.told_second.swap(second, Ordering::Relaxed) != second;
        let untold = match is_first {
            true => load.untold.swap(0, Ordering::Relaxed),
            false => load.untold.fetch_add(1, Ordering::Relaxed).saturating_add(1),
        };
        let retry_after_ms = wait_us.div_ceil(1_000).max(1);
        Limited { class, retry_after_ms, is_first, untold }
    }

    fn tenant(&self, id: TenantId) -> Arc<TenantLoad> {
        let Ok(load) = self
            .tenants
            .get_or_insert_with::<_, std::convert::Infallible>(&id, || Ok(Arc::default()));
        load
    }

    fn principal(&self, caller: &Principal) -> Arc<PrincipalLoad> {
        let name = (caller.tenant(), caller.id().clone());
        let Ok(load) = self
            .principals
            .get_or_insert_with::<_, std::convert::Infallible>(&name, || Ok(Arc::default()));
        load
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Default for Limiter {
    /// Without rates.
    fn default() -> Self {
        Self::empty(BUSY_CALLS, Rates::default())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.limiter.under_way.fetch_sub(1, Ordering::Relaxed);
        if self.tenant.under_way.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.limiter.active_tenants.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self::new()
    }
}

fn take(bucket: &Bucket, now_us: u64, tokens: u32, per_second: u32) -> Result<(), u64> {
    match per_second {
        0 => Ok(()),
        rate => bucket.take(now_us, tokens, rate),
    }
}

/// One address, or the network that one caller usually has: an IPv6 /64.
fn origin_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
    }
}

const BUSY_CALLS: u32 = 512;
/// How many items of a batch count as one call.
pub const ITEMS_PER_TOKEN: u32 = 100;
/// Failed authentications from one address; as many at once. What it bounds is work: a tenth of a core.
const FAILURES_PER_SECOND: u32 = 1_000;
/// How long a tenant that has its share is asked to wait.
const BUSY_WAIT_US: u64 = 20_000;
const TENANTS_MAX: usize = 10_000;
const PRINCIPALS_MAX: usize = 100_000;
const ADDRESSES_MAX: usize = 100_000;

#[cfg(test)]
mod tests;
