//! What was found out and can be found out again: caches that belong to one world and go with it.
//!
//! A key is everything that the answer was made from, as bytes in which nothing can be taken for something
//! else: each part says what it is and how long it is. Keys are compared whole, and hashed with a key of
//! this process's own (attack J07). Nothing is forgotten by time, and no more is kept than a weight.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;

use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

/// A bounded memory.
pub(super) struct Memory<V> {
    cache: Cache<Box<[u8]>, V, ByBytes, RandomState>,
}

/// Everything that an answer was made from.
pub(super) struct MemoryKey(Vec<u8>);

/// Weighs by what the key takes, and a little for the rest.
#[derive(Clone)]
struct ByBytes;

/// The most that is kept in one memory.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// What an entry takes besides its key.
const ENTRY_BYTES: u64 = 512;

/// The longest key that is kept: one long encryption context must not push out a thousand answers.
const MAX_KEY_BYTES: usize = 4096;

// === impl Memory ===

impl<V: Clone> Memory<V> {
    pub(super) fn new() -> Self {
        let entries = usize::try_from(MAX_BYTES.checked_div(ENTRY_BYTES).unwrap_or(1));
        let cache = Cache::with(
            entries.unwrap_or(1),
            MAX_BYTES,
            ByBytes,
            hasher(),
            DefaultLifecycle::default(),
        );
        Self { cache }
    }

    pub(super) fn get(&self, key: &MemoryKey) -> Option<V> {
        self.cache.get(key.0.as_slice())
    }

    pub(super) fn keep(&self, key: MemoryKey, value: V) {
        if key.0.len() <= MAX_KEY_BYTES {
            self.cache.insert(key.0.as_slice().into(), value);
        }
    }

    #[cfg(test)]
    pub(super) fn weight(&self) -> (u64, usize) {
        (self.cache.weight(), self.cache.len())
    }
}

/// With a key of its own, drawn at random, so that nobody can choose keys that collide.
fn hasher() -> RandomState {
    RandomState::new()
}

impl<V> Weighter<Box<[u8]>, V> for ByBytes {
    fn weight(&self, key: &Box<[u8]>, _: &V) -> u64 {
        ENTRY_BYTES.saturating_add(u64::try_from(key.len()).unwrap_or(u64::MAX))
    }
}

// === impl MemoryKey ===

impl MemoryKey {
    pub(super) fn new() -> Self {
        let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop());
        Self(spare.ok().flatten().unwrap_or_else(|| Vec::with_capacity(192)))
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.extend_from_slice(bytes);
    }

    /// Something that may be absent.
    pub(super) fn maybe(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => {
                self.0.push(1);
                self.bytes(bytes);
            }
            None => self.0.push(0),
        }
    }

    /// Pairs: before each stands that there is one, and after the last that there is none.
    pub(super) fn pairs<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
        for (key, value) in pairs {
            self.maybe(Some(key.as_bytes()));
            self.bytes(value.as_bytes());
        }
        self.maybe(None);
    }
}

impl Drop for MemoryKey {
    fn drop(&mut self) {
        let _ = SPARE.try_with(|spare| {
            let Ok(mut spare) = spare.try_borrow_mut() else { return };
            self.0.clear();
            if spare.len() < MAX_SPARE && self.0.capacity() <= MAX_KEY_BYTES {
                spare.push(std::mem::take(&mut self.0));
            }
        });
    }
}

/// How many buffers a thread keeps: a decision uses three.
const MAX_SPARE: usize = 4;

thread_local! {
    /// Buffers for keys: a decision that is remembered is shorter than making three of them.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(write: impl Fn(&mut MemoryKey)) -> Vec<u8> {
        let mut key = MemoryKey::new();
        write(&mut key);
        key.0.clone()
    }

    #[test]
    fn d11_different_facts_are_never_one_key() {
        let keys = [
            key(|key| key.pairs([("a", "bc")].into_iter())),
            key(|key| key.pairs([("ab", "c")].into_iter())),
            key(|key| key.pairs([("a", "b"), ("c", "")].into_iter())),
            key(|key| key.pairs([("", "")].into_iter())),
            key(|key| {
                key.pairs([].into_iter());
                key.pairs([("", "")].into_iter());
            }),
            key(|key| {
                key.pairs([("", "")].into_iter());
                key.pairs([].into_iter());
            }),
            key(|key| key.maybe(None)),
            key(|key| key.maybe(Some(b""))),
            key(|key| key.number(1)),
            key(|key| key.bytes(b"\x01")),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn j07_no_two_memories_hash_alike() {
        use std::hash::BuildHasher;
        let hashes: std::collections::BTreeSet<_> =
            (0..16).map(|_| hasher().hash_one(b"spiffe://demo.bulla/app")).collect();
        assert_eq!(hashes.len(), 16);
    }

    #[test]
    fn j08_a_few_buffers_are_kept_for_the_next_keys_empty_and_never_a_large_one() {
        let kept =
            || SPARE.with_borrow(|spare| spare.iter().map(Vec::capacity).collect::<Vec<_>>());
        SPARE.with_borrow_mut(Vec::clear);
        drop((0..MAX_SPARE + 3).map(|_| MemoryKey::new()).collect::<Vec<_>>());
        assert_eq!(kept().len(), MAX_SPARE);
        let mut used = MemoryKey::new();
        assert_eq!(kept().len(), MAX_SPARE - 1);
        used.bytes(&[1; 500]);
        drop(used);
        assert_eq!(kept().len(), MAX_SPARE);
        assert!(kept().iter().any(|capacity| *capacity >= 508));
        assert_eq!(key(|key| key.number(7)).len(), 8);
        SPARE.with_borrow_mut(Vec::clear);
        let mut large = MemoryKey::new();
        large.bytes(&vec![1; MAX_KEY_BYTES]);
        drop(large);
        assert!(kept().is_empty());
    }

    #[test]
    fn j08_a_memory_is_bounded_whatever_is_asked() {
        let memory = Memory::new();
        for number in 0..60_000_u64 {
            let mut key = MemoryKey::new();
            key.number(number);
            key.bytes(&[7; 300]);
            memory.keep(key, number);
        }
        let (weight, entries) = memory.weight();
        assert!(weight <= MAX_BYTES && entries <= 16_384, "{weight} {entries}");
        assert!(entries > 5_000, "{entries}");
    }

    #[test]
    fn j08_what_was_made_from_too_much_is_not_kept() {
        let memory = Memory::new();
        for (length, kept) in [(MAX_KEY_BYTES - 8, true), (MAX_KEY_BYTES - 7, false)] {
            let long = || {
                let mut key = MemoryKey::new();
                key.bytes(&vec![1; length]);
                key
            };
            memory.keep(long(), length);
            assert_eq!(memory.get(&long()).is_some(), kept);
        }
    }
}
