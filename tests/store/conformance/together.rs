//! What holds when many work at the same time.

use bulla::store::{Commit, Expect, Row, Scan, StoreError};

use crate::store::subject::{Subject, expecting, key, put, puts};

pub async fn g02_no_update_is_lost_between_concurrent_writers<S: Subject>() {
    const WRITERS: u64 = 12;
    const UPDATES: u64 = 25;
    let subject = S::fresh().await;
    subject.store().commit(puts([put(key("counter"), 0_u64.to_be_bytes())])).await.unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let store = subject.store();
        tokio::spawn(async move {
            let mut conflicts = 0_u64;
            for update in 0..UPDATES {
                loop {
                    let row = store.load(&[key("counter")]).await.unwrap().remove(0).unwrap();
                    let own = key(format!("writer {writer} update {update}"));
                    let commit = puts([
                        put(key("counter"), (count(&row) + 1).to_be_bytes()),
                        put(own.clone(), (count(&row) + 1).to_be_bytes()),
                    ]);
                    let commit = expecting(commit, key("counter"), row.revision);
                    match store.commit(expecting(commit, own, None)).await {
                        Ok(revision) => {
                            assert!(revision > row.revision);
                            break;
                        }
                        Err(StoreError::Conflict) => conflicts += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            conflicts
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let store = subject.store();
    let row = store.load(&[key("counter")]).await.unwrap().remove(0).unwrap();
    assert_eq!(count(&row), WRITERS * UPDATES);
    assert_eq!(row.revision, WRITERS * UPDATES + 1);
    // Every count was given to exactly one writer.
    let scan =
        Scan { tenant: [1; 16], kind: 1, prefix: b"writer".to_vec(), after: None, limit: 1000 };
    let mut counts: Vec<_> = store.scan(&scan).await.unwrap().iter().map(count).collect();
    counts.sort_unstable();
    assert!(counts.into_iter().eq(1..=WRITERS * UPDATES));
}

pub async fn a_load_never_sees_half_a_commit<S: Subject>() {
    let subject = S::fresh().await;
    let keys: Vec<_> = (0..8_u8).map(|id| key([id])).collect();
    let all = |round: u64| puts(keys.iter().map(|key| put(key.clone(), round.to_be_bytes())));
    subject.store().commit(all(0)).await.unwrap();
    let reader = tokio::spawn({
        let (store, keys) = (subject.store(), keys.clone());
        async move {
            let mut last = 0;
            while last < 100 {
                let rows = store.load(&keys).await.unwrap();
                let rows: Vec<_> = rows.into_iter().map(Option::unwrap).collect();
                let scan =
                    Scan { tenant: [1; 16], kind: 1, prefix: vec![], after: None, limit: 100 };
                let scanned = store.scan(&scan).await.unwrap();
                for rows in [rows, scanned] {
                    assert_eq!(rows.len(), 8);
                    assert!(rows.iter().all(|row| count(row) == count(&rows[0])));
                    assert!(count(&rows[0]) >= last, "went back");
                    last = count(&rows[0]);
                }
            }
        }
    });
    for round in 1..=100 {
        let expect = vec![Expect { key: key([0]), revision: Some(round) }];
        let commit = Commit { expect, ..all(round) };
        assert_eq!(subject.store().commit(commit).await, Ok(round + 1));
    }
    reader.await.unwrap();
}

fn count(row: &Row) -> u64 {
    u64::from_be_bytes(row.body.as_slice().try_into().unwrap())
}
