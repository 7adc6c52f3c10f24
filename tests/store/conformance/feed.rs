//! `changes` and `wait_hint`: who follows a store misses nothing.

use std::time::{Duration, Instant};

use bulla::store::{Change, Changes, Commit, Options, RowKey, StoreError, WAIT_HINT_MS_MAX};

use crate::store::subject::{Subject, key, put, puts, tombstones};

pub async fn every_commit_is_told_once_and_in_order<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    assert_eq!(store.changes(0, 10).await, Ok(Changes { changes: vec![], head: 0, cursor: 0 }));
    for revision in 1..=30_u64 {
        let own = key(revision.to_be_bytes());
        let commit = if revision % 3 == 0 { tombstones([own]) } else { puts([put(own, "body")]) };
        store.commit(commit).await.unwrap();
    }
    for limit in [1, 2, 7, 30, 31] {
        let (mut cursor, mut told) = (0, Vec::new());
        loop {
            let page = store.changes(cursor, limit).await.unwrap();
            assert_eq!(page.head, 30);
            assert!(page.changes.len() <= limit);
            told.extend(page.changes);
            assert_eq!(page.cursor, told.len() as u64);
            cursor = page.cursor;
            if cursor == page.head {
                break;
            }
        }
        for (change, revision) in told.iter().zip(1_u64..) {
            assert_eq!(change.revision(), revision);
            assert_eq!(change.key(), &key(revision.to_be_bytes()));
            assert_eq!(matches!(change, Change::Gone { .. }), revision % 3 == 0);
        }
        assert_eq!(told.len(), 30);
    }
    assert_eq!(store.changes(30, 1).await, Ok(Changes { changes: vec![], head: 30, cursor: 30 }));
}

pub async fn a_page_of_changes_never_cuts_a_commit<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    for (revision, size) in (1_u8..).zip([1, 3, 5, 2, 1]) {
        store.commit(puts((0..size).map(|id: u8| put(key([revision, id]), "")))).await.unwrap();
    }
    let pages = async |limit| {
        let (mut cursor, mut pages) = (0, Vec::new());
        while cursor < 5 {
            let page = store.changes(cursor, limit).await.unwrap();
            assert!(page.cursor > cursor);
            cursor = page.cursor;
            pages.push((page.changes.len(), cursor));
        }
        pages
    };
    assert_eq!(pages(1).await, [(1, 1), (3, 2), (5, 3), (2, 4), (1, 5)]);
    assert_eq!(pages(3).await, [(1, 1), (3, 2), (5, 3), (3, 5)]);
    assert_eq!(pages(4).await, [(4, 2), (5, 3), (3, 5)]);
    assert_eq!(pages(5).await, [(4, 2), (5, 3), (3, 5)]);
    assert_eq!(pages(8).await, [(4, 2), (8, 5)]);
    assert_eq!(pages(9).await, [(9, 3), (3, 5)]);
    assert_eq!(pages(11).await, [(11, 4), (1, 5)]);
    assert_eq!(pages(12).await, [(12, 5)]);
}

pub async fn a_row_is_told_at_its_latest_change_only<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    store.commit(puts([put(key("a"), "1"), put(key("b"), "1")])).await.unwrap();
    store.commit(puts([put(key("c"), "2")])).await.unwrap();
    store.commit(puts([put(key("a"), "3")])).await.unwrap();
    store.commit(tombstones([key("c")])).await.unwrap();
    let told = |page: Changes| {
        let told = page.changes.into_iter().map(|change| (change.revision(), change.key().clone()));
        told.collect::<Vec<_>>()
    };
    let all = [(1, key("b")), (3, key("a")), (4, key("c"))];
    assert_eq!(told(store.changes(0, 9).await.unwrap()), all);
    assert_eq!(told(store.changes(1, 9).await.unwrap()), all[1..]);
    assert_eq!(told(store.changes(3, 9).await.unwrap()), all[2..]);
}

pub async fn an_old_cursor_expires_once_tombstones_are_pruned<S: Subject>() {
    let subject = S::with(Options { tombstones_kept: 10, ..Options::default() }).await;
    let store = subject.store();
    store.commit(puts([put(key("a"), ""), put(key("b"), "")])).await.unwrap();
    store.commit(tombstones([key("a")])).await.unwrap();
    for head in 3..=11_u64 {
        store.commit(puts([put(key("other"), head.to_be_bytes())])).await.unwrap();
        let page = store.changes(0, 100).await.unwrap();
        assert!(page.changes.contains(&Change::Gone { key: key("a"), revision: 2 }), "{head}");
    }
    // The tombstone of revision 2 is now ten revisions behind, and every cursor that could be
    // missing it with it.
    store.commit(puts([put(key("other"), "")])).await.unwrap();
    for after in [0, 1] {
        assert_eq!(store.changes(after, 9).await, Err(StoreError::Expired { oldest: 2 }));
    }
    assert_eq!(store.status().await.unwrap().oldest_change, 2);
    let page = store.changes(2, 9).await.unwrap();
    assert_eq!((page.changes.len(), page.cursor), (1, 12));
    // Rows stay, however old, and so does a cursor while nothing that it needs is pruned.
    assert!(store.load(&[key("b")]).await.unwrap()[0].is_some());
    for _ in 0..30 {
        store.commit(puts([put(key("other"), "")])).await.unwrap();
    }
    assert_eq!(store.status().await.unwrap().oldest_change, 2);
    assert!(store.changes(2, 9).await.is_ok());
}

pub async fn a_cursor_ahead_of_the_head_is_expired<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    store.commit(puts([put(key("a"), "")])).await.unwrap();
    for after in [2, u64::MAX] {
        assert_eq!(store.changes(after, 9).await, Err(StoreError::Expired { oldest: 0 }));
    }
}

pub async fn pruning_keeps_up_when_fewer_tombstones_are_kept<S: Subject>() {
    let mut subject = S::with(Options { tombstones_kept: 2, ..Options::default() }).await;
    let store = subject.store();
    for id in 0..20_u8 {
        store.commit(tombstones([key([id]), key([id, id])])).await.unwrap();
    }
    let status = store.status().await.unwrap();
    assert_eq!((status.head, status.oldest_change), (20, 18));
    assert_eq!(store.changes(18, 100).await.unwrap().changes.len(), 4);
    drop(store);
    // Keeping more brings nothing back.
    subject.reopen(Options { tombstones_kept: 1000, ..Options::default() }).await;
    for id in 20..30_u8 {
        subject.store().commit(tombstones([key([id])])).await.unwrap();
    }
    assert_eq!(subject.store().status().await.unwrap().oldest_change, 18);
    assert_eq!(subject.store().changes(17, 9).await, Err(StoreError::Expired { oldest: 18 }));
    // Keeping fewer catches up, two revisions a commit.
    subject.reopen(Options { tombstones_kept: 0, ..Options::default() }).await;
    let mut oldest = Vec::new();
    for _ in 0..13 {
        subject.store().commit(tombstones([key("a")])).await.unwrap();
        oldest.push(subject.store().status().await.unwrap().oldest_change);
    }
    assert_eq!(oldest, [20, 22, 24, 26, 28, 30, 30, 30, 30, 30, 30, 42, 43]);
}

pub async fn a_wait_ends_when_something_is_committed<S: Subject>() {
    const ROUNDS: u64 = 20;
    let subject = S::fresh().await;
    let store = subject.store();
    let start = Instant::now();
    for revision in 1..=ROUNDS {
        // Polled in this order: the wait has begun before the commit is sent.
        let commit = store.commit(puts([put(key("a"), "")]));
        let ((), committed) = tokio::join!(biased; store.wait_hint(revision - 1), commit);
        assert_eq!(committed, Ok(revision));
    }
    // As many waits that ran to their bound would take longer.
    let bound = Duration::from_millis(WAIT_HINT_MS_MAX) * ROUNDS as u32;
    assert!(start.elapsed() < bound.mul_f64(0.8), "{:?}", start.elapsed());
}

pub async fn a_wait_ends_at_once_when_there_is_something_already<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    store.commit(puts([put(key("a"), "")])).await.unwrap();
    let start = Instant::now();
    for _ in 0..20 {
        store.wait_hint(0).await;
    }
    assert!(start.elapsed() < Duration::from_millis(WAIT_HINT_MS_MAX * 16));
}

pub async fn a_wait_ends_by_itself_within_its_bound<S: Subject>() {
    let subject = S::fresh().await;
    let start = Instant::now();
    subject.store().wait_hint(0).await;
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(WAIT_HINT_MS_MAX - 10), "{waited:?}");
    assert!(waited < Duration::from_millis(WAIT_HINT_MS_MAX * 20), "{waited:?}");
}

pub async fn a_follower_that_pages_during_writes_ends_with_the_same_rows<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let writer = tokio::spawn({
        let store = subject.store();
        async move {
            for round in 0..120_u8 {
                let keys: Vec<_> =
                    (0..4).map(|step| key([(u32::from(round) * 7 % 13) as u8, step])).collect();
                let commit = if round % 5 == 4 {
                    tombstones(keys)
                } else {
                    puts(keys.into_iter().map(|key| put(key, [round])))
                };
                store.commit(commit).await.unwrap();
            }
        }
    });
    let mut copy = std::collections::BTreeMap::<RowKey, Vec<u8>>::new();
    let mut cursor = 0;
    while cursor < 120 {
        let is_writing = !writer.is_finished();
        let page = store.changes(cursor, 5).await.unwrap();
        let mut last = cursor;
        for change in page.changes {
            assert!(change.revision() >= last, "out of order");
            last = change.revision();
            match change {
                Change::Put(row) => copy.insert(row.key, row.body),
                Change::Gone { key, .. } => copy.remove(&key),
            };
        }
        assert!(page.cursor >= last && (is_writing || page.cursor > cursor));
        cursor = page.cursor;
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    let scan =
        bulla::store::Scan { tenant: [1; 16], kind: 1, prefix: vec![], after: None, limit: 1000 };
    let rows = store.scan(&scan).await.unwrap();
    let rows: std::collections::BTreeMap<_, _> =
        rows.into_iter().map(|row| (row.key, row.body)).collect();
    assert_eq!(copy, rows);
}

pub async fn a_dropped_call_leaves_a_whole_commit_or_none<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    for round in 0..50_u8 {
        let commit = Commit {
            puts: vec![put(key([round, 0]), [round]), put(key([round, 1]), [round])],
            ..Commit::default()
        };
        let call = store.commit(commit);
        tokio::select! {
            biased;
            _ = call => {}
            () = std::future::ready(()) => {}
        }
    }
    // Behind whatever was still on its way.
    let head = store.commit(puts([put(key("end"), "")])).await.unwrap();
    let mut pairs = 0;
    for round in 0..50_u8 {
        let rows = store.load(&[key([round, 0]), key([round, 1])]).await.unwrap();
        let revisions: Vec<_> = rows.iter().flatten().map(|row| row.revision).collect();
        match revisions.as_slice() {
            [] => {}
            [one, other] if one == other => pairs += 1,
            halves => panic!("half a commit: {halves:?}"),
        }
    }
    assert_eq!(head, pairs + 1);
}
