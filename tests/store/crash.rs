//! What a SQLite store leaves behind when its process ends without notice.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use bulla::store::sqlite::SqliteStore;
use bulla::store::{Commit, Store, StoreError};
use rusqlite::Connection;

use super::sqlite::closed_store;
use super::subject::{SqliteSubject, Subject, key, put, puts};

#[tokio::test]
async fn a_copy_of_the_files_taken_while_it_runs_holds_every_answered_commit() {
    let subject = SqliteSubject::fresh().await;
    let copies = tempfile::tempdir().unwrap();
    for round in 1..=20_u64 {
        let rows = (0..10_u8).map(|id| put(key([id]), round.to_be_bytes()));
        subject.store().commit(puts(rows)).await.unwrap();
        let copy = copies.path().join(format!("{round}.db"));
        // The log first: what is moved into the database meanwhile is then in both.
        let beside = format!("{}-wal", copy.display());
        fs::copy(subject.path.with_extension("db-wal"), beside).unwrap();
        fs::copy(&subject.path, &copy).unwrap();
        let store = SqliteStore::open(&copy).unwrap();
        assert_eq!(store.status().await.unwrap().head, round);
        let rows = store.load(&[key([0]), key([9])]).await.unwrap();
        assert!(rows.into_iter().all(|row| row.unwrap().body == round.to_be_bytes()));
        assert_eq!(store.commit(puts([put(key("on"), "")])).await, Ok(round + 1));
        store.close().await.unwrap();
    }
}

/// With a path in the environment this is a process of its own, which its parent kills; without,
/// it commits a few times in a folder of its own.
#[tokio::test]
async fn committing_one_by_one_is_answered_one_by_one() {
    let Some(path) = std::env::var_os(PATH_VARIABLE) else {
        let (_folder, path) = closed_store().await;
        return commit_until(&SqliteStore::open(path).unwrap(), 5).await;
    };
    commit_until(&SqliteStore::open(path).unwrap(), u64::MAX).await;
}

#[tokio::test]
async fn another_process_is_refused_even_after_the_file_was_read_in_this_one() {
    let subject = SqliteSubject::fresh().await;
    // POSIX locks, which are all that SQLite has, are gone once any handle of the process is closed.
    fs::read(&subject.path).unwrap();
    let child = child(&subject.path).stderr(Stdio::piped()).output().unwrap();
    let (output, errors) =
        (String::from_utf8_lossy(&child.stdout), String::from_utf8(child.stderr));
    assert!(!child.status.success() && !output.contains("committed"), "{output}");
    assert!(errors.as_ref().unwrap().contains("Locked"), "{errors:?}");
    assert_eq!(subject.store().commit(puts([put(key("a"), "")])).await, Ok(1));
}

/// The test of this binary that commits until it is killed.
fn child(path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture"])
        .arg("store::crash::committing_one_by_one_is_answered_one_by_one")
        .env(PATH_VARIABLE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

async fn commit_until(store: &SqliteStore, last: u64) {
    for revision in 2..=last {
        let own = put(key(revision.to_be_bytes()), revision.to_be_bytes());
        let commit = Commit {
            puts: vec![own, put(key("latest"), revision.to_be_bytes())],
            tombstones: vec![key((revision / 2).to_be_bytes())],
            ..Commit::default()
        };
        assert_eq!(store.commit(commit).await, Ok(revision));
        println!("committed {revision}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_leaves_every_answered_commit_and_no_lock() {
    for round in 0..5 {
        let (_folder, path) = closed_store().await;
        let mut child = child(&path).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut answered = lines.filter_map(|line| {
            let (_, revision) = line.split_once("committed ")?;
            revision.parse::<u64>().ok()
        });
        let target = 20 + 7 * round;
        let mut last = answered.find(|revision| *revision >= target).unwrap();
        let locked = StoreError::Locked { path: path.clone() };
        assert_eq!(SqliteStore::open(&path).unwrap_err(), locked);
        child.kill().unwrap();
        child.wait().unwrap();
        last = answered.last().unwrap_or(last);
        let store = SqliteStore::open(&path).unwrap();
        let head = store.status().await.unwrap().head;
        assert!(head == last || head == last + 1, "answered {last}, found {head}");
        let latest = store.load(&[key("latest")]).await.unwrap().remove(0).unwrap();
        assert_eq!((latest.body, latest.revision), (head.to_be_bytes().to_vec(), head));
        for revision in 2..=head {
            let row = store.load(&[key(revision.to_be_bytes())]).await.unwrap().remove(0);
            let is_removed = revision <= head / 2;
            assert_eq!(row.map(|row| row.revision), (!is_removed).then_some(revision));
        }
        assert_eq!(store.commit(puts([put(key("on"), "")])).await, Ok(head + 1));
        store.close().await.unwrap();
        let check: String = Connection::open(&path)
            .unwrap()
            .query_row("PRAGMA integrity_check", (), |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
    }
}

const PATH_VARIABLE: &str = "BULLA_TEST_STORE";
