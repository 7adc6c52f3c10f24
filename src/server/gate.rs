//! Who may come in: the caps on connections and handshakes, in total and per address, and the counts
//! of all that came, were turned away or failed. Shared by all listeners. Never waits while locked.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::ListenLimits;

/// The caps and counts of all listeners.
pub struct Gate {
    limits: ListenLimits,
    connections: AtomicUsize,
    handshakes: Arc<Semaphore>,
    origins: Mutex<HashMap<IpAddr, Held>>,
    reports: Mutex<Reports>,
    pub(super) counters: Counters,
}

/// What has happened at the gate since the start, and what is so now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ListenCounts {
    /// Open now, those in their handshake included.
    pub connections_now: usize,
    /// In their handshake now.
    pub handshakes_now: usize,
    /// Accepted and let in.
    pub admitted: u64,
    /// Closed at once: too many connections.
    pub refused_by_total: u64,
    /// Closed at once: too many connections or handshakes from one address.
    pub refused_by_address: u64,
    /// Handshakes that failed, refused certificates and deadlines included.
    pub handshakes_failed: u64,
    /// Handshakes that took too long: a part of those that failed.
    pub handshakes_late: u64,
    /// Connections closed because no request came.
    pub silent: u64,
    /// Connections closed because too many of their requests were cancelled.
    pub cancelling: u64,
    /// Accepts that failed.
    pub accepts_failed: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) admitted: AtomicU64,
    pub(super) refused_by_total: AtomicU64,
    pub(super) refused_by_address: AtomicU64,
    pub(super) handshakes_failed: AtomicU64,
    pub(super) handshakes_late: AtomicU64,
    pub(super) silent: AtomicU64,
    pub(super) cancelling: AtomicU64,
    pub(super) accepts_failed: AtomicU64,
    next_connection_id: AtomicU64,
}

/// A connection's place, given back when dropped.
pub(super) struct Ticket {
    gate: Arc<Gate>,
    origin: IpAddr,
    id: u64,
    handshaking: bool,
    permit: Option<OwnedSemaphorePermit>,
}

/// What one address holds.
#[derive(Default)]
struct Held {
    connections: usize,
    handshakes: usize,
}

/// How many refusals were told in this second, and how many were not since the last that was.
struct Reports {
    second: Instant,
    told: u32,
    untold: u64,
}

// === impl Gate ===

impl Gate {
    /// With nobody inside.
    pub fn new(limits: ListenLimits) -> Self {
        Self {
            limits,
            connections: AtomicUsize::new(0),
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max.min(Semaphore::MAX_PERMITS))),
            origins: Mutex::new(HashMap::new()),
            reports: Mutex::new(Reports { second: Instant::now(), told: 0, untold: 0 }),
            counters: Counters::default(),
        }
    }

    /// What has happened so far.
    pub fn counts(&self) -> ListenCounts {
        let counters = &self.counters;
        let free = self.handshakes.available_permits();
        ListenCounts {
            connections_now: self.connections.load(Ordering::Relaxed),
            handshakes_now: self.limits.handshakes_max.saturating_sub(free),
            admitted: counters.admitted.load(Ordering::Relaxed),
            refused_by_total: counters.refused_by_total.load(Ordering::Relaxed),
            refused_by_address: counters.refused_by_address.load(Ordering::Relaxed),
            handshakes_failed: counters.handshakes_failed.load(Ordering::Relaxed),
            handshakes_late: counters.handshakes_late.load(Ordering::Relaxed),
            silent: counters.silent.load(Ordering::Relaxed),
            cancelling: counters.cancelling.load(Ordering::Relaxed),
            accepts_failed: counters.accepts_failed.load(Ordering::Relaxed),
        }
    }

    pub(super) fn limits(&self) -> &ListenLimits {
        &self.limits
    }

    /// Lets a connection from `address` in, or counts that it was turned away.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Ticket> {
        let taken = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            (now < self.limits.connections_max).then_some(now.saturating_add(1))
        });
        if taken.is_err() {
            count(&self.counters.refused_by_total);
            return None;
        }
        let origin = origin_of(address);
        if !self.admit_from(origin) {
            self.connections.fetch_sub(1, Ordering::Relaxed);
            count(&self.counters.refused_by_address);
            return None;
        }
        count(&self.counters.admitted);
        let id = self.counters.next_connection_id.fetch_add(1, Ordering::Relaxed);
        let gate = Arc::clone(self);
        Some(Ticket { gate, origin, id, handshaking: true, permit: None })
    }

    fn admit_from(&self, origin: IpAddr) -> bool {
        let mut origins = self.origins.lock();
        let held = origins.entry(origin).or_default();
        let room = held.connections < self.limits.connections_per_address_max
            && held.handshakes < self.limits.handshakes_per_address_max;
        if room {
            held.connections = held.connections.saturating_add(1);
            held.handshakes = held.handshakes.saturating_add(1);
        } else if held.connections == 0 {
            origins.remove(&origin);
        }
        room
    }

    /// Whether a refusal may be told now and, if so, how many went untold before it.
    pub(super) fn may_report(&self, now: Instant) -> Option<u64> {
        let mut reports = self.reports.lock();
        if now.saturating_duration_since(reports.second) >= Duration::from_secs(1) {
            reports.second = now;
            reports.told = 0;
        }
        if reports.told >= self.limits.refusals_per_second_max {
            reports.untold = reports.untold.saturating_add(1);
            return None;
        }
        reports.told = reports.told.saturating_add(1);
        Some(std::mem::take(&mut reports.untold))
    }
}

// === impl Ticket ===

impl Ticket {
    /// Unique for as long as the process runs.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Waits for a place among the handshakes in flight.
    pub(super) async fn wait_for_handshake(&mut self) {
        // The semaphore is never closed.
        self.permit = Arc::clone(&self.gate.handshakes).acquire_owned().await.ok();
    }

    /// The handshake is over.
    pub(super) fn handshaken(&mut self) {
        self.permit = None;
        if std::mem::take(&mut self.handshaking)
            && let Some(held) = self.gate.origins.lock().get_mut(&self.origin)
        {
            held.handshakes = held.handshakes.saturating_sub(1);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.handshaken();
        self.gate.connections.fetch_sub(1, Ordering::Relaxed);
        if let Entry::Occupied(mut entry) = self.gate.origins.lock().entry(self.origin) {
            let held = entry.get_mut();
            held.connections = held.connections.saturating_sub(1);
            if held.connections == 0 {
                entry.remove();
            }
        }
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What counts as one address: an IPv4 address, or the /64 network that a site gets of IPv6.
fn origin_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

    use super::*;

    fn gate(change: impl FnOnce(&mut ListenLimits)) -> Arc<Gate> {
        let mut limits = ListenLimits::DEFAULT;
        change(&mut limits);
        Arc::new(Gate::new(limits))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_cap_in_total_holds_and_places_come_back() {
        let gate = gate(|limits| limits.connections_max = 2);
        let one = gate.admit(address(1)).unwrap();
        let two = gate.admit(address(2)).unwrap();
        assert!(gate.admit(address(3)).is_none());
        assert_eq!((gate.counts().connections_now, gate.counts().refused_by_total), (2, 1));
        drop(one);
        let three = gate.admit(address(3)).unwrap();
        assert_ne!(two.id(), three.id());
        drop((two, three));
        assert_eq!(gate.counts().connections_now, 0);
        assert!(gate.origins.lock().is_empty(), "an address that left is forgotten");
    }

    #[test]
    fn the_cap_per_address_holds_for_an_address_and_not_for_others() {
        let gate = gate(|limits| limits.connections_per_address_max = 1);
        let _one = gate.admit(address(1)).unwrap();
        assert!(gate.admit(address(1)).is_none());
        assert!(gate.admit("::ffff:192.0.2.1".parse().unwrap()).is_none(), "the same, mapped");
        assert!(gate.admit(address(2)).is_some());
        let network = |text: &str| gate.admit(text.parse().unwrap());
        let _six = network("2001:db8:0:1::1").unwrap();
        assert!(network("2001:db8:0:1:ffff::2").is_none(), "the same /64 network");
        assert!(network("2001:db8:0:2::1").is_some());
        assert_eq!(gate.counts().refused_by_address, 3);
    }

    #[test]
    fn handshakes_of_one_address_are_capped_until_they_are_over() {
        let gate = gate(|limits| limits.handshakes_per_address_max = 1);
        let mut one = gate.admit(address(1)).unwrap();
        assert!(gate.admit(address(1)).is_none());
        one.handshaken();
        one.handshaken();
        let _two = gate.admit(address(1)).unwrap();
        assert!(gate.admit(address(1)).is_none());
    }

    #[test]
    fn h08_a_flood_of_refusals_is_told_within_bounds_and_counted_in_full() {
        let gate = gate(|limits| limits.refusals_per_second_max = 2);
        let start = Instant::now();
        let told = |after_ms| gate.may_report(start + Duration::from_millis(after_ms));
        assert_eq!([told(0), told(1), told(2), told(999)], [Some(0), Some(0), None, None]);
        assert_eq!([told(1_100), told(1_200), told(1_300)], [Some(2), Some(0), None]);
        assert_eq!(told(9_000), Some(1));
    }
}
