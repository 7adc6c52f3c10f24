//! Every format of stored rows that was ever released still opens, to the same rows.
//!
//! `BULLA_BLESS=1` makes the files of the newest format that are missing; it never makes one anew.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use bulla::store::sqlite::SqliteStore;
use bulla::store::{Change, Commit, Options, Put, Row, RowKey, Store};

#[tokio::test]
async fn rows_of_format_1_are_what_they_were() {
    let golden = folder().join("rows-v1.sqlite");
    if std::env::var_os("BULLA_BLESS").is_some() && !golden.exists() {
        make(&golden).await;
    }
    let copies = tempfile::tempdir().unwrap();
    let path = copies.path().join("bulla.db");
    fs::copy(&golden, &path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();

    let store = SqliteStore::open(&path).unwrap();
    let status = store.status().await.unwrap();
    assert_eq!((status.head, status.oldest_change), (4, 0));
    let told = store.changes(0, 1000).await.unwrap();
    assert_eq!(told.changes, expected());
    let rows = expected().into_iter().filter_map(|change| match change {
        Change::Put(row) => Some(row),
        Change::Gone { .. } => None,
    });
    let rows: Vec<Row> = rows.collect();
    let keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
    let loaded: Vec<_> = store.load(&keys).await.unwrap().into_iter().flatten().collect();
    assert_eq!(loaded, rows);
    let mut due: Vec<_> = rows.into_iter().filter(|row| row.due_at.is_some()).collect();
    due.sort_by_key(|row| row.due_at);
    assert_eq!(store.due(i64::MAX, None, 1000).await.unwrap(), due);

    // And it can be written on.
    let gone = Commit { tombstones: keys, ..Commit::default() };
    assert_eq!(store.commit(gone).await, Ok(5));
}

async fn make(golden: &PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bulla.db");
    let options = Options { clock: Arc::new(|| 1_700_000_000_000), ..Options::default() };
    let store = SqliteStore::create_with(&path, options).unwrap();
    for commit in commits() {
        store.commit(commit).await.unwrap();
    }
    store.close().await.unwrap();
    fs::copy(path, golden).unwrap();
}

fn commits() -> [Commit; 4] {
    let large = (0..10_000_u32).flat_map(u32::to_be_bytes).collect();
    let one = |put| Commit { puts: vec![put], ..Commit::default() };
    [
        one(put([0; 16], 1, b"installation", b"a body".to_vec(), None)),
        Commit {
            puts: vec![
                put([1; 16], 4, &[0; 16], vec![], Some(-1)),
                put([1; 16], 4, &[255; 300], (0..=255).collect(), Some(i64::MAX)),
                put([255; 16], 255, b"", large, Some(1_700_000_000_000)),
            ],
            ..Commit::default()
        },
        Commit {
            puts: vec![put([1; 16], 4, &[0; 16], b"replaced".to_vec(), None)],
            tombstones: vec![RowKey::new([1; 16], 4, [255; 300])],
            ..Commit::default()
        },
        Commit { tombstones: vec![RowKey::new([9; 16], 9, *b"never")], ..Commit::default() },
    ]
}

fn expected() -> Vec<Change> {
    let large = (0..10_000_u32).flat_map(u32::to_be_bytes).collect();
    let gone = |key, revision| Change::Gone { key, revision };
    vec![
        row(1, put([0; 16], 1, b"installation", b"a body".to_vec(), None)),
        row(2, put([255; 16], 255, b"", large, Some(1_700_000_000_000))),
        row(3, put([1; 16], 4, &[0; 16], b"replaced".to_vec(), None)),
        gone(RowKey::new([1; 16], 4, [255; 300]), 3),
        gone(RowKey::new([9; 16], 9, *b"never"), 4),
    ]
}

fn row(revision: u64, put: Put) -> Change {
    let Put { key, body, mac, due_at } = put;
    Change::Put(Row { key, body, mac, format: 1, due_at, revision })
}

fn put(tenant: [u8; 16], kind: u8, id: &[u8], body: Vec<u8>, due_at: Option<i64>) -> Put {
    let mac = [kind ^ 0x5a; 32];
    Put { key: RowKey::new(tenant, kind, id), body, mac, due_at }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}
