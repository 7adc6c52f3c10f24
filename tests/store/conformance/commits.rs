//! `commit`: what it needs, what it refuses, and that a refusal changes nothing.

use bulla::store::{
    BODY_BYTES_MAX, COMMIT_BYTES_MAX, COMMIT_EXPECTS_MAX, COMMIT_WRITES_MAX, Change, Changes,
    Commit, Expect, Options, Row, RowKey, Store, StoreError,
};

use crate::store::subject::{Subject, due, expecting, key, put, puts, tombstones};

pub async fn revisions_are_dense_and_shared_by_the_rows_of_a_commit<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    for revision in 1..=20_u64 {
        let commit = Commit {
            puts: vec![put(key("a"), revision.to_be_bytes()), put(key("b"), "")],
            tombstones: vec![key("c")],
            ..Commit::default()
        };
        assert_eq!(store.commit(commit).await, Ok(revision));
        let rows = store.load(&[key("a"), key("b")]).await.unwrap();
        assert!(rows.into_iter().all(|row| row.unwrap().revision == revision));
    }
}

pub async fn a_commit_needs_its_expected_revisions<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let write = || puts([put(key("other"), "")]);
    store.commit(puts([put(key("a"), "1")])).await.unwrap();
    store.commit(puts([put(key("a"), "2")])).await.unwrap();
    for wrong in [0, 1, 3, u64::MAX] {
        let commit = expecting(write(), key("a"), wrong);
        assert_eq!(store.commit(commit).await, Err(StoreError::Conflict), "{wrong}");
    }
    assert_eq!(store.commit(expecting(write(), key("none"), 1)).await, Err(StoreError::Conflict));
    assert_eq!(store.commit(expecting(write(), key("a"), 2)).await, Ok(3));
    // The row itself may be written, and its old revision holds no longer.
    assert_eq!(store.commit(expecting(puts([put(key("a"), "3")]), key("a"), 2)).await, Ok(4));
    assert_eq!(store.commit(expecting(write(), key("a"), 2)).await, Err(StoreError::Conflict));
    // A tombstone is no row, at whatever revision.
    store.commit(tombstones([key("a")])).await.unwrap();
    for revision in [4, 5] {
        let commit = expecting(write(), key("a"), revision);
        assert_eq!(store.commit(commit).await, Err(StoreError::Conflict));
    }
}

pub async fn a_commit_needs_its_expected_absences<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let make = || expecting(puts([put(key("a"), "")]), key("a"), None);
    assert_eq!(store.commit(make()).await, Ok(1));
    assert_eq!(store.commit(make()).await, Err(StoreError::Conflict));
    assert_eq!(store.commit(tombstones([key("a")])).await, Ok(2));
    assert_eq!(store.commit(make()).await, Ok(3));
    let both = expecting(make(), key("a"), 3);
    assert_eq!(store.commit(both).await, Err(StoreError::Conflict));
}

pub async fn a_lost_race_changes_nothing<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    store.commit(puts(["a", "b", "c"].map(|id| due(put(key(id), id), 1)))).await.unwrap();
    let before = everything(&*store).await;
    for failing in [
        Expect { key: key("a"), revision: Some(9) },
        Expect { key: key("c"), revision: None },
        Expect { key: key("new"), revision: Some(1) },
        Expect { key: RowKey::new([2; 16], 1, *b"a"), revision: Some(1) },
    ] {
        let commit = Commit {
            expect: vec![
                Expect { key: key("a"), revision: Some(1) },
                Expect { key: key("new"), revision: None },
                failing,
            ],
            puts: vec![put(key("a"), "lost"), due(put(key("new"), "lost"), 0)],
            tombstones: vec![key("b")],
        };
        assert_eq!(store.commit(commit).await, Err(StoreError::Conflict));
        assert!(everything(&*store).await == before);
    }
}

pub async fn a_commit_of_nothing_is_refused<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    for commit in [Commit::default(), expecting(Commit::default(), key("a"), None)] {
        assert!(matches!(store.commit(commit).await, Err(StoreError::Invalid(_))));
    }
    assert_eq!(store.status().await.unwrap().head, 0);
}

pub async fn a_commit_that_changes_a_row_twice_is_refused<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let (a, b) = (|| put(key("a"), "1"), || put(key("b"), "1"));
    let mut both = puts([b(), a()]);
    both.tombstones.push(key("a"));
    for commit in [puts([a(), b(), a()]), tombstones([key("a"), key("a")]), both] {
        assert!(matches!(store.commit(commit).await, Err(StoreError::Invalid(_))));
    }
    assert_eq!(store.load(&[key("a"), key("b")]).await, Ok(vec![None, None]));
    assert_eq!(store.status().await.unwrap().head, 0);
}

pub async fn a_commit_has_at_most_a_thousand_writes<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let commit = |writes: usize| {
        let keys: Vec<_> = (0..writes).map(|id| key(id.to_be_bytes())).collect();
        let (gone, kept) = keys.split_at(writes / 2);
        let mut commit = puts(kept.iter().map(|key| put(key.clone(), "")));
        commit.tombstones = gone.to_vec();
        commit
    };
    assert_eq!(store.commit(commit(COMMIT_WRITES_MAX - 1)).await, Ok(1));
    assert_eq!(store.commit(commit(COMMIT_WRITES_MAX)).await, Ok(2));
    let refused = store.commit(commit(COMMIT_WRITES_MAX + 1)).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { size: 1001, limit: 1000, .. })));
    assert_eq!(store.changes(1, 1000).await.unwrap().changes.len(), COMMIT_WRITES_MAX);
}

pub async fn a_commit_has_at_most_two_thousand_expectations<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let commit = |expects: usize| {
        let absent = |id: usize| Expect { key: key(id.to_be_bytes()), revision: None };
        Commit { expect: (0..expects).map(absent).collect(), ..puts([put(key("a"), "")]) }
    };
    assert_eq!(store.commit(commit(COMMIT_EXPECTS_MAX - 1)).await, Ok(1));
    assert_eq!(store.commit(commit(COMMIT_EXPECTS_MAX)).await, Ok(2));
    let refused = store.commit(commit(COMMIT_EXPECTS_MAX + 1)).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { size: 2001, limit: 2000, .. })));
}

pub async fn a_commit_has_at_most_16_mebibytes_of_bodies<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let rows = COMMIT_BYTES_MAX / BODY_BYTES_MAX;
    let commit = |more: &[u8]| {
        let body = vec![3; BODY_BYTES_MAX];
        let full = (0..rows).map(|id| put(key(id.to_be_bytes()), &body));
        puts(full.chain([put(key("more"), more)]))
    };
    assert_eq!(store.commit(commit(b"")).await, Ok(1));
    let refused = store.commit(commit(b"1")).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { limit: COMMIT_BYTES_MAX, .. })));
}

pub async fn a_refused_commit_takes_no_revision<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    for revision in 1..=5 {
        let commit = || expecting(puts([put(key("a"), "")]), key("a"), revision - 1);
        let commit = || if revision == 1 { puts([put(key("a"), "")]) } else { commit() };
        assert_eq!(store.commit(commit()).await, Ok(revision));
        let late = expecting(puts([put(key("a"), "")]), key("a"), revision - 1);
        assert_eq!(store.commit(late).await, Err(StoreError::Conflict));
    }
}

pub async fn a_put_over_a_tombstone_makes_the_row_anew<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    store.commit(puts([due(put(key("a"), "old"), 1)])).await.unwrap();
    store.commit(tombstones([key("a")])).await.unwrap();
    assert_eq!(store.load(&[key("a")]).await, Ok(vec![None]));
    store.commit(puts([put(key("a"), "new")])).await.unwrap();
    let row = store.load(&[key("a")]).await.unwrap().remove(0).unwrap();
    assert_eq!((row.body.as_slice(), row.due_at, row.revision), (&b"new"[..], None, 3));
    let told = store.changes(0, 10).await.unwrap().changes;
    assert_eq!(told, [Change::Put(row)]);
}

pub async fn a_tombstone_of_nothing_is_told_too<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    assert_eq!(store.commit(tombstones([key("a")])).await, Ok(1));
    assert_eq!(store.commit(tombstones([key("a")])).await, Ok(2));
    let told = store.changes(0, 10).await.unwrap().changes;
    assert_eq!(told, [Change::Gone { key: key("a"), revision: 2 }]);
}

pub async fn a_row_of_a_newer_format_is_told_but_never_changed<S: Subject>() {
    let newer = Options { format: 2, ..Options::default() };
    let mut subject = S::with(newer).await;
    let both = ["new", "newer"].map(|id| due(put(key(id), id), 1));
    subject.store().commit(puts(both)).await.unwrap();
    subject.reopen(Options::default()).await;
    let store = subject.store();
    let row = store.load(&[key("new")]).await.unwrap().remove(0).unwrap();
    assert_eq!((row.format, row.body.as_slice()), (2, &b"new"[..]));
    let before = everything(&*store).await;
    let refusal = Err(StoreError::NewerFormat { row: 2, ours: 1 });
    let other = put(key("other"), "");
    assert_eq!(store.commit(puts([other.clone(), put(key("new"), "")])).await, refusal);
    assert_eq!(store.commit(tombstones([key("new")])).await, refusal);
    let expected = expecting(puts([put(key("new"), "")]), key("new"), 1);
    assert_eq!(store.commit(expected).await, refusal);
    assert!(everything(&*store).await == before);
    // It may be relied on, since that changes nothing in it.
    assert_eq!(store.commit(expecting(puts([other]), key("new"), 1)).await, Ok(2));
}

async fn everything(store: &dyn Store) -> (Changes, Vec<Row>) {
    (store.changes(0, 100).await.unwrap(), store.due(i64::MAX, None, 100).await.unwrap())
}
