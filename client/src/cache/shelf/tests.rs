//! Tests of the shelf.
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
