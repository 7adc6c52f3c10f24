//! The connector for SQLite, and the engine on it.

use std::path::Path;
use std::sync::Arc;

use bulla::agent::{Ended, Entry, Held, Move, Outcome, Place, Store};
use rusqlite::Connection;

use super::fake::{KEY, Server, blob, context_of, opens, version_of};
use super::{count, open, run};

fn connector(file: &Path, table: &str) -> String {
    format!("[sqlite]\nfile = {file:?}\ntable = '{table}'\ncolumn = \"dek\"\n")
}

async fn all(store: &Arc<dyn Store>, page: usize) -> Vec<Entry> {
    let (mut after, mut entries) = (Place::default(), Vec::new());
    loop {
        let read = store.read(&after, page).await.unwrap();
        let Some(last) = read.last() else { return entries };
        after = last.place.clone();
        entries.extend(read);
    }
}

#[tokio::test]
async fn every_kind_of_table_is_walked_once_and_swapped_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let database = Connection::open(&file).unwrap();
    for (number, (columns, values)) in [
        ("id INTEGER PRIMARY KEY, dek BLOB)", "(5), (-3), (9000000000000000000), (0)"),
        ("id TEXT PRIMARY KEY, dek BLOB)", "('b'), ('A'), (''), ('it''s'), (NULL), (NULL)"),
        ("id TEXT PRIMARY KEY, dek BLOB) WITHOUT ROWID", "('b'), ('A'), (''), ('\"')"),
        ("id TEXT COLLATE NOCASE PRIMARY KEY, dek) WITHOUT ROWID", "('b'), ('A'), ('C')"),
        (
            "id ANY PRIMARY KEY, dek BLOB) WITHOUT ROWID, STRICT",
            "(1), (0.1), ('x'), (x'00ff'), (2)",
        ),
        ("id, dek TEXT COLLATE NOCASE)", "(1), (1), (1), (NULL)"),
        ("rowid TEXT PRIMARY KEY, _rowid_ TEXT, dek BLOB)", "('z'), ('y'), ('x')"),
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("t \"{number}");
        let quoted = format!("\"t \"\"{number}\"");
        let id = columns.split([' ', ',']).next().unwrap();
        let held = if columns.contains("dek TEXT") { "'QUJD'" } else { "x'aa'" };
        database
            .execute_batch(&format!(
                "CREATE TABLE {quoted} ({columns};
                 INSERT INTO {quoted} ({id}) VALUES {values}; UPDATE {quoted} SET dek = {held};"
            ))
            .unwrap();
        let rows: i64 = database
            .query_row(&format!("SELECT count(*) FROM {quoted}"), [], |row| row.get(0))
            .unwrap();
        let rows = rows as usize;
        let store = open(&connector(&file, &table)).await.unwrap();
        for page in [1, 2, 100] {
            let entries = all(&store, page).await;
            assert_eq!(entries.len(), rows, "{columns}");
        }
        let entries = all(&store, 100).await;
        let swap = |entry: &Entry| Move { entry: entry.clone(), new: entry.held.with(vec![1, 2]) };
        let moves: Vec<Move> = entries.iter().map(swap).collect();
        if columns.contains("dek TEXT") {
            // Equal to the collation, and another blob.
            database.execute(&format!("UPDATE {quoted} SET dek = 'qujd'"), []).unwrap();
            let outcomes = store.replace(&moves).await.unwrap();
            assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Changed));
            database.execute(&format!("UPDATE {quoted} SET dek = 'QUJD'"), []).unwrap();
        }
        let outcomes = store.replace(&moves).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Replaced), "{columns}");
        let outcomes = store.replace(&moves).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Changed), "{columns}");
        for entry in &entries {
            let now = store.read_one(&entry.place).await.unwrap().unwrap();
            assert_eq!((&now.name, now.held.blob().unwrap().as_ref()), (&entry.name, &[1, 2][..]));
        }
        assert_eq!(count(store.scan().await.unwrap()).await, rows);
    }
}

#[tokio::test]
async fn a_scan_sees_one_moment_while_rows_move() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let database = Connection::open(&file).unwrap();
    let make = "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, dek BLOB);
                WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
                INSERT INTO t SELECT n, x'01' FROM n;";
    database.execute_batch(make).unwrap();
    let store = open(&connector(&file, "t")).await.unwrap();
    let mut rows = store.scan().await.unwrap();
    database.execute_batch("DELETE FROM t WHERE id > 100; UPDATE t SET dek = x'02';").unwrap();
    let mut seen = 0;
    while let Some(batch) = rows.next().await.unwrap() {
        assert!(batch.iter().all(|entry| entry.held == Held::Bytes(vec![1])));
        seen += batch.len();
    }
    assert_eq!(seen, 5_000);
}

#[tokio::test]
async fn what_the_connector_names_wrongly_is_told_with_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    assert!(open(&connector(&file, "t")).await.is_err());
    assert!(!file.exists(), "no file is made");
    let database = Connection::open(&file).unwrap();
    database.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, blob BLOB)").unwrap();
    for (table, said) in [
        ("u", "has no table \"u\"; it has t"),
        ("t", "table \"t\" has no column \"dek\"; it has id, blob"),
    ] {
        let error = open(&connector(&file, table)).await.err().unwrap().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[tokio::test]
async fn a_table_is_emptied_of_old_versions_while_an_application_writes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let mut database = Connection::open(&file).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    database
        .execute_batch(
            "CREATE TABLE t (owner TEXT, dek TEXT, n INTEGER, PRIMARY KEY (owner)) STRICT",
        )
        .unwrap();
    let context = |owner: &str| context_of(&[("owner", owner), ("kind", "t")]);
    let text = move |version: u32, n: u64| {
        let held = Held::Text(String::new());
        let owner = format!("o-{n}");
        let Held::Text(text) = held.with(blob(KEY, version, 0, &context(&owner), n, 0)) else {
            panic!()
        };
        (owner, text)
    };
    let transaction = database.transaction().unwrap();
    for n in 0..4_000_u64 {
        let (owner, dek) = text(1, n);
        transaction.execute("INSERT INTO t VALUES (?1, ?2, ?3)", (owner, dek, n as i64)).unwrap();
    }
    transaction.commit().unwrap();
    let text_of = format!(
        "{}[sqlite.context]\nowner = {{ column = \"owner\" }}\nkind = {{ value = \"t\" }}\n",
        connector(&file, "t")
    );
    let server = Server::new();
    let application = tokio::task::spawn_blocking(move || {
        for n in (0..4_000_u64).step_by(40) {
            let (owner, dek) = text(3, n);
            let steps = "UPDATE t SET dek = ?2 WHERE owner = ?1";
            database.execute(steps, (owner, dek)).unwrap();
        }
        database
    });
    let ended = run(&server, open(&text_of).await.unwrap()).await.unwrap();
    assert!(matches!(ended, Ended::Clean(_)), "{ended:?}");
    let database = application.await.unwrap();
    let mut all = database.prepare("SELECT owner, dek, n FROM t").unwrap();
    let mut rows = all.query([]).unwrap();
    let mut seen = 0;
    while let Some(row) = rows.next().unwrap() {
        let (owner, dek, n): (String, String, i64) =
            (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
        let dek = Held::Text(dek);
        let dek = dek.blob().unwrap();
        assert_eq!((opens(&dek, &context(&owner)), version_of(&dek)), (Some(n as u64), 3));
        seen += 1;
    }
    assert_eq!(seen, 4_000);
}
