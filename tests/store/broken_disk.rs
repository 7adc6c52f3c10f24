//! What a SQLite store does on a disk that breaks, fills up, or is slow.

use std::sync::Arc;

use bulla::store::sqlite::SqliteStore;
use bulla::store::{BODY_BYTES_MAX, Commit, Options, Store, StoreError};
use futures_util::future::join_all;

use super::disk::{Behaviour, Disk};
use super::subject::{SqliteSubject, Subject, expecting, key, put, puts, tombstones};

#[tokio::test]
async fn after_a_failed_sync_the_store_never_answers_again() {
    let mut subject = SqliteSubject::fresh().await;
    let disk = Disk::over(&subject.folder());
    subject.reopen(Options::default()).await;
    let store = subject.sqlite();
    assert_eq!(store.commit(puts([put(key("a"), "kept")])).await, Ok(1));

    disk.set(Behaviour::FailsToSync("-wal"));
    let failure = store.commit(puts([put(key("b"), "lost?")])).await.unwrap_err();
    assert!(matches!(failure, StoreError::Failed(_)), "{failure:?}");
    assert!(failure.is_fatal());
    disk.set(Behaviour::Works);
    let (syncs, writes) = (disk.syncs(), disk.writes());
    assert_eq!(store.commit(puts([put(key("c"), "")])).await, Err(failure.clone()));
    assert_eq!(store.load(&[key("a")]).await, Err(failure.clone()));
    assert_eq!(store.changes(0, 9).await, Err(failure.clone()));
    assert_eq!(store.status().await, Err(failure.clone()));
    assert_eq!(store.failed().await, failure);
    assert_eq!(store.close().await, Err(failure.clone()));
    assert_eq!(store.commit(puts([put(key("d"), "")])).await, Err(failure));
    assert_eq!((disk.syncs(), disk.writes()), (syncs, writes), "the files were touched again");

    // What was answered is there; what failed is there whole or not at all.
    let store = SqliteStore::open(&subject.path).unwrap();
    let head = store.status().await.unwrap().head;
    let rows = store.load(&["a", "b", "c"].map(key)).await.unwrap();
    assert_eq!(rows[0].as_ref().unwrap().body, b"kept");
    assert_eq!(rows[1].is_some(), head == 2);
    assert!(rows[2].is_none() && head <= 2);
    assert_eq!(store.commit(puts([put(key("c"), "")])).await, Ok(head + 1));
}

#[tokio::test]
async fn a_write_that_a_broken_disk_refuses_stops_the_store() {
    let mut subject = SqliteSubject::fresh().await;
    let disk = Disk::over(&subject.folder());
    subject.reopen(Options::default()).await;
    assert_eq!(subject.store().commit(puts([put(key("a"), "kept")])).await, Ok(1));
    disk.set(Behaviour::FailsToWrite);
    let failure = subject.store().commit(puts([put(key("b"), "")])).await.unwrap_err();
    assert!(matches!(failure, StoreError::Failed(_)), "{failure:?}");
    disk.set(Behaviour::Works);
    assert_eq!(subject.sqlite().close().await, Err(failure));
    let store = SqliteStore::open(&subject.path).unwrap();
    assert_eq!(store.status().await.unwrap().head, 1);
    assert!(store.load(&[key("a")]).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn a_full_disk_refuses_commits_and_recovers_by_itself() {
    let mut subject = SqliteSubject::fresh().await;
    let disk = Disk::over(&subject.folder());
    subject.reopen(Options::default()).await;
    let store = subject.store();
    assert_eq!(store.commit(puts([put(key("a"), "kept")])).await, Ok(1));
    disk.set(Behaviour::IsFull);
    for _ in 0..3 {
        let both = puts([put(key("a"), "lost"), put(key("b"), "lost")]);
        assert_eq!(store.commit(both).await, Err(StoreError::Full));
        let rows = store.load(&[key("a"), key("b")]).await.unwrap();
        assert_eq!(rows[0].as_ref().unwrap().body, b"kept");
        assert!(rows[1].is_none());
        assert_eq!(store.status().await.unwrap().head, 1);
    }
    disk.set(Behaviour::Works);
    assert_eq!(store.commit(puts([put(key("b"), "kept")])).await, Ok(2));
    subject.reopen(Options::default()).await;
    let rows = subject.store().load(&[key("a"), key("b")]).await.unwrap();
    assert!(rows.into_iter().all(|row| row.unwrap().body == b"kept"));
}

#[tokio::test]
async fn a_checkpoint_that_finds_no_room_loses_nothing() {
    let mut subject = SqliteSubject::fresh().await;
    let disk = Disk::over(&subject.folder());
    subject.reopen(Options::default()).await;
    subject.store().commit(puts([put(key("a"), "kept")])).await.unwrap();
    disk.set(Behaviour::IsFull);
    subject.sqlite().close().await.unwrap();
    disk.set(Behaviour::Works);
    let store = SqliteStore::open(&subject.path).unwrap();
    assert_eq!(store.load(&[key("a")]).await.unwrap()[0].as_ref().unwrap().body, b"kept");
}

#[tokio::test]
async fn a_checkpoint_that_cannot_sync_stops_the_store_and_loses_nothing() {
    let mut subject = SqliteSubject::fresh().await;
    let disk = Disk::over(&subject.folder());
    subject.reopen(Options::default()).await;
    subject.store().commit(puts([put(key("a"), "kept")])).await.unwrap();
    disk.set(Behaviour::FailsToSync("bulla.db"));
    let failure = subject.sqlite().close().await.unwrap_err();
    assert!(matches!(failure, StoreError::Failed(_)));
    assert_eq!(subject.sqlite().failed().await, failure);
    disk.set(Behaviour::Works);
    let store = SqliteStore::open(&subject.path).unwrap();
    assert_eq!(store.load(&[key("a")]).await.unwrap()[0].as_ref().unwrap().body, b"kept");
}

#[tokio::test]
async fn a_creation_that_fails_leaves_no_file() {
    for (behaviour, is_expected) in [
        (Behaviour::IsFull, (|error| matches!(error, StoreError::Full)) as fn(&StoreError) -> bool),
        (Behaviour::FailsToWrite, |error| matches!(error, StoreError::Unavailable(_))),
        (Behaviour::FailsToSync(""), |error| matches!(error, StoreError::Unavailable(_))),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bulla.db");
        let disk = Disk::over(folder.path());
        disk.set(behaviour);
        let error = SqliteStore::create(&path).unwrap_err();
        assert!(is_expected(&error), "{behaviour:?}: {error:?}");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "{behaviour:?}");
        disk.set(Behaviour::Works);
        SqliteStore::create(&path).unwrap();
    }
}

#[tokio::test]
async fn commits_that_wait_together_share_a_sync_and_nothing_else() {
    let mut subject = SqliteSubject::fresh().await;
    let disk = Disk::over(&subject.folder());
    subject.reopen(Options::default()).await;
    let store = subject.store();
    store.commit(puts([put(key("counter"), "1")])).await.unwrap();

    disk.set(Behaviour::HoldsSyncs);
    let before = disk.syncs();
    let first = tokio::spawn(commit(&subject, puts([put(key("first"), "")])));
    tokio::task::yield_now().await;
    disk.wait_for_syncs(before + 1);
    // The thread waits for its sync. These all see the counter at 1, and one of them can have it.
    let raise = || expecting(puts([put(key("counter"), "2")]), key("counter"), 1);
    let waiting: Vec<_> = (0..30_u8)
        .flat_map(|id| [raise(), puts([put(key([id]), "")]), Commit::default()])
        .map(|each| tokio::spawn(commit(&subject, each)))
        .collect();
    tokio::task::yield_now().await;
    disk.set(Behaviour::Works);

    assert_eq!(first.await.unwrap(), Ok(2));
    let results: Vec<_> = join_all(waiting).await.into_iter().map(Result::unwrap).collect();
    let mut revisions: Vec<u64> = results.iter().filter_map(|result| result.clone().ok()).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (3..=33).collect::<Vec<_>>());
    let conflicts = results.iter().filter(|result| **result == Err(StoreError::Conflict)).count();
    assert_eq!(conflicts, 29);
    assert!(disk.syncs() - before <= 4, "{} syncs for 32 commits", disk.syncs() - before);
    assert_eq!(store.status().await.unwrap().head, 33);
    assert_eq!(store.changes(2, 100).await.unwrap().changes.len(), 31);
}

#[tokio::test]
async fn a_commit_that_finds_no_room_leaves_those_beside_it_alone() {
    let mut subject = SqliteSubject::fresh().await;
    let disk = Disk::over(&subject.folder());
    let bytes_max = Some(40 * 4096);
    subject.reopen(Options { bytes_max, ..Options::default() }).await;
    disk.set(Behaviour::HoldsSyncs);
    let before = disk.syncs();
    let first = tokio::spawn(commit(&subject, puts([put(key("first"), "")])));
    tokio::task::yield_now().await;
    disk.wait_for_syncs(before + 1);
    let large = puts([put(key("large"), vec![1; BODY_BYTES_MAX])]);
    let commits = [puts([put(key("a"), "")]), large, puts([put(key("b"), "")])];
    let waiting = commits.map(|each| tokio::spawn(commit(&subject, each)));
    tokio::task::yield_now().await;
    disk.set(Behaviour::Works);
    assert_eq!(first.await.unwrap(), Ok(1));
    let results: Vec<_> = join_all(waiting).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [Ok(2), Err(StoreError::Full), Ok(3)]);
    let rows = subject.store().load(&["a", "large", "b"].map(key)).await.unwrap();
    assert_eq!(rows.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
}

#[tokio::test]
async fn a_database_at_its_own_limit_takes_commits_again_once_there_is_room() {
    let bytes_max = Some(60 * 4096);
    let subject = SqliteSubject::with(Options { bytes_max, ..Options::default() }).await;
    let store = subject.store();
    let mut count = 0_u8;
    let full = loop {
        match store.commit(puts([put(key([count]), vec![count; 20_000])])).await {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, StoreError::Full);
    assert!((5..20).contains(&count), "{count}");
    assert_eq!(store.status().await.unwrap().head, u64::from(count));
    store.commit(tombstones([key([0]), key([1])])).await.unwrap();
    store.commit(puts([put(key([count]), vec![count; 20_000])])).await.unwrap();
    for id in 2..=count {
        let row = store.load(&[key([id])]).await.unwrap().remove(0).unwrap();
        assert_eq!(row.body, vec![id; 20_000]);
    }
}

fn commit(
    subject: &SqliteSubject,
    commit: Commit,
) -> impl Future<Output = Result<u64, StoreError>> + use<> {
    let store: Arc<SqliteStore> = subject.sqlite();
    async move { store.commit(commit).await }
}
