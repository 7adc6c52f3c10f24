//! What SQLite adds: a file with its modes, locks and migrations.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use bulla::store::sqlite::SqliteStore;
use bulla::store::{Options, Store, StoreError};
use rusqlite::Connection;

use super::subject::{SqliteSubject, Subject, key, put, puts, tombstones};

#[tokio::test]
async fn e08_the_files_are_for_their_owner_only() {
    let subject = SqliteSubject::fresh().await;
    subject.store().commit(puts([put(key("a"), "")])).await.unwrap();
    let modes = |folder: &Path| {
        let files = folder.read_dir().unwrap().map(Result::unwrap);
        let mut modes: Vec<_> = files
            .map(|file| {
                let mode = file.metadata().unwrap().permissions().mode() & 0o7777;
                (file.file_name().into_string().unwrap(), mode)
            })
            .collect();
        modes.sort();
        modes
    };
    let (database, log) = (("bulla.db".to_owned(), 0o600), ("bulla.db-wal".to_owned(), 0o600));
    assert_eq!(modes(&subject.folder()), [database.clone(), log]);
    subject.sqlite().close().await.unwrap();
    assert_eq!(modes(&subject.folder()), [database]);
}

#[tokio::test]
async fn e08_a_database_that_others_may_open_is_refused() {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
            let (_folder, path) = closed_store().await;
            let file = PathBuf::from(format!("{}{suffix}", path.display()));
            fs::OpenOptions::new().create(true).append(true).open(&file).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let error = SqliteStore::open(&path).unwrap_err();
            assert_eq!(error, StoreError::Exposed { path: file.clone(), mode });
            let text = format!("{} has mode {mode:04o}", file.display());
            assert!(
                error.to_string().starts_with(&text) && error.to_string().contains("chmod 600")
            );
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            SqliteStore::open(&path).unwrap();
        }
    }
}

#[test]
fn opening_what_is_not_there_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["bulla.db", "no/such/folder/bulla.db"] {
        let path = folder.path().join(path);
        assert_eq!(SqliteStore::open(&path).unwrap_err(), StoreError::Missing { path });
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn creating_never_replaces_a_file() {
    let (folder, path) = closed_store().await;
    let before = fs::read(&path).unwrap();
    let exists = |path: &Path| StoreError::Exists { path: path.to_owned() };
    assert_eq!(SqliteStore::create(&path).unwrap_err(), exists(&path));
    assert!(fs::read(&path).unwrap() == before);
    let other = folder.path().join("text");
    fs::write(&other, "mine").unwrap();
    assert_eq!(SqliteStore::create(&other).unwrap_err(), exists(&other));
    assert_eq!(fs::read(&other).unwrap(), b"mine");
    // The log of a database that was removed would be replayed into the new one.
    for suffix in ["-wal", "-shm", "-journal"] {
        let fresh = folder.path().join("fresh.db");
        let beside = PathBuf::from(format!("{}{suffix}", fresh.display()));
        fs::write(&beside, "old").unwrap();
        assert_eq!(SqliteStore::create(&fresh).unwrap_err(), exists(&beside));
        assert!(!fresh.exists());
        fs::remove_file(beside).unwrap();
    }
    let error = SqliteStore::create(folder.path().join("no/folder.db")).unwrap_err();
    assert!(error.to_string().contains("directory"), "{error}");
}

#[tokio::test]
async fn a_second_opening_is_refused_until_the_first_is_closed() {
    let subject = SqliteSubject::fresh().await;
    let locked = StoreError::Locked { path: subject.path.clone() };
    for _ in 0..3 {
        assert_eq!(SqliteStore::open(&subject.path).unwrap_err(), locked);
        subject.store().commit(puts([put(key("a"), "")])).await.unwrap();
    }
    // By another name, too.
    let alias = subject.folder().join("alias.db");
    std::os::unix::fs::symlink(&subject.path, &alias).unwrap();
    assert_eq!(SqliteStore::open(&alias).unwrap_err(), locked);
    subject.sqlite().close().await.unwrap();
    SqliteStore::open(&subject.path).unwrap();
}

#[tokio::test]
async fn a_dropped_store_lets_its_file_go() {
    let (_folder, path) = closed_store().await;
    for round in 2..5 {
        let store = loop {
            // The thread of the one before may still be on its way out.
            match SqliteStore::open(&path) {
                Ok(store) => break store,
                Err(error) => assert!(matches!(error, StoreError::Locked { .. }), "{error}"),
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(store.commit(puts([put(key("a"), "")])).await, Ok(round));
    }
}

#[tokio::test]
async fn a_database_that_another_program_holds_is_refused() {
    let (_folder, path) = closed_store().await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE").unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(error, StoreError::Locked { path: path.clone() });
    drop(other);
    SqliteStore::open(&path).unwrap();
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let subject = SqliteSubject::fresh().await;
    subject.sqlite().close().await.unwrap();
    subject.sqlite().close().await.unwrap();
    let error = subject.store().commit(puts([put(key("a"), "")])).await.unwrap_err();
    assert_eq!(error.to_string(), "the store is not available: it has been closed");
    assert!(subject.store().load(&[key("a")]).await.is_err());
}

#[tokio::test]
async fn a_database_of_a_newer_migration_is_refused_untouched() {
    let (_folder, path) = closed_store().await;
    let raw = Connection::open(&path).unwrap();
    raw.execute("INSERT INTO bulla_migration (version, applied_ms) VALUES (2, 0)", ()).unwrap();
    drop(raw);
    let before = fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert_eq!(error, StoreError::NewerMigration { found: 2, ours: 1 });
    assert!(fs::read(&path).unwrap() == before);
}

#[tokio::test]
async fn a_file_that_is_not_bullas_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    let refused = |path: &Path| {
        let before = fs::read(path).unwrap();
        let error = SqliteStore::open(path).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
        assert!(fs::read(path).unwrap() == before);
    };
    write_private(&path, b"");
    refused(&path);
    write_private(&path, &[b'x'; 10_000]);
    refused(&path);
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    refused(&path);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let error = SqliteStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_with_a_trigger_of_somebody_elses_is_refused() {
    for addition in [
        "CREATE TRIGGER t AFTER UPDATE ON bulla_row BEGIN DELETE FROM bulla_row; END",
        "CREATE VIEW v AS SELECT body FROM bulla_row",
        "CREATE TABLE copies (body BLOB)",
        "DROP INDEX bulla_row_by_due",
    ] {
        let (_folder, path) = closed_store().await;
        Connection::open(&path).unwrap().execute_batch(addition).unwrap();
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{addition}: {error:?}");
    }
    // Statistics change nothing.
    let (_folder, path) = closed_store().await;
    Connection::open(&path).unwrap().execute_batch("ANALYZE").unwrap();
    SqliteStore::open(&path).unwrap();
}

#[tokio::test]
async fn j05_a_damaged_database_is_an_error_and_never_a_panic() {
    let subject = SqliteSubject::fresh().await;
    let rows = |from: u8| (from..from + 100).map(|id| put(key([id]), vec![id; 900]));
    subject.store().commit(puts(rows(0))).await.unwrap();
    subject.store().commit(puts(rows(100))).await.unwrap();
    subject.sqlite().close().await.unwrap();
    let whole = fs::read(&subject.path).unwrap();
    let pages = whole.len() / 4096;
    let mut seen = 0;
    for page in 0..pages {
        for filling in [0x00, 0x55, 0xff] {
            let mut damaged = whole.clone();
            damaged[page * 4096..(page + 1) * 4096].fill(filling);
            write_private(&subject.path, &damaged);
            let Err(error) = use_everything(&subject.path).await else { continue };
            let is_expected = matches!(
                error,
                StoreError::Corrupt(_) | StoreError::NotAStore { .. } | StoreError::Unavailable(_)
            );
            assert!(is_expected, "page {page} with {filling}: {error:?}");
            seen += 1;
        }
    }
    assert!(seen > pages, "only {seen} of {} damages were seen", 3 * pages);
    for length in [1, 100, 4095, 4096, 4097, whole.len() - 4096] {
        write_private(&subject.path, &whole[..length]);
        assert!(use_everything(&subject.path).await.is_err(), "cut to {length}");
    }
}

#[tokio::test]
async fn a_head_behind_its_rows_is_damage() {
    let (_folder, path) = closed_store().await;
    Connection::open(&path).unwrap().execute("UPDATE bulla_feed SET head = 0", ()).unwrap();
    assert!(matches!(SqliteStore::open(&path).unwrap_err(), StoreError::Corrupt(_)));
}

#[test]
fn a_file_or_a_folder_that_cannot_be_written_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (folder, path) = runtime.block_on(closed_store());
    let read_only = StoreError::ReadOnly { path: path.clone() };
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert_eq!(as_nobody(&folder, &path, SqliteStore::open), Some(read_only.clone()));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();
    assert_eq!(as_nobody(&folder, &path, SqliteStore::open), Some(read_only));
    let new = folder.path().join("new.db");
    let read_only = StoreError::ReadOnly { path: new.clone() };
    assert_eq!(as_nobody(&folder, &new, SqliteStore::create), Some(read_only));
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(as_nobody(&folder, &path, SqliteStore::open), None);
}

#[tokio::test]
async fn what_was_replaced_or_removed_is_not_left_in_the_file() {
    let subject = SqliteSubject::fresh().await;
    let secret = |id: u8| format!("wrapped material {id} ").repeat(40);
    let rows = (0..40).map(|id| put(key([id]), secret(id)));
    subject.store().commit(puts(rows)).await.unwrap();
    let rows = (0..20).map(|id| put(key([id]), "destroyed"));
    subject.store().commit(puts(rows)).await.unwrap();
    subject.store().commit(tombstones((20..30).map(|id: u8| key([id])))).await.unwrap();
    subject.sqlite().close().await.unwrap();
    let file = fs::read(&subject.path).unwrap();
    let holds = |id: u8| {
        let needle = format!("wrapped material {id} ").into_bytes();
        file.windows(needle.len()).any(|window| window == needle)
    };
    assert!((0..30).all(|id| !holds(id)));
    assert!((30..40).all(holds));
}

#[tokio::test]
async fn the_log_is_emptied_by_itself() {
    let subject = SqliteSubject::fresh().await;
    let log_bytes = || fs::metadata(subject.path.with_extension("db-wal")).unwrap().len();
    subject.store().commit(puts([put(key("a"), "")])).await.unwrap();
    let large = || puts((0..8_u8).map(|id| put(key([id]), vec![id; 200_000])));
    for _ in 0..10 {
        subject.store().commit(large()).await.unwrap();
        // Behind the checkpoint, which comes after the answer.
        subject.store().status().await.unwrap();
        assert!(log_bytes() < 6 * 1024 * 1024);
    }
    subject.store().commit(puts([put(key("a"), "")])).await.unwrap();
    let mut waits = 0;
    while log_bytes() > 0 {
        // 250 ms each; a log may get two seconds old.
        subject.store().wait_hint(u64::MAX).await;
        waits += 1;
        assert!(waits < 200);
    }
}

/// A database with one commit in it.
pub async fn closed_store() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bulla.db");
    let store = SqliteStore::create_with(&path, Options::default()).unwrap();
    store.commit(puts([put(key("first"), "body")])).await.unwrap();
    store.close().await.unwrap();
    (folder, path)
}

/// Opens, reads and writes whatever can be.
async fn use_everything(path: &Path) -> Result<(), StoreError> {
    let store = SqliteStore::open(path)?;
    let outcome = async {
        store.changes(0, 1000).await?;
        let keys: Vec<_> = (0..200_u8).map(|id| key([id])).collect();
        store.load(&keys).await?;
        store.due(i64::MAX, None, 1000).await?;
        store.commit(puts([put(key("new"), vec![1; 10_000])])).await?;
        Ok(())
    };
    let outcome = outcome.await;
    store.close().await.and(outcome)
}

/// Runs as a user who is not root, to whom modes apply, and returns the error.
fn as_nobody(
    folder: &tempfile::TempDir,
    path: &Path,
    open: impl FnOnce(PathBuf) -> Result<SqliteStore, StoreError> + Send + 'static,
) -> Option<StoreError> {
    if rustix::process::geteuid().is_root() {
        for path in [folder.path(), path] {
            // What is not there yet has no owner.
            let _ = chown(path, Some(NOBODY), Some(NOBODY));
        }
    }
    let path = path.to_owned();
    // In a thread of its own: it alone changes its user, and the store's thread with it.
    let thread = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::process::Uid::from_raw(NOBODY);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        open(path).err()
    });
    thread.join().unwrap()
}

fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

const NOBODY: u32 = 65_534;
