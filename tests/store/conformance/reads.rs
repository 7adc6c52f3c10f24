//! `load`, `scan`, `due`, `clock` and `status`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bulla::store::{
    BODY_BYTES_MAX, Changes, Commit, FORMAT, ID_BYTES_MAX, LOAD_KEYS_MAX, Options, PAGE_ROWS_MAX,
    Row, RowKey, Scan, Store, StoreError, StoreStatus,
};

use crate::store::subject::{Subject, due, key, put, puts, tombstones};

pub async fn a_loaded_row_is_the_row_that_was_put<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let keys = [
        RowKey::new([0; 16], 0, []),
        RowKey::new([255; 16], 255, [0; ID_BYTES_MAX]),
        RowKey::new([1; 16], 1, [255; ID_BYTES_MAX]),
        RowKey::new([1; 16], 1, *b"name\0with \xff\"';--"),
    ];
    let bodies = [vec![], vec![0; BODY_BYTES_MAX], (0..=255).collect(), b"\0".to_vec()];
    let dues = [None, Some(i64::MIN), Some(i64::MAX), Some(0)];
    let mut expected = Vec::new();
    for ((key, body), due_at) in keys.iter().zip(bodies).zip(dues) {
        let mut put = put(key.clone(), &body);
        put.due_at = due_at;
        let mac = put.mac;
        let revision = store.commit(puts([put])).await.unwrap();
        expected.push(Some(Row { key: key.clone(), body, mac, format: FORMAT, due_at, revision }));
    }
    assert!(store.load(&keys).await.unwrap() == expected);
}

pub async fn a_load_answers_in_the_order_asked<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    store.commit(puts(["a", "b", "c"].map(|id| put(key(id), id)))).await.unwrap();
    store.commit(tombstones([key("b")])).await.unwrap();
    let rows = store.load(&["c", "none", "a", "b", "c"].map(key)).await.unwrap();
    let ids: Vec<_> = rows.into_iter().map(|row| row.map(|row| row.key.id)).collect();
    let (a, c) = (Some(b"a".to_vec()), Some(b"c".to_vec()));
    assert_eq!(ids, [c.clone(), None, a, None, c]);
    assert_eq!(store.load(&[]).await, Ok(vec![]));
}

pub async fn a_load_takes_at_most_a_thousand_keys<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    for count in [LOAD_KEYS_MAX - 1, LOAD_KEYS_MAX] {
        assert_eq!(store.load(&vec![key("a"); count]).await.unwrap().len(), count);
    }
    let too_many = store.load(&vec![key("a"); LOAD_KEYS_MAX + 1]).await;
    assert!(matches!(too_many, Err(StoreError::TooLarge { size: 1001, limit: 1000, .. })));
}

pub async fn an_id_has_at_most_300_bytes<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    for length in [ID_BYTES_MAX - 1, ID_BYTES_MAX] {
        let key = key(vec![b'x'; length]);
        store.commit(puts([put(key.clone(), "")])).await.unwrap();
        assert!(store.load(std::slice::from_ref(&key)).await.unwrap()[0].is_some());
        store.scan(&scan(&key.id, None, 1)).await.unwrap();
        store.scan(&scan(b"", Some(&key.id), 1)).await.unwrap();
        store.commit(tombstones([key])).await.unwrap();
    }
    let long = key(vec![b'x'; ID_BYTES_MAX + 1]);
    let head = store.status().await.unwrap().head;
    let expect = crate::store::subject::expecting(puts([put(key("a"), "")]), long.clone(), None);
    for refused in [
        store.commit(puts([put(long.clone(), "")])).await.unwrap_err(),
        store.commit(tombstones([long.clone()])).await.unwrap_err(),
        store.commit(expect).await.unwrap_err(),
        store.load(std::slice::from_ref(&long)).await.unwrap_err(),
        store.scan(&scan(&long.id, None, 1)).await.unwrap_err(),
        store.scan(&scan(b"", Some(&long.id), 1)).await.unwrap_err(),
    ] {
        assert!(matches!(refused, StoreError::TooLarge { size: 301, limit: 300, .. }), "{refused}");
    }
    assert_eq!(store.status().await.unwrap().head, head);
}

pub async fn a_body_has_at_most_256_kibibytes<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    for length in [BODY_BYTES_MAX - 1, BODY_BYTES_MAX] {
        store.commit(puts([put(key("a"), vec![7; length])])).await.unwrap();
        let row = store.load(&[key("a")]).await.unwrap().remove(0).unwrap();
        assert_eq!(row.body.len(), length);
    }
    let refused = store.commit(puts([put(key("a"), vec![7; BODY_BYTES_MAX + 1])])).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { size: 262_145, limit: 262_144, .. })));
    assert_eq!(store.status().await.unwrap().head, 2);
}

pub async fn a_scan_walks_ids_in_the_order_of_their_bytes<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let ids = awkward_ids();
    for id in ids.iter().rev() {
        store.commit(puts([put(key(id), id)])).await.unwrap();
    }
    assert_eq!(ids_of(store.scan(&scan(b"", None, 100)).await.unwrap()), ids);
}

pub async fn a_scan_takes_prefixes_as_bytes<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let ids = awkward_ids();
    store.commit(puts(ids.iter().map(|id| put(key(id), id)))).await.unwrap();
    let mut prefixes = ids.clone();
    prefixes.extend([b"zz".to_vec(), vec![0xff; ID_BYTES_MAX], vec![0xfe], vec![0]]);
    for prefix in &prefixes {
        let inside = ids.iter().filter(|id| id.starts_with(prefix)).cloned();
        let expected: Vec<_> = inside.clone().collect();
        assert_eq!(ids_of(store.scan(&scan(prefix, None, 100)).await.unwrap()), expected);
        for after in &prefixes {
            let expected: Vec<_> = inside.clone().filter(|id| id > after).collect();
            let rows = store.scan(&scan(prefix, Some(after), 100)).await.unwrap();
            assert_eq!(ids_of(rows), expected, "prefix {prefix:?} after {after:?}");
        }
    }
}

pub async fn the_pages_of_a_scan_meet_without_gap_or_overlap<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let ids = awkward_ids();
    store.commit(puts(ids.iter().map(|id| put(key(id), id)))).await.unwrap();
    for limit in 1..=ids.len() + 1 {
        let mut seen = Vec::new();
        loop {
            let after = seen.last().map(Vec::as_slice);
            let page = ids_of(store.scan(&scan(b"", after, limit)).await.unwrap());
            let is_last = page.len() < limit;
            seen.extend(page);
            if is_last {
                break;
            }
        }
        assert_eq!(seen, ids, "limit {limit}");
    }
}

pub async fn a_scan_may_go_on_after_an_id_that_is_gone<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    store.commit(puts(["a", "b", "c"].map(|id| put(key(id), id)))).await.unwrap();
    store.commit(tombstones([key("b")])).await.unwrap();
    assert_eq!(ids_of(store.scan(&scan(b"", Some(b"b"), 9)).await.unwrap()), [b"c"]);
    assert_eq!(ids_of(store.scan(&scan(b"", None, 2)).await.unwrap()), [b"a", b"c"]);
}

pub async fn limits_of_pages_are_from_one_to_a_thousand<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    for ids in [0..600_u16, 600..1002] {
        let row = |id: u16| due(put(key(id.to_be_bytes()), ""), i64::from(id));
        store.commit(puts(ids.map(row))).await.unwrap();
    }
    for limit in [1, PAGE_ROWS_MAX - 1, PAGE_ROWS_MAX] {
        assert_eq!(store.scan(&scan(b"", None, limit)).await.unwrap().len(), limit);
        assert_eq!(store.due(i64::MAX, None, limit).await.unwrap().len(), limit);
        assert!(!store.changes(0, limit).await.unwrap().changes.is_empty());
    }
    for (limit, is_expected) in [
        (0, (|error| matches!(error, StoreError::Invalid(_))) as fn(&StoreError) -> bool),
        (PAGE_ROWS_MAX + 1, |error| matches!(error, StoreError::TooLarge { size: 1001, .. })),
    ] {
        assert!(is_expected(&store.scan(&scan(b"", None, limit)).await.unwrap_err()));
        assert!(is_expected(&store.due(i64::MAX, None, limit).await.unwrap_err()));
        assert!(is_expected(&store.changes(0, limit).await.unwrap_err()));
    }
}

pub async fn rows_are_due_from_their_millisecond_on_the_longest_overdue_first<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let rows = [
        due(put(RowKey::new([9; 16], 9, *b"early"), ""), i64::MIN),
        due(put(key("b"), ""), 100),
        due(put(key("a"), ""), 100),
        due(put(RowKey::new([0; 16], 200, *b"z"), ""), 100),
        due(put(key("late"), ""), 101),
        due(put(key("last"), ""), i64::MAX),
        put(key("never"), ""),
    ];
    store.commit(puts(rows)).await.unwrap();
    let due = async |now, limit| ids_of(store.due(now, None, limit).await.unwrap());
    assert_eq!(due(i64::MIN, 9).await, [b"early".to_vec()]);
    assert_eq!(due(99, 9).await, [b"early".to_vec()]);
    assert_eq!(due(100, 9).await, [&b"early"[..], b"z", b"a", b"b"]);
    assert_eq!(due(100, 3).await, [&b"early"[..], b"z", b"a"]);
    assert_eq!(due(i64::MAX, 9).await.len(), 6);
    let mut walked = Vec::new();
    let mut after = None;
    while let Some(row) = store.due(101, after.as_ref(), 1).await.unwrap().pop() {
        after = row.due_after();
        walked.push(row.key.id);
    }
    assert_eq!(walked, [&b"early"[..], b"z", b"a", b"b", b"late"]);
}

pub async fn a_row_is_due_as_it_was_last_put<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let ids = ["later", "never", "gone", "back"];
    store.commit(puts(ids.map(|id| due(put(key(id), id), 10)))).await.unwrap();
    let commit = Commit {
        puts: vec![due(put(key("later"), ""), 20), put(key("never"), "")],
        tombstones: vec![key("gone"), key("back")],
        ..Commit::default()
    };
    store.commit(commit).await.unwrap();
    store.commit(puts([due(put(key("back"), ""), 5)])).await.unwrap();
    assert_eq!(ids_of(store.due(19, None, 9).await.unwrap()), [b"back"]);
    assert_eq!(ids_of(store.due(20, None, 9).await.unwrap()), [&b"back"[..], b"later"]);
}

pub async fn e01_tenants_and_kinds_never_see_each_others_rows<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let corners = [[0; 16], [1; 16], [255; 16]]
        .into_iter()
        .flat_map(|tenant| [0, 1, 255].map(|kind| (tenant, kind)));
    let corners: Vec<_> = corners.collect();
    let body = |(tenant, kind): ([u8; 16], u8)| vec![tenant[0], kind];
    for corner in &corners {
        let key = RowKey::new(corner.0, corner.1, *b"same");
        store.commit(puts([put(key, body(*corner))])).await.unwrap();
    }
    for (tenant, kind) in corners.clone() {
        let scan = Scan { tenant, kind, prefix: vec![], after: None, limit: 100 };
        let rows = store.scan(&scan).await.unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].body, body((tenant, kind)));
    }
    // Changing one leaves the others as they are, with their revisions.
    store.commit(tombstones([RowKey::new([1; 16], 1, *b"same")])).await.unwrap();
    store.commit(puts([put(RowKey::new([1; 16], 0, *b"same"), "new")])).await.unwrap();
    for ((tenant, kind), revision) in corners.into_iter().zip(1..) {
        let row = store.load(&[RowKey::new(tenant, kind, *b"same")]).await.unwrap().remove(0);
        match (tenant[0], kind) {
            (1, 1) => assert!(row.is_none()),
            (1, 0) => assert_eq!(row.unwrap().body, b"new"),
            corner => {
                let row = row.unwrap();
                assert_eq!((row.body, row.revision), (vec![corner.0, corner.1], revision));
            }
        }
    }
}

pub async fn the_clock_is_the_one_passed_in<S: Subject>() {
    let now = Arc::new(AtomicI64::new(-5));
    let clock = now.clone();
    let clock: bulla::store::StoreClock = Arc::new(move || clock.load(Ordering::Relaxed));
    let subject = S::with(Options { clock, ..Options::default() }).await;
    let store = subject.store();
    assert_eq!(store.clock().await, Ok(-5));
    now.store(1_700_000_000_000, Ordering::Relaxed);
    assert_eq!(store.clock().await, Ok(1_700_000_000_000));
}

pub async fn status_tells_the_head<S: Subject>() {
    let subject = S::fresh().await;
    let store = subject.store();
    let status = store.status().await.unwrap();
    assert_eq!((status.head, status.oldest_change), (0, 0));
    store.commit(puts([put(key("a"), "")])).await.unwrap();
    store.commit(tombstones([key("a")])).await.unwrap();
    let status = store.status().await.unwrap();
    assert_eq!((status.head, status.oldest_change), (2, 0));
}

pub async fn everything_is_there_after_closing_and_opening<S: Subject>() {
    let mut subject = S::fresh().await;
    let ids = awkward_ids();
    let rows = ids.iter().zip(-3..).map(|(id, due_at)| due(put(key(id), id), due_at));
    subject.store().commit(puts(rows)).await.unwrap();
    subject.store().commit(tombstones([key(&ids[3])])).await.unwrap();
    let before = everything(&*subject.store()).await;
    subject.reopen(Options::default()).await;
    assert!(everything(&*subject.store()).await == before);
    assert_eq!(subject.store().commit(puts([put(key("next"), "")])).await, Ok(3));
}

async fn everything(store: &dyn Store) -> (Changes, Vec<Row>, Vec<Row>, StoreStatus) {
    (
        store.changes(0, 100).await.unwrap(),
        store.due(i64::MAX, None, 100).await.unwrap(),
        store.scan(&scan(b"", None, 100)).await.unwrap(),
        store.status().await.unwrap(),
    )
}

/// In the order of their bytes.
fn awkward_ids() -> Vec<Vec<u8>> {
    let mut ids: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0, 0],
        vec![0, 255],
        vec![1],
        b"A".to_vec(),
        b"a".to_vec(),
        b"a\0".to_vec(),
        b"a\0b".to_vec(),
        b"a\xff".to_vec(),
        b"a\xff\xff".to_vec(),
        b"a/".to_vec(),
        b"aa".to_vec(),
        b"b%_".to_vec(),
        "é".into(),
        vec![254, 255],
        vec![255],
        vec![255, 0],
        vec![255, 255],
        vec![255; ID_BYTES_MAX],
    ];
    ids.sort();
    ids
}

fn scan(prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Scan {
    let (prefix, after) = (prefix.to_vec(), after.map(<[u8]>::to_vec));
    Scan { tenant: [1; 16], kind: 1, prefix, after, limit }
}

fn ids_of(rows: Vec<Row>) -> Vec<Vec<u8>> {
    rows.into_iter().map(|row| row.key.id).collect()
}
