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
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    #[derive(Clone, Default)]
    struct ManualClock(Arc<AtomicU64>);

    impl ManualClock {
        fn advance(&self, by: Duration) {
            self.0.fetch_add(micros(by), Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn elapsed(&self) -> Duration {
            Duration::from_micros(self.0.load(Ordering::SeqCst))
        }
    }

    /// Stands for a secret: counts how many there are.
    struct Canary(Arc<AtomicUsize>);

    impl Drop for Canary {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    struct Setup {
        clock: ManualClock,
        shelf: Shelf<Canary>,
        alive: Arc<AtomicUsize>,
        calls: AtomicUsize,
    }

    const BOUNDS: Bounds = Bounds {
        age_max: Duration::from_secs(60),
        uses_max: u64::MAX,
        bytes_max: u64::MAX,
        entries_max: 100,
    };

    impl Setup {
        fn new(bounds: Bounds) -> Self {
            let clock = ManualClock::default();
            let shelf = Shelf::new(bounds, Arc::new(clock.clone()));
            Self { clock, shelf, alive: Arc::default(), calls: AtomicUsize::new(0) }
        }

        async fn take(&self, name: &str, bytes: u64) -> Result<(), Error> {
            let fetch = async {
                self.calls.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                self.alive.fetch_add(1, Ordering::SeqCst);
                Ok(Canary(Arc::clone(&self.alive)))
            };
            self.shelf.take(&scope(name), bytes, |_| Some(()), fetch).await
        }

        fn calls(&self) -> usize {
            self.calls.load(Ordering::SeqCst)
        }

        fn alive(&self) -> usize {
            self.alive.load(Ordering::SeqCst)
        }
    }

    fn scope(name: &str) -> Scope {
        Scope::of(b"open", &[0; 32], "server", name, &BTreeMap::new(), 0)
    }

    #[tokio::test]
    async fn an_entry_serves_until_it_is_too_old_and_is_then_dropped() {
        let setup = Setup::new(BOUNDS);
        for _ in 0..10 {
            setup.take("a", 1).await.unwrap();
        }
        assert_eq!((setup.calls(), setup.alive()), (1, 1));

        setup.clock.advance(Duration::from_secs(60) - Duration::from_micros(1));
        setup.take("a", 1).await.unwrap();
        assert_eq!(setup.calls(), 1);

        setup.clock.advance(Duration::from_micros(1));
        setup.take("a", 1).await.unwrap();
        assert_eq!((setup.calls(), setup.alive()), (2, 1));
    }

    #[tokio::test]
    async fn an_entry_ages_from_before_its_call_and_not_from_its_last_use() {
        let setup = Setup::new(BOUNDS);
        let fetch = async {
            setup.clock.advance(Duration::from_secs(50));
            setup.alive.fetch_add(1, Ordering::SeqCst);
            Ok(Canary(Arc::clone(&setup.alive)))
        };
        setup.shelf.take(&scope("a"), 0, |_| Some(()), fetch).await.unwrap();
        setup.clock.advance(Duration::from_secs(9));
        setup.take("a", 0).await.unwrap();
        assert_eq!(setup.calls(), 0);
        setup.clock.advance(Duration::from_secs(1));
        setup.take("a", 0).await.unwrap();
        assert_eq!(setup.calls(), 1);
    }

    #[tokio::test]
    async fn an_entry_serves_so_many_uses_and_is_dropped_with_the_last() {
        let setup = Setup::new(Bounds { uses_max: 3, ..BOUNDS });
        for (uses, calls, alive) in [(1, 1, 1), (2, 1, 1), (3, 1, 0), (4, 2, 1)] {
            setup.take("a", 0).await.unwrap();
            assert_eq!((setup.calls(), setup.alive()), (calls, alive), "after {uses} uses");
        }
    }

    #[tokio::test]
    async fn an_entry_serves_so_many_bytes() {
        let setup = Setup::new(Bounds { bytes_max: 100, ..BOUNDS });
        setup.take("a", 60).await.unwrap();
        setup.take("a", 39).await.unwrap();
        assert_eq!((setup.calls(), setup.alive()), (1, 1));
        // This one would not fit, so a fresh value serves it.
        setup.take("a", 2).await.unwrap();
        assert_eq!((setup.calls(), setup.alive()), (2, 1));
        // A message over the bound is served once, and nothing of it is kept.
        setup.take("a", 101).await.unwrap();
        assert_eq!((setup.calls(), setup.alive()), (3, 0));
        // Bytes that are known afterwards count too.
        setup.take("b", 0).await.unwrap();
        setup.shelf.count(&scope("b"), 100);
        assert_eq!(setup.alive(), 0);
        setup.take("b", 0).await.unwrap();
        assert_eq!(setup.calls(), 5);
    }

    #[tokio::test]
    async fn no_more_entries_are_kept_than_allowed_and_the_oldest_goes() {
        let setup = Setup::new(Bounds { entries_max: 2, ..BOUNDS });
        for name in ["a", "b", "a", "c"] {
            setup.clock.advance(Duration::from_secs(1));
            setup.take(name, 0).await.unwrap();
        }
        assert_eq!((setup.shelf.entries(), setup.alive(), setup.calls()), (2, 2, 3));
        setup.take("b", 0).await.unwrap();
        setup.take("c", 0).await.unwrap();
        assert_eq!(setup.calls(), 3);
        setup.take("a", 0).await.unwrap();
        assert_eq!((setup.calls(), setup.shelf.entries()), (4, 2));
    }

    #[tokio::test]
    async fn what_is_too_old_is_dropped_though_nobody_asks_for_it_again() {
        let setup = Setup::new(BOUNDS);
        setup.take("a", 0).await.unwrap();
        setup.clock.advance(Duration::from_secs(61));
        setup.take("b", 0).await.unwrap();
        assert_eq!((setup.alive(), setup.shelf.entries()), (1, 1));
        setup.clock.advance(Duration::from_secs(61));
        setup.shelf.sweep();
        assert_eq!((setup.alive(), setup.shelf.entries()), (0, 0));
    }

    #[tokio::test]
    async fn everything_is_dropped_with_the_shelf_and_by_clearing_it() {
        let setup = Setup::new(BOUNDS);
        for name in ["a", "b", "c"] {
            setup.take(name, 0).await.unwrap();
        }
        assert_eq!(setup.alive(), 3);
        setup.shelf.clear();
        assert_eq!((setup.alive(), setup.shelf.entries()), (0, 0));
        setup.take("a", 0).await.unwrap();
        let Setup { shelf, alive, .. } = setup;
        drop(shelf);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn j09_concurrent_misses_make_one_call() {
        let setup = Arc::new(Setup::new(BOUNDS));
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let setup = Arc::clone(&setup);
                tokio::spawn(async move { setup.take("a", 1).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(setup.calls(), 1);
    }

    #[tokio::test]
    async fn j09_those_who_wait_for_a_call_that_fails_share_its_failure() {
        let shelf = Arc::new(Shelf::<()>::new(BOUNDS, Arc::new(ManualClock::default())));
        let (calls, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let take = || {
            let (shelf, calls, go) = (Arc::clone(&shelf), Arc::clone(&calls), Arc::clone(&go));
            tokio::spawn(async move {
                let fetch = async {
                    calls.fetch_add(1, Ordering::SeqCst);
                    go.notified().await;
                    Err(Error::protocol("down".to_owned()))
                };
                shelf.take(&scope("a"), 0, |()| Some(()), fetch).await
            })
        };
        let tasks: Vec<_> = (0..64).map(|_| take()).collect();
        // Every task runs until it waits, either for the call or for the one who makes it.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        for task in tasks {
            assert_eq!(task.await.unwrap().unwrap_err().message(), "down");
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        // Whoever comes later tries for themselves.
        let later = take();
        go.notify_one();
        assert!(later.await.unwrap().is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_leaves_the_call_to_the_next() {
        let setup = Arc::new(Setup::new(BOUNDS));
        let first = {
            let setup = Arc::clone(&setup);
            tokio::spawn(async move {
                let never = std::future::pending::<Result<Canary, Error>>();
                setup.shelf.take(&scope("a"), 0, |_| Some(()), never).await
            })
        };
        tokio::task::yield_now().await;
        let second = {
            let setup = Arc::clone(&setup);
            tokio::spawn(async move { setup.take("a", 0).await })
        };
        tokio::task::yield_now().await;
        first.abort();
        second.await.unwrap().unwrap();
        assert_eq!(setup.calls(), 1);
    }

    #[test]
    fn f04_scopes_differ_whenever_any_part_differs() {
        let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let mut all = Vec::new();
        for purpose in [b"open", b"seal"] {
            for identity in [[0; 32], [1; 32]] {
                for (server, key) in [("s:1", "k"), ("s:1k", ""), ("s", ":1k"), ("s:1", "")] {
                    for context in [
                        pairs(&[]),
                        pairs(&[("", "")]),
                        pairs(&[("a", "bc")]),
                        pairs(&[("ab", "c")]),
                        pairs(&[("a", "b"), ("c", "")]),
                        pairs(&[("a", ""), ("b", "c")]),
                    ] {
                        for store in [0, 1] {
                            let scope = Scope::of(purpose, &identity, server, key, &context, store);
                            all.extend([scope, scope.with_blob(b""), scope.with_blob(b"x")]);
                        }
                    }
                }
            }
        }
        let distinct: std::collections::HashSet<_> = all.iter().copied().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
