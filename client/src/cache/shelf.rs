//! The bounded map under the cache: one entry a scope, one call for concurrent misses, and nothing
//! kept longer or used more than its bounds say.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Clock, Scope};
use crate::error::Error;

/// What every entry, and their number, is held to.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) age_max: Duration,
    pub(super) uses_max: u64,
    pub(super) bytes_max: u64,
    pub(super) entries_max: usize,
}

pub(super) struct Shelf<V> {
    bounds: Bounds,
    clock: Arc<dyn Clock>,
    slots: Mutex<HashMap<Scope, Arc<Slot<V>>>>,
    /// When expired entries are next looked for.
    sweep_due: Mutex<Duration>,
}

struct Slot<V> {
    /// When what is in it was asked for, in microseconds of the clock.
    born_us: AtomicU64,
    /// How many calls for it have ended.
    calls: AtomicU64,
    /// Bytes that the held value served, in this and past calls.
    bytes: AtomicU64,
    /// Held while a call is under way, so that others wait for its outcome.
    state: tokio::sync::Mutex<State<V>>,
}

struct State<V> {
    held: Option<Held<V>>,
    failure: Option<Error>,
}

struct Held<V> {
    value: V,
    born: Duration,
    uses: u64,
}

// === impl Shelf ===

impl<V> Shelf<V> {
    pub(super) fn new(bounds: Bounds, clock: Arc<dyn Clock>) -> Self {
        let sweep_due = Mutex::new(clock.elapsed());
        Self { bounds, clock, slots: Mutex::default(), sweep_due }
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Serves from the entry of `scope`, or from what `fetch` brings. A message that the bounds
    /// leave no room for is served once from a fresh value, which is not kept.
    pub(super) async fn take<T>(
        &self,
        scope: &Scope,
        bytes: u64,
        mut serve: impl FnMut(&mut V) -> Option<T>,
        fetch: impl Future<Output = Result<V, Error>>,
    ) -> Result<T, Error> {
        let slot = self.slot(scope);
        let calls_seen = slot.calls.load(Ordering::Acquire);
        let mut state = slot.state.lock().await;
        if self.has_room(&slot, &state, bytes)
            && let Some(held) = &mut state.held
            && let Some(served) = serve(&mut held.value)
        {
            self.use_up(&slot, &mut state, bytes);
            return Ok(served);
        }
        state.held = None;
        if slot.calls.load(Ordering::Acquire) != calls_seen
            && let Some(failure) = &state.failure
        {
            // Whoever waited for a call that failed shares its failure.
            return Err(failure.clone());
        }
        let born = self.clock.elapsed();
        let fetched = fetch.await;
        slot.calls.fetch_add(1, Ordering::AcqRel);
        let value = fetched.inspect_err(|failure| state.failure = Some(failure.clone()))?;
        slot.born_us.store(micros(born), Ordering::Release);
        slot.bytes.store(0, Ordering::Release);
        let held = state.held.insert(Held { value, born, uses: 0 });
        let served = serve(&mut held.value);
        state.failure = None;
        self.use_up(&slot, &mut state, bytes);
        served.ok_or_else(|| Error::protocol("the server returned no data key".to_owned()))
    }

    /// Adds bytes that a message turned out to have.
    pub(super) fn count(&self, scope: &Scope, bytes: u64) {
        let mut slots = lock(&self.slots);
        let total = slots.get(scope).map(|slot| add(&slot.bytes, bytes));
        if total.is_some_and(|total| total >= self.bounds.bytes_max) {
            slots.remove(scope);
        }
    }

    pub(super) fn entries(&self) -> usize {
        lock(&self.slots).len()
    }

    pub(super) fn clear(&self) {
        lock(&self.slots).clear();
    }

    pub(super) fn sweep(&self) {
        let now = self.clock.elapsed();
        self.sweep_locked(&mut lock(&self.slots), now);
    }

    fn sweep_locked(&self, slots: &mut HashMap<Scope, Arc<Slot<V>>>, now: Duration) {
        slots.retain(|_, slot| self.is_young(slot.born(), now));
        *lock(&self.sweep_due) = now.saturating_add(self.bounds.age_max.mul_f32(SWEEP_PART));
    }

    /// The slot of a scope, made if need be; the oldest gives way.
    fn slot(&self, scope: &Scope) -> Arc<Slot<V>> {
        let now = self.clock.elapsed();
        let mut slots = lock(&self.slots);
        if now >= *lock(&self.sweep_due) {
            self.sweep_locked(&mut slots, now);
        }
        if let Some(slot) = slots.get(scope) {
            return Arc::clone(slot);
        }
        while slots.len() >= self.bounds.entries_max.max(1) {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.born()).map(|(scope, _)| *scope);
            let Some(oldest) = oldest else { break };
            slots.remove(&oldest);
        }
        let slot = Arc::new(Slot::new(now));
        slots.insert(*scope, Arc::clone(&slot));
        slot
    }

    fn has_room(&self, slot: &Slot<V>, state: &State<V>, bytes: u64) -> bool {
        let total = slot.bytes.load(Ordering::Acquire).saturating_add(bytes);
        state.held.as_ref().is_some_and(|held| {
            self.is_young(held.born, self.clock.elapsed())
                && held.uses < self.bounds.uses_max
                && total <= self.bounds.bytes_max
        })
    }

    /// Counts one use, and drops the value when it was the last.
    fn use_up(&self, slot: &Slot<V>, state: &mut State<V>, bytes: u64) {
        let total = add(&slot.bytes, bytes);
        let Some(held) = &mut state.held else { return };
        held.uses = held.uses.saturating_add(1);
        let exhausted = held.uses >= self.bounds.uses_max || total >= self.bounds.bytes_max;
        if exhausted || !self.is_young(held.born, self.clock.elapsed()) {
            state.held = None;
        }
    }

    fn is_young(&self, born: Duration, now: Duration) -> bool {
        now.saturating_sub(born) < self.bounds.age_max
    }
}

// === impl Slot ===

impl<V> Slot<V> {
    fn new(now: Duration) -> Self {
        Self {
            born_us: AtomicU64::new(micros(now)),
            calls: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            state: tokio::sync::Mutex::new(State { held: None, failure: None }),
        }
    }

    fn born(&self) -> Duration {
        Duration::from_micros(self.born_us.load(Ordering::Acquire))
    }
}

/// Nothing panics while one of these locks is held; should it, the map is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(counter: &AtomicU64, bytes: u64) -> u64 {
    let sum = |now: u64| Some(now.saturating_add(bytes));
    let before = counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, sum);
    before.unwrap_or_else(|now| now).saturating_add(bytes)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Sweeps come after this part of an entry's longest age.
const SWEEP_PART: f32 = 0.25;

#[cfg(test)]
mod tests;
