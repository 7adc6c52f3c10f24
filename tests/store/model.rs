//! Random operations on a store, held against a plain map.

use std::collections::BTreeMap;

use bulla::store::{
    Change, Changes, Commit, DueAfter, Expect, FORMAT, Options, Put, Row, RowKey, Scan, StoreError,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::subject::{Subject, put};

/// One step of a random history. Keys and times come from small sets, so that they meet.
#[derive(Clone, Debug)]
enum Operation {
    Commit { expect: Vec<(RowKey, Guess)>, puts: Vec<Put>, tombstones: Vec<RowKey> },
    Load(Vec<RowKey>),
    Scan(Scan),
    Due { now: i64, after: Option<DueAfter>, limit: usize },
    Changes { behind: u64, limit: usize },
    Reopen,
}

/// What a commit expects of a row.
#[derive(Clone, Copy, Debug)]
enum Guess {
    /// What is so.
    Right,
    /// That there is no row.
    Absent,
    /// A revision that may be right by chance.
    Revision(u64),
}

/// The contract, in the simplest form that keeps it.
#[derive(Debug, Default)]
struct Model {
    latest: BTreeMap<RowKey, Change>,
    head: u64,
    oldest: u64,
}

pub fn random_operations_agree_with_a_plain_map<S: Subject>() {
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    TestRunner::new(config)
        .run(&vec(operation(), 1..40), |operations| runtime.block_on(agree::<S>(operations)))
        .unwrap();
}

async fn agree<S: Subject>(operations: Vec<Operation>) -> Result<(), TestCaseError> {
    let options = Options { tombstones_kept: TOMBSTONES_KEPT, ..Options::default() };
    let mut subject = S::with(options.clone()).await;
    let mut model = Model::default();
    for operation in operations {
        let store = subject.store();
        match operation {
            Operation::Commit { expect, puts, tombstones } => {
                let expect = expect.into_iter().map(|(key, guess)| model.expect(key, guess));
                let commit = Commit { expect: expect.collect(), puts, tombstones };
                let expected = model.commit(&commit);
                prop_assert_eq!(store.commit(commit).await, expected);
            }
            Operation::Load(keys) => {
                let expected = keys.iter().map(|key| model.row(key).cloned()).collect();
                prop_assert_eq!(store.load(&keys).await, Ok(expected));
            }
            Operation::Scan(scan) => {
                prop_assert_eq!(store.scan(&scan).await, Ok(model.scan(&scan)));
            }
            Operation::Due { now, after, limit } => {
                let expected = Ok(model.due(now, after.as_ref(), limit));
                prop_assert_eq!(store.due(now, after.as_ref(), limit).await, expected);
            }
            Operation::Changes { behind, limit } => {
                let after = (model.head + 1).saturating_sub(behind);
                prop_assert_eq!(store.changes(after, limit).await, model.changes(after, limit));
            }
            Operation::Reopen => {
                drop(store);
                subject.reopen(options.clone()).await;
            }
        }
        let status = subject.store().status().await.unwrap();
        prop_assert_eq!((status.head, status.oldest_change), (model.head, model.oldest));
    }
    Ok(())
}

// === impl Model ===

impl Model {
    fn row(&self, key: &RowKey) -> Option<&Row> {
        self.latest.get(key).and_then(as_row)
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.latest.values().filter_map(as_row)
    }

    fn expect(&self, key: RowKey, guess: Guess) -> Expect {
        let revision = match guess {
            Guess::Right => self.row(&key).map(|row| row.revision),
            Guess::Absent => None,
            Guess::Revision(revision) => Some(revision),
        };
        Expect { key, revision }
    }

    fn commit(&mut self, commit: &Commit) -> Result<u64, StoreError> {
        let mut keys: Vec<_> = commit.puts.iter().map(|put| &put.key).collect();
        keys.extend(&commit.tombstones);
        if keys.is_empty() {
            return Err(StoreError::Invalid("a commit must put or tombstone something"));
        }
        let count = keys.len();
        keys.sort();
        keys.dedup();
        if keys.len() < count {
            return Err(StoreError::Invalid("a commit must change each row once only"));
        }
        let holds =
            |expect: &Expect| self.row(&expect.key).map(|row| row.revision) == expect.revision;
        if !commit.expect.iter().all(holds) {
            return Err(StoreError::Conflict);
        }
        self.head += 1;
        let revision = self.head;
        for put in commit.puts.clone() {
            let Put { key, body, mac, due_at } = put;
            let row = Row { key: key.clone(), body, mac, format: FORMAT, due_at, revision };
            self.latest.insert(key, Change::Put(row));
        }
        for key in commit.tombstones.clone() {
            self.latest.insert(key.clone(), Change::Gone { key, revision });
        }
        self.prune();
        Ok(revision)
    }

    fn prune(&mut self) {
        let until = self.head.saturating_sub(TOMBSTONES_KEPT);
        self.latest.retain(|_, change| {
            let is_pruned = as_row(change).is_none() && change.revision() <= until;
            if is_pruned {
                self.oldest = self.oldest.max(change.revision());
            }
            !is_pruned
        });
    }

    fn scan(&self, scan: &Scan) -> Vec<Row> {
        let inside = |row: &&Row| {
            row.key.tenant == scan.tenant
                && row.key.kind == scan.kind
                && row.key.id.starts_with(&scan.prefix)
                && scan.after.as_ref().is_none_or(|after| row.key.id > *after)
        };
        self.rows().filter(inside).take(scan.limit).cloned().collect()
    }

    fn due(&self, now: i64, after: Option<&DueAfter>, limit: usize) -> Vec<Row> {
        let is_due = |row: &&Row| row.due_at.is_some_and(|due| due <= now);
        let comes_after = |row: &&Row| after.is_none_or(|after| row.due_after().unwrap() > *after);
        let mut rows: Vec<_> = self.rows().filter(is_due).filter(comes_after).cloned().collect();
        rows.sort_by_key(|row| (row.due_at, row.key.clone()));
        rows.truncate(limit);
        rows
    }

    fn changes(&self, after: u64, limit: usize) -> Result<Changes, StoreError> {
        if after < self.oldest || after > self.head {
            return Err(StoreError::Expired { oldest: self.oldest });
        }
        let mut by_revision = BTreeMap::<u64, Vec<Change>>::new();
        for change in self.latest.values().filter(|change| change.revision() > after) {
            by_revision.entry(change.revision()).or_default().push(change.clone());
        }
        let mut changes = Vec::<Change>::new();
        for (_, whole) in by_revision {
            if !changes.is_empty() && changes.len() + whole.len() > limit {
                let cursor = changes.last().unwrap().revision();
                return Ok(Changes { changes, head: self.head, cursor });
            }
            changes.extend(whole);
        }
        Ok(Changes { changes, head: self.head, cursor: self.head })
    }
}

fn as_row(change: &Change) -> Option<&Row> {
    match change {
        Change::Put(row) => Some(row),
        Change::Gone { .. } => None,
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let some_put = (some_key(), vec(any::<u8>(), 0..20), prop::option::of(some_time()));
    let some_put = some_put.prop_map(|(key, body, due_at)| Put { due_at, ..put(key, body) });
    let commit = (vec((some_key(), guess()), 0..3), vec(some_put, 0..4), vec(some_key(), 0..3));
    let commit = commit.prop_map(|(expect, puts, tombstones)| Operation::Commit {
        expect,
        puts,
        tombstones,
    });
    let scan = (tenant(), kind(), id(), prop::option::of(id()), 1..5_usize);
    let scan = scan.prop_map(|(tenant, kind, prefix, after, limit)| {
        Operation::Scan(Scan { tenant, kind, prefix, after, limit })
    });
    let after = (some_time(), some_key()).prop_map(|(due_at, key)| DueAfter { due_at, key });
    let due = (some_time(), prop::option::of(after), 1..5_usize)
        .prop_map(|(now, after, limit)| Operation::Due { now, after, limit });
    let changes =
        (0..12_u64, 1..8_usize).prop_map(|(behind, limit)| Operation::Changes { behind, limit });
    prop_oneof![
        10 => commit,
        3 => vec(some_key(), 0..5).prop_map(Operation::Load),
        3 => scan,
        2 => due,
        4 => changes,
        1 => Just(Operation::Reopen),
    ]
}

fn guess() -> impl Strategy<Value = Guess> {
    prop_oneof![
        6 => Just(Guess::Right),
        1 => Just(Guess::Absent),
        1 => (0..20_u64).prop_map(Guess::Revision),
    ]
}

fn some_key() -> impl Strategy<Value = RowKey> {
    (tenant(), kind(), id()).prop_map(|(tenant, kind, id)| RowKey { tenant, kind, id })
}

fn tenant() -> impl Strategy<Value = [u8; 16]> {
    prop_oneof![Just([0; 16]), Just([255; 16])]
}

fn kind() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0), Just(1)]
}

fn id() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0), Just(b'a'), Just(255)], 0..3)
}

fn some_time() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MIN), -2..3_i64, Just(i64::MAX)]
}

const TOMBSTONES_KEPT: u64 = 6;
